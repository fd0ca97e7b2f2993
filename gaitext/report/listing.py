"""A dataset's leaves by their names and sizes alone, and how long they must therefore be."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gaitext.errors import DataError
from gaitext.store import CompactSequence, open_sequence

__all__ = ["Listed", "SizeRule", "list_leaves", "spread"]

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
    found = []
    try:
        for identity in within[:1] or _folders(root):
            for kind in within[1:2] or _folders(os.path.join(root, identity)):
                above = os.path.join(root, identity, kind)
                for view in _folders(above):
                    path = os.path.join(above, view)
                    with os.scandir(path) as entries:
                        files = sorted(
                            (sys.intern(entry.name), entry.stat().st_size)
                            for entry in entries
                            if entry.name.endswith(".pkl") and not entry.name.startswith(".")
                        )
                    found.append(Listed(identity, sys.intern(kind), sys.intern(view), path, tuple(files)))
    except OSError as error:
        raise DataError(f"cannot be listed ({error.strerror})", where=error.filename or root) from error
    return found


def _folders(path: str | Path) -> list[str]:
    with os.scandir(path) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


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
