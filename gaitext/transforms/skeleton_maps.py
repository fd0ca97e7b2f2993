"""SkeletonGait's two maps of a pose: one of its limbs, one of its joints (Fan et al., AAAI 2024).

What OpenGait's ``pretreatment_heatmap.py`` makes with its published settings, which SkeletonGait's and SkeletonGait++'s
configs train on: missing joints filled from other frames, the person 85 of 128 pixels high with the hips in the middle,
Gaussians of σ = 8 pixels, one grey map each, cut to the drawn rows and resized to 64×64.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitext.errors import ShapeError

Floats = npt.NDArray[np.float64]

#: Pairs of joints that SkeletonGait draws limbs between.
SKELETON: tuple[tuple[int, int], ...] = (
    (0, 1), (0, 2), (1, 3), (2, 4),
    (0, 5), (5, 7), (7, 9), (0, 6), (6, 8), (8, 10),
    (5, 11), (11, 13), (13, 15), (6, 12), (12, 14), (14, 16), (11, 12),
)  # fmt: skip

#: Pixels of the maps that are drawn, how high the person is in them, and σ of what is drawn.
_SIDE, _HEIGHT, _SIGMA = 128, 128 // 1.5, 8.0
#: Gaussians end at so many σ.
_REACH = 3
#: Joints of a lower score are not drawn.
_SEEN = 1e-3
#: Frames that a missing coordinate is filled from.
_NEIGHBOURS = 4
#: The grey of each of 256 levels: a linear colour map, its bytes rounded down.
_GREYS = (np.linspace(0, 1, 256) * 255).astype(np.uint8)


def skeleton_maps(poses: npt.NDArray[np.floating[Any]], size: int = 64) -> npt.NDArray[np.uint8]:
    """SkeletonGait's maps of a sequence of poses.

    Args:
        poses: [T, 17, 3], x, y in pixels of any frame, score; a coordinate that is 0 is missing.
        size: rows and columns of the maps.

    Returns:
        uint8 [T, 2, size, size]: limbs, joints. A frame without a joint is black.

    Raises:
        ShapeError: other than [T, 17, 3].
    """
    given: Floats = np.asarray(poses, np.float64)
    if given.ndim != 3 or given.shape[1:] != (17, 3):
        raise ShapeError(f"poses have shape {list(given.shape)}", where="skeleton_maps", how="give [T, 17, 3]")
    places, scores = fill_missing(given[..., :2]), given[..., 2]
    places = places - places[:, 11:13].mean(1, keepdims=True)
    heights = np.ptp(places[..., 1], axis=1)
    maps = np.zeros((len(given), 2, size, size), np.uint8)
    for frame in np.flatnonzero(heights > 0):
        person = places[frame] * (_HEIGHT / heights[frame]) + _SIDE // 2
        maps[frame, 0] = _aligned(_draw(person, scores[frame], SKELETON), size)
        maps[frame, 1] = _aligned(_draw(person, scores[frame], [(joint, joint) for joint in range(17)]), size)
    return maps


def fill_missing(places: Floats) -> Floats:
    """Fill coordinates that are 0 from the same sequence's frames that are most alike.

    A missing coordinate becomes the mean of that coordinate in the four nearest frames that have it, weighted by the
    inverse of their distances; frames at distance 0 alone count where there are any. The distance of two frames is
    Euclidean over the coordinates that both have, times the root of how many there are over how many both have; where
    none has any in common, the mean of all frames counts. Where a coordinate is missing in every frame nothing is
    filled, as OpenGait leaves it.

    Args:
        places: [T, V, 2].

    Returns:
        The same shape.
    """
    rows = places.reshape(len(places), -1)
    there = rows != 0
    if there.all() or not there.any(0).all():
        return places
    common = there.astype(np.float64)
    squares = np.square(rows) @ common.T  # rows are 0 where nothing is there
    distances = np.maximum(squares + squares.T - 2 * rows @ rows.T, 0)
    both = common @ common.T
    with np.errstate(divide="ignore", invalid="ignore"):
        distances = np.sqrt(np.where(both > 0, distances * rows.shape[1] / both, np.nan))
    filled = rows.copy()
    for column in np.flatnonzero(~there.all(0)):
        donors = np.flatnonzero(there[:, column])
        for row in np.flatnonzero(~there[:, column]):
            away = distances[row, donors]
            nearest = np.argsort(away, kind="stable")[:_NEIGHBOURS]  # NaN comes last
            nearest = nearest[~np.isnan(away[nearest])]
            if not len(nearest):
                filled[row, column] = rows[donors, column].mean()
                continue
            near = away[nearest]
            weights = (near == 0).astype(np.float64) if (near == 0).any() else 1 / near
            filled[row, column] = weights @ rows[donors[nearest], column] / weights.sum()
    return filled.reshape(places.shape)


def _draw(places: Floats, scores: Floats, limbs: Any) -> npt.NDArray[np.float32]:
    """The maximum of Gaussians about limbs, each as high as the lower score of its ends: [_SIDE, _SIDE]."""
    drawn = np.zeros((_SIDE, _SIDE), np.float32)
    for one, two in limbs:
        height = min(scores[one], scores[two])
        if height < _SEEN:
            continue
        start, end = places[one], places[two]
        length = ((start - end) ** 2).sum()
        if length < 1:
            end, height = start, scores[one]
        window = tuple(_span(min(a, b), max(a, b)) for a, b in zip(start, end))
        (left, right), (top, bottom) = window
        if left >= right or top >= bottom:
            continue
        x, y = np.arange(left, right, dtype=np.float64), np.arange(top, bottom, dtype=np.float64)[:, None]
        share = np.zeros((1, 1))
        if length >= 1:
            share = ((x - start[0]) * (end - start)[0] + (y - start[1]) * (end - start)[1]) / length
        share = np.clip(share, 0, 1)
        away = (x - start[0] - share * (end - start)[0]) ** 2 + (y - start[1] - share * (end - start)[1]) ** 2
        part = drawn[top:bottom, left:right]
        np.maximum(part, np.exp(-away / 2 / _SIGMA**2) * height, out=part, casting="same_kind")
    return drawn


def _span(low: float, high: float) -> tuple[int, int]:
    """First and last + 1 of the pixels that a Gaussian from ``low`` to ``high`` reaches."""
    return max(int(low - _REACH * _SIGMA), 0), min(int(high + _REACH * _SIGMA) + 1, _SIDE)


def _aligned(drawn: npt.NDArray[np.float32], size: int) -> npt.NDArray[np.uint8]:
    """A map in grey, cut to its rows and as many columns about the middle, resized by area."""
    grey = _GREYS[np.clip((drawn * np.float32(256)).astype(np.int64), 0, 255)]
    rows = np.flatnonzero(grey.any(1))
    if not len(rows):
        return np.zeros((size, size), np.uint8)
    half = (int(rows[-1]) - int(rows[0]) + 1) // 2
    cut = grey[rows[0] : rows[-1] + 1, max(_SIDE // 2 - half, 0) : _SIDE // 2 + half + 1] / 255.0
    enlarges = min(cut.shape) < size
    down, across = (_weights(length, size, enlarges) for length in cut.shape)
    resized: npt.NDArray[np.uint8] = (down @ cut @ across.T * 255).astype(np.uint8)
    return resized


def _weights(length: int, size: int, enlarges: bool) -> Floats:
    """How much each of ``length`` pixels counts in each of ``size``: [size, length].

    By the areas they share; if one axis is to be enlarged, by OpenCV's interpolation for that case (``INTER_AREA``).
    """
    scale = length / size
    weights = np.zeros((size, length))
    for i in range(size):
        if not enlarges:
            low, high = i * scale, (i + 1) * scale
            pixels = np.arange(int(low), min(math.ceil(high), length))
            weights[i, pixels] = (np.minimum(pixels + 1, high) - np.maximum(pixels, low)) / scale
            continue
        first = int(i * scale)
        share = (i + 1) - (first + 1) / scale
        share = share - math.floor(share) if share > 0 else 0.0
        if first >= length - 1:
            first, share = length - 1, 0.0
        weights[i, first] += 1 - share
        if share:
            weights[i, first + 1] += share
    return weights
