"""Recognising videos and folders of frames by their contents."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gaitext.errors import VideoError
from gaitext.frames import frame_files

__all__ = ["digest", "sha256"]


def digest(path: str | Path) -> str:
    """Recognise a video wherever it is moved, without reading all of it.

    Of a file: a SHA-256 of its size, first and last mebibyte. Of a folder: of the names and sizes
    of its pictures, and of the first and the last picture whole.

    Raises:
        VideoError: nothing there, or a folder without pictures.
    """
    path = Path(path)
    if path.is_dir():
        files = frame_files(path)
        with _reading(path):
            listed = "".join(f"{file.name}\0{file.stat().st_size}\0" for file in files)
            hashed = hashlib.sha256(listed.encode(errors="surrogateescape"))
            for file in (files[0], files[-1]):
                hashed.update(file.read_bytes())
        return hashed.hexdigest()
    with _reading(path), path.open("rb") as stream:
        size = path.stat().st_size
        hashed = hashlib.sha256(str(size).encode())
        hashed.update(stream.read(1 << 20))
        stream.seek(max(size - (1 << 20), 0))
        hashed.update(stream.read())
    return hashed.hexdigest()


def sha256(path: str | Path) -> str:
    """SHA-256 of a video file (as ``sha256sum`` gives it), or of a folder's pictures.

    A folder's is of every picture's name, a zero byte, and the picture's own SHA-256 (64
    hexadecimal digits), in frame order.

    Raises:
        VideoError: nothing there, or a folder without pictures.
    """
    path = Path(path)
    hashed = hashlib.sha256()
    if path.is_dir():
        for file in frame_files(path):
            hashed.update(file.name.encode(errors="surrogateescape") + b"\0" + sha256(file).encode())
        return hashed.hexdigest()
    with _reading(path), path.open("rb") as stream:
        while block := stream.read(1 << 20):
            hashed.update(block)
    return hashed.hexdigest()


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise VideoError(f"cannot be read ({error.strerror})", where=path, how="check the path of the video") from error
