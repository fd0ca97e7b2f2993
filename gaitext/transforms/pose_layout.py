"""The form in which GaitPT takes poses (docs/gaitpt.md): normalised, 18 joints in an order of its own, no score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gaitext.errors import ConfigError, suggest
from gaitext.skeleton import coco_rows, resolve_order
from gaitext.transforms.base import Array, Transform
from gaitext.transforms.pose import as_poses, found_joints

__all__ = ["PoseNormalize", "PoseOrder", "normalize_by_box", "order_joints"]

#: CASIA-B's frames, in pixels.
_SIZES: dict[str, float | None] = {"width": 320.0, "height": 240.0, "box": None}


class PoseNormalize(Transform):
    """Divides coordinates by the frame's size: [T, 17, 2 or 3] -> the same, float32.

    The published recipe divides x and y alike: by the frame's width on CASIA-B, by its height on
    GREW and Gait3D. Scores stay, and so do missing joints, (0, 0, 0).

    Args:
        by: ``width`` or ``height``: divide by ``size``. ``box`` (ours): see :func:`normalize_by_box`.
        size: the frame's width or height in pixels; None: CASIA-B's, 320 or 240. ``box`` takes none.

    Raises:
        ConfigError: another ``by``, or a size that is not positive.

    Example:
        >>> PoseNormalize()(np.full((1, 17, 2), 160))[0, 0].tolist()
        [0.5, 0.5]
    """

    def __init__(self, by: str = "width", size: float | None = None) -> None:
        if by not in _SIZES:
            raise ConfigError(f"by is {by!r}", where="PoseNormalize.by", how=suggest(str(by), _SIZES))
        if by == "box" and size is not None:
            raise ConfigError("by: box takes no size", where="PoseNormalize.size", how="leave it out")
        if size is not None and not size > 0:
            raise ConfigError(f"size is {size}", where="PoseNormalize.size", how="give the frame's size in pixels")
        self.by = by
        self.size = _SIZES[by] if size is None else float(size)

    def __call__(self, sequence: Array) -> Array:
        poses = as_poses(sequence, where="PoseNormalize")
        if self.size is None:
            return normalize_by_box(poses)
        poses[..., :2] /= np.float32(self.size)
        return poses


def normalize_by_box(poses: Array) -> Array:
    """Put every frame's person into a box of height 1 around (0, 0): [T, V, ≥2] -> the same.

    The box is that of the frame's found joints; its centre is subtracted from them, and its height
    divides both coordinates. So neither where the person stands nor how far off is left. A frame
    whose joints have no height (one joint, say) has no scale: its coordinates become 0.
    """
    points, found = poses[..., :2], found_joints(poses)
    low = np.where(found[..., None], points, np.inf).min(1)
    high = np.where(found[..., None], points, -np.inf).max(1)
    usable = high[:, 1] > low[:, 1]  # not where nothing was found: -inf and inf
    low, high = (np.where(usable[:, None], corner, 0) for corner in (low, high))
    centre = ((low + high) / 2)[:, None]
    height = np.where(usable, (high - low)[:, 1], 1)[:, None, None]
    placed = poses.copy()
    placed[..., :2] = np.where(found[..., None] & usable[:, None, None], (points - centre) / height, 0)
    return placed


class PoseOrder(Transform):
    """GaitPT's input: [T, 17, 2 or 3] -> [T, 18, 2], float32. The last of a list.

    A copy of the nose becomes joint 17, scores are dropped, and the joints are ordered so that
    neighbours make a limb and limbs a part of the body (GaitPT, section 3.2).

    Args:
        partition: a key of :data:`gaitext.skeleton.POSE_ORDERS`, or 18 joint indices of your own; the
            same as the model's.

    Raises:
        ConfigError: no such order.
    """

    def __init__(self, partition: str | Sequence[int] = "head_upper_lower") -> None:
        self.order = resolve_order(partition, where="PoseOrder.partition")

    def __call__(self, sequence: Array) -> Array:
        return order_joints(as_poses(sequence, where="PoseOrder"), self.order)


def order_joints(poses: Array, order: Sequence[int]) -> Array:
    """Poses [T, 17, ≥2] with the nose again as joint 17, ordered, without scores: [T, 18, 2]."""
    return np.ascontiguousarray(poses[:, list(coco_rows(order)), :2])
