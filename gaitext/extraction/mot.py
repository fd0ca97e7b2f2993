"""Person boxes from text: the MOT challenge's lines, or a table whose first line names its columns."""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gaitext.errors import DataError
from gaitext.extraction.tracker import Track, box_fault, check_pixels, number_fault, whole

log = logging.getLogger(__name__)

_FORMAT = (
    "each line is frame,id,x,y,width,height[,confidence,…] as in the MOT challenge, or the first line names the "
    "columns: frame, id, and x1, y1, x2, y2 or left, top, width, height, say"
)
#: What a column may be called, without case and punctuation.
_FRAME = {"frame", "frames", "fn", *(f"frame{end}" for end in ("id", "no", "nr", "num", "number", "index", "idx"))}
_ID = {"id", "tid", "pid", "track", "identity", *(f"{one}id" for one in ("track", "object", "person", "target", "obj"))}
_ID |= {"instanceid", "subjectid", "trackno", "tracknumber"}
_CLASS = {"class", "classname", "category", "categoryname", "label", "type"}
_PERSONS = {"person", "pedestrian"}
_SIDES = {
    "left": ("left", "xmin", "minx", "xleft", "leftx", "xtl", "tlx", "x1", "l"),
    "top": ("top", "ymin", "miny", "ytop", "topy", "ytl", "tly", "y1", "t"),
    "right": ("right", "xmax", "maxx", "xright", "rightx", "xbr", "brx", "x2", "r"),
    "bottom": ("bottom", "ymax", "maxy", "ybottom", "bottomy", "ybr", "bry", "y2", "b"),
    "width": ("width", "w"),
    "height": ("height", "h"),
    "middle x": ("cx", "xc", "centerx", "centrex", "xcenter", "xcentre"),
    "middle y": ("cy", "yc", "centery", "centrey", "ycenter", "ycentre"),
}
#: Plain x and y are the left and top edge where no other column is: in the MOT challenge's own header they
#: stand for places in the world, behind bb_left and bb_top.
_PLAIN = {"left": "x", "top": "y"}
_BEFORE = ("", "bb", "bbox", "box", "boundingbox", "rect")
_NAMES = {before + name: side for side, names in _SIDES.items() for name in names for before in _BEFORE}
_NAMES |= {before + name: side for side, name in _PLAIN.items() for before in _BEFORE[1:]}
#: Two columns along each axis that make a box.
_PAIRS = (
    (("left", "width"), ("left", "right"), ("middle x", "width")),
    (
        ("top", "height"),
        ("top", "bottom"),
        ("middle y", "height"),
    ),
)


@dataclass(frozen=True)
class _Columns:
    """Where a line's values stand. Along each axis two columns make the box."""

    frame: int
    id: int | None
    x: tuple[str, int, str, int]
    y: tuple[str, int, str, int]
    kind: int | None = None
    count: int | None = None  # of a line's fields; None: at least the six


_MOT = _Columns(0, 1, ("left", 2, "width", 4), ("top", 3, "height", 5))


