"""One sequence in one pkl: written so that any numpy reads it, read without running what it holds."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from gaitext.errors import DataError
from gaitext.store.files import atomic_path

Array = npt.NDArray[Any]


class _PortablePickler(pickle.Pickler):
    """Writes arrays as ``numpy.ndarray(shape, dtype, bytes)``.

    numpy's own form names ``numpy._core`` (2.x) or ``numpy.core`` (1.x); this one names only
    ``numpy.ndarray``, so that any numpy reads what any numpy wrote.
    """

    def reducer_override(self, value: Any) -> Any:
        if type(value) is np.ndarray and not value.dtype.hasobject:
            data = bytearray(np.ascontiguousarray(value).tobytes())
            return np.ndarray, (value.shape, value.dtype.str, data)
        return NotImplemented


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


def _load(stream: BinaryIO) -> Any:
    return _ArrayUnpickler(stream).load()


def write_sequence(path: str | Path, sequence: Array) -> None:
    """Write one sequence [T, …] as a pkl, atomically, readable by any numpy."""
    buffer = io.BytesIO()
    _PortablePickler(buffer, protocol=4).dump(np.asarray(sequence))
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def read_sequence(path: str | Path) -> Array:
    """Read a sequence [T, …] without running anything the file might contain.

    A list of equally shaped arrays, as some toolbox scripts write, is stacked.

    Raises:
        DataError: missing, truncated, empty, or holding something else than arrays.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            loaded = _load(stream)
    except FileNotFoundError as error:
        raise DataError("no such file", where=path) from error
    except (
        pickle.UnpicklingError,
        EOFError,
        OSError,
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
