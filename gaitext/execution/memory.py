"""Keeping freed memory, so that a training step on a CPU does not fault its pages in anew."""

from __future__ import annotations

import ctypes
import sys

# <malloc.h>
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Ask glibc to keep freed blocks of any size for the next allocation.

    torch's CPU allocator asks malloc for every activation. glibc maps large ones and gives them
    back to the system at once, and the next step pays for the same pages again: nearly half of a
    step of the tiny GaitHeat (``tools/bench_memory.py``). Peak memory does not change; what a peak took
    stays with the process.

    Returns:
        Whether the C library understood (glibc does; others are left alone).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
