"""Overlap of boxes, and the suppression of those that say the same."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["overlap", "suppress"]

Boxes = npt.NDArray[np.float64]


def overlap(one: Boxes, two: Boxes) -> Boxes:
    """Intersection over union of boxes x, y, w, h: [N, 4] and [M, 4] -> [N, M]."""
    one, two = one[:, None, :4], two[None, :, :4]
    corner = np.minimum(one[..., :2] + one[..., 2:], two[..., :2] + two[..., 2:])
    sides = np.clip(corner - np.maximum(one[..., :2], two[..., :2]), 0, None)
    shared = sides.prod(-1)
    union = one[..., 2:].prod(-1) + two[..., 2:].prod(-1) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def suppress(boxes: Boxes, iou: float) -> Boxes:
    """Keep, from the highest score down, every box that overlaps no kept one by more than ``iou``.

    Args:
        boxes: float64 [N, 5]: x, y, w, h, score.

    Returns:
        [K, 5], by descending score; the order of the input does not matter.
    """
    left = boxes[np.lexsort((*boxes.T[:4], -boxes[:, 4]))]
    kept = []
    while len(left):
        kept.append(left[0])
        left = left[1:][overlap(left[:1], left[1:])[0] <= iou]
    return np.array(kept, dtype=np.float64).reshape(-1, 5)
