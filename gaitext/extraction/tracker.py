"""From boxes in each frame to persons through a video: matching by overlap, with prediction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from pydantic import Field

from gaitext.config import Settings
from gaitext.errors import ShapeError
from gaitext.extraction.detect.suppression import overlap
from gaitext.extraction.track import Track

__all__ = ["TrackerSettings", "assign", "longest", "track"]

Array = npt.NDArray[np.float64]

#: Velocity is measured over this many detections: one step alone is mostly the detector's jitter.
_MEMORY = 6


class TrackerSettings(Settings):
    """How boxes are joined.

    Attributes:
        iou: a box continues a track if it overlaps the predicted box by at least this.
        min_score: boxes with a lower score are not looked at.
        max_gap: a track goes on after at most this many frames without a box.
        min_length: tracks with fewer boxes are not returned: flickers of the detector.
    """

    iou: float = Field(default=0.3, gt=0, le=1)
    min_score: float = Field(default=0.4, ge=0, le=1)
    max_gap: int = Field(default=15, ge=0)
    min_length: int = Field(default=5, ge=1)


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

    In each frame the open tracks' predicted boxes and the new boxes are matched so that the sum of
    their overlaps is largest; pairs that overlap less than ``iou`` are not made. A box without a
    track opens one. Gaps are filled with boxes in between, marked in :attr:`Track.filled`. The
    order of the boxes within a frame does not matter, and there is nothing random.

    Args:
        detections: for each frame in turn [N, 5]: x, y, w, h in frame pixels, and the score; [0, 5]
            or an empty list where there is none.

    Returns:
        Track id -> :class:`Track` with scores; ids count from 1 in the order of first appearance
        (from left to right within a frame).

    Raises:
        ShapeError: boxes that are not [N, 5] or not finite, or of no size.
    """
    settings = settings or TrackerSettings()
    running: list[_Running] = []
    done: list[_Running] = []
    for frame, given in enumerate(detections, 1):
        boxes = _checked(given, frame)
        boxes = boxes[boxes[:, 4] >= settings.min_score]
        boxes = boxes[np.lexsort(boxes.T[::-1])]  # whatever order they came in
        done += [one for one in running if frame - one.frames[-1] > settings.max_gap + 1]
        running = [one for one in running if frame - one.frames[-1] <= settings.max_gap + 1]
        predicted = np.array([one.predict(frame) for one in running]).reshape(-1, 4)
        shared = overlap(predicted, boxes)
        shared[shared < settings.iou] = 0
        free = set(range(len(boxes)))
        for row, column in assign(shared):
            running[row].frames.append(frame)
            running[row].boxes.append(boxes[column])
            free.remove(column)
        running += [_Running([frame], [boxes[column]]) for column in sorted(free)]
    kept = [one for one in done + running if len(one.frames) >= settings.min_length]
    kept.sort(key=lambda one: (one.frames[0], one.boxes[0].tolist()))
    return {number: _filled(number, one) for number, one in enumerate(kept, 1)}


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


def assign(gains: Array) -> list[tuple[int, int]]:
    """The one-to-one pairs with the largest sum of gains; pairs that gain nothing are not made.

    Shortest augmenting paths (Jonker and Volgenant 1987), O(n³), by rows.

    Args:
        gains: float64 [N, M], none negative.

    Returns:
        (row, column) by ascending row.
    """
    if gains.size == 0:
        return []
    if gains.shape[0] > gains.shape[1]:
        return sorted((row, column) for column, row in assign(gains.T))
    costs = gains.max() - gains
    rows, columns = costs.shape
    row_price, column_price = np.zeros(rows), np.zeros(columns + 1)
    owner = np.full(columns + 1, -1)  # the row of each column; the last column is where a search starts
    for row in range(rows):
        owner[columns] = row
        cheapest = np.full(columns, np.inf)
        came_from = np.full(columns, columns)
        visited = np.zeros(columns + 1, bool)
        column = columns
        while owner[column] >= 0:
            visited[column] = True
            at = owner[column]
            slack = costs[at] - row_price[at] - column_price[:columns]
            better = ~visited[:columns] & (slack < cheapest)
            cheapest[better], came_from[better] = slack[better], column
            following = int(np.where(visited[:columns], np.inf, cheapest).argmin())
            step = cheapest[following]
            row_price[owner[visited]] += step
            column_price[visited] -= step
            cheapest[~visited[:columns]] -= step
            column = following
        while column != columns:
            owner[column] = owner[came_from[column]]
            column = int(came_from[column])
        owner[columns] = -1
    pairs = ((int(owner[column]), column) for column in range(columns))
    return sorted((row, column) for row, column in pairs if row >= 0 and gains[row, column] > 0)


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
