"""Transforms of RGB crops [T, 3, H, W]."""

from __future__ import annotations

import numpy as np

from gaitext.errors import DataError
from gaitext.transforms.base import Array, Transform, checked

__all__ = ["CropInput"]


class CropInput(Transform):
    """Checks RGB crops and makes them float32 in 0..1: put it first in their list.

    The toolboxes want gradients of what transforms return, which bytes cannot have.

    Raises (at call):
        DataError: other than [T, 3, H, W], no frame, NaN, numbers that are neither bytes nor in 0..1.
    """

    def __call__(self, sequence: Array) -> Array:
        crops = checked(sequence, (3, None, None), where="CropInput", what="RGB crops")
        if crops.dtype == np.uint8:
            return crops.astype(np.float32) / np.float32(255)
        if crops.dtype.kind != "f" or float(crops.min()) < 0 or float(crops.max()) > 1:
            raise DataError(
                f"crops are {crops.dtype} from {crops.min():g} to {crops.max():g}",
                where="CropInput",
                how="give uint8, or floats in 0..1",
            )
        return crops.astype(np.float32)
