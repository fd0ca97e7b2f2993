"""Mutated boxes files: COCO-style json, and text with and without a header."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np

from gaitext.errors import GaitextError
from gaitext.extraction import read_boxes

from .damage import damaged, sentence

__all__ = ["check", "mutate"]

_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 5, 1.5, 10**18, 10**400, 1e308, -1e308, 1e-320, float("nan"), float("inf")),
    *("", "1", "x", "person", "9" * 400, "\ud800", "a/b.jpg", "\0", [], [1], [[]], {}, {"a": 1}, {"id": [1]}),
)
_FIELDS = (
    *(
        "",
        " ",
        "nan",
        "inf",
        "-1",
        "0",
        "1e300",
        "-1e308",
        "1e-320",
        "9" * 5000,
        "1,5",
        "1;5",
        "\u0661",
        "1_0",
        "x",
        '"',
    ),
    *("0x10", "1e", "--1", "\0", "\ufeff", "#", "1 2", "99999999999999999999", "1.5", "frame", "car"),
)
_HEADERS = (
    *("frame,id,x,y,w,h", "frame,id,x1,y1,x2,y2", "id,frame,left,top,width,height,conf", "frame,id,cx,cy,w,h"),
    *("FRAME,ID,XMIN,YMIN,XMAX,YMAX", "frame,track_id,bb_left,bb_top,bb_width,bb_height,class", "frame,id,x0,y0,x1,y1"),
)


def _places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return ([above] if above else []) + [place for key, one in inner for place in _places(one, (*above, key))]


def _coco(rng: random.Random) -> bytes:
    first, step = rng.choice((0, 1)), rng.choice((1, 2))
    images: list[Any] = [{"id": i, "file_name": f"frame_{first + step * i:06d}.jpg"} for i in range(6)]
    if rng.random() < 0.5:
        images = [{**image, "frame_id": i, "video_id": 1} for i, image in enumerate(images)]
    boxes = [
        {"id": i, "image_id": i, "category_id": 1, "iscrowd": 0, "bbox": [i, 2.5, 30, 60], "score": 0.5, "track_id": 1}
        for i in range(6)
    ]
    content: Any = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "person"}]}
    content["videos"] = [{"id": 1, "name": "v"}]
    for _ in range(rng.choice((0, 1, 1, 2, 5))):
        *above, key = rng.choice(_places(content) or [()])
        holder = content
        for step_down in above:
            holder = holder[step_down]
        if rng.random() < 0.2:
            del holder[key]
        else:
            holder[key] = rng.choice(_VALUES)
        if not _places(content):
            break
    text = json.dumps(content).encode()
    if rng.random() < 0.1:
        deep = rng.choice((b"[", b'{"a":')) * rng.choice((100, 5000))
        at = rng.randrange(len(text))
        text = text[:at] + deep + text[at:]
    return damaged(text, rng) if rng.random() < 0.4 else text


def _table(rng: random.Random) -> bytes:
    header = rng.choice((None, *_HEADERS))
    mark, end = rng.choice(",,,;\t "), rng.choice(("\n", "\r\n", "\r"))
    width = 7 if header is None else len(header.split(","))
    lines = [] if header is None else [header.split(",")]
    lines += [[str(1 + i), "1", "10.5", "20", "60", "90", "1"][:width] for i in range(6)]
    for _ in range(rng.choice((0, 1, 1, 2, 5))):
        line = rng.choice(lines)
        line[rng.randrange(len(line))] = rng.choice(_FIELDS)
    if rng.random() < 0.2:
        rng.choice(lines).append(rng.choice(_FIELDS))
    if rng.random() < 0.2:
        rng.choice(lines).pop()
    text = end.join(mark.join(line) for line in lines).encode("utf-8", "surrogatepass")
    text = rng.choice((b"", b"", b"\xef\xbb\xbf", b"# a remark" + end.encode())) + text
    return damaged(text, rng) if rng.random() < 0.4 else text


def mutate(rng: random.Random) -> tuple[bytes, str]:
    """A boxes file with some damage, and its suffix."""
    return (_coco(rng), ".json") if rng.random() < 0.5 else (_table(rng), ".csv")


def check(path: Path) -> str:
    """Read it for a video and for a frame folder.

    Returns:
        "read" if either can use it, or "refused".

    Raises:
        AssertionError: a raw error, one that does not name the file, or boxes that no picture holds.
    """
    word = "refused"
    for frames in (None, [f"frame_{n:06d}.jpg" for n in range(1, 13)]):
        try:
            tracks = read_boxes(path, frames)
        except GaitextError as error:
            sentence(error, path)
            continue
        word = "read"
        assert tracks, "no boxes, and no error"
        for track in tracks.values():
            assert (np.diff(track.frames) > 0).all()
            assert (track.frames >= 1).all()
            assert np.isfinite(track.boxes).all()
            assert (track.boxes[:, 2:] > 0).all()
            assert abs(track.boxes).max() <= 1e6
    return word
