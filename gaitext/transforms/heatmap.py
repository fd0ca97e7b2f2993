"""Transforms of heatmap sequences [T, 17, H, W]."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gaitext.errors import ConfigError, DataError
from gaitext.pose.decoding import decode_heatmaps
from gaitext.skeleton import PartitionLike, joint_mirror, merge_parts, part_mirror, resolve_partition
from gaitext.transforms.base import Array, RandomTransform, Transform, checked


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


#: In σ. Beyond it a Gaussian is below 1e-17; products of two such tails would be denormal numbers,
#: with which everything that follows is slow.
_REACH = 9.0


class PoseToHeatmap(Transform):
    """Draws each joint as a Gaussian: [T, 17, 3] (x, y in heatmap pixels, score) -> [T, 17, H, W], float32.

    The regenerated heatmaps of GaitHeat's Table 4, drawn as SkeletonGait draws its joint map,
    but a channel for each joint, so that the same network reads them: see :func:`draw_heatmaps`.

    Args:
        size: of the maps, (width, height).
        sigma: of the Gaussians, heatmap pixels.
        min_score: joints must score more than this; others' channels are zero.
        scores: whether a joint's score is its Gaussian's height; otherwise it is 1.

    Raises:
        ConfigError: an argument is out of range.
        DataError (at call): wrong shape, no frame, NaN.

    Example:
        >>> PoseToHeatmap(size=[3, 1], scores=False)(np.full((1, 17, 3), (1, 0, 0.5)))[0, 0].round(2).tolist()
        [[0.8799999952316284, 1.0, 0.8799999952316284]]
    """

    def __init__(
        self, size: Sequence[int] = (48, 64), sigma: float = 2.0, min_score: float = 0.0, scores: bool = True
    ) -> None:
        if (
            not isinstance(size, Sequence)
            or len(size) != 2
            or any(not isinstance(length, int) or length < 1 for length in size)
        ):
            raise ConfigError(
                f"size is {size}", where="PoseToHeatmap.size", how="give [width, height], such as [48, 64]"
            )
        _check(sigma, min_score, scores, "PoseToHeatmap")
        self.width, self.height = size
        self.sigma = float(sigma)
        self.min_score = float(min_score)
        self.scores = scores

    def __call__(self, sequence: Array) -> Array:
        poses = checked(sequence, (17, 3), where="PoseToHeatmap", what="poses")
        return draw_heatmaps(poses, (self.height, self.width), self.sigma, self.min_score, self.scores)


class HeatmapRegenerate(Transform):
    """Decodes heatmaps to keypoints and draws these anew: [T, 17, H, W] -> the same, float32.

    :class:`PoseToHeatmap` of the keypoints that :func:`~gaitext.pose.decoding.decode_heatmaps` finds, for
    leaves whose one input is heatmaps: a line of YAML between the two rows of GaitHeat's Table 4.

    Args:
        sigma, scores, min_score: see :class:`PoseToHeatmap`.

    Raises:
        ConfigError: an argument is out of range.
        DataError (at call): wrong shape, no frame, NaN.
    """

    def __init__(self, sigma: float = 2.0, scores: bool = True, min_score: float = 0.0) -> None:
        _check(sigma, min_score, scores, "HeatmapRegenerate")
        self.sigma = float(sigma)
        self.min_score = float(min_score)
        self.scores = scores

    def __call__(self, sequence: Array) -> Array:
        heatmaps = checked(sequence, (17, None, None), where="HeatmapRegenerate", what="heatmaps")
        height, width = heatmaps.shape[2:]
        return draw_heatmaps(decode_heatmaps(heatmaps), (height, width), self.sigma, self.min_score, self.scores)


def draw_heatmaps(
    poses: Array, size: tuple[int, int], sigma: float = 2.0, min_score: float = 0.0, scores: bool = True
) -> Array:
    """Draw Gaussians exp(−d²/2σ²) at joints, times their scores: [T, V, 3] -> [T, V, *size], float32.

    d is the distance from a pixel's centre to the joint, which may lie between pixels or outside
    the map. A Gaussian is the outer product of its two profiles, so only H + W exponentials a
    joint are computed.

    Args:
        poses: x and y in heatmap pixels (integers are pixel centres), score.
        size: height and width of the maps.
        sigma: heatmap pixels.
        min_score: 0 or more; a joint that does not score more has a channel of zeros.
        scores: whether a Gaussian's height is the joint's score; otherwise it is 1.
    """
    poses = np.asarray(poses, np.float64)
    score = poses[..., 2]
    height = np.where(score > min_score, score if scores else 1.0, 0.0)
    rows, columns = (_profiles(poses[..., axis], length, sigma) for axis, length in ((1, size[0]), (0, size[1])))
    rows = (rows * height[..., None]).astype(np.float32)
    return rows[..., :, None] * columns.astype(np.float32)[..., None, :]


def _profiles(centres: Array, length: int, sigma: float) -> Array:
    """exp(−(i − centre)²/2σ²) for i < length: [..., length]."""
    away = (np.arange(length) - centres[..., None]) / sigma
    near = np.abs(away) <= _REACH
    return np.where(near, np.exp(-0.5 * np.where(near, away, 0.0) ** 2), 0.0)


def _check(sigma: float, min_score: float, scores: bool, where: str) -> None:
    if not 0 < sigma < math.inf:
        raise ConfigError(f"sigma is {sigma}", where=f"{where}.sigma", how="give heatmap pixels, such as 2.0")
    if not 0 <= min_score < math.inf:
        raise ConfigError(f"min_score is {min_score}", where=f"{where}.min_score", how="give 0, or a higher score")
    if not isinstance(scores, bool):
        raise ConfigError(f"scores is {scores!r}", where=f"{where}.scores", how="give true or false")


class HeatmapPretreatment(Transform):
    """Cuts, resizes and centres the person in heatmap space: [T, 17, H, W] -> [T, 17, height, width], float32.

    What GaitHeat replaces by pretreatment in RGB space, to compare with: it costs the summary's
    ablation 2 to 3 points. See :func:`fit_person`.

    Args:
        threshold: what counts as the person, as a share of the frame's own peak.
        height: of the maps made; the person's height in all of them.
        width: of the maps made.

    Raises:
        ConfigError: an argument is out of range.
        DataError (at call): wrong shape, no frame, no pixel, NaN.
    """

    def __init__(self, threshold: float = 0.1, height: int = 64, width: int = 48) -> None:
        if not 0 <= threshold < 1:
            raise ConfigError(
                f"threshold is {threshold}", where="HeatmapPretreatment.threshold", how="give 0 or more, less than 1"
            )
        for name, length in (("height", height), ("width", width)):
            if not isinstance(length, int) or length < 1:
                raise ConfigError(
                    f"{name} is {length}", where=f"HeatmapPretreatment.{name}", how="give whole pixels, 1 or more"
                )
        self.threshold = float(threshold)
        self.height = height
        self.width = width

    def __call__(self, sequence: Array) -> Array:
        heatmaps = checked(sequence, (17, None, None), where="HeatmapPretreatment", what="heatmaps")
        if 0 in heatmaps.shape[2:]:
            raise DataError(f"heatmaps of shape {heatmaps.shape} have no pixels", where="HeatmapPretreatment")
        return fit_person(heatmaps, (self.height, self.width), self.threshold)


def fit_person(heatmaps: Array, size: tuple[int, int] = (64, 48), threshold: float = 0.1) -> Array:
    """Let every frame's person fill the map's height, in its middle: [T, V, H, W] -> [T, V, *size], float32.

    The person is where the maximum over the channels exceeds ``threshold`` times its own peak. All
    channels alike are cut to the person's first and last row, resized (bilinear, edges on edges,
    by the one factor that makes the cut as high as the map), moved sideways by whole pixels so
    that the person's centre of mass is at most half a pixel from the middle, and cut or padded
    with zeros to the width. A frame without a value above 0 stays as it is; if the size changes,
    it becomes zero.
    """
    maps = np.asarray(heatmaps, np.float32)
    merged = maps.max(1)
    peaks = merged.max((1, 2))
    seen = peaks > 0
    fitted = np.zeros((*maps.shape[:2], *size), np.float32)
    if maps.shape[2:] == size:
        fitted[~seen] = maps[~seen]
    across, down = _weights(merged[seen], peaks[seen], size, threshold)
    # A frame at a time stays in the cache.
    for frame, rows, columns in zip(np.flatnonzero(seen), down, across):
        np.matmul(rows @ maps[frame], columns, out=fitted[frame])
    return fitted


def _weights(merged: Array, peaks: Array, size: tuple[int, int], threshold: float) -> tuple[Array, Array]:
    """How much of each column goes into each new one [T, W, width], and of the rows [T, height, H]."""
    height, width = merged.shape[1:]
    person = merged > np.float32(threshold) * peaks[:, None, None]
    rows = person.any(2)
    top, bottom = rows.argmax(1), height - 1 - rows[:, ::-1].argmax(1)
    factor = (size[0] / (bottom - top + 1))[:, None]
    y = top[:, None] + (np.arange(size[0]) + 0.5) / factor - 0.5
    y = np.clip(y, top[:, None], bottom[:, None])

    mass = np.where(person, merged, 0).sum(1, dtype=np.float64)
    # Counted from the middles of both maps, so that a mirrored frame gives the mirrored map.
    middle = (width - 1) / 2
    centre = (mass * (np.arange(width) - middle)).sum(1, keepdims=True) / mass.sum(1, keepdims=True)
    away = (np.arange(size[1]) - (size[1] - 1) / 2 + np.rint(centre * factor)) / factor
    x = np.clip(middle + away, 0, width - 1)
    across = _linear(x, width) * (np.abs(away) <= width / 2)[..., None]
    return across.astype(np.float32).transpose(0, 2, 1), _linear(y, height).astype(np.float32)


def _linear(places: Array, length: int) -> Array:
    """Weights of linear interpolation at places [T, N] among ``length`` pixels: [T, N, length]."""
    return np.clip(1 - np.abs(places[..., None] - np.arange(length)), 0, None)
