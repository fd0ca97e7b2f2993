"""What an occlusion hides: the one place that says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gaitext.occlusion.drawing import Occlusion, Occlusions
from gaitext.occlusion.settings import OCCLUSION_TYPES

__all__ = ["REFERENCE_ROWS", "labels", "occluded_shares", "region", "regions"]

#: Speeds are pixels of a map with this many rows.
REFERENCE_ROWS = 64

Integers = npt.NDArray[np.int64]


def regions(occlusions: Occlusions, index: npt.ArrayLike, height: int, width: int) -> Integers:
    """The hidden rectangle of each of n frames.

    ``top``, ``bottom``: share p of the rows; ``middle``: rows (1 − p)H/2 to (1 + p)H/2; ``dynamic``
    and ``pole``: a patch on the bottom edge whose left edge starts at x = 0 and moves right, and
    which ends up outside. Edges are rounded to the nearest pixel.

    Args:
        occlusions: one per frame (``Occlusions.repeat``).
        index: int [n], or one number for all: frames since the sequence's start.
        height, width: of the frames, in pixels.

    Returns:
        int64 [n, 4] as top, bottom, left, right, half-open and within the frame; empty regions
        have bottom = top or right = left.
    """
    kinds = np.array(OCCLUSION_TYPES)[occlusions.types]
    top, bottom = np.zeros(len(kinds)), np.zeros(len(kinds))
    left, right = np.zeros(len(kinds)), np.full(len(kinds), float(width))
    rows = np.rint(occlusions.rows * height)
    # At least one row is left where the rest is stretched.
    rows = np.where(occlusions.resize, np.minimum(rows, height - 1), rows)
    bottom[kinds == "top"] = rows[kinds == "top"]
    chosen = kinds == "bottom"
    top[chosen], bottom[chosen] = height - rows[chosen], height
    chosen = kinds == "middle"
    top[chosen] = np.rint((1 - occlusions.rows[chosen]) * height / 2)
    bottom[chosen] = np.rint((1 + occlusions.rows[chosen]) * height / 2)
    chosen = (kinds == "dynamic") | (kinds == "pole")
    moved = np.rint(occlusions.speed * np.asarray(index) * (height / REFERENCE_ROWS))
    top[chosen], bottom[chosen] = height - np.rint(occlusions.height * height)[chosen], height
    left[chosen] = np.minimum(moved, width)[chosen]
    right[chosen] = np.minimum(moved + np.rint(occlusions.width * width), width)[chosen]
    return np.stack((top, bottom, left, right), -1).astype(np.int64)


def region(occlusion: Occlusion, index: Any, height: int, width: int) -> Integers:
    """The hidden rectangle (top, bottom, left, right) of frame ``index``: int64 [4], or [T, 4] for indices [T].

    >>> region(Occlusion("pole", width=0.25, height=1.0, speed=2.0), [0, 1, 31], 64, 64).tolist()
    [[0, 64, 0, 16], [0, 64, 2, 18], [0, 64, 62, 64]]
    """
    at = np.asarray(index)
    found = regions(Occlusions.of([occlusion]).repeat(at.size), at.reshape(-1), height, width)
    return found.reshape(*at.shape, 4)


def occluded_shares(found: Integers, height: int, width: int) -> npt.NDArray[np.float32]:
    """Share of each frame's area that regions [n, 4] hide: float32 [n].

    For ``top``, ``bottom`` and ``middle`` that is the share of the rows; a patch's falls to 0 as it
    leaves the frame. A sequence's amount is the mean over its frames.
    """
    top, bottom, left, right = found.T
    return ((bottom - top) * (right - left) / (height * width)).astype(np.float32)


def labels(
    occlusions: Occlusions, index: npt.ArrayLike, height: int, width: int
) -> tuple[Integers, npt.NDArray[np.float32]]:
    """Type and amount of each of n frames, read off what is hidden there.

    A frame in which nothing is hidden, because the patch has left it, is of type ``none``.

    Args:
        occlusions, index, height, width: as for :func:`regions`.

    Returns:
        int64 [n], positions in ``OCCLUSION_TYPES``, and float32 [n].
    """
    amounts = occluded_shares(regions(occlusions, index, height, width), height, width)
    return np.where(amounts > 0, occlusions.types, 0), amounts
