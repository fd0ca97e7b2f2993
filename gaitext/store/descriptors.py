"""A few open files, read by position: safe for threads and for processes forked at any time."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict

__all__ = ["Descriptor", "descriptor"]

#: Sequences of a batch are loaded first and read afterwards; more than a batch need not stay open.
_OPEN = 128
#: Readahead would fetch nearly all of such a file, but one frame after another.
_SMALL = 1 << 20


class Descriptor:
    """An open file, closed when nobody holds it any more.

    Attributes:
        checked: whoever uses the file may note here what it found in it.
    """

    __slots__ = ("_number", "checked")

    def __init__(self, path: str) -> None:
        self._number = -1
        self.checked: bytes | None = None
        self._number = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))

    def read(self, count: int, position: int) -> bytes:
        """Up to ``count`` bytes at ``position``; fewer at the end of the file."""
        block = os.pread(self._number, count, position)
        if len(block) == count or not block:
            return block
        return block + self.read(count - len(block), position + len(block))

    def size(self) -> int:
        return os.fstat(self._number).st_size

    def expect(self) -> None:
        """Ask the system to fetch a small file as a whole: cheaper than frame by frame from a disk."""
        if hasattr(os, "posix_fadvise") and self.size() <= _SMALL:
            os.posix_fadvise(self._number, 0, 0, os.POSIX_FADV_WILLNEED)

    def __del__(self) -> None:
        if self._number >= 0:
            os.close(self._number)


_files: OrderedDict[str, Descriptor] = OrderedDict()
_lock = threading.Lock()


def descriptor(path: str, *, fresh: bool = False) -> Descriptor:
    """The file at ``path``, open; the least recently used one is let go.

    Args:
        path: absolute.
        fresh: open the file that is there now, even if one was opened before.

    Raises:
        OSError: it cannot be opened.
    """
    with _lock:
        file = None if fresh else _files.get(path)
        if file is not None:
            _files.move_to_end(path)
            return file
    file = Descriptor(path)
    with _lock:
        _files[path] = file
        _files.move_to_end(path)
        while len(_files) > _OPEN:
            _files.popitem(last=False)
    return file


def _forked() -> None:
    # Another thread of the parent may have held the lock.
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
