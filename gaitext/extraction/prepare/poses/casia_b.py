"""CASIA-B's poses as GaitGraph published them: csv files of one row a frame.

A row is ``image_name`` (``./001-bg-01-000/000001.jpg``) and 51 numbers. The files are large and a
walk's rows may stand anywhere in several of them: one pass notes where, and each walk is then read
by itself.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gaitext.errors import DataError
from gaitext.extraction.prepare.items import Clip, Found, folders_below
from gaitext.extraction.prepare.poses.frames import Array, FrameError, Poses
from gaitext.extraction.prepare.poses.text import parse_joints
from gaitext.extraction.prepare.published import casia_b_names

_NAME = re.compile(rb"(\d{3})[-/](nm|bg|cl)-(\d{2})[-/](\d{3})[-/_](\d{1,9})\.[A-Za-z]+")
#: A file, and where a run of a walk's rows begins and ends in it.
Span = tuple[Path, int, int]


@dataclass(frozen=True)
class Rows(Clip):
    """A walk, and where its rows are."""

    spans: tuple[Span, ...] = ()


def find_casia_b_poses(root: Path) -> Found:
    """The walks in a csv, or in all csv files of a folder."""
    files = [root] if root.is_file() else [f for _, inner in folders_below(root) for f in inner if f.suffix == ".csv"]
    spans: dict[tuple[str, str, str], list[Span]] = defaultdict(list)
    left_out: dict[str, str] = {}
    for file in files:
        _index(file, spans, left_out)
    if not spans:
        raise DataError(
            "holds no poses of CASIA-B" + "".join(f"; {file}: {why}" for file, why in left_out.items()),
            where=root,
            how="give GaitGraph's casia-b_pose_*.csv or their folder: image_name, such as "
            "./001-bg-01-000/000001.jpg, and 51 columns",
        )
    clips = [Rows(*name, where[0][0], None, tuple(where)) for name, where in sorted(spans.items())]
    there = {clip.name for clip in clips}
    return Found(list(clips), [name for name in casia_b_names() if name not in there], left_out)


def _index(file: Path, spans: dict[tuple[str, str, str], list[Span]], left_out: dict[str, str]) -> None:
    """Add where each walk's rows are."""
    strange, first, start = 0, b"", 0
    try:
        with file.open("rb") as stream:
            for line in stream:
                end = start + len(line)
                match = _NAME.search(line.split(b",", 1)[0])
                if match is not None:
                    name = (match[1].decode(), f"{match[2].decode()}-{match[3].decode()}", match[4].decode())
                    where = spans[name]
                    if where and where[-1][0] == file and where[-1][2] == start:
                        where[-1] = (file, where[-1][1], end)
                    else:
                        where.append((file, start, end))
                elif line.strip() and start:  # the first is the header
                    strange += 1
                    first = first or line
                start = end
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=file) from error
    if strange:
        shown = first[:60].decode(errors="replace").strip()
        left_out[str(file)] = f"{strange} rows name no frame of CASIA-B, such as {shown}"


def read_casia_b_poses(clip: Clip) -> Poses:
    """A walk's frames in the order of their numbers.

    Rows that are there twice (in ``…_train.csv`` and ``…_train_valid.csv``, say) count once; of rows
    that contradict each other the first does. Frames between the first and the last that have no
    row are counted.
    """
    assert isinstance(clip, Rows)
    poses = Poses()
    found: dict[int, Array] = {}
    for file, start, end in clip.spans:
        for line in _rows(file, start, end):
            name, _, numbers = line.partition(b",")
            match = _NAME.search(name)
            if match is None:
                raise DataError("has changed since it was looked through", where=file, how="run the command again")
            where = f"{file}: {match[0].decode()}"
            try:
                frame = parse_joints(numbers)
            except FrameError as error:
                poses.note("malformed frames", f"{where} {error}")
                continue
            number = int(match[5])
            if number not in found:
                found[number] = frame
            elif np.array_equal(found[number], frame, equal_nan=True):
                poses.counts["rows that are there twice"] += 1
            else:
                poses.note("rows that contradict an earlier one", where)
    if found:
        poses.frames = np.stack([found[number] for number in sorted(found)])
        poses.counts["frames missing in between"] += max(found) - min(found) + 1 - len(found)
    return poses


def _rows(file: Path, start: int, end: int) -> list[bytes]:
    try:
        with file.open("rb") as stream:
            stream.seek(start)
            return [row for row in stream.read(end - start).splitlines() if row.strip()]
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=file) from error
