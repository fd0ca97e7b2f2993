"""One person's boxes through a video: the shape that every source of boxes is brought to."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitext.errors import DataError

__all__ = ["Track", "box_fault", "check_pixels", "is_number", "number_fault", "whole"]

#: Pixels. No frame is as large, and arithmetic with these is exact enough.
_FARTHEST = 1e6
#: Pixels. A smaller box is of nothing.
_SMALLEST = 1e-2
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Track:
    """One person's boxes in one video.

    Attributes:
        id: the track's number.
        frames: int64 [T], ascending, counted from 1 as in the boxes file.
        boxes: float64 [T, 4]: x, y, w, h in frame pixels; x and y are the box's left and top
            edges, 0 being the edge of the frame.
        scores: float64 [T], the detector's, in 0..1; None where the source gives none.
        filled: bool [T], True where a tracker put a box between two detections (its score is 0);
            None where every box was given.
    """

    id: int
    frames: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64] | None = None
    filled: npt.NDArray[np.bool_] | None = None


def is_number(value: Any, most: float = math.inf) -> bool:
    """Whether a value of a json is a finite number of at most this size."""
    return type(value) in (int, float) and abs(value) <= min(most, 1e300)


def number_fault(text: str) -> str | None:
    """What is wrong with a text that should be a number; None: nothing."""
    if _NUMBER.fullmatch(text):
        return None if len(text) <= 400 and math.isfinite(float(text)) else "too large a number"
    if re.fullmatch(r"[+-]?\d+,\d+", text):
        return "which has a decimal comma: write a point"
    return "not a number"


def whole(text: str, most: int) -> int | None:
    """A number's text as a whole number of at most this size; None: it is none."""
    number = float(text)
    if abs(number) > most or number != int(number):
        return None
    return int(number)


def box_fault(box: Sequence[float]) -> str | None:
    """What is wrong with x, y, width and height; None: nothing."""
    if not box[2] > 0 or not box[3] > 0:
        return f"the box is {box[2]:.10g} wide and {box[3]:.10g} high; both must be positive"
    if not max(map(abs, box)) <= _FARTHEST:
        return f"the box {', '.join(f'{value:.4g}' for value in box)} is larger or farther away than any picture"
    if min(box[2:]) < _SMALLEST:
        return f"the box is {box[2]:.4g} wide and {box[3]:.4g} high, which is less than a hundredth of a pixel"
    return None


def check_pixels(boxes: Iterable[Sequence[float]], where: object) -> None:
    """Refuse boxes that are shares of the picture.

    Raises:
        DataError: all lie within 0..1, in fractions.
    """
    fractions = False
    for box in boxes:
        if not all(0 <= value <= 1 for value in box):
            return
        fractions = fractions or any(value != int(value) for value in box)
    if fractions:
        raise DataError(
            "all its boxes lie between 0 and 1: they are shares of the picture, not pixels",
            where=where,
            how="multiply them by the picture's width and height",
        )
