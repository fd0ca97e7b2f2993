"""Small videos with something wrong in them, and what may come of reading them."""

from __future__ import annotations

import random
import tempfile
from functools import cache
from pathlib import Path

from gaitext.errors import VideoError
from gaitext.video import probe, read_frames
from tests.restoration.clips import film

from .damage import sentence

__all__ = ["check", "mutate"]

#: Suffix, codec and pixel format of the videos that are spoiled.
_KINDS = (
    ("mp4", "libx264", "yuv420p"),
    ("mkv", "libx264", "yuv420p"),
    ("avi", "mpeg4", "yuv420p"),
    ("mov", "mjpeg", "yuvj420p"),
    ("ts", "libx264", "yuv420p"),
    ("flv", "libx264", "yuv420p"),
    ("h264", "libx264", "yuv420p"),
)
_FRAMES = 14
#: Bytes that headers are made of, by which mutation finds them.
_MARKS = (b"moov", b"stsd", b"stsz", b"stts", b"ctts", b"elst", b"tkhd", b"avcC", b"strh", b"strf", b"avih", b"movi")


@cache
def _sound() -> tuple[tuple[str, bytes], ...]:
    with tempfile.TemporaryDirectory() as folder:
        made = []
        for suffix, codec, pix_fmt in _KINDS:
            path = Path(folder) / f"a.{suffix}"
            film(path, _FRAMES, codec=codec, pix_fmt=pix_fmt)
            made.append((suffix, path.read_bytes()))
    return tuple(made)


def mutate(rng: random.Random) -> tuple[bytes, str]:
    """A video of 96×64 pixels and 14 frames with a few bytes changed, moved, lost or cut off.

    Returns:
        The file, and its suffix.
    """
    suffix, content = rng.choice(_sound())
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5))):
        if len(data) < 16:
            break
        at = _place(rng, data)
        length = min(rng.choice((1, 2, 4, 4, 8, 16, 200)), len(data) - at)
        how = rng.choice(("noise", "bits", "extreme", "zero", "lose", "repeat", "insert", "cut"))
        if how == "noise":
            data[at : at + length] = rng.randbytes(length)
        elif how == "bits":
            data[at] ^= 1 << rng.randrange(8)
        elif how == "extreme":
            data[at : at + length] = rng.choice((b"\xff", b"\x7f", b"\x80")) * length
        elif how == "zero":
            data[at : at + length] = bytes(length)
        elif how == "lose":
            del data[at : at + length]
        elif how == "repeat":
            data[at:at] = data[at : at + length]
        elif how == "insert":
            data[at:at] = rng.randbytes(length)
        elif rng.random() < 0.3:
            del data[at:]
    return bytes(data), f".{suffix}"


def _place(rng: random.Random, data: bytearray) -> int:
    """Anywhere; or, half of the time, where headers are."""
    if rng.random() < 0.5:
        return rng.randrange(len(data))
    marks = [found for mark in _MARKS if (found := data.find(mark)) >= 0]
    start = rng.choice(marks) if marks else 0
    return min(start + rng.randrange(100), len(data) - 1)


def check(path: Path) -> str:
    """Read it to its end.

    Returns:
        "read", or "refused".

    Raises:
        AssertionError: another error than a sentence that names the file, or frames that are none.
    """
    try:
        info = probe(path)
        assert info.width > 0
        assert info.height > 0
        for index, (number, frame) in enumerate(read_frames(path)):
            assert number == index
            assert frame.ndim == 3
    except VideoError as error:
        sentence(error, path)
        return "refused"
    return "read"
