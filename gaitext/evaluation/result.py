"""What every protocol is given and what it returns: sequences, tables, and the outcome, which can be a file."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gaitext.errors import ConfigError, DataError
from gaitext.evaluation.distances import Array, as_embeddings, in_own_unit
from gaitext.store import atomic_path, write_json

_SUFFIXES = (".md", ".csv", ".json")


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table; what would end a cell is escaped."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in (columns, *rows)]
    return [lines[0], "|---" * len(columns) + "|", *lines[1:]]


@dataclass(frozen=True)
class Table:
    """Numbers with names.

    Args:
        title: what the table shows, and in which unit.
        columns: names of the columns.
        rows: name of the row and its numbers; NaN where there is no number.
        counts: names of the columns that count something: whole numbers, without decimals.
    """

    title: str
    columns: list[str]
    rows: list[tuple[str, list[float]]]
    counts: tuple[str, ...] = ()

    def cells(self, values: Sequence[float]) -> list[str]:
        """A row's numbers as text: two decimals, or none of a count; a missing number is a dash."""
        digits = [0 if column in self.counts else 2 for column in self.columns]
        return ["–" if math.isnan(value) else f"{value:.{places}f}" for value, places in zip(values, digits)]

    def __str__(self) -> str:
        """The table as Markdown; a missing number is a dash."""
        header, *lines = markdown_table(
            ["", *self.columns], [[name, *self.cells(values)] for name, values in self.rows]
        )
        return "\n".join([self.title, "", header.replace("|  |", "| |", 1), *lines])  # the empty corner is narrow


@dataclass(frozen=True)
class EvaluationResult:
    """The outcome of a protocol.

    Args:
        protocol: which one, with what decides its numbers.
        tables: the numbers, in percent.
        scalars: the toolboxes' names (``scalar/test_accuracy/NM@R1``) -> percent, or what ``units`` says.
        chance: condition -> the rank-1 that choosing at random would have, in percent.
        notes: what is missing or odd. Empty for a complete test set.
        about: what decides the numbers, one by one: dataset, metric, counts, a protocol's settings.
        units: name of a scalar that is no percentage -> its unit, as it is written behind the number.
    """

    protocol: str
    tables: list[Table]
    scalars: dict[str, float]
    chance: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    about: dict[str, str | int | bool] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.protocol}\n\n{self.body()}"

    def body(self) -> str:
        """The tables and notes as Markdown."""
        return "\n\n".join([*map(str, self.tables), *(f"Note: {note}" for note in self.notes)])


@dataclass(frozen=True)
class Gait:
    """Embedded sequences: [n, c, p], and n labels, types and views as text.

    Embeddings whose squares float64 cannot hold are kept in a unit of their own. ``collapsed`` tells of embeddings that
    are all equal but for a few roundings of their numbers. They are compared like any others: embeddings that lie far
    from the origin beside their differences look like that, too, and hold enough to tell people apart.
    """

    embeddings: Array
    labels: Array
    types: Array
    views: Array
    collapsed: bool = False

    @classmethod
    def of(cls, embeddings: Array, labels: Sequence[Any], types: Sequence[str], views: Sequence[str]) -> Gait:
        """Check and convert.

        Raises:
            ShapeError: embeddings of another shape.
            DataError: lists of different lengths, no sequence, or NaN in an embedding.
        """
        counts = {"labels": len(labels), "types": len(types), "views": len(views)}
        if len(set(counts.values())) > 1 or not len(labels):
            raise DataError(f"cannot evaluate {counts}", how="give one label, type and view per embedding")
        array = as_embeddings(embeddings, len(labels))
        finite = np.isfinite(array).all((1, 2))
        if not finite.all():
            first = int(np.argmin(finite))
            raise DataError(
                f"{int((~finite).sum())} embeddings hold NaN or infinity, the first that of "
                f"{labels[first]}/{types[first]}/{views[first]}",
                how="the model has diverged, or its input is damaged (`gaitext doctor --data CONFIG`)",
            )
        array = in_own_unit(array)[1][0]
        given = np.asarray(embeddings).dtype
        collapsed = _collapsed(array, float(np.finfo(given if given.kind == "f" else array.dtype).eps))
        return cls(array, np.asarray(labels, str), np.asarray(types, str), np.asarray(views, str), collapsed)

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> Gait:
        """From a toolbox's dict of ``embeddings``, ``labels``, ``types``, ``views``."""
        return cls.of(data["embeddings"], data["labels"], data["types"], data["views"])

    def about(self, dataset: str, metric: str) -> dict[str, str | int | bool]:
        """What every protocol says of the numbers it found in these sequences."""
        return {
            "dataset": dataset,
            "metric": metric,
            "identities": len(set(self.labels.tolist())),
            "sequences": len(self),
        }

    def notes(self) -> list[str]:
        """What every protocol notes of them."""
        if not self.collapsed:
            return []
        return [
            "all embeddings are equal to within a few roundings of their numbers: the model has collapsed, or an "
            "offset hides their differences; what is left to compare is mostly rounding"
        ]

    def where(self, mask: Array) -> Gait:
        return Gait(self.embeddings[mask], self.labels[mask], self.types[mask], self.views[mask], self.collapsed)

    def __len__(self) -> int:
        return len(self.labels)


