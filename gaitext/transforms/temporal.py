"""Transforms of the order of frames. They need to see one sequence at a time."""

from __future__ import annotations

import numpy as np

from gaitext.transforms.base import Array, RandomTransform

__all__ = ["HeatmapReverse", "PoseReverse", "reverse"]


def reverse(sequence: Array) -> Array:
    """Run a sequence [T, …] backwards."""
    return np.ascontiguousarray(np.asarray(sequence)[::-1])


class _Reverse(RandomTransform):
    """Runs the sequence backwards. With several inputs: ``model_cfg.augmentation.reverse``."""

    def change(self, sequence: Array) -> Array:
        return reverse(sequence)


class HeatmapReverse(_Reverse):
    """Runs heatmaps [T, 17, H, W] backwards with a probability."""


class PoseReverse(_Reverse):
    """Runs poses [T, 17, 3] backwards with a probability."""
