"""Person boxes from files: MOT-challenge text, COCO-style json, or the frame itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gaitext.errors import DataError
from gaitext.extraction.coco import read_coco
from gaitext.extraction.mot import read_mot
from gaitext.extraction.track import Track
from gaitext.video import sizes

__all__ = ["Track", "full_frame", "is_json", "read_boxes"]


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

    MOT-challenge text, ``frame,id,x,y,w,h[,conf,…]`` per line, or a table with a header: see
    :func:`gaitext.extraction.mot.read_mot`. COCO-style json: see :func:`gaitext.extraction.coco.read_coco`.

    Args:
        frames: of a frame folder, the names of its files in frame order, by which a json's
            ``file_name`` finds its frame; None for a video.

    Returns:
        Track id -> :class:`Track`, in ascending order of ids.

    Raises:
        DataError: no such file, no boxes, or an entry that is not a box; names the file and the
            line or entry.
    """
    return read_coco(path, frames) if is_json(path) else read_mot(Path(path))


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"cannot be read ({error.strerror})", where=path, how="check the path after --boxes")
