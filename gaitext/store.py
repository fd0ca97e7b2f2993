"""Sequences on disk, in the layout both toolboxes read.

A dataset is ``<root>/<id>/<type>/<view>/*.pkl``. Each pkl holds one array whose first axis is
time; all pkls of a leaf have the same length; a leaf's files are sorted by name and chosen by
position (spec §5). Files are written under a temporary name and renamed, so that a killed job
leaves either the whole file or none, and are read with an unpickler that knows arrays only.
"""

from __future__ import annotations

import io
import json
import logging
import os
import pickle
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from gaitext.errors import DataError

__all__ = [
    "Leaf",
    "atomic_path",
    "clear_staging",
    "leaves",
    "read_leaf",
    "read_partition",
    "read_sequence",
    "write_json",
    "write_leaf",
    "write_sequence",
]

Array = npt.NDArray[Any]

logger = logging.getLogger(__name__)

#: Folders under a dataset's root in which leaves are written before they are moved to their place.
_STAGING = ".staging."


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it when the block ends well.

    On an exception the temporary file is removed and ``path`` is left as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=f".tmp{path.suffix}")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files private; datasets are shared.
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


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


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON atomically, with a final newline."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Leaf:
    """One walk: where it lies and whose it is."""

    identity: str
    type: str
    view: str
    path: Path

    @property
    def name(self) -> str:
        return f"{self.identity}/{self.type}/{self.view}"

    def files(self) -> list[Path]:
        """The leaf's pkls in the order ``data_in_use`` counts them."""
        return sorted(f for f in self.path.iterdir() if f.suffix == ".pkl" and not f.name.startswith("."))


def leaves(root: str | Path) -> list[Leaf]:
    """All leaves of ``<root>/<id>/<type>/<view>``, sorted by id, type, view.

    Raises:
        DataError: ``root`` is not a folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError("no such folder", where=root, how="check dataset_root")
    found = []
    for identity in _folders(root):
        for kind in _folders(identity):
            for view in _folders(kind):
                found.append(Leaf(identity.name, kind.name, view.name, view))
    return found


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def write_leaf(root: str | Path, identity: str, kind: str, view: str, sequences: Mapping[str, Array]) -> Leaf:
    """Write the sequences of one walk as ``<root>/<id>/<type>/<view>/<name>.pkl``.

    The leaf appears whole or not at all: it is written beside its place and renamed, so a
    killed job never leaves a leaf with some of its files.

    Args:
        sequences: file name without suffix -> array [T, …]. Names decide the order in which
            the toolboxes see the files.

    Raises:
        DataError: the sequences are empty or of different lengths.
    """
    leaf = Leaf(identity, kind, view, Path(root) / identity / kind / view)
    lengths = {name: len(sequence) for name, sequence in sequences.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"its sequences have different lengths: {lengths}", where=leaf.path)
    if not lengths or 0 in lengths.values():
        raise DataError("has no frames", where=leaf.path)
    leaf.path.parent.mkdir(parents=True, exist_ok=True)
    # Staged under the root, where toolboxes take what a kill leaves for an identity that no
    # partition names; inside the leaf's own folder they would take it for a view.
    with tempfile.TemporaryDirectory(dir=root, prefix=f"{_STAGING}{identity}.{kind}.{view}.") as staging:
        folder = Path(staging) / view
        folder.mkdir()
        for name, sequence in sequences.items():
            write_sequence(folder / f"{name}.pkl", sequence)
        if leaf.path.exists():
            os.replace(leaf.path, Path(staging) / "old")
        os.replace(folder, leaf.path)
    return leaf


def clear_staging(root: str | Path, leaf: str = "*/*/*") -> None:
    """Remove what killed writers left half written.

    Args:
        root: of the dataset.
        leaf: ``id/type/view`` whose remains are removed; default: everybody's, for which no other
            process may be writing.
    """
    for rest in Path(root).glob(_STAGING + leaf.replace("/", ".") + ".*"):
        shutil.rmtree(rest, ignore_errors=True)


def read_leaf(leaf: Leaf | str | Path, data_in_use: Sequence[bool] | Sequence[int] | None = None) -> list[Array]:
    """Read a leaf's sequences in file order, as the toolboxes' datasets do.

    Args:
        data_in_use: a mask over the sorted files, or their positions; None takes all.

    Raises:
        DataError: no pkl, an unreadable one, or different lengths (the files are named).
    """
    if not isinstance(leaf, Leaf):
        path = Path(leaf)
        leaf = Leaf(path.parent.parent.name, path.parent.name, path.name, path)
    files = choose(leaf.files(), data_in_use)
    if not files:
        raise DataError("no .pkl file to use", where=leaf.path, how="check data_in_use, or remove the folder")
    sequences = [read_sequence(file) for file in files]
    lengths = [len(sequence) for sequence in sequences]
    if len(set(lengths)) > 1:
        listed = ", ".join(f"{f.name}: {n}" for f, n in zip(files, lengths))
        raise DataError(
            f"its sequences have different lengths ({listed})",
            where=leaf.path,
            how="all inputs of a leaf must have the same frames: make the leaf again",
        )
    return sequences


def choose(files: Sequence[Path], data_in_use: Sequence[bool] | Sequence[int] | None) -> list[Path]:
    """Apply ``data_in_use`` to a leaf's sorted files, as the toolboxes do."""
    if data_in_use is None:
        return list(files)
    if all(isinstance(use, bool) for use in data_in_use):
        return [file for file, use in zip(files, data_in_use) if use]
    return [files[i] for i in data_in_use if i < len(files)]


def read_partition(path: str | Path) -> tuple[list[str], list[str]]:
    """Read a partition json ``{"TRAIN_SET": [...], "TEST_SET": [...]}``.

    Raises:
        DataError: missing, not json, without the two lists, or naming an identity twice.
    """
    path = Path(path)
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            "no such partition file",
            where=path,
            how='dataset_partition must name a json with "TRAIN_SET" and "TEST_SET"',
        ) from error
    except ValueError as error:
        raise DataError(f"is not valid json ({error})", where=path) from error
    if not isinstance(loaded, dict) or not {"TRAIN_SET", "TEST_SET"} <= loaded.keys():
        raise DataError('has no "TRAIN_SET" and "TEST_SET"', where=path)
    sets = []
    for name in ("TRAIN_SET", "TEST_SET"):
        if not isinstance(loaded[name], list):
            raise DataError(f'"{name}" is no list of identities', where=path)
        identities = [str(identity) for identity in loaded[name]]
        twice = [identity for identity, count in Counter(identities).items() if count > 1]
        if twice:
            raise DataError(f'"{name}" names {twice[0]} more than once', where=path, how="name each identity once")
        sets.append(identities)
    train, test = sets
    both = sorted(set(train) & set(test))
    if both:
        logger.warning(
            "%s: %d identities are in both sets, such as %s: a test on them says nothing about strangers",
            path,
            len(both),
            both[0],
        )
    return train, test
