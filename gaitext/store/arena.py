"""Zeroed memory for many small arrays that live about as long as each other.

A loader's worker makes a thousand frames of 100 KB for a batch and drops them together. Taken one
by one from the C library, their pages are faulted in one by one, which costs several times what
decoding does. Here they are cut from blocks that ask for huge pages.
"""

from __future__ import annotations

import mmap
import threading
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["zeros"]

_HUGE = 2 << 20
_BLOCK = 8 << 20
_ADVICE = getattr(mmap, "MADV_HUGEPAGE", None)


class _Current(threading.local):
    """The block that this thread cuts from. A block lives as long as any array cut from it."""

    block: npt.NDArray[np.uint8] = np.empty(0, np.uint8)
    taken = 0


_current = _Current()


def zeros(count: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Like ``numpy.zeros(count, dtype)``.

    Arrays larger than an eighth of a block are numpy's own; so are all where the system knows no
    huge pages.
    """
    size = count * dtype.itemsize
    if size > _BLOCK // 8 or _ADVICE is None:
        return np.zeros(count, dtype)
    if _current.taken + size > len(_current.block):
        _current.block, _current.taken = _new_block(), 0
    start = _current.taken
    _current.taken = start + -(-size // 64) * 64
    return _current.block[start : start + size].view(dtype)


def _new_block() -> npt.NDArray[np.uint8]:
    # Private, so that a forked worker writes into memory of its own; longer, to begin on a huge page.
    memory = mmap.mmap(-1, _BLOCK + _HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without them: ordinary pages
        memory.madvise(_ADVICE)  # type: ignore[arg-type]
    whole = np.frombuffer(memory, np.uint8)
    start = -whole.ctypes.data % _HUGE
    return whole[start : start + _BLOCK]
