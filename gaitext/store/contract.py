"""What a dataset is on disk: the names its folders may have, and what the files of a leaf are called and hold.

``gaitext extract``, ``walkers`` and ``prepare`` write some of :data:`CONTENTS` into each leaf
``<id>/<type>/<view>``. A toolbox's ``data_in_use`` counts a leaf's files in the order of their names, which the
numbers keep.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Content:
    """One of a leaf's sequences [T, …].

    Attributes:
        stem: name of its file without ``.pkl``.
        dtype: of its numbers.
        frame: shape of one frame.
    """

    stem: str
    dtype: str
    frame: tuple[int, ...]

    @property
    def file(self) -> str:
        """Name of its file."""
        return f"{self.stem}.pkl"

    @property
    def frame_bytes(self) -> int:
        """Bytes of a frame in the toolboxes' own form."""
        return math.prod(self.frame) * np.dtype(self.dtype).itemsize


#: Joints, height and width of the heatmaps that most estimators give.
HEATMAP_SHAPE = (17, 64, 48)

#: Heatmaps of COCO's joints, or of the parts they were merged to; extraction can write them compact.
HEATMAPS = Content("0_heatmaps", "float16", HEATMAP_SHAPE)
#: The joints decoded from them: x, y in heatmap pixels, score; a missing one is (0, 0, 0).
POSES = Content("1_poses", "float32", (17, 3))
#: The same with x, y in frame pixels.
POSES_FRAME = Content("2_poses_frame", "float32", (17, 3))
#: What of the frame the heatmaps show: x, y, width, height of the crop in frame pixels.
BOXES = Content("3_boxes", "float32", (4,))
#: Silhouettes as OpenGait's pretreatment makes them, 0 or 255.
SILHOUETTES = Content("4_silhouettes", "uint8", (64, 64))
#: Of synthetic walkers: true x, y in frame pixels, and visibility.
KEYPOINTS = Content("5_keypoints", "float32", (17, 3))

#: What a leaf may hold, by the word for it in settings and options.
CONTENTS: dict[str, Content] = {
    "heatmaps": HEATMAPS,
    "poses": POSES,
    "poses_frame": POSES_FRAME,
    "boxes": BOXES,
    "silhouettes": SILHOUETTES,
    "keypoints": KEYPOINTS,
}

#: Types and views of the two protocols (docs/toolbox-contract.md), under the names the toolboxes know.
PROTOCOLS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "casia-b": (
        (*(f"nm-{i:02d}" for i in range(1, 7)), "bg-01", "bg-02", "cl-01", "cl-02"),
        tuple(f"{view:03d}" for view in range(0, 181, 18)),
    ),
    "psymo": (("nm-01", "nm-02", "bg", "cl", "wss", "wsf", "ph", "txt"), ("000", "045", "090", "180", "225", "270")),
}

#: Bytes of a name, in nearly all file systems.
_LONGEST = 255
#: Digits of a format's width: {track:03d}.
_WIDTH = re.compile(r"\d+")


def folder_name(name: str) -> str:
    """The name, if it can be that of one folder inside the folder that is meant.

    Raises:
        ValueError: it is empty, begins with a dot or with white space or ends with it, holds a slash, or is
            longer than a file system allows.

    >>> folder_name("nm-01")
    'nm-01'
    """
    if not name or name != name.strip() or name.startswith(".") or any(c in name for c in "/\\\0"):
        raise ValueError(f"'{name}' cannot name a folder: give a name without slashes that does not begin with a dot")
    if len(name.encode(errors="surrogateescape")) > _LONGEST:
        raise ValueError(f"'{name[:30]}…' is longer than the {_LONGEST} bytes that a folder's name may have")
    return name


def folder_path(path: str) -> str:
    """The path, if it leads from a folder to one below it, as ``tiny`` and ``series/tiny`` do.

    Raises:
        ValueError: it is empty or absolute, or a part of it is none for :func:`folder_name` (such as ``..``).

    >>> folder_path("series/tiny")
    'series/tiny'
    """
    parts = path.split("/")
    if not path or not parts[0] or re.match("[A-Za-z]:", path):
        raise ValueError(f"'{path}' names no folder below the output's: give a name such as 'tiny'")
    for part in parts:
        folder_name(part)
    return path


def check_template(template: str, fields: Collection[str]) -> str:
    """The template, if it can be filled in with small effort.

    Raises:
        ValueError: it is none, holds another field, or a format that is not a small width.
    """
    try:
        parsed = [found for found in string.Formatter().parse(template) if found[1] is not None]
    except ValueError as error:
        raise ValueError(f"is no template ({error})") from error
    for _, name, form, conversion in parsed:
        if name not in fields:
            raise ValueError(f"'{{{name}}}' is unknown; there are {', '.join(f'{{{f}}}' for f in fields)}")
        if (
            conversion
            or "{" in (form or "")
            or any(len(width) > 3 or int(width) > _LONGEST for width in _WIDTH.findall(form or ""))
        ):
            raise ValueError(f"'{{{name}:{form}}}' is no format for a name: give a width such as {{{name}:03d}}")
    return template
