"""A protocol's outcome as a file."""

from __future__ import annotations

import csv
import math
import os
from pathlib import Path
from typing import Any

from gaitext.errors import ConfigError, DataError
from gaitext.evaluation.result import EvaluationResult
from gaitext.store import atomic_path, write_json

__all__ = ["check_table_path", "write_result"]

_SUFFIXES = (".md", ".csv", ".json")


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
    about = "\n".join(f"* {name}: {_said(value)}" for name, value in result.about.items())
    return "# " + "\n\n".join(part for part in (result.protocol, about, result.body()) if part) + "\n"


def _said(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _lines(result: EvaluationResult) -> list[list[Any]]:
    about = [_said(value) for value in result.about.values()]
    notes = "; ".join(result.notes)
    lines: list[list[Any]] = [["protocol", *result.about, "table", "row", "column", "value", "notes"]]
    for table in result.tables:
        for name, values in table.rows:
            for column, value in zip(table.columns, values):
                number = "" if math.isnan(value) else repr(float(value))
                lines.append([result.protocol, *about, table.title, name, column, number, notes])
                notes = ""
    return lines


def _plain(result: EvaluationResult) -> dict[str, Any]:
    def number(value: float) -> float | None:
        return None if math.isnan(value) else float(value)

    return {
        "protocol": result.protocol,
        "about": dict(result.about),
        "tables": [
            {
                "title": table.title,
                "columns": table.columns,
                "rows": [{"name": name, "values": [number(v) for v in values]} for name, values in table.rows],
            }
            for table in result.tables
        ],
        "scalars": {name: number(value) for name, value in result.scalars.items()},
        "chance": {name: number(value) for name, value in result.chance.items()},
        "notes": list(result.notes),
    }
