"""Files that appear whole or not at all, and locks between processes (the library filelock's)."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from gaitext.errors import DataError

#: What a full disk, a used-up quota and a limit on a file's size call themselves.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
#: What a place that cannot be written to calls itself.
_CLOSED = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EISDIR),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTEMPTY),
}
#: Names of the temporary files that :func:`temporary_beside` makes.
TEMPORARIES = ".*.????????.tmp*"
#: How a job goes on after a full disk.
_AGAIN = "free some space and run the same command again (train: with --resume): what is finished is not done again"


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it when the block ends well.

    On an exception the temporary file is removed and ``path`` is left as it was.

    Raises:
        DataError: the disk is full, or nothing can be written there.
    """
    path = Path(path)
    with disk_errors(path):
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


def clear_all_temporaries(folder: Path) -> None:
    """Remove what killed writers left in a folder, of whatever name. No other process may be writing there."""
    for rest in folder.glob(TEMPORARIES):
        if rest.is_file():
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
def disk_errors(path: str | Path) -> Iterator[None]:
    """Turn the OSErrors of a place that is full, or cannot be written to, into a DataError that says what to do.

    Errors of reading, and of files elsewhere, are left as they are.

    Args:
        path: the file or folder that is written.

    Raises:
        DataError: no space left, no permission, a read-only disk, or a file where a folder should be.
    """
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise DataError(f"cannot be written: {_reason(error)}", where=path, how=_AGAIN) from error
        if error.errno in _CLOSED and _belongs(error, Path(path)):
            raise DataError(
                f"cannot be written ({_reason(error)})", where=path, how="give a place that may be written to"
            ) from error
        raise


def _belongs(error: OSError, path: Path) -> bool:
    """Whether an error is of writing ``path``: it names the path, a folder above, what is in it, or a temporary
    file beside it."""
    if error.filename is None:
        return False
    named, path = Path(os.path.abspath(os.fsdecode(error.filename))), Path(os.path.abspath(path))
    beside = named.parent == path.parent and named.name.startswith(".")
    return beside or named == path or named in path.parents or path in named.parents


def _reason(error: OSError) -> str:
    return os.strerror(error.errno or 0)


def is_full(error: BaseException) -> bool:
    """Whether an error means "no space left"; FFmpeg's are OSErrors, too."""
    return isinstance(error, OSError) and error.errno in _FULL


def check_writable(path: str | Path) -> None:
    """Refuse a file that cannot be written, before the work whose result it is to hold.

    Raises:
        DataError: it is a folder, or there is no writing in its folder.
    """
    path = Path(path)
    with disk_errors(path):
        if path.is_dir():
            raise DataError("is a folder", where=path, how="name a file in it")
        temporary_beside(path).unlink()


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, where there is none.

    Raises:
        DataError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"cannot be made ({_reason(error)})", where=path, how="give a folder that may be written to"
        ) from error


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON atomically, with a final newline."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


#: Seconds for which workers of a process that was killed may outlive it.
PATIENCE = 5.0


@contextmanager
def locked(path: Path, *, patience: float | None = None) -> Iterator[None]:
    """Hold a lock file: one process at a time, of those that ask for it, is inside.

    The operating system gives the lock up when its process ends, however it ends.

    Args:
        path: the lock file; it is made, with its folder, and removed at the end.
        patience: seconds to wait for the process that holds it; None waits as long as it takes.

    Raises:
        BlockingIOError: another process holds it all that time.
        DataError: the lock file cannot be made.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()  # filelock takes a place that cannot be written to for a lock that is held
        lock = FileLock(path, timeout=-1 if patience is None else patience)
        try:
            lock.acquire()
        except Timeout as error:
            raise BlockingIOError(f"{path} is held by another process") from error
    try:
        yield
    finally:
        # While it is held: filelock sees that a file it waited for has gone, and makes another. On Windows the
        # file stays where somebody waits for it.
        with suppress(OSError):
            path.unlink()
        lock.release()


@contextmanager
def only_one(folder: Path, *, beside: bool = False) -> Iterator[None]:
    """Work in a folder alone, or not at all.

    Args:
        folder: made where there is none, unless the lock is ``beside`` it.
        beside: put the lock beside the folder, which may then be renamed while the lock is held.

    Raises:
        DataError: another process is at work there, or the folder cannot be written to.
    """
    place = folder.with_name(f".{folder.name}.lock") if beside else folder / ".lock"
    try:
        with locked(place, patience=PATIENCE):
            yield
    except BlockingIOError as error:
        raise DataError(
            "another gaitext process is at work here",
            where=folder,
            how="wait until it has ended, or name another folder",
        ) from error


def is_unused(folder: Path) -> bool:
    """Whether a path is free for a new output folder: not there, or a folder with nothing in it but locks and what
    killed writers left."""
    if not folder.exists():
        return True
    remains = {*folder.glob(TEMPORARIES), *folder.glob(".*lock")}
    return folder.is_dir() and all(path in remains for path in folder.iterdir())


@contextmanager
def locked_item(out: Path, name: str) -> Iterator[None]:
    """One process at a time makes an item of an output folder; the others wait, and then find it made.

    Any number of processes may work in ``out`` at once. Raises DataError where the lock file cannot be made.
    """
    digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:16]
    with locked(out / f".{digest}.lock"):
        yield