def read_mot(path: Path) -> dict[int, Track]:
    """Read a text file of boxes.

    - Without a header a line is ``frame,id,x,y,w,h[,conf,…]``, frames from 1; what follows the sixth column is
      not read: every line is a box.
    - A first line that does not begin with a number is a header, and its names decide: ``frame`` (also
      ``frame_id``, …), ``id`` (``track_id``, …; without, a frame may hold one box), and two columns along each
      axis: ``x``/``left``/``x1``/``xmin``/``bb_left`` … with ``w``/``width`` or ``x2``/``right``/``xmax`` …, or
      the middle (``cx``) with the width; the same for y. Where there is an ``x0``, ``x1`` is the right edge.
      Of a class in words, lines of persons and pedestrians are boxes. Other columns are not read.
    - Between values stand commas, semicolons, tabs or spaces. Empty lines, and lines that begin with #, are
      passed over; but a header may stand behind a #.

    Returns:
        Track id -> :class:`Track`, in ascending order of ids.

    Raises:
        DataError: no text, no boxes, a header that names no box or one twice over, or a line that is no box;
            names the file and the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=path, how="check the path after --boxes") from error
    except UnicodeDecodeError as error:
        raise DataError("is not a text file", where=path, how=_FORMAT) from error
    rows: dict[int, dict[int, tuple[int, list[float]]]] = {}
    columns: _Columns | None = None
    split: Callable[[str], list[str]] | None = None
    passed = 0
    for number, line in enumerate(re.split("\r\n|\r|\n", text), 1):
        where = f"{path}:{number}"
        bare = line.strip().lstrip("#").strip()
        comment = line.lstrip().startswith("#")
        if not bare or (comment and columns is not None):
            continue
        split = split or _splitter(bare)
        fields = split(bare)
        if columns is None and number_fault(fields[0]) is not None:
            columns = _columns(fields, where, comment)
            if columns is None:  # a remark
                split = None
            continue
        if comment:
            split = None
            continue
        columns = columns or _MOT
        if columns.kind is not None and _is_other(fields, columns.kind):
            passed += 1
            continue
        frame, track, box = _parse(fields, columns, where)
        boxes = rows.setdefault(track, {})
        if frame in boxes:
            raise DataError(
                f"track {track} has a second box in frame {frame} (the first is in line {boxes[frame][0]})",
                where=where,
                how="a track has one box a frame; a file of detections without ids has to go through a tracker first",
            )
        boxes[frame] = number, box
    if not rows:
        raise DataError("holds no boxes" + (" of persons" if passed else ""), where=path, how=_FORMAT)
    if passed:
        log.warning("%s: %d lines are of other classes than person, and passed over", path, passed)
    check_pixels((box for track in rows.values() for _, box in track.values()), path)
    return {
        track: Track.of(track, {frame: (box, None) for frame, (_, box) in rows[track].items()})
        for track in sorted(rows)
    }


def _splitter(line: str) -> Callable[[str], list[str]]:
    """How lines like this one are taken apart."""
    mark = next((mark for mark in ",;\t" if mark in line), None)
    # A decimal comma stands between digits in a file that has semicolons or tabs.
    for other in ";\t":
        if other in line and line.count(other) >= 3:
            mark = other
            break
    if mark is None:
        return str.split

    def split(line: str) -> list[str]:
        if '"' not in line:
            return [field.strip() for field in line.split(mark)]
        try:
            return [field.strip() for field in next(csv.reader([line], delimiter=mark))]
        except csv.Error:
            return [line]

    return split


def _columns(header: Sequence[str], where: str, comment: bool) -> _Columns | None:
    """What a header's columns are; None: it is a remark.

    Raises:
        DataError: it names no box, or one twice over.
    """
    names = [re.sub("[^a-z0-9]", "", field.lower()) for field in header]
    while names and not names[-1]:
        names.pop()

    def one(known: set[str], what: str) -> int | None:
        found = [place for place, name in enumerate(names) if name in known]
        if len(found) > 1:
            listed = " and ".join(f"'{header[place]}'" for place in found)
            raise DataError(f"names {what} more than once: {listed}", where=where, how="keep one of the columns")
        return found[0] if found else None

    sides: dict[str, int] = {}
    corners = any(name.removeprefix(before) == "x0" for name in names for before in _BEFORE)
    for side in _SIDES:
        known = {name for name, means in _NAMES.items() if means == side}
        if corners:  # x0, y0, x1, y1
            shift = {"left": "x0", "top": "y0", "right": "x1", "bottom": "y1"}.get(side)
            known = {name for name in known if not name.endswith(("x1", "y1"))}
            known |= set() if shift is None else {before + shift for before in _BEFORE}
        place = one(known, f"the box's {side}")
        if place is None and side in _PLAIN:
            place = one({_PLAIN[side]}, f"the box's {side}")
        if place is not None:
            sides[side] = place
    frame = one(_FRAME, "the frame")
    pairs = [next((pair for pair in axis if set(pair) <= set(sides)), None) for axis in _PAIRS]
    if frame is None or pairs[0] is None or pairs[1] is None:
        if comment:
            return None
        missing = "no frame" if frame is None else "no box"
        raise DataError(f"the header names {missing}: {','.join(header)[:80]}", where=where, how=_FORMAT)
    x, y = ((pair[0], sides[pair[0]], pair[1], sides[pair[1]]) for pair in pairs if pair is not None)
    return _Columns(frame, one(_ID, "the id"), x, y, one(_CLASS, "the class"), len(header))


def _is_other(fields: list[str], kind: int) -> bool:
    """Whether a line is of a class in words that is no person."""
    name = fields[kind].lower() if kind < len(fields) else ""
    return bool(name) and number_fault(name) is not None and name not in _PERSONS


def _parse(fields: list[str], columns: _Columns, where: str) -> tuple[int, int, list[float]]:
    wanted = 6 if columns.count is None else columns.count
    needed = 1 + max(columns.frame, columns.id or 0, columns.x[1], columns.x[3], columns.y[1], columns.y[3])
    # What the MOT challenge's lines end with, and a header may leave out. Anything else may be a decimal comma.
    while len(fields) > wanted and fields[-1] in ("", "-1"):
        fields = fields[:-1]
    if len(fields) < needed or (columns.count is not None and len(fields) > wanted):
        named = "" if columns.count is None else f", the header {columns.count}"
        raise DataError(f"has {len(fields)} columns{named}", where=where, how=_FORMAT)

    def value(name: str, place: int) -> float:
        fault = number_fault(fields[place])
        if fault is not None:
            raise DataError(f"{name} is '{fields[place][:40]}', {fault}", where=where, how=_FORMAT)
        return float(fields[place])

    value("frame", columns.frame)
    frame = whole(fields[columns.frame], 10**8)
    if frame is None or frame < 1:
        raise DataError(
            f"frame is {fields[columns.frame][:40]}", where=where, how="frames are counted 1, 2, 3, … (add 1 to all)"
        )
    track: int | None = 1
    if columns.id is not None:
        value("id", columns.id)
        track = whole(fields[columns.id], 10**15)
        if track is None:
            raise DataError(f"id is {fields[columns.id][:40]}", where=where, how="track ids are whole numbers")
    assert track is not None
    sides: dict[str, float] = {}
    for one, first, two, second in (columns.x, columns.y):
        mot = columns is _MOT
        sides[one] = value({"left": "x", "top": "y"}[one] if mot else one, first)
        sides[two] = value(two, second)
    width = sides.get("width", sides.get("right", 0.0) - sides.get("left", 0.0))
    height = sides.get("height", sides.get("bottom", 0.0) - sides.get("top", 0.0))
    left = sides["left"] if "left" in sides else sides["middle x"] - width / 2
    top = sides["top"] if "top" in sides else sides["middle y"] - height / 2
    fault = box_fault([left, top, width, height])
    if fault is not None:
        raise DataError(fault, where=where, how=_FORMAT)
    return frame, track, [left, top, width, height]