def _collapsed(embeddings: Array, eps: float) -> bool:
    """Whether no number of any embedding is further than two roundings of the largest from that of the others."""
    if len(embeddings) < 2:
        return False
    high, low = embeddings.max(0).astype(np.float64), embeddings.min(0).astype(np.float64)
    largest = max(float(np.abs(high).max()), float(np.abs(low).max()))
    return bool((high - low).max() <= 4 * eps * largest)


def check_table_path(path: str | Path | None) -> None:
    """Refuse, before anything is computed, a path that :func:`write_result` cannot write to.

    Raises:
        ConfigError: another suffix than .md, .csv or .json, or no place for a file.
    """
    if path is None:
        return
    if not isinstance(path, (str, Path)) or Path(path).suffix.lower() not in _SUFFIXES:
        raise ConfigError(f"{path} names no kind of table", where="table", how="end its name in .md, .csv or .json")
    if Path(path).is_dir():
        raise ConfigError(f"{path} is a folder", where="table", how="name a file in it")
    folder = next(parent for parent in Path(path).absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        why = "may not be written to" if folder.is_dir() else "is a file"
        raise ConfigError(f"{path} cannot be made: {folder} {why}", where="table", how="name a file elsewhere")


def write_result(result: EvaluationResult, path: str | Path) -> None:
    """Write a result, with what decides its numbers, to a file that appears whole or not at all.

    * ``.md``: the tables as they are printed.
    * ``.csv``: a line per number: ``protocol``, what :attr:`EvaluationResult.about` names, then
      ``table``, ``row``, ``column``, ``value`` (empty where there is no number) and ``notes``
      (in the first line alone).
      Files of several runs can be put one below the other.
    * ``.json``: everything; null where there is no number.

    Raises:
        ConfigError: see :func:`check_table_path`.
        DataError: it cannot be written.
    """
    check_table_path(path)
    path = Path(path)
    suffix = path.suffix.lower()
    try:
        if suffix == ".json":
            write_json(path, _plain(result))
            return
        with atomic_path(path) as temporary:
            if suffix == ".md":
                temporary.write_text(_markdown(result), encoding="utf-8")
            else:
                with temporary.open("w", encoding="utf-8", newline="") as stream:
                    csv.writer(stream, lineterminator="\n").writerows(_lines(result))
    except OSError as error:
        raise DataError(f"cannot be written: {error.strerror}", where=path, how="name another file") from error


def _markdown(result: EvaluationResult) -> str:
    about = "\n".join(f"* {name}: {_as_text(value)}" for name, value in result.about.items())
    return "# " + "\n\n".join(part for part in (result.protocol, about, result.body()) if part) + "\n"


def _as_text(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _lines(result: EvaluationResult) -> list[list[Any]]:
    about = [_as_text(value) for value in result.about.values()]
    notes = "; ".join(result.notes)
    lines: list[list[Any]] = [["protocol", *result.about, "table", "row", "column", "value", "notes"]]
    for table in result.tables:
        for name, values in table.rows:
            for column, value in zip(table.columns, values):
                number = "" if math.isnan(value) else repr(float(value))
                lines.append([result.protocol, *about, table.title, name, column, number, notes])
                notes = ""
    return lines


def json_number(value: float) -> float | None:
    """A number for JSON, which has no NaN: None for it."""
    return None if math.isnan(value) else float(value)


def _plain(result: EvaluationResult) -> dict[str, Any]:
    return {
        "protocol": result.protocol,
        "about": dict(result.about),
        "tables": [
            {
                "title": table.title,
                "columns": table.columns,
                "rows": [{"name": name, "values": [json_number(v) for v in values]} for name, values in table.rows],
            }
            for table in result.tables
        ],
        "scalars": {name: json_number(value) for name, value in result.scalars.items()},
        "chance": {name: json_number(value) for name, value in result.chance.items()},
        "notes": list(result.notes),
    }
