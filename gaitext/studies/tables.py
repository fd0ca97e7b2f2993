"""What a study writes: tables, claims, and everything in one file for programs."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gaitext.evaluation import EvaluationResult, Table, write_result
from gaitext.evaluation.result import json_number, markdown_table
from gaitext.store import atomic_path, write_json
from gaitext.studies.cells import Cells
from gaitext.studies.settings import ClaimSettings, TableSettings
from gaitext.studies.statistics import LEVEL, VERDICTS, Comparison, Summary, compare, summarise

#: What ``study_results.json`` says it is.
KIND, VERSION = "gaitext study", 1

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
        _write_text(path, _table_text(table, rows, said))
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
    _write_text(out / "claims.md", _claims_text(comparisons))
    records = [_claim_record(found) for found in comparisons]
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
) -> Path:
    """Write study_results.json: tables, claims and cells; null where there is no number.

    Raises:
        ConfigError: cells have no such metric.
    """
    path = out / "study_results.json"
    shown = [
        {
            "name": table.name,
            "title": table.title,
            "unit": table.unit,
            "columns": table.headers(),
            "rows": [
                {"name": name, "cells": [_cell_record(place, summary) for place, summary in zip(line, row)]}
                for (name, line), (_, row) in zip(table.lines(), grid(table, cells))
            ],
            "published": list(table.published),
        }
        for table in tables
    ]
    results = {
        "kind": KIND,
        "version": VERSION,
        "about": dict(about or {}),
        "level": LEVEL,
        "tables": shown,
        "claims": [_claim_record(compare(cells, claim)) for claim in claims],
        "cells": [cell.plain() for cell in cells],
    }
    write_json(path, results)
    return path


def number_text(mean: float, sd: float, low: float, high: float, digits: int, *, signed: bool = False) -> str:
    """Such as ``88.2 ± 0.4 [85.0, 91.1]``; what is NaN is left out, and a dash stands for no number.

    >>> number_text(88.17, 0.41, 85.04, 91.12, 1), number_text(1.5, float("nan"), float("nan"), float("nan"), 2)
    ('88.2 ± 0.4 [85.0, 91.1]', '1.50')
    """
    if math.isnan(mean):
        return "–"
    plus = "+" if signed else ""
    text = f"{mean:{plus}.{digits}f}"
    text += "" if math.isnan(sd) else f" ± {sd:.{digits}f}"
    return text + ("" if math.isnan(low) else f" {interval_text(low, high, digits, signed=signed)}")


def interval_text(low: float, high: float, digits: int, *, signed: bool = False) -> str:
    """Such as ``[85.0, 91.1]``; a dash for none."""
    plus = "+" if signed else ""
    return "–" if math.isnan(low) else f"[{low:{plus}.{digits}f}, {high:{plus}.{digits}f}]"


def difference_text(found: Comparison, digits: int) -> str:
    """A claim's difference and its standard deviation, such as ``+1.25 ± 0.50``."""
    return number_text(found.difference, found.sd, math.nan, math.nan, digits, signed=True)


def _table_text(table: TableSettings, rows: Sequence[Row], about: Mapping[str, Any]) -> str:
    digits = 1 if table.unit == "%" else 2
    lines = [f"# {table.title} ({table.unit})", "", *(f"* {name}: {value}" for name, value in about.items())]
    lines += [""] if about else []
    body = [[name, *(number_text(s.mean, s.sd, s.low, s.high, digits) for s in row)] for name, row in rows]
    lines += markdown_table(["", *table.headers()], body)
    every = [summary for _, row in rows for summary in row]
    said = ["Means over seeds of training."]
    if any(not math.isnan(s.sd) for s in every):
        said.append("± is the standard deviation over seeds.")
    if any(s.identities > 1 for s in every):
        said.append(f"[ ] is a {_INTERVAL} over {_identities(rows)}, seeds averaged.")
    if any(s.is_uneven for s in every):
        said.append("Where a number is not the mean over identities, the interval is of the mean over identities.")
    if not all(s.seeds for s in every):
        said.append("A dash is what has not been run, or has no number.")
    lines += ["", " ".join(said)]
    if table.published:
        lines += ["", "Published, not run here:", "", *(f"* {line}" for line in table.published)]
    return "\n".join(lines) + "\n"


_CLAIM_COLUMNS = ("claim", "better", "than", "metric", "difference", "interval", "over seeds", "verdict")


def _claims_text(comparisons: Sequence[Comparison]) -> str:
    counts = {verdict: sum(c.verdict == verdict for c in comparisons) for verdict in VERDICTS}
    lines = ["# Claims", "", ", ".join(f"{verdict}: {count}" for verdict, count in counts.items() if count) + ".", ""]
    body, notes = [], []
    for found in comparisons:
        claim, mark = found.claim, ""
        if found.note:
            notes.append(found.note)
            mark = f" ({len(notes)})"
        name = claim.name + (f" (by more than {claim.by:g})" if claim.by else "")
        metric = claim.metric + ("" if claim.unit == "%" else f", {claim.unit}")
        metric += " (lower is better)" if claim.lower_is_better else ""
        interval = interval_text(found.low, found.high, 2, signed=True)
        seeds = interval_text(found.seed_low, found.seed_high, 2, signed=True)
        numbers = [difference_text(found, 2), interval, seeds, found.verdict + mark]
        body.append([name, claim.better, claim.than, metric, *numbers, claim.source or "–", claim.published or "–"])
    lines += markdown_table([*_CLAIM_COLUMNS, "source", "published"], body)
    people = sorted({c.identities for c in comparisons if c.identities > 1})
    over = f" over {_range(people)} test identities" if people else " over test identities"
    lines += [
        "",
        "A difference is positive where the claim's better side is better: mean of paired seeds ± their standard "
        f"deviation. The interval is a {_INTERVAL}{over}, paired, seeds averaged; that over seeds is Student's, of "
        "their differences, of the same level. A claim holds where both intervals and every seed's difference lie "
        "above the least difference that counts (0, if none is named), does not hold where all of these lie below, and "
        "is undecided otherwise, as it is with one seed. Each claim's intervals stand for themselves: they are not "
        "widened for the others.",
    ]
    if notes:
        lines += ["", "Notes:", "", *(f"* ({number}) {note}" for number, note in enumerate(notes, 1))]
    return "\n".join(lines) + "\n"


def _identities(rows: Sequence[Row]) -> str:
    counts = sorted({s.identities for _, row in rows for s in row if s.identities > 1})
    return f"{_range(counts)} test identities" if counts else "test identities, whose numbers are not known"


def _range(counts: Sequence[int]) -> str:
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


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


def _cell_record(place: tuple[str, str, str], summary: Summary) -> dict[str, Any]:
    numbers = {name: json_number(getattr(summary, name)) for name in _PARTS.values()}
    counts = {"seeds": summary.seeds, "identities": summary.identities}
    return {**dict(zip(("system", "condition", "metric"), place)), **numbers, **counts}


def _write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
