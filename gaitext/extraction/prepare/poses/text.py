"""Poses with one text a frame, as GREW and Gait3D are released: numbers with commas between."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from gaitext.errors import DataError
from gaitext.extraction.prepare.found import Clip
from gaitext.extraction.prepare.poses.frames import JOINTS, Array, FrameError, Poses, Unusable, joints, read_source
from gaitext.frames import natural_key

__all__ = ["parse", "read_frames", "text_frames"]

#: Of a frame's text.
_LARGEST = 1 << 16


def parse(text: bytes, before: int = 0) -> Array:
    """Joints [17, 3] of numbers with commas or white space between; an empty field is NaN.

    Args:
        before: how many numbers may stand in front of the 51.

    Raises:
        FrameError: another count, or what is no number.
    """
    fields = [field.strip(b" \t\r\n\"'") for field in text.strip().split(b",")]
    if len(fields) == 1:
        fields = text.split()
    try:
        numbers = [float(field) if field else float("nan") for field in fields]
    except ValueError as error:
        raise FrameError(f"holds what is no number ({str(error)[:60]})") from error
    if len(numbers) == before + 3 * JOINTS:
        numbers = numbers[before:]
    return joints(numbers)


def text_frames(folder: Path, ending: str) -> list[str]:
    """Names of the frames' texts in a folder, in frame order.

    Raises:
        DataError: it cannot be listed.
    """
    try:
        names = [n for n in os.listdir(folder) if n.endswith(ending) and not n.startswith(".")]
    except OSError as error:
        raise DataError(f"cannot be listed ({error.strerror})", where=folder) from error
    return sorted(names, key=natural_key)


def read_frames(clip: Clip, ending: str) -> Poses:
    """The frames of a folder, in natural order of their names.

    A text holds 51 numbers, or two more in front of them (of the picture; not used). An empty one
    is an empty frame.

    Raises:
        DataError: a text cannot be read.
    """
    poses = Poses(np.zeros((0, JOINTS, 3), np.float32))
    frames = []
    for name in text_frames(clip.source, ending):
        path = clip.source / name
        try:
            text = read_source(path, _LARGEST)
            if text.strip():
                frames.append(parse(text, before=2))
            else:
                poses.counts["empty frames"] += 1
        except FrameError as error:
            poses.note("malformed frames", f"{path} {error}")
        except Unusable as error:
            poses.note("malformed frames", error)
    if frames:
        poses.frames = np.stack(frames)
    return poses
