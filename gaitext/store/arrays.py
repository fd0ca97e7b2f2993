"""One sequence in one pkl, of any form: read without running what it holds."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gaitext.errors import DataError
from gaitext.store.array_pickles import read_array
from gaitext.store.compact import PREFIX, CompactSequence, CompactWriter, is_compact
from gaitext.store.pickles import DamagedPickle, Unread
from gaitext.store.writing import PLAIN_TAIL, FrameWriter, SequenceWriter, plain_layout

Array = npt.NDArray[Any]
Form = Literal["plain", "compact", "lossless"]
FORMS: tuple[Form, ...] = ("plain", "compact", "lossless")

#: Frames coded at a time.
_BATCH = 64


def writer(
    path: str | Path, form: Form = "plain", *, floor: float = 0.0, written: str | Path | None = None
) -> FrameWriter:
    """A writer of frames in one of the forms.

    Args:
        path: of the file.
        form: ``plain`` is the toolboxes' own pickle, ``compact`` 8 bits, ``lossless`` the compact
            form with the values themselves (docs/storage.md).
        floor: for ``compact``, see :class:`~gaitext.store.compact.CompactWriter`.
        written: where the file is going to be moved, if it is not to stay at ``path``.
    """
    if form == "plain":
        return SequenceWriter(path, written=written)
    return CompactWriter(path, bits=8 if form == "compact" else 16, floor=floor, written=written)


def write_sequence(path: str | Path, sequence: Array, form: Form = "plain") -> None:
    """Write one sequence [T, …] as a pkl, atomically, readable by any numpy.

    Raises:
        DataError: no frame, frames that have no such form, or a full disk.
    """
    sequence = np.asarray(sequence)
    with writer(path, form) as frames:
        for start in range(0, len(sequence), _BATCH):
            frames.append(sequence[start : start + _BATCH])


def read_sequence(path: str | Path) -> Array:
    """Read a sequence [T, …] of any form without running anything the file might contain.

    A flat list of equally shaped arrays, as some toolbox scripts write, is stacked. A compact file is
    compared with its hash. What else is read says docs/storage.md.

    Raises:
        DataError: missing, truncated, damaged, empty, or holding something else than arrays.
    """
    sequence = open_sequence(path)
    if isinstance(sequence, CompactSequence):
        sequence.verify()
        return np.asarray(sequence)
    return sequence


def map_sequence(path: str | Path) -> Array | CompactSequence:
    """Like :func:`open_sequence`, but of a plain file that gaitext wrote only the pages looked at are read.

    Returns:
        A read-only memory map of [T, …] there; for other files what :func:`open_sequence` returns.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            layout = plain_layout(stream.read(4096))
            size = os.fstat(stream.fileno()).st_size
            stream.seek(max(0, size - len(PLAIN_TAIL)))
            tail = stream.read()
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=path) from error
    if layout is None:
        return open_sequence(path)
    dtype, shape, start = layout
    if start + math.prod(shape) * dtype.itemsize + len(PLAIN_TAIL) != size or tail != PLAIN_TAIL:
        return open_sequence(path)  # whose error says what is wrong
    try:
        return np.memmap(path, dtype, "r", start, shape)
    except (OSError, ValueError) as error:
        raise DataError("is shorter than it says", where=path, how="make it again") from error


def open_sequence(path: str | Path) -> Array | CompactSequence:
    """Like :func:`read_sequence`, but of a compact file only the frames asked for are read, when they are."""
    path = Path(path)
    try:
        with path.open("rb") as stream:
            if is_compact(stream.peek(len(PREFIX))):
                return CompactSequence(path)
            sequence = read_array(stream, os.fstat(stream.fileno()).st_size)
    except FileNotFoundError as error:
        raise DataError("no such file", where=path) from error
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", where=path) from error
    except DamagedPickle as error:
        raise DataError(
            f"is not a readable sequence: {error}", where=path, how="it is truncated or damaged: make it again"
        ) from error
    except Unread as error:
        raise DataError(f"holds {error.what}", where=path, how=error.how) from error
    if sequence.ndim == 0:
        raise DataError("holds no numeric array with a time axis", where=path, how="write frames, one after the other")
    if sequence.size == 0:
        raise DataError(
            f"the sequence is empty {list(sequence.shape)}", where=path, how="make it again, or leave it out"
        )
    return sequence
