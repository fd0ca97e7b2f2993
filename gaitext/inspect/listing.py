"""A dataset's leaves by their names and sizes alone, and how long they must therefore be."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from gaitext.errors import DataError
from gaitext.store import CompactSequence, open_sequence

__all__ = ["Listed", "SizeRule", "folders", "list_leaves", "spread", "together"]

Item = TypeVar("Item")

_THREADS = 8

#: Frames of fewer bytes could be taken for a few bytes more of a pickle's head.
_LEAST = 128
#: By how many bytes heads of pickles of one kind differ at most: long numbers take more.
_SLACK = 24


@dataclass(frozen=True)
class Listed:
    """One leaf: ``files`` are name and bytes, in the toolboxes' order."""

    identity: str
    type: str
    view: str
    path: str
    files: tuple[tuple[str, int], ...]

    @property
    def name(self) -> str:
        return f"{self.identity}/{self.type}/{self.view}"

    @property
    def bytes(self) -> int:
        return sum(size for _, size in self.files)


def list_leaves(root: str | Path, within: tuple[str, ...] = ()) -> list[Listed]:
    """All leaves of ``<root>/<id>/<type>/<view>``, sorted, without reading any file.

    Args:
        root: of the dataset.
        within: only what lies in the folder of this id (and type).

    Raises:
        DataError: a folder cannot be listed.
    """
    try:
        identities = list(within[:1]) or folders(root)
        return together(
            lambda identity: _list_identity(os.path.join(root, identity), identity, within[1:2]), identities
        )
    except OSError as error:
        raise DataError(f"cannot be listed ({error.strerror})", where=error.filename or root) from error


def _list_identity(folder: str, identity: str, kinds: tuple[str, ...]) -> list[Listed]:
    found = []
    for kind in kinds or folders(folder):
        above = os.path.join(folder, kind)
        for view in folders(above):
            path = os.path.join(above, view)
            with os.scandir(path) as entries:
                files = sorted(
                    (sys.intern(entry.name), entry.stat().st_size)
                    for entry in entries
                    if entry.name.endswith(".pkl") and not entry.name.startswith(".")
                )
            found.append(Listed(identity, sys.intern(kind), sys.intern(view), path, tuple(files)))
    return found


def folders(path: str | Path) -> list[str]:
    """Names of the folders in a folder that are not hidden, sorted."""
    with os.scandir(path) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def together(work: Callable[[str], list[Item]], names: Sequence[str]) -> list[Item]:
    """What ``work`` returns for each name, one after the other; file systems far away are asked at once."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return [item for items in pool.map(work, names) for item in items]


@dataclass(frozen=True)
class SizeRule:
    """How many frames a plain pickle of a known kind holds, by its size.

    ``size = head + frames · bytes_per_frame``, where the head differs by some bytes at most.
    """

    bytes_per_frame: int
    head: int

    @classmethod
    def of(cls, files: Iterable[tuple[Path, int]]) -> SizeRule | None:
        """Learn the rule from some files and their sizes; None if they follow none."""
        heads, frame_bytes = [], set()
        for path, size in files:
            try:
                sequence = open_sequence(path)
            except DataError:
                continue
            if isinstance(sequence, CompactSequence):
                continue
            frame_bytes.add(sequence.nbytes // len(sequence))
            heads.append(size - sequence.nbytes)
        if len(frame_bytes) != 1 or max(heads) - min(heads) > _SLACK:
            return None
        (each,) = frame_bytes
        return cls(each, min(heads)) if each >= _LEAST else None

    def frames(self, size: int) -> int | None:
        """Frames in a file of this size; None if it cannot be such a file."""
        count, rest = divmod(size - self.head + _SLACK, self.bytes_per_frame)
        return count if count > 0 and rest <= 2 * _SLACK else None


def spread(count: int, most: int) -> list[int]:
    """At most ``most`` positions spread evenly over ``count``."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist() if count else []
