"""One door to what a file, a leaf or a dataset holds."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Union

from gaitext.errors import DataError
from gaitext.report.contents import FileContents, inspect_file
from gaitext.report.dataset import inspect_dataset
from gaitext.report.dataset_contents import DatasetContents
from gaitext.report.leaf import LeafContents, inspect_leaf
from gaitext.report.origin import find_origin

__all__ = ["Contents", "inspect"]

logger = logging.getLogger(__name__)

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
        logger.warning("%s", error)
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
