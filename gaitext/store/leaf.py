"""Walks on disk: ``<root>/<id>/<type>/<view>/*.pkl``."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gaitext.errors import DataError
from gaitext.store.arrays import Array, read_sequence, write_sequence

#: Folders under a dataset's root in which leaves are written before they are moved to their place.
_STAGING = ".staging."


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
