"""A study's page, of what its ``study_results.json`` holds: tables, curves, claims, trainings."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gaitext.errors import DataError
from gaitext.report.document import (
    Axis,
    Block,
    Chart,
    Code,
    Document,
    Forest,
    Line,
    Mark,
    Number,
    Picture,
    Row,
    Section,
    Strips,
    Table,
    Text,
    as_numbers,
    interval_text,
    number_text,
)
from gaitext.report.environment import environment, yaml_text
from gaitext.report.publications import published_tables

#: What a study's results are in, and what that file says it is.
RESULTS, KIND, VERSION = "study_results.json", "gaitext study", 1
#: What a claim can come to.
VERDICTS = ("holds", "does not hold", "undecided", "not run")
PUBLISHED = "Published, not run here:"
#: So many columns with the same name but for a number in it are a curve.
_CURVE = 3
#: Lines of a chart, at most: so many can be told apart.
_LINES = 7
#: Larger pictures, in bytes, stay outside the page.
_LARGEST = 4_000_000
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_CLAIMS = ("better", "than", "metric", "difference", "interval", "over seeds", "verdict", "source", "published")

Record = Mapping[str, Any]


def read_study(folder: Path) -> dict[str, Any]:
    """A study's results.

    Raises:
        DataError: the folder holds none.
    """
    path = folder / RESULTS
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read ({error})", where=path, how="finish the study: gaitext study") from error
    if not isinstance(found, dict) or (found.get("kind"), found.get("version")) != (KIND, VERSION):
        raise DataError("holds no study's results", where=path, how="make it with this gaitext: gaitext study")
    return found


def study_sections(results: Record, folder: Path | None = None, *, name: str = "") -> list[Section]:
    """Its sections.

    Args:
        results: of ``study_results.json``.
        folder: the study's, for what its trainings left; None: without it.
        name: before each section's title.
    """
    level, lead = float(results["level"]), f"{name}: " if name else ""
    seeds = {(c["system"], c["condition"], c["seed"]): c["scalars"] for c in results["cells"]}
    sections = []
    for record in results["tables"]:
        blocks: list[Block] = [table_of(record, level), *curves(record), *_forests(record, seeds, level)]
        sections.append(Section(f"{lead}{record['title']}", tuple(blocks)))
    if results["claims"]:
        sections.append(Section(f"{lead}Claims", tuple(claim_blocks(results["claims"], level))))
    trained = [] if folder is None else _trainings(folder)
    if trained:
        sections.append(Section(f"{lead}Trainings", tuple(trained)))
    settings = results.get("settings") or {}
    published = published_tables(str(settings.get("kind")))
    if published:
        sections.append(Section(f"{lead}Published", tuple(published)))
    if settings:
        code = Code("All settings of the study", yaml_text(settings))
        sections.append(Section(f"{lead}Settings", (code,)))
    pictures = [] if folder is None else _pictures(results, folder)
    if pictures:
        sections.append(Section(f"{lead}Pictures", (Strips("What the study drew", tuple(pictures)),)))
    return sections


def study_document(results: Record, folder: Path | None = None) -> Document:
    """The page of one study."""
    about = {str(key): str(value) for key, value in results["about"].items() if key != "study"} | environment()
    return Document(str(results["about"].get("study", KIND)), tuple(study_sections(results, folder)), about)


def table_of(record: Record, level: float) -> Table:
    """A table of ``study_results.json``, with what is to be said of it below."""
    digits = 1 if record["unit"] == "%" else 2
    rows = tuple(Row(line["name"], tuple(_number(cell, digits) for cell in line["cells"])) for line in record["rows"])
    cells = [cell for line in record["rows"] for cell in line["cells"]]
    lists = ((PUBLISHED, tuple(record["published"])),) if record["published"] else ()
    title = f"{record['title']} ({record['unit']})"
    return Table(title, tuple(record["columns"]), rows, (_said(cells, level),), lists)


def _said(cells: Sequence[Record], level: float) -> str:
    """What the numbers of a table are."""
    said = ["Means over seeds of training."]
    if any(cell["sd"] is not None for cell in cells):
        said.append("± is the standard deviation over seeds.")
    counts = sorted({cell["identities"] for cell in cells if cell["identities"] > 1})
    if counts:
        said.append(f"[ ] is a {level:.0%} bootstrap interval over {between(counts)} test identities, seeds averaged.")
    if any(cell.get("uneven") for cell in cells):
        said.append("Where a number is not the mean over identities, the interval is of the mean over identities.")
    if not all(cell["seeds"] for cell in cells):
        said.append("A dash is what has not been run, or has no number.")
    return " ".join(said)


def between(counts: Sequence[int]) -> str:
    """One count, or the least and the largest."""
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _value(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _number(cell: Record, digits: int) -> Number:
    value, sd, low, high = (_value(cell[key]) for key in ("mean", "sd", "low", "high"))
    return Number(value, sd, low, high, digits)


def curves(record: Record) -> list[Chart]:
    """A chart of each group of columns whose names differ by one number alone: an amount, a quality, an angle."""
    groups: dict[str, list[tuple[float, int]]] = {}
    for place, column in enumerate(record["columns"]):
        for found in _NUMBER.finditer(column):
            name = f"{column[: found.start()]}…{column[found.end() :]}"
            groups.setdefault(name, []).append((float(found.group()), place))
    charts = []
    for name, group in groups.items():
        if len({number for number, _ in group}) < _CURVE or len(record["rows"]) > 12:
            continue
        group.sort()
        x = as_numbers([number for number, _ in group])
        lines = tuple(
            Line(row["name"], x, as_numbers([_value(row["cells"][place]["mean"]) for _, place in group]))
            for row in record["rows"]
        )
        charts.append(Chart(f"{record['title']}: {name}", Axis(name), Axis(record["unit"]), lines))
    return charts


def _forests(record: Record, seeds: Mapping[tuple[str, str, int], Record], level: float) -> list[Forest]:
    """A panel for each column: rows' means with their intervals, and small dots for seeds."""
    digits = 1 if record["unit"] == "%" else 2
    panels = []
    for place, column in enumerate(record["columns"]):
        marks = []
        for row in record["rows"]:
            cell = row["cells"][place]
            mean, sd, low, high = (_value(cell[key]) for key in ("mean", "sd", "low", "high"))
            numbers = [
                _value(scalars.get(cell["metric"]))
                for (system, condition, _), scalars in seeds.items()
                if (system, condition) == (cell["system"], cell["condition"])
            ]
            words = number_text(mean, sd, math.nan, math.nan, digits)
            marks.append(Mark(row["name"], mean, low, high, tuple(numbers) if len(numbers) > 1 else (), words))
        first = marks[0].value if marks else math.nan
        if any(not math.isnan(mark.low) for mark in marks) and len(marks) > 1:
            label = f"{record['unit']}; bars: {level:.0%} interval over test identities, dots: seeds, line: first row"
            panels.append(Forest(column or record["title"], label, tuple(marks), None if math.isnan(first) else first))
    return panels


