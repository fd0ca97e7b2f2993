"""Person boxes by track: one shape for every source, and the MOT-challenge reader."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gaitext.errors import DataError

__all__ = ["Track", "read_boxes"]

_FORMAT = "each line is frame,id,x,y,width,height[,confidence,…] as in the MOT challenge"


@dataclass(frozen=True)
class Track:
    """One person's boxes in one video.

    Attributes:
        id: the track's number.
        frames: int64 [T], ascending, counted from 1 as in the boxes file.
        boxes: float64 [T, 4]: x, y, w, h in frame pixels; x and y are the box's left and top
            edges, 0 being the edge of the frame.
    """

    id: int
    frames: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float64]


def read_boxes(path: str | Path) -> dict[int, Track]:
    """Read a MOT-challenge file: ``frame,id,x,y,w,h[,conf,…]`` per line, frames from 1.

    A first line that does not begin with a number is a header and is skipped, as are empty lines.
    What follows the sixth column is not read: every line is a box.

    Returns:
        Track id -> :class:`Track`, in ascending order of ids.

    Raises:
        DataError: no such file, no boxes, or a line that is not a box; names the file and line.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=path, how="check the path after --boxes") from error
    except UnicodeDecodeError as error:
        raise DataError("is not a text file", where=path, how=_FORMAT) from error
    rows: dict[int, dict[int, tuple[int, list[float]]]] = {}
    first = True
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        fields = [field.strip() for field in line.split(",")]
        if first and not _is_number(fields[0]):
            first = False
            continue
        first = False
        frame, track, box = _parse(fields, f"{path}:{number}")
        boxes = rows.setdefault(track, {})
        if frame in boxes:
            raise DataError(
                f"track {track} has a second box in frame {frame} (the first is in line {boxes[frame][0]})",
                where=f"{path}:{number}",
                how="a track has one box a frame; a file of detections without ids has to go through a tracker first",
            )
        boxes[frame] = number, box
    if not rows:
        raise DataError("holds no boxes", where=path, how=_FORMAT)
    return {track: _track(track, rows[track]) for track in sorted(rows)}


def _track(track: int, rows: dict[int, tuple[int, list[float]]]) -> Track:
    frames = sorted(rows)
    return Track(track, np.array(frames, np.int64), np.array([rows[frame][1] for frame in frames], np.float64))


def _parse(fields: list[str], where: str) -> tuple[int, int, list[float]]:
    if len(fields) < 6:
        raise DataError(f"has {len(fields)} columns", where=where, how=_FORMAT)
    for name, field in zip(("frame", "id", "x", "y", "width", "height"), fields):
        if not _is_number(field):
            raise DataError(f"{name} is '{field}', not a number", where=where, how=_FORMAT)
    frame, track, *box = (float(field) for field in fields[:6])
    if frame != int(frame) or frame < 1:
        raise DataError(f"frame is {fields[0]}", where=where, how="frames are counted 1, 2, 3, …")
    if track != int(track):
        raise DataError(f"id is {fields[1]}", where=where, how="track ids are whole numbers")
    if box[2] <= 0 or box[3] <= 0:
        raise DataError(f"the box is {fields[4]} wide and {fields[5]} high", where=where, how="both must be positive")
    return int(frame), int(track), box


def _is_number(field: str) -> bool:
    try:
        return math.isfinite(float(field))
    except ValueError:
        return False
