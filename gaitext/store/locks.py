"""Locks between processes, also of several machines and on Windows: the library filelock's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from gaitext.errors import DataError
from gaitext.store.files import TEMPORARIES, disk_errors

__all__ = ["is_unused", "locked", "locked_item", "only_one"]

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

    Any number of processes may work in ``out`` at once.

    Args:
        out: the output folder.
        name: of the item.

    Raises:
        DataError: the lock file cannot be made.
    """
    digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:16]
    with locked(out / f".{digest}.lock"):
        yield
