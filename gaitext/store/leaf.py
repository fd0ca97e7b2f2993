"""Walks on disk, ``<root>/<id>/<type>/<view>/*.pkl``."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, overload

from gaitext.errors import DataError
from gaitext.store.arrays import Array, Form, open_sequence, read_sequence, writer
from gaitext.store.compact import CompactSequence
from gaitext.store.files import disk_errors
from gaitext.store.writing import FrameWriter

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


def root_within(out: str | Path) -> Path | None:
    """``out/sequences``, if that is a dataset's root: ``out`` is what extraction or preparing wrote to."""
    inner = Path(out) / "sequences"
    return inner if next(inner.glob("*/*/*/*.pkl"), None) is not None else None


def leaves(root: str | Path) -> list[Leaf]:
    """All leaves of ``<root>/<id>/<type>/<view>``, sorted by id, type, view.

    Raises:
        DataError: ``root`` is not a folder, or the one above a dataset's root.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError("no such folder", where=root, how="check dataset_root")
    inner = root_within(root)
    if inner is not None:
        raise DataError("is the folder above the dataset's root", where=root, how=f"give {inner}, as dataset_root")
    found = []
    for identity in _folders(root):
        for kind in _folders(identity):
            for view in _folders(kind):
                found.append(Leaf(identity.name, kind.name, view.name, view))
    return found


def leaves_of_people(data: str | Path) -> tuple[Path, dict[str, list[Leaf]]]:
    """A dataset's root, and each identity's leaves, in the order of :func:`leaves`.

    Args:
        data: what extraction or preparing wrote to, or the root itself.

    Raises:
        DataError: see :func:`leaves`.
    """
    root = root_within(data) or Path(data)
    found: dict[str, list[Leaf]] = {}
    for leaf in leaves(root):
        found.setdefault(leaf.identity, []).append(leaf)
    return root, found


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


class LeafWriter:
    """Writes the sequences of one walk as ``<root>/<id>/<type>/<view>/<name>.pkl``, as frames come.

    The leaf appears whole or not at all: it is written beside its place and renamed, so that a
    killed job never leaves a leaf with some of its files. As a context manager it commits, or
    abandons the leaf on an exception. Any number may be open at once, in this process and others;
    memory holds no more than what is appended at a time.

    Args:
        root: of the dataset.
        identity, kind, view: the leaf.
        forms: of the files that are not ``plain`` (:func:`gaitext.store.writer`).
        floor: for compact files.
    """

    def __init__(
        self,
        root: str | Path,
        identity: str,
        kind: str,
        view: str,
        forms: Mapping[str, Form] | None = None,
        *,
        floor: float = 0.0,
    ) -> None:
        self.leaf = Leaf(identity, kind, view, Path(root) / identity / kind / view)
        self._root, self._forms, self._floor = Path(root), dict(forms or {}), floor
        self._writers: dict[str, FrameWriter] = {}
        self._carried: dict[str, int] = {}
        self._staging: Path | None = None
        self._ended = False

    @property
    def frames(self) -> int:
        """Appended so far."""
        return max((writer.frames for writer in self._writers.values()), default=0)

    def append(self, sequences: Mapping[str, Array]) -> None:
        """Append the next frames of every file.

        Args:
            sequences: file name without suffix -> array [n, …]. Names decide the order in which
                the toolboxes see the files.

        Raises:
            DataError: frames unlike those before or of no such form, or a full disk. The leaf is
                abandoned then.
        """
        if self._ended:
            raise DataError("was committed or abandoned: nothing can be appended", where=self.leaf.path)
        try:
            for name, frames in sequences.items():
                if name not in self._writers:
                    path = self._folder() / f"{name}.pkl"
                    self._writers[name] = writer(
                        path, self._forms.get(name, "plain"), floor=self._floor, written=self.leaf.path / path.name
                    )
                self._writers[name].append(frames)
        except BaseException:
            self.abandon()
            raise

    def carry(self, path: Path, frames: int, stem: str | None = None) -> None:
        """Copy a finished file of so many frames into the leaf, as it is; under another name, where one is given.

        Raises:
            DataError: the disk is full. The leaf is abandoned then.
        """
        try:
            with disk_errors(self.leaf.path):
                shutil.copyfile(path, self._folder() / f"{stem or path.stem}.pkl")
        except BaseException:
            self.abandon()
            raise
        self._carried[stem or path.stem] = frames

    def _folder(self) -> Path:
        if self._staging is None:
            leaf = self.leaf
            with disk_errors(leaf.path):
                self._root.mkdir(parents=True, exist_ok=True)
                # Staged under the root, where toolboxes take what a kill leaves for an identity that
                # no partition names; inside the leaf's own folder they would take it for a view.
                self._staging = Path(tempfile.mkdtemp(dir=self._root, prefix=_staging(leaf.name)))
                (self._staging / leaf.view).mkdir()
        return self._staging / self.leaf.view

    def commit(self) -> Leaf:
        """Finish the files and move the leaf to its place, where it replaces an old one.

        Raises:
            DataError: no frames, files of different lengths, or a full disk. The leaf is abandoned then.
        """
        leaf = self.leaf
        if self._ended:
            raise DataError("was committed or abandoned already", where=leaf.path)
        try:
            lengths = self._carried | {name: writer.frames for name, writer in self._writers.items()}
            if len(set(lengths.values())) > 1:
                raise DataError(f"its sequences have different lengths: {lengths}", where=leaf.path)
            if not lengths or 0 in lengths.values():
                raise DataError("has no frames", where=leaf.path)
            folder = self._folder()
            for frames in self._writers.values():
                frames.close()
            with disk_errors(leaf.path):
                leaf.path.parent.mkdir(parents=True, exist_ok=True)
                if leaf.path.exists():
                    os.replace(leaf.path, folder.parent / "old")
                os.replace(folder, leaf.path)
        finally:
            self.abandon()
        return leaf

    def abandon(self) -> None:
        """Remove what was written; an old leaf stays as it is. Does nothing to a committed one."""
        self._ended = True
        self._writers, self._carried = {}, {}
        if self._staging is not None:
            shutil.rmtree(self._staging, ignore_errors=True)
            self._staging = None

    def __enter__(self) -> LeafWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if kind is None and not self._ended:
            self.commit()
        self.abandon()


def write_leaf(
    root: str | Path,
    identity: str,
    kind: str,
    view: str,
    sequences: Mapping[str, Array],
    forms: Mapping[str, Form] | None = None,
    *,
    floor: float = 0.0,
) -> Leaf:
    """Write a leaf whose sequences are in memory: :class:`LeafWriter`, all at once.

    Args:
        sequences: file name without suffix -> array [T, …], as :meth:`LeafWriter.append` takes them.
        root, identity, kind, view, forms, floor: as of :class:`LeafWriter`.

    Raises:
        DataError: the sequences are empty or of different lengths, or the disk is full.
    """
    leaf = LeafWriter(root, identity, kind, view, forms, floor=floor)
    leaf.append(sequences)
    return leaf.commit()


def _staging(leaf: str) -> str:
    """How the names of ``id/type/view``'s staging folders begin: no other leaf's begin so."""
    return f"{_STAGING}{hashlib.sha256(leaf.encode(errors='surrogateescape')).hexdigest()[:16]}."


def clear_staging(root: str | Path, leaf: str | None = None) -> None:
    """Remove what killed writers left half written.

    Args:
        root: of the dataset.
        leaf: ``id/type/view`` whose remains are removed; default: everybody's, for which no other
            process may be writing.
    """
    for rest in Path(root).glob((_STAGING if leaf is None else _staging(leaf)) + "*"):
        shutil.rmtree(rest, ignore_errors=True)


@overload
def read_leaf(
    leaf: Leaf | str | Path, data_in_use: Sequence[bool] | Sequence[int] | None = None, *, lazy: Literal[False] = False
) -> list[Array]: ...


@overload
def read_leaf(
    leaf: Leaf | str | Path, data_in_use: Sequence[bool] | Sequence[int] | None = None, *, lazy: bool
) -> list[Array | CompactSequence]: ...


def read_leaf(
    leaf: Leaf | str | Path, data_in_use: Sequence[bool] | Sequence[int] | None = None, *, lazy: bool = False
) -> list[Array] | list[Array | CompactSequence]:
    """Read a leaf's sequences in file order, as the toolboxes' datasets do.

    Args:
        leaf: the leaf, or its folder.
        data_in_use: a mask over the sorted files, or their positions; None takes all.
        lazy: open compact files without reading their frames.

    Raises:
        DataError: no pkl, an unreadable one, or different lengths (the files are named).
    """
    if not isinstance(leaf, Leaf):
        path = Path(leaf)
        leaf = Leaf(path.parent.parent.name, path.parent.name, path.name, path)
    files = choose(leaf.files(), data_in_use)
    if not files:
        raise DataError(
            "no .pkl file to use", where=leaf.path, how="check data_in_use, and that <id>/<type>/<view> is the layout"
        )
    sequences = [open_sequence(file) if lazy else read_sequence(file) for file in files]
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