def claim_blocks(claims: Sequence[Record], level: float) -> list[Block]:
    """How many hold, a table of them, and a forest plot for each unit."""
    table = claims_table(claims, level)
    units: dict[str, list[Record]] = {}
    for claim in claims:
        units.setdefault(claim["unit"], []).append(claim)
    legend = f"bars: {level:.0%} interval over test identities, dots: seeds"
    legend += ", dotted: the least difference that counts" if any(claim["by"] for claim in claims) else ""
    forests = [
        Forest(
            f"Differences of claims ({unit}): right of the line, the better side is better",
            f"{unit}; {legend}",
            tuple(_mark(claim) for claim in part),
            0.0,
        )
        for unit, part in units.items()
    ]
    return [Text((counted(claims),)), table, *forests]


def counted(claims: Sequence[Record]) -> str:
    """How many claims have which verdict."""
    verdicts = [claim["verdict"] for claim in claims]
    return ", ".join(f"{v}: {verdicts.count(v)}" for v in VERDICTS if v in verdicts) + "."


def claims_table(claims: Sequence[Record], level: float) -> Table:
    """Claims with their differences, intervals and verdicts; notes are numbered."""
    rows, notes = [], []
    for claim in claims:
        mark = ""
        if claim["note"]:
            notes.append(claim["note"])
            mark = f" ({len(notes)})"
        name = claim["claim"] + (f" (by more than {claim['by']:g})" if claim["by"] else "")
        metric = claim["metric"] + ("" if claim["unit"] == "%" else f", {claim['unit']}")
        metric += " (lower is better)" if claim["lower_is_better"] else ""
        cells: tuple[Number | str, ...] = (
            claim["better"],
            claim["than"],
            metric,
            Number(_value(claim["difference"]), _value(claim["sd"]), signed=True),
            interval_text(_value(claim["low"]), _value(claim["high"]), 2, signed=True),
            interval_text(_value(claim["seed_low"]), _value(claim["seed_high"]), 2, signed=True),
            claim["verdict"] + mark,
            claim["source"] or "–",
            claim["published"] or "–",
        )
        rows.append(Row(name, cells))
    people = sorted({claim["identities"] for claim in claims if claim["identities"] > 1})
    over = f" over {between(people)} test identities" if people else " over test identities"
    said = (
        "A difference is positive where the claim's better side is better: mean of paired seeds ± their standard "
        f"deviation. The interval is a {level:.0%} bootstrap interval{over}, paired, seeds averaged; that over seeds "
        "is Student's, of their differences, of the same level. A claim holds where both intervals and every seed's "
        "difference lie above the least difference that counts (0, if none is named), does not hold where all of "
        "these lie below, and is undecided otherwise, as it is with one seed. Each claim's intervals stand for "
        "themselves: they are not widened for the others."
    )
    numbered = tuple(f"({number}) {note}" for number, note in enumerate(notes, 1))
    lists = (("Notes:", numbered),) if notes else ()
    return Table("Claims", _CLAIMS, tuple(rows), (said,), lists, corner="claim")


