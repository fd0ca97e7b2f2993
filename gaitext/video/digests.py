"""Recognising videos, folders of frames and other inputs by their contents."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gaitext.errors import VideoError
from gaitext.video.frames import frame_files

#: Nanoseconds. A file that changed so short a time ago may change again within its clock's tick.
_SETTLED = 2_000_000_000
#: Path -> what its file was when it was read, and its SHA-256.
_read: dict[str, tuple[tuple[int, ...], str]] = {}


def sha256(path: str | Path) -> str:
    """SHA-256 of a video file (as ``sha256sum`` gives it), or of a folder's pictures.

    A folder's is of every picture's name, a zero byte, and the picture's own SHA-256 (64
    hexadecimal digits), in frame order.

    All of it is read: videos of one size whose ends agree, and files copied with their times, are told
    apart by nothing less. A process reads a file that does not change once.

    Raises:
        VideoError: nothing there, or a folder without pictures.
    """
    path = Path(path)
    if path.is_dir():
        return _of_files(frame_files(path))
    return _of_file(path)


#: What a video is recognised by in records, wherever it is moved.
digest = sha256


def content_sha256(path: str | Path) -> str:
    """SHA-256 of a file, or of all files in a folder (names and contents; not of folders in it).

    Raises:
        VideoError: nothing there.
    """
    path = Path(path)
    if not path.is_dir():
        return _of_file(path)
    with _reading(path):
        files = sorted(Path(entry.path) for entry in os.scandir(path) if entry.is_file())
    return _of_files(files)


def _of_files(files: list[Path]) -> str:
    hashed = hashlib.sha256()
    for file in files:
        hashed.update(file.name.encode(errors="surrogateescape") + b"\0" + _of_file(file).encode())
    return hashed.hexdigest()


def _of_file(path: Path) -> str:
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise VideoError("is no file", where=path, how="check the path of the video")
    with _reading(path), path.open("rb") as stream:
        # The time of the last change of anything (ctime) is one that nobody can set back.
        found, now = os.fstat(stream.fileno()), time.time_ns()
        state = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        name = os.path.abspath(path)
        if name in _read and _read[name][0] == state:
            return _read[name][1]
        hashed = hashlib.sha256()
        while block := stream.read(1 << 20):
            hashed.update(block)
        # On Windows ctime is the file's birth.
        if os.name == "posix" and now - max(found.st_mtime_ns, found.st_ctime_ns) > _SETTLED:
            _read[name] = state, hashed.hexdigest()
    return hashed.hexdigest()


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise VideoError(f"cannot be read ({error.strerror})", where=path, how="check the path of the video") from error
