"""A run's checkpoints: where they lie, what is in them, which is the latest."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch

from gaitext.checkpoints import read_file
from gaitext.errors import CheckpointError
from gaitext.store import atomic_path, clear_all_temporaries, only_one

__all__ = [
    "alone",
    "checkpoint_path",
    "latest_checkpoint",
    "read_checkpoint",
    "set_aside",
    "set_later_aside",
    "write_checkpoint",
]


def checkpoint_path(folder: Path, iteration: int) -> Path:
    """``<folder>/checkpoints/<save_name>-<iteration>.pt``, the toolboxes' place."""
    return folder / "checkpoints" / f"{folder.name}-{iteration:05d}.pt"


def latest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint of the highest iteration, if there is one."""
    found = _checkpoints(folder)
    return found[max(found)] if found else None


def _checkpoints(folder: Path) -> dict[int, Path]:
    pattern = re.compile(re.escape(folder.name) + r"-(\d+)\.pt")
    return {int(m[1]): p for p in (folder / "checkpoints").glob("*.pt") if (m := pattern.fullmatch(p.name))}


@contextmanager
def alone(folder: Path, *, first: bool = True) -> Iterator[None]:
    """Hold a run's folder, so that no other training writes its log and checkpoints there.

    What killed trainings left half written is removed. The lock stands beside the folder, as training may
    set the folder aside.

    Args:
        folder: the run's; it need not be there.
        first: whether this is the process that writes; the others hold nothing.

    Raises:
        DataError: another training is at work there, or nothing can be written.
    """
    if not first:
        yield
        return
    with only_one(folder, beside=True):
        for place in (folder, folder / "checkpoints"):
            clear_all_temporaries(place)
        yield


def set_aside(folder: Path) -> Path | None:
    """Rename a run's folder to ``<folder>.old-N``, N counted from 1; None where there is none."""
    if not folder.exists():
        return None
    aside = _free(folder)
    folder.rename(aside)
    return aside


def set_later_aside(folder: Path, iteration: int) -> Path | None:
    """Move the checkpoints after ``iteration`` to ``<folder>.old-N``, with a copy of the log.

    A run that goes on at ``iteration`` is another run from there on: were it killed, the old
    run's later checkpoints would be taken for its own.
    """
    later = [path for number, path in _checkpoints(folder).items() if number > iteration]
    if not later:
        return None
    aside = _free(folder)
    (aside / "checkpoints").mkdir(parents=True)
    if (folder / "log.csv").exists():
        shutil.copy2(folder / "log.csv", aside)
    for path in later:
        path.rename(aside / "checkpoints" / path.name)
    return aside


def _free(folder: Path) -> Path:
    names = (folder.with_name(f"{folder.name}.old-{number}") for number in itertools.count(1))
    return next(path for path in names if not path.exists())


def write_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint whole or not at all; equal contents are equal bytes, whatever the file's name."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        guarded = _Stream(stream)
        try:
            torch.save(dict(content), cast(BinaryIO, guarded))
        except Exception as error:
            if guarded.failed is not None:  # torch hides the disk's error behind one of its own
                raise guarded.failed from error
            raise
        stream.flush()


class _Stream:
    """What ``torch.save`` writes to; it keeps the disk's error. A file that torch opens itself gets its name inside."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.failed: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self.stream.write(data)
        except OSError as error:
            self.failed = error
            raise

    def flush(self) -> None:
        self.stream.flush()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU without running anything it might contain.

    Raises:
        CheckpointError: missing, damaged, or holding more than tensors and plain values.
    """
    if not path.is_file():
        others = sorted(p.name for p in path.parent.glob("*.pt"))
        raise CheckpointError(
            "no such checkpoint",
            where=path,
            how=f"there are {', '.join(others[-5:])}" if others else "train first, or check restore_hint",
        )
    loaded = read_file(path)
    if not isinstance(loaded, dict):
        raise CheckpointError("holds no checkpoint", where=path, how="use another checkpoint")
    return loaded
