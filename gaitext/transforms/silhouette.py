"""Transforms of silhouette sequences [T, H, W]."""

from __future__ import annotations

import numpy as np

from gaitext.errors import ConfigError, DataError
from gaitext.transforms.base import Array, Transform, checked

__all__ = ["SilhouetteInput"]


class SilhouetteInput(Transform):
    """Checks silhouettes, makes them float32 in 0..1 and cuts their sides off.

    As OpenGait's ``BaseSilCuttingTransform``, which cuts 64×64 to 64×44, except that frames that are
    floats already are not divided.

    Args:
        cut: columns cut off on either side; 0 keeps the width.
        divisor: integers are divided by it (255 stands for 1).

    Raises:
        ConfigError: ``cut`` or ``divisor`` is out of range.
        DataError (at call): wrong shape, no frame, NaN, floats beyond 0..1, or fewer columns than are cut.
    """

    def __init__(self, cut: int = 10, divisor: float = 255.0) -> None:
        if int(cut) != cut or cut < 0:
            raise ConfigError(f"cut is {cut}", where="SilhouetteInput.cut", how="give 0 or more whole columns")
        if not divisor > 0:
            raise ConfigError(f"divisor is {divisor}", where="SilhouetteInput.divisor", how="give 255, or 1")
        self.cut = int(cut)
        self.divisor = divisor

    def __call__(self, sequence: Array) -> Array:
        silhouettes = checked(sequence, (None, None), where="SilhouetteInput", what="silhouettes")
        width = silhouettes.shape[2]
        if width <= 2 * self.cut:
            raise DataError(f"silhouettes of {width} columns cannot lose {2 * self.cut}", where="SilhouetteInput.cut")
        silhouettes = silhouettes[:, :, self.cut : width - self.cut]
        if silhouettes.dtype.kind in "uib":
            return silhouettes.astype(np.float32) / np.float32(1 if silhouettes.dtype.kind == "b" else self.divisor)
        if silhouettes.min() < 0 or silhouettes.max() > 1:
            raise DataError(
                f"silhouettes are floats from {silhouettes.min():g} to {silhouettes.max():g}",
                where="SilhouetteInput",
                how="store integers in 0..255, or floats in 0..1",
            )
        return silhouettes.astype(np.float32)
