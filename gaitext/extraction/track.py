"""One person's boxes through a video: the shape that every source of boxes is brought to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Track"]


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
