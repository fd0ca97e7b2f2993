"""What a path holds: a sequence's file, a leaf with its files, faults and origin, or a dataset."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union

from gaitext.errors import DataError
from gaitext.inspect.contents import FileContents, Origin, amount, find_origin, inspect_file
from gaitext.inspect.dataset import DatasetContents, inspect_dataset

log = logging.getLogger(__name__)


@dataclass
class LeafContents:
    """What one leaf holds.

    Attributes:
        path: its folder.
        files: in the order ``data_in_use`` counts them; unreadable ones are among the problems.
        problems: what is wrong, a sentence each.
        origin: the extraction's record, if there is one.
    """

    path: Path
    files: list[FileContents] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    origin: Origin | None = None

    @property
    def name(self) -> str:
        return "/".join(self.path.absolute().parts[-3:])

    def to_json(self) -> dict[str, Any]:
        """Numbers and text only; what is unknown is None."""
        return {
            "leaf": self.name,
            "frames": self.files[0].shape[0] if self.files else 0,
            "bytes": sum(file.bytes for file in self.files),
            "files": [file.to_json() for file in self.files],
            "problems": self.problems,
            "record": None if self.origin is None else self.origin.entry,
        }

    def __str__(self) -> str:
        """Some lines for people."""
        lengths = {file.shape[0] for file in self.files}
        frames = f"{lengths.pop()} frames" if len(lengths) == 1 else "different lengths"
        lines = [f"{self.name}: {frames}, {amount(sum(file.bytes for file in self.files))}"]
        # Poses say of the joints what heatmaps do.
        tabled = next((file for kind in ("heatmaps", "poses") for file in self.files if file.kind == kind), None)
        lines += [file.describe(channels=file is tabled) for file in self.files]
        lines.append("no record of an extraction" if self.origin is None else str(self.origin))
        lines += [f"PROBLEM: {problem}" for problem in self.problems]
        return "\n".join(lines)


def inspect_leaf(path: str | Path) -> LeafContents:
    """Read a leaf's files and its record.

    Raises:
        DataError: no file in it can be read.
    """
    path = Path(path)
    contents = LeafContents(path)
    try:
        contents.origin = find_origin(path)
    except DataError as error:
        contents.problems.append(str(error))
    merged = None if contents.origin is None else contents.origin.parts
    for file in sorted(path.glob("*.pkl")):
        if file.name.startswith("."):
            continue
        try:
            contents.files.append(inspect_file(file, merged=merged))
        except DataError as error:
            contents.problems.append(str(error))
    if not contents.files:
        raise DataError("; ".join(contents.problems) or "holds no sequence", where=path)
    lengths = {file.path.name: file.shape[0] for file in contents.files}
    if len(set(lengths.values())) > 1:
        contents.problems.append("files of different lengths: " + ", ".join(f"{n} {t}" for n, t in lengths.items()))
    for read in contents.files:
        if read.nans or read.infinite:
            contents.problems.append(f"{read.path.name} holds {read.nans} NaN and {read.infinite} infinite values")
    if contents.origin is not None:
        kept = len(contents.origin.frames)
        if set(lengths.values()) != {kept}:
            contents.problems.append(f"the record says {kept} frames: {contents.origin.path}")
    return contents


Contents = Union[FileContents, LeafContents, DatasetContents]


def inspect(path: str | Path) -> Contents:
    """Say what a path holds: a sequence's file, a leaf, or a dataset.

    Args:
        path: a ``.pkl``; a folder ``<id>/<type>/<view>`` that holds some; an extraction's OUT, the
            root of ``<id>/<type>/<view>``, or one of its folders of an id or of a type.

    Returns:
        Print it for people; its ``to_json()`` is for programs.

    Raises:
        DataError: nothing there, or nothing that can be read.

    Example:
        >>> print(inspect("data/sequences/1/nm-01/000"))  # doctest: +SKIP
    """
    path = Path(os.path.abspath(path))  # whose folders' names are id, type and view
    if path.is_file():
        if path.suffix != ".pkl":
            raise DataError("is no .pkl", where=path, how="give a sequence's .pkl, a leaf's folder, or a dataset")
        return inspect_file(path, merged=_parts(path.parent))
    if not path.is_dir():
        raise DataError("no such file or folder", where=path)
    if _has_sequences(path):
        return inspect_leaf(path)
    if (path / "sequences").is_dir():
        return inspect_dataset(path / "sequences", out=path)
    depth = _depth(path)
    if depth is None or depth > 3:
        raise DataError("holds no sequences", where=path, how="give OUT, or the root of <id>/<type>/<view>/*.pkl")
    if depth == 3:
        return inspect_dataset(path)
    return inspect_dataset(path.parents[2 - depth], within=path.parts[depth - 3 :])


def _parts(leaf: Path) -> list[str] | None:
    """Names of the parts that a leaf's heatmaps were merged to."""
    try:
        origin = find_origin(leaf)
    except DataError as error:
        log.warning("%s", error)
        return None
    return None if origin is None else origin.parts


def _has_sequences(folder: Path) -> bool:
    return any(file.suffix == ".pkl" and not file.name.startswith(".") for file in folder.iterdir())


def _depth(folder: Path, most: int = 4) -> int | None:
    """How many folders lie between ``folder`` and the first sequences in it."""
    if _has_sequences(folder):
        return 0
    if most:
        for inner in sorted(folder.iterdir()):
            if inner.is_dir() and not inner.name.startswith("."):
                found = _depth(inner, most - 1)
                if found is not None:
                    return found + 1
    return None
