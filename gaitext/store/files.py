"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import glob
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gaitext.errors import DataError

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "atomic_path",
    "clear_temporaries",
    "full_disk",
    "is_full",
    "locked",
    "make_folder",
    "publish",
    "temporary_beside",
    "write_json",
]

#: What a full disk, a used-up quota and a limit on a file's size call themselves.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it when the block ends well.

    On an exception the temporary file is removed and ``path`` is left as it was.

    Raises:
        DataError: the disk is full.
    """
    path = Path(path)
    with full_disk(path):
        temporary = temporary_beside(path)
        try:
            yield temporary
            publish(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def temporary_beside(path: Path) -> Path:
    """Make an empty file in ``path``'s folder, which is made where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=f".tmp{path.suffix}")
    os.close(handle)
    return Path(name)


def clear_temporaries(path: Path) -> None:
    """Remove what killed writers of ``path`` left beside it. No other process may be writing it."""
    for rest in path.parent.glob(f".{glob.escape(path.stem)}.????????.tmp{glob.escape(path.suffix)}"):
        rest.unlink(missing_ok=True)


def publish(temporary: Path, path: Path) -> None:
    """Move a finished temporary file to its place, readable as any other file."""
    # mkstemp makes files private; datasets are shared.
    temporary.chmod(0o666 & ~_umask())
    os.replace(temporary, path)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def full_disk(path: str | Path) -> Iterator[None]:
    """Turn an OSError that means "no space left" into a DataError that says what to do."""
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        raise DataError(
            f"cannot be written: {os.strerror(error.errno or 0)}",
            where=path,
            how="free some space and run the same command again: what is finished is not done again",
        ) from error


def is_full(error: BaseException) -> bool:
    """Whether an error means "no space left"; FFmpeg's are OSErrors, too."""
    return isinstance(error, OSError) and error.errno in _FULL


@contextmanager
def locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """One process at a time, of those that ask, works in a folder. It must be there.

    Args:
        folder: which; on Windows nobody notices the other.
        wait: for the other to leave it.

    Raises:
        BlockingIOError: another process is at work, and ``wait`` is false.
        OSError: the folder cannot be written to.
    """
    with (folder / ".lock").open("a") as stream:
        if fcntl is not None:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, where there is none.

    Raises:
        DataError: it cannot be made.
    """
    try:
        with full_disk(path):
            path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"cannot be made ({error.strerror})", where=path, how="give a folder that may be written to"
        ) from error


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON atomically, with a final newline."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
