"""What a study writes: tables, claims, and everything in one file for programs."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gaitext.evaluation import EvaluationResult, Table, write_result
from gaitext.evaluation.result import markdown_table
from gaitext.store import atomic_path, write_json
from gaitext.studies.cells import Cells, plain
from gaitext.studies.reporting import ClaimSettings, TableSettings, place_of
from gaitext.studies.statistics import LEVEL, VERDICTS, Comparison, Summary, compare, summarise

__all__ = ["KIND", "VERSION", "grid", "headers", "places", "write_claims", "write_results", "write_tables"]

#: What ``study_results.json`` says it is.
KIND, VERSION = "gaitext study", 1

Row = tuple[str, list[Summary]]

_INTERVAL = f"{LEVEL:.0%} bootstrap interval"


def headers(table: TableSettings) -> list[str]:
    """The columns' names: of each column's metrics, with its label or condition before it."""
    names = []
    for column in table.columns:
        label = (column.condition or "") if column.label is None else column.label
        names += [f"{label} {column.names.get(metric, metric)}".strip() for metric in column.metrics]
    return names


def places(table: TableSettings) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """A row's name, and of each of its cells system, condition and metric."""
    rows = []
    for group in table.groups or ("",):
        for name, row in table.rows.items():
            system, own = place_of(row)
            line = [
                (system, column.condition or own or "", metric.replace("{group}", group))
                for column in table.columns
                for metric in column.metrics
            ]
            rows.append((f"{group}: {name}" if group else name, line))
    return rows


def grid(table: TableSettings, cells: Cells) -> list[Row]:
    """The table's rows; what has not been run has no seeds.

    Raises:
        ConfigError: cells have no such metric.
    """
    return [(name, [summarise(cells, *place) for place in line]) for name, line in places(table)]


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
        parts: list[tuple[str, Callable[[Summary], float]]] = [
            ("mean over seeds", lambda s: s.mean),
            ("standard deviation over seeds", lambda s: s.sd),
            ("low end of the interval", lambda s: s.low),
            ("high end of the interval", lambda s: s.high),
        ]
        result = EvaluationResult(
            str((about or {}).get("study", KIND)),
            [
                Table(f"{table.title}: {part}", headers(table), [(name, [of(s) for s in row]) for name, row in rows])
                for part, of in parts
            ],
            {},
            notes=[f"published: {line}" for line in table.published],
            about=said,
        )
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
    _write_text(out / "claims.md", _claims_text(claims, comparisons))
    records = [_claim_record(claim, found) for claim, found in zip(claims, comparisons)]
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
            "columns": headers(table),
            "rows": [
                {"name": name, "cells": [_cell_record(place, summary) for place, summary in zip(line, row)]}
                for (name, line), (_, row) in zip(places(table), grid(table, cells))
            ],
            "published": list(table.published),
        }
        for table in tables
    ]
    decided = [_claim_record(claim, compare(cells, claim)) for claim in claims]
    write_json(
        path,
        {
            "kind": KIND,
            "version": VERSION,
            "about": dict(about or {}),
            "level": LEVEL,
            "tables": shown,
            "claims": decided,
            "cells": [cell.plain() for cell in cells],
        },
    )
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


def _table_text(table: TableSettings, rows: Sequence[Row], about: Mapping[str, Any]) -> str:
    digits = 1 if table.unit == "%" else 2
    lines = [f"# {table.title} ({table.unit})", "", *(f"* {name}: {value}" for name, value in about.items())]
    lines += [""] if about else []
    body = [[name, *(number_text(s.mean, s.sd, s.low, s.high, digits) for s in row)] for name, row in rows]
    lines += markdown_table(["", *headers(table)], body)
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


def _claims_text(claims: Sequence[ClaimSettings], comparisons: Sequence[Comparison]) -> str:
    counts = {verdict: sum(c.verdict == verdict for c in comparisons) for verdict in VERDICTS}
    lines = ["# Claims", "", ", ".join(f"{verdict}: {count}" for verdict, count in counts.items() if count) + ".", ""]
    columns = [
        "claim",
        "better",
        "than",
        "metric",
        "difference",
        "interval",
        "over seeds",
        "verdict",
        "source",
        "published",
    ]
    body, notes = [], []
    for claim, found in zip(claims, comparisons):
        mark = ""
        if found.note:
            notes.append(found.note)
            mark = f" ({len(notes)})"
        name = claim.name + (f" (by more than {claim.by:g})" if claim.by else "")
        metric = claim.metric + ("" if claim.unit == "%" else f", {claim.unit}")
        metric += " (lower is better)" if claim.lower_is_better else ""
        change = number_text(found.difference, found.sd, math.nan, math.nan, 2, signed=True)
        interval = interval_text(found.low, found.high, 2, signed=True)
        seeds = interval_text(found.seed_low, found.seed_high, 2, signed=True)
        verdict = found.verdict + mark
        source, published = claim.source or "–", claim.published or "–"
        body.append([name, claim.better, claim.than, metric, change, interval, seeds, verdict, source, published])
    lines += markdown_table(columns, body)
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


def _claim_record(claim: ClaimSettings, found: Comparison) -> dict[str, Any]:
    return {
        "claim": claim.name,
        "better": claim.better,
        "than": claim.than,
        "metric": claim.metric,
        "unit": claim.unit,
        "by": claim.by,
        "lower_is_better": claim.lower_is_better,
        "difference": plain(found.difference),
        "sd": plain(found.sd),
        "low": plain(found.low),
        "high": plain(found.high),
        "seed_low": plain(found.seed_low),
        "seed_high": plain(found.seed_high),
        "verdict": found.verdict,
        "seeds": found.seeds,
        "identities": found.identities,
        "by_seed": {str(seed): value for seed, value in found.by_seed.items()},
        "source": claim.source,
        "published": claim.published,
        "note": found.note,
    }


def _cell_record(place: tuple[str, str, str], summary: Summary) -> dict[str, Any]:
    system, condition, metric = place
    numbers = {name: plain(getattr(summary, name)) for name in ("mean", "sd", "low", "high")}
    counts = {"seeds": summary.seeds, "identities": summary.identities}
    return {"system": system, "condition": condition, "metric": metric, **numbers, **counts}


def _write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