def _mark(claim: Record) -> Mark:
    difference, sd = _value(claim["difference"]), _value(claim["sd"])
    shown = number_text(difference, sd, math.nan, math.nan, 1, signed=True).replace("-", "−")
    words = claim["verdict"] if math.isnan(difference) else f"{shown}  {claim['verdict']}"
    seeds, least = tuple(map(_value, claim["by_seed"].values())), claim["by"] or math.nan
    ends = _value(claim["low"]), _value(claim["high"])
    return Mark(claim["claim"], difference, *ends, seeds, words, claim["verdict"], least)


def _trainings(folder: Path) -> list[Block]:
    """Losses of each system's first training, and, of a study of correction, precision by crops seen."""
    losses = [log_line(system, rows, y="loss") for system, log in _logs(folder) if (rows := read_rows(log))]
    blocks: list[Block] = [*log_charts("Loss, one training of each system", losses, Axis("loss"))]
    path = folder / "curves.csv"
    for column, video in (("AP", "degraded"), ("AP-original", "original")) if path.is_file() else ():
        runs: dict[str, list[dict[str, str]]] = {}
        for row in _csv(path):
            runs.setdefault(f"{row.get('system')}, seed {row.get('seed')}", []).append(row)
        lines = tuple(log_line(name, map(_floats, rows), "crops", column) for name, rows in runs.items())
        axes = Axis("crops seen in training"), Axis("AP of validation people (%)")
        blocks.append(Chart(f"Validation while training, {video} video", *axes, lines))
    return blocks


def _pictures(results: Record, folder: Path) -> list[tuple[str, tuple[Picture, ...]]]:
    """What a kind of study has drawn, but for what the page has as a chart."""
    own = {"claims", "curves", *(table["name"] for table in results["tables"])}
    files = [file for file in sorted(folder.glob("*.png")) if file.stem not in own]
    return [(file.name, (Picture(file.read_bytes(), file.stem),)) for file in files if file.stat().st_size < _LARGEST]


def _logs(folder: Path) -> list[tuple[str, Path]]:
    """Each trained system and the log of its first seed; their folders are ``runs/SYSTEM-DIGEST/seed-N``."""
    found = []
    for system in sorted(path for path in (folder / "runs").glob("*-*") if path.is_dir()):
        logs = sorted(system.glob("seed-*/**/log.csv"))
        found += [(system.name.rpartition("-")[0], log) for log in logs[:1]]
    return found


def log_line(name: str, rows: Iterable[Mapping[str, float]], x: str = "iteration", y: str | None = None) -> Line:
    """A column of a log, that of the line's name if no other is named."""
    rows = list(rows)
    return Line(name, *(as_numbers([row.get(key, np.nan) for row in rows]) for key in (x, y or name)))


def log_charts(title: str, lines: Sequence[Line], y: Axis) -> list[Chart]:
    """Lines by iterations, a few to a chart."""
    return [
        Chart(title, Axis("iteration"), y, tuple(lines[first : first + _LINES]))
        for first in range(0, len(lines), _LINES)
    ]


def read_rows(path: Path) -> list[dict[str, float]]:
    """A training's ``log.csv`` or ``validation.csv``; a line that a kill cut short is left out.

    Raises:
        DataError: it cannot be read.
    """
    return [floats for row in _csv(path) if None not in row.values() and (floats := _floats(row))]


def _csv(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot be read ({error})", where=path) from error


def _floats(row: Mapping[str, str]) -> dict[str, float]:
    found = {}
    for key, value in row.items():
        try:
            found[key] = float(value)
        except (TypeError, ValueError):
            continue
    return found
