"""Persons' boxes through a video: what every source of boxes is brought to, and how a detector's are joined."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator
from scipy.optimize import linear_sum_assignment

from gaitext.config import Settings, split_options
from gaitext.errors import ConfigError, DataError, ShapeError, suggest
from gaitext.extraction.detect.detector import overlap

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

    @classmethod
    def of(cls, number: int, boxes: Mapping[int, tuple[Sequence[float], float | None]]) -> Track:
        """A track of frame number -> (x, y, w, h; score or None), in any order."""
        frames = sorted(boxes)
        given = [boxes[frame][1] for frame in frames]
        scores = None if any(score is None for score in given) else np.array(given, np.float64)
        corners = np.array([boxes[frame][0] for frame in frames], np.float64)
        return cls(number, np.array(frames, np.int64), corners, scores)


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


Array = npt.NDArray[np.float64]

#: Velocity is measured over this many detections: over a few it is the detector's jitter and the swing of the limbs.
_MEMORY = 20
_IOU = 0.3


Method = Literal["overlap", "sort", "bytetrack", "ocsort", "botsort"]


class TrackerSettings(Settings):
    """How boxes are joined.

    Attributes:
        method: ``overlap``, gaitext's own, or one of the library trackers
            (:mod:`gaitext.extraction.library_trackers`).
        iou: a box continues a track if it overlaps the predicted box by at least this; None: 0.3, and
            the library's own of its trackers.
        min_score: boxes with a lower score are not looked at.
        new_score: boxes with a lower score begin no track, but may continue one (Zhang et al., ByteTrack, 2022).
        max_gap: a track goes on after at most this many frames without a box.
        min_length: tracks with fewer boxes are not returned: flickers of the detector.
    """

    method: Method = "overlap"
    iou: float | None = Field(default=None, gt=0, le=1)
    min_score: float = Field(default=0.2, ge=0, le=1)
    new_score: float = Field(default=0.4, ge=0, le=1)
    max_gap: int = Field(default=15, ge=0)
    min_length: int = Field(default=5, ge=1)

    @model_validator(mode="after")
    def _in_order(self) -> TrackerSettings:
        if self.new_score < self.min_score:
            raise ValueError(f"new_score ({self.new_score}) is below min_score ({self.min_score})")
        return self


def load_tracker(specification: str) -> TrackerSettings:
    """The settings of a tracker written as ``bytetrack`` or ``overlap?max_gap=30&min_score=0.2``.

    Raises:
        ConfigError: no such tracker or option (the known ones are named), or a value out of range.
    """
    method, options = split_options(specification, where="tracker")
    known = get_args(Method)
    if method not in known:
        raise ConfigError(f"unknown tracker '{method}'", where="tracker", how=suggest(method, known))
    return TrackerSettings.parse({**options, "method": method}, where=f"tracker {method}")


def tracker_entry(settings: TrackerSettings) -> dict[str, Any]:
    """What of a tracker decides its tracks, as plain JSON values."""
    entry = settings.model_dump(mode="json")
    if settings.method != "overlap":
        from gaitext.extraction.library_trackers import library_version

        entry["trackers"] = library_version()
    return entry


@dataclass
class _Running:
    """A track in the making: numbers of the frames seen, and the boxes [5] there."""

    frames: list[int] = field(default_factory=list)
    boxes: list[Array] = field(default_factory=list)

    def predict(self, frame: int) -> Array:
        """The box x, y, w, h expected in ``frame``: the last one, moved on at a constant velocity."""
        start = max(len(self.frames) - _MEMORY, 0)
        last = self.boxes[-1][:4].copy()
        steps = self.frames[-1] - self.frames[start]
        if steps:
            moved = (last[:2] + last[2:] / 2) - (self.boxes[start][:2] + self.boxes[start][2:4] / 2)
            last[:2] += moved / steps * (frame - self.frames[-1])
        return last


def track(detections: Iterable[npt.ArrayLike], settings: TrackerSettings | None = None) -> dict[int, Track]:
    """Join the boxes of consecutive frames into tracks.

    By ``overlap``, the default: in each frame the open tracks' predicted boxes and the new boxes are matched so
    that the sum of their overlaps is largest; pairs that overlap less than ``iou`` are not made, and boxes of at
    least ``new_score`` choose first. A box of that score without a track opens one. With every method gaps are filled
    with boxes in between, marked in :attr:`Track.filled`. The order of the boxes within a frame does not matter, and
    there is nothing random.

    Args:
        detections: for each frame in turn [N, 5]: x, y, w, h in frame pixels, and the score; [0, 5]
            or an empty list where there is none.

    Returns:
        Track id -> :class:`Track` with scores; ids count from 1 in the order of first appearance
        (from left to right within a frame).

    Raises:
        ShapeError: boxes that are not [N, 5] or not finite, or of no size.
        MissingDependencyError: the method is one of the library trackers, which is not installed.
    """
    settings = settings or TrackerSettings()
    each = (_looked_at(given, frame, settings.min_score) for frame, given in enumerate(detections, 1))
    if settings.method == "overlap":
        found = _by_overlap(each, settings)
    else:
        from gaitext.extraction.library_trackers import follow

        joined = follow(each, settings.method, iou=settings.iou, new_score=settings.new_score, max_gap=settings.max_gap)
        found = [_Running(frames, boxes) for frames, boxes in joined]
    kept = [one for one in found if len(one.frames) >= settings.min_length]
    kept.sort(key=lambda one: (one.frames[0], one.boxes[0].tolist()))
    return {number: _filled(number, one) for number, one in enumerate(kept, 1)}


def _by_overlap(detections: Iterable[Array], settings: TrackerSettings) -> list[_Running]:
    iou = _IOU if settings.iou is None else settings.iou
    running: list[_Running] = []
    done: list[_Running] = []
    for frame, boxes in enumerate(detections, 1):
        done += [one for one in running if frame - one.frames[-1] > settings.max_gap + 1]
        running = [one for one in running if frame - one.frames[-1] <= settings.max_gap + 1]
        predicted = np.array([one.predict(frame) for one in running]).reshape(-1, 4)
        shared = overlap(predicted, boxes)
        sure = boxes[:, 4] >= settings.new_score
        taken = _assign(np.where(sure, shared, 0), iou)
        # A track that was seen a frame ago may go on with a box of a low score: of somebody half hidden, mostly.
        open_rows = np.array([one.frames[-1] == frame - 1 for one in running], bool)
        open_rows[[row for row, _ in taken]] = False
        taken += _assign(np.where(open_rows[:, None] & ~sure, shared, 0), iou)
        for row, column in taken:
            running[row].frames.append(frame)
            running[row].boxes.append(boxes[column])
            sure[column] = False
        running += [_Running([frame], [boxes[column]]) for column in np.flatnonzero(sure)]
    return done + running


def longest(tracks: dict[int, Track]) -> tuple[Track, list[Track]]:
    """The track with the most boxes that were detected, and the others.

    Of equals the one whose boxes are larger on average, then the one with the lower id.

    Returns:
        The longest, and the rest from the next longest down.

    Raises:
        ValueError: there are no tracks.
    """
    if not tracks:
        raise ValueError("there are no tracks")

    def rank(one: Track) -> tuple[float, float, int]:
        seen = len(one.frames) if one.filled is None else int((~one.filled).sum())
        return -seen, -float(one.boxes[:, 2:].prod(-1).mean()), one.id

    first, *others = sorted(tracks.values(), key=rank)
    return first, others


def _assign(shared: Array, least: float) -> list[tuple[int, int]]:
    """One-to-one pairs (row, column) with the largest sum of overlaps [N, M], none of less than ``least``."""
    gains = np.where(shared >= least, shared, 0)
    return [(row, column) for row, column in zip(*linear_sum_assignment(gains, maximize=True)) if gains[row, column]]


def _looked_at(given: npt.ArrayLike, frame: int, least: float) -> Array:
    """A frame's boxes of at least this score, whatever order they came in."""
    boxes = _checked(given, frame)
    boxes = boxes[boxes[:, 4] >= least]
    return boxes[np.lexsort(boxes.T[::-1])]


def _checked(given: npt.ArrayLike, frame: int) -> Array:
    boxes = np.asarray(given, dtype=np.float64)
    if boxes.size == 0:
        return np.zeros((0, 5))
    if boxes.ndim != 2 or boxes.shape[1] != 5:
        raise ShapeError(f"the boxes of frame {frame} are {list(boxes.shape)}", where="track", how="give [N, 5]")
    if not np.isfinite(boxes).all() or (boxes[:, 2:4] <= 0).any():
        raise ShapeError(f"a box of frame {frame} is not finite or has no size", where="track")
    return boxes


def _filled(number: int, one: _Running) -> Track:
    """A track with a box in every frame from its first to its last."""
    seen = np.array(one.frames)
    boxes = np.stack(one.boxes)
    frames = np.arange(seen[0], seen[-1] + 1)
    filled = ~np.isin(frames, seen)
    # Corners move linearly, which is what x, y, w, h do, too.
    values: Sequence[Array] = [np.interp(frames, seen, boxes[:, part]) for part in range(4)]
    scores = np.zeros(len(frames))
    scores[~filled] = boxes[:, 4]
    return Track(number, frames.astype(np.int64), np.stack(values, axis=1), scores, filled)
