"""One sequence in one pkl, of any form: read without running what it holds."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gaitext.errors import DataError
from gaitext.store.compact import PREFIX, CompactSequence, CompactWriter, is_compact
from gaitext.store.writing import FrameWriter, SequenceWriter, plain_layout

__all__ = ["FORMS", "Array", "Form", "map_sequence", "open_sequence", "read_sequence", "write_sequence", "writer"]

Array = npt.NDArray[Any]
Form = Literal["plain", "compact", "lossless"]
FORMS: tuple[Form, ...] = ("plain", "compact", "lossless")

#: Frames coded at a time.
_BATCH = 64


#: Everything a sequence file may name. Nothing here runs code of the file's choosing.
_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy", "float16"),
    ("numpy", "float32"),
    ("numpy", "float64"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"),
    ("builtins", "bytearray"),
    ("_codecs", "encode"),
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}; only numpy arrays are allowed")
        try:
            return super().find_class(module, name)
        except ImportError:  # numpy renamed its core in 2.0: take the name that this one has
            old = "numpy._core" in module
            other = module.replace("numpy._core", "numpy.core") if old else module.replace("numpy.core", "numpy._core")
            return super().find_class(other, name)


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

    A list of equally shaped arrays, as some toolbox scripts write, is stacked. A compact file is
    compared with its hash.

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
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=path) from error
    if layout is None:
        return open_sequence(path)
    dtype, shape, start = layout
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
            loaded = _ArrayUnpickler(stream).load()
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError("no such file", where=path) from error
    except (
        pickle.UnpicklingError,
        EOFError,
        OSError,
        OverflowError,
        MemoryError,
        ImportError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
    ) as error:
        raise DataError(
            f"is not a readable sequence ({error})",
            where=path,
            how="it is truncated or damaged: delete it and make it again",
        ) from error
    try:
        sequence = np.asarray(loaded)
    except ValueError as error:
        raise DataError(f"its frames have different shapes ({error})", where=path) from error
    if sequence.dtype.hasobject or sequence.ndim == 0:
        raise DataError("holds no numeric array with a time axis", where=path)
    if len(sequence) == 0:
        raise DataError("the sequence is empty", where=path, how="delete the leaf or make it again")
    return sequence
