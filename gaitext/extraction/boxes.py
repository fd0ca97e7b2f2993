"""Person boxes from files: MOT-challenge text, COCO-style json, or the frame itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gaitext.errors import DataError
from gaitext.extraction.coco import read_coco
from gaitext.extraction.track import Track
from gaitext.video import sizes

__all__ = ["Track", "full_frame", "is_json", "read_boxes"]

_FORMAT = "each line is frame,id,x,y,width,height[,confidence,…] as in the MOT challenge"


def full_frame(path: str | Path) -> Track:
    """One box a frame that is the whole frame: for pictures and videos that a person fills.

    It is treated like any box: ``crop_scale`` makes it grow, and what lies outside the frame is
    black. With 1, which `gaitext extract --boxes full` takes unless told otherwise, the frame is
    only padded to 3:4. Pose networks are trained with a margin (1.25): where the person touches the
    frame's edges, ``crop_scale=1.25`` gives it one, as mmpose's ``inference_topdown`` does where it
    is given no boxes.

    Args:
        path: a video file, which is decoded for it (a container may miscount), or a frame folder, of which
            only the files' headers are read; frames of either may differ in size.

    Returns:
        Track 1, with a box in every frame.

    Raises:
        VideoError: it cannot be read.
    """
    each = list(sizes(path))
    boxes = np.zeros((len(each), 4))
    boxes[:, 2:] = each
    return Track(1, np.arange(1, len(each) + 1), boxes)


def is_json(path: str | Path) -> bool:
    """Whether a boxes file is json, judged by its first character.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with Path(path).open("rb") as stream:
            while block := stream.read(4096):
                text = block.removeprefix(b"\xef\xbb\xbf").lstrip()
                if text:
                    return text[:1] in (b"{", b"[")
    except OSError as error:
        raise _unreadable(Path(path), error) from error
    return False


def read_boxes(path: str | Path, frames: Sequence[str] | None = None) -> dict[int, Track]:
    """Read the boxes of one video; the format is told by the content.

    MOT-challenge text: ``frame,id,x,y,w,h[,conf,…]`` per line, frames from 1. A first line that
    does not begin with a number is a header and is skipped, as are empty lines. What follows the
    sixth column is not read: every line is a box.

    COCO-style json: see :func:`gaitext.extraction.coco.read_coco`.

    Args:
        frames: of a frame folder, the names of its files in frame order, by which a json's
            ``file_name`` finds its frame; None for a video.

    Returns:
        Track id -> :class:`Track`, in ascending order of ids.

    Raises:
        DataError: no such file, no boxes, or an entry that is not a box; names the file and the
            line or entry.
    """
    return read_coco(path, frames) if is_json(path) else _read_mot(Path(path))


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"cannot be read ({error.strerror})", where=path, how="check the path after --boxes")


def _read_mot(path: Path) -> dict[int, Track]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise _unreadable(path, error) from error
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
