"""What a study writes: tables, claims, and everything in one file for programs."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gaitext.evaluation import EvaluationResult, Table, write_result
from gaitext.evaluation.result import json_number
from gaitext.report.study import KIND, RESULTS, VERSION, between, claims_table, counted, table_of
from gaitext.report.writing import table_lines
from gaitext.store import atomic_path, write_json
from gaitext.studies.cells import Cells
from gaitext.studies.settings import ClaimSettings, TableSettings
from gaitext.studies.statistics import LEVEL, Comparison, Summary, compare, summarise

Row = tuple[str, list[Summary]]

_INTERVAL = f"{LEVEL:.0%} bootstrap interval"
#: Part of a table for programs -> the summary's attribute.
_PARTS = {
    "mean over seeds": "mean",
    "standard deviation over seeds": "sd",
    "low end of the interval": "low",
    "high end of the interval": "high",
}


def grid(table: TableSettings, cells: Cells) -> list[Row]:
    """The table's rows; what has not been run has no seeds.

    Raises:
        ConfigError: cells have no such metric.
    """
    return [(name, [summarise(cells, *place) for place in line]) for name, line in table.lines()]


def write_tables(
    settings: Sequence[TableSettings], cells: Cells, out: Path, about: Mapping[str, Any] | None = None
) -> list[Path]:
    """Write each table as <name>.md for people, and as .csv and .json with means, deviations and intervals apart.

    Args:
        settings: the tables.
        cells: what they show.
        out: the folder.
        about: what decides the numbers, and ``study``, the title of the whole.

    Returns:
        The files.

    Raises:
        ConfigError: cells have no such metric.
    """
    files = []
    for table in settings:
        rows, said = grid(table, cells), {k: v for k, v in (about or {}).items() if k != "study"}
        path = out / f"{table.name}.md"
        _write_text(path, _table_text(_table_record(table, rows), said))
        said |= {"unit": table.unit, "interval": f"{_INTERVAL} over {_identities(rows)}"}
        parts = [
            Table(
                f"{table.title}: {part}",
                table.headers(),
                [(name, [getattr(summary, number) for summary in row]) for name, row in rows],
            )
            for part, number in _PARTS.items()
        ]
        notes = [f"published: {line}" for line in table.published]
        result = EvaluationResult(str((about or {}).get("study", KIND)), parts, {}, notes=notes, about=said)
        files.append(path)
        for suffix in (".csv", ".json"):
            write_result(result, path.with_suffix(suffix))
            files.append(path.with_suffix(suffix))
    return files


def write_claims(claims: Sequence[ClaimSettings], cells: Cells, out: Path) -> list[Comparison]:
    """Decide the claims, and write claims.md, claims.csv and claims.json; without claims, nothing.

    Raises:
        ConfigError: cells have no such metric.
    """
    comparisons = [compare(cells, claim) for claim in claims]
    if not claims:
        return []
    records = [_claim_record(found) for found in comparisons]
    lines = ["# Claims", "", counted(records), "", *table_lines(claims_table(records, LEVEL))]
    _write_text(out / "claims.md", "\n".join(lines) + "\n")
    with atomic_path(out / "claims.csv") as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        columns = [name for name in records[0] if name != "by_seed"]
        writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
    write_json(out / "claims.json", records)
    return comparisons


def write_results(
    tables: Sequence[TableSettings],
    claims: Sequence[ClaimSettings],
    cells: Cells,
    out: Path,
    about: Mapping[str, Any] | None = None,
    made_of: Mapping[str, Any] | None = None,
) -> Path:
    """Write study_results.json: tables, claims and cells, and the settings that they are made of; null where there is
    no number.

    Raises:
        ConfigError: cells have no such metric.
    """
    path = out / RESULTS
    results = {
        "kind": KIND,
        "version": VERSION,
        "about": dict(about or {}),
        "level": LEVEL,
        "tables": [_table_record(table, grid(table, cells)) for table in tables],
        "claims": [_claim_record(compare(cells, claim)) for claim in claims],
        "cells": [cell.plain() for cell in cells],
        "settings": dict(made_of or {}),
    }
    write_json(path, results)
    return path


def _table_text(record: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    table = table_of(record, LEVEL)
    lines = [f"# {table.title}", "", *(f"* {name}: {value}" for name, value in about.items())]
    return "\n".join([*lines, *([""] if about else []), *table_lines(table)]) + "\n"


def _identities(rows: Sequence[Row]) -> str:
    counts = sorted({s.identities for _, row in rows for s in row if s.identities > 1})
    return f"{between(counts)} test identities" if counts else "test identities, whose numbers are not known"


def _claim_record(found: Comparison) -> dict[str, Any]:
    claim = found.claim
    return {
        "claim": claim.name,
        **{key: getattr(claim, key) for key in ("better", "than", "metric", "unit", "by", "lower_is_better")},
        **{
            key: json_number(getattr(found, key))
            for key in ("difference", "sd", "low", "high", "seed_low", "seed_high")
        },
        "verdict": found.verdict,
        "seeds": found.seeds,
        "identities": found.identities,
        "by_seed": {str(seed): value for seed, value in found.by_seed.items()},
        "source": claim.source,
        "published": claim.published,
        "note": found.note,
    }


def _table_record(table: TableSettings, rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "name": table.name,
        "title": table.title,
        "unit": table.unit,
        "columns": table.headers(),
        "rows": [
            {"name": name, "cells": [_cell_record(place, summary) for place, summary in zip(line, row)]}
            for (name, line), (_, row) in zip(table.lines(), rows)
        ],
        "published": list(table.published),
    }


def _cell_record(place: tuple[str, str, str], summary: Summary) -> dict[str, Any]:
    numbers = {name: json_number(getattr(summary, name)) for name in _PARTS.values()}
    counts = {"seeds": summary.seeds, "identities": summary.identities}
    uneven = {"uneven": True} if summary.is_uneven else {}
    return {**dict(zip(("system", "condition", "metric"), place)), **numbers, **counts, **uneven}


def _write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
