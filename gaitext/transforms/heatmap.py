"""Transforms of heatmap sequences [T, 17, H, W]."""

from __future__ import annotations

import numpy as np

from gaitext.skeleton import PartitionLike, joint_mirror, merge_parts, part_mirror, resolve_partition
from gaitext.transforms.base import Array, RandomTransform, Transform, checked

__all__ = ["HeatmapFlip", "HeatmapInput", "HeatmapMerge", "mirror_heatmaps"]


class HeatmapInput(Transform):
    """Checks heatmaps and makes them float32: put it first in every list.

    Args:
        channels: how many there must be; K for parts merged offline.
        divisor: integers are divided by it (8-bit stores hold 255 for 1); floats are kept.

    Raises (at call):
        DataError: wrong number of channels, no frame, NaN.
    """

    def __init__(self, channels: int = 17, divisor: float = 255.0) -> None:
        self.channels = channels
        self.divisor = divisor

    def __call__(self, sequence: Array) -> Array:
        heatmaps = checked(sequence, (self.channels, None, None), where="HeatmapInput", what="heatmaps")
        if heatmaps.dtype.kind in "ui":
            return heatmaps.astype(np.float32) / np.float32(self.divisor)
        return heatmaps.astype(np.float32)


class HeatmapMerge(Transform):
    """Merges joints into K part maps (Eq. 5): [T, 17, H, W] -> [T, K, H, W].

    For ``alignment.merge: offline``. The network takes the maximum of the aligned parts as the
    global map, as the release does.

    Args:
        partition: as in ``model_cfg.partition``, and the same.
    """

    def __init__(self, partition: PartitionLike = "upper_lower") -> None:
        self.partition = resolve_partition(partition, where="HeatmapMerge.partition")

    def __call__(self, sequence: Array) -> Array:
        heatmaps = checked(sequence, (17, None, None), where="HeatmapMerge", what="heatmaps")
        return merge_parts(heatmaps, self.partition)


class HeatmapFlip(RandomTransform):
    """Mirrors the walk: columns reversed, left and right channels (or parts) swapped.

    Only where heatmaps are the one input; otherwise ``model_cfg.augmentation.mirror``.

    Args:
        probability: chance of a flip, drawn once per call.
        partition: name it when the channels are parts, after ``HeatmapMerge``.
        generator: see :class:`~gaitext.transforms.base.RandomTransform`.
    """

    def __init__(
        self,
        probability: float = 0.5,
        partition: PartitionLike | None = None,
        generator: np.random.Generator | None = None,
    ) -> None:
        super().__init__(probability, generator)
        self.order = joint_mirror() if partition is None else part_mirror(partition)

    def change(self, sequence: Array) -> Array:
        checked(sequence, (len(self.order), None, None), where="HeatmapFlip", what="heatmaps")
        return mirror_heatmaps(sequence, self.order)


def mirror_heatmaps(heatmaps: Array, order: tuple[int, ...] | None = None) -> Array:
    """Mirror heatmaps [T, C, H, W], channels permuted by ``order`` (default: COCO-17 left/right).

    >>> float(mirror_heatmaps(np.eye(17 * 2, dtype=np.float32).reshape(1, 17, 2, -1))[0, 0].sum())
    2.0
    """
    return np.ascontiguousarray(np.asarray(heatmaps)[:, list(order or joint_mirror()), :, ::-1])
