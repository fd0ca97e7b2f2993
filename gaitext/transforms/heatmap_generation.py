"""Heatmaps drawn anew from keypoints: what GaitHeat's Table 4 compares the estimator's own with."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gaitext.errors import ConfigError
from gaitext.pose.decoding import decode_heatmaps
from gaitext.transforms.base import Array, Transform, checked

__all__ = ["HeatmapRegenerate", "PoseToHeatmap", "draw_heatmaps"]

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
