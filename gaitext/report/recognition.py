"""What a report shows of a run that recognises people: scores, matrices, curves, mistakes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gaitext.errors import DataError, GaitextError
from gaitext.evaluation.analysis import Analysis, Condition
from gaitext.evaluation.short_numbers import short_numbers
from gaitext.evaluation.verification import FMR, FPIR
from gaitext.report.document import (
    Array,
    Axis,
    Block,
    Chart,
    Heatmap,
    Line,
    Number,
    Picture,
    Row,
    Section,
    Strips,
    Table,
    Text,
    as_numbers,
    result_blocks,
    warning,
)
from gaitext.report.publications import published_rows
from gaitext.report.strips import strip

#: A condition's scores, and how their names end in a protocol's numbers.
SCORES = {"rank-1": "", "rank-5": "@R5", "mAP": "@mAP", "mINP": "@mINP"}
#: With fewer people than these an interval over people says little.
FEW = 30
#: Mistakes with pictures, people who are listed, and the largest matrix that is drawn.
_SHOWN, _LISTED, _LARGEST = 3, 10, 40
_MEAN = "mean"


@dataclass(frozen=True)
class Analysed:
    """A run's analysis.

    Attributes:
        name: of the run.
        analysis: of its embeddings.
        about: what made them, see :class:`gaitext.evaluation.saved.Saved`.
        paths: [n], of the sequences; None where the file has none.
        folder: that relative paths are in.
    """

    name: str
    analysis: Analysis
    about: Mapping[str, Any]
    paths: Array | None
    folder: Path

    @property
    def dataset(self) -> str:
        return str(self.analysis.result.about.get("dataset", ""))

    @property
    def trained_on(self) -> str:
        """The data set that it was trained on, if its config says so."""
        data = (self.about.get("config") or {}).get("data_cfg") or {}
        return str(data.get("dataset_name", "")) if isinstance(data, Mapping) else ""


def summary(runs: Sequence[Analysed], level: float) -> list[Section]:
    """Of each dataset a table for each score, published rows beside, and one of verification."""
    sections = []
    for dataset in dict.fromkeys(run.dataset for run in runs):
        own = [run for run in runs if run.dataset == dataset]
        tables = [t for score in SCORES if (t := _score_table(own, dataset, score, level)) is not None]
        blocks: list[Block] = [*warning(_warnings(own)), *tables]
        if (errors := _errors_table(own)) is not None:
            blocks.append(errors)
        sections.append(Section(f"Summary: {dataset}" if dataset else "Summary", tuple(blocks)))
    return sections


def _warnings(runs: Sequence[Analysed]) -> list[str]:
    lines = []
    for run in runs:
        people = max((len(condition.people) for condition in run.analysis.conditions), default=0)
        if people < FEW:
            said = f"{people} people were searched for: few. An interval over so few is wide, and still too narrow."
            lines.append(f"{run.name}: {said}")
        if notes := run.analysis.result.notes:
            lines.append(
                f"{run.name}: {len(notes)} warnings of its protocol, in its own section. The first: {notes[0]}"
            )
    return lines


def _score_table(runs: Sequence[Analysed], dataset: str, score: str, level: float) -> Table | None:
    """A row a run, then what choosing at random has, then published rows."""
    names = list(dict.fromkeys(c.name for run in runs for c in run.analysis.conditions if _has(c, score)))
    if not names:
        return None
    rows: list[Row] = []
    chances: dict[tuple[str, ...], tuple[list[str], list[float]]] = {}
    for run in runs:
        of = {condition.name: condition for condition in run.analysis.conditions}
        whole = _mean(run, score)
        cells = [_number(of.get(name), score) for name in names]
        rows.append(Row(run.name, (*cells, Number(whole))))
        if score == "rank-1":
            chance = [of[name].chance if name in of else math.nan for name in names]
            key = tuple(f"{value:.2f}" for value in chance)
            chances.setdefault(key, ([], chance))[0].append(run.name)
    for names_of, chance in chances.values():
        called = "chance" if len(chances) == 1 else f"chance ({', '.join(names_of)})"
        rows.append(Row(called, tuple(Number(value) for value in [*chance, float(np.mean(chance))])))
    metrics = [f"{name}{SCORES[score]}" for name in (*names, _MEAN)]
    others = {run.trained_on for run in runs} - {dataset, ""}
    published = published_rows(dataset, metrics, trained_on=others)
    for source, row in published:
        called = f"{row.system}, {row.input}" if row.input else row.system
        rows.append(Row(called, tuple(Number(row.numbers.get(metric, math.nan)) for metric in metrics), source))
    notes = [f"[ ] is a {level:.0%} interval over people (BCa bootstrap)."]
    if published:
        sizes = "; ".join(
            f"{run.name}: {about.get('identities', '?')} identities, {about.get('sequences', '?')} sequences"
            for run in runs
            for about in [run.analysis.result.about]
        )
        notes.append(
            f"Published rows are the papers' numbers, of {dataset}'s test set under its protocol. What was tested here "
            f"stands beside them only if it is the same test set ({sizes})."
        )
    return Table(f"{score} (%)", (*names, _MEAN), tuple(rows), tuple(notes), corner="run")


def _has(condition: Condition, score: str) -> bool:
    return not math.isnan(condition.scores.get(score, math.nan))


def _number(condition: Condition | None, score: str) -> Number:
    if condition is None:
        return Number(math.nan)
    low, high = condition.intervals.get(score, (math.nan, math.nan))
    return Number(condition.scores.get(score, math.nan), low=low, high=high)


def _mean(run: Analysed, score: str) -> float:
    """The protocol's own mean over conditions, if it has one; else of the conditions here."""
    named = short_numbers(run.analysis.result.scalars).get(f"{_MEAN}{SCORES[score]}")
    values = [c.scores[score] for c in run.analysis.conditions if _has(c, score)]
    return float(np.mean(values)) if named is None and values else math.nan if named is None else named


def _errors_table(runs: Sequence[Analysed]) -> Table | None:
    rows = []
    for run in runs:
        for condition in run.analysis.conditions:
            v, o = condition.verification, condition.open_set
            if v is None and o is None:
                continue
            cells = [
                Number(math.nan if v is None else v.eer),
                *(Number(math.nan if v is None else v.fnmr_at[rate]) for rate in FMR),
                *(Number(math.nan if o is None else o.fnir_at[rate]) for rate in FPIR),
                *(Number(math.nan if v is None else n, digits=0) for n in _pairs(v)),
            ]
            rows.append(Row(f"{run.name}: {condition.name}", tuple(cells)))
    if not rows:
        return None
    columns = (
        "EER",
        *(f"FNMR at FMR {100 * rate:g}\u00a0%" for rate in FMR),
        *(f"FNIR at FPIR {100 * rate:g}\u00a0%" for rate in FPIR),
        "genuine pairs",
        "impostor pairs",
    )
    notes = (
        "EER: where false matches and false non-matches are equally frequent. FNMR at FMR: pairs of one person that "
        "are rejected, where so many pairs of two people are accepted. FNIR at FPIR: searches that miss the right "
        "person, where so many searches for somebody who is not enrolled name one.",
    )
    return Table("Verification and open-set identification (%)", columns, tuple(rows), notes, corner="run")


def _pairs(verification: Any) -> tuple[float, float]:
    return (math.nan, math.nan) if verification is None else (verification.genuine_pairs, verification.impostor_pairs)


def run_section(run: Analysed, *, pictures: bool = True) -> Section:
    """All of one run: its protocol's tables and notes, matrices, curves, people, mistakes."""
    analysis, conditions = run.analysis, run.analysis.conditions
    blocks: list[Block] = [Text((analysis.result.protocol,)), *warning(analysis.result.notes)]
    blocks += result_blocks(analysis.result)
    blocks += [_matrix(c) for c in conditions if 1 < max(c.matrix.shape, default=0) <= _LARGEST]
    blocks += _curves(conditions)
    blocks += [chart for c in conditions if (chart := _scores_chart(c)) is not None]
    if (table := _people(conditions)) is not None:
        blocks.append(table)
    blocks += _mistakes(run, pictures)
    return Section(run.name, tuple(blocks))


def _matrix(condition: Condition) -> Heatmap:
    title = f"{condition.name}: rank-1 (%) of each probe and gallery"
    rows, columns = map(tuple, (condition.probe_views, condition.gallery_views))
    return Heatmap(title, rows, columns, as_numbers(condition.matrix), "probe", "gallery")


def _curves(conditions: Sequence[Condition]) -> list[Block]:
    """CMC, DET and open-set curves, a line a condition."""
    found: list[Block] = []
    known = [c for c in conditions if len(c.cmc) > 1 and np.isfinite(c.cmc).any()]
    lines = tuple(Line(c.name, np.arange(1, len(c.cmc) + 1), as_numbers(c.cmc)) for c in known)
    if lines:
        found.append(Chart("CMC: recognised within the nearest k", Axis("k"), Axis("%", high=100.0), lines))
    lines = tuple(
        Line(c.name, 100 * as_numbers(v.fmr), 100 * as_numbers(v.fnmr))
        for c in conditions
        if (v := c.verification) is not None
    )
    if lines:
        found.append(_log_chart("DET: verification", "FMR (%)", "FNMR (%)", lines))
    lines = tuple(
        Line(c.name, 100 * as_numbers(o.fpir), 100 * as_numbers(o.fnir))
        for c in conditions
        if (o := c.open_set) is not None
    )
    if lines:
        found.append(_log_chart("Open set: identification", "FPIR (%)", "FNIR (%)", lines))
    return found


def _log_chart(title: str, x: str, y: str, lines: tuple[Line, ...]) -> Chart:
    """Both axes logarithmic, as such curves are drawn; a rate of 0 has no place on them."""
    drawn = tuple(
        Line(line.name, *(np.where(values > 0, values, np.nan) for values in (line.x, line.y))) for line in lines
    )
    return Chart(title, Axis(x, high=100.0, log=True), Axis(y, high=100.0, log=True), drawn)


def _scores_chart(condition: Condition) -> Chart | None:
    """How genuine and impostor pairs' distances are spread."""
    v = condition.verification
    if v is None:
        return None
    x = np.repeat(as_numbers(v.edges), 2)[1:-1]
    lines = tuple(
        Line(name, x, np.repeat(100 * as_numbers(counts) / max(float(np.sum(counts)), 1.0), 2))
        for name, counts in (("genuine pairs", v.genuine), ("impostor pairs", v.impostor))
    )
    return Chart(f"{condition.name}: distances", Axis("distance"), Axis("% of pairs", low=0.0), lines, filled=True)


def _people(conditions: Sequence[Condition]) -> Table | None:
    """Those who are recognised least often."""
    names = sorted({name for condition in conditions for name in condition.people})
    if not names:
        return None
    rows = [(name, [condition.people.get(name, math.nan) for condition in conditions]) for name in names]
    numbers = as_numbers([values for _, values in rows])
    known = ~np.isnan(numbers)
    means = np.where(known.any(1), np.where(known, numbers, 0).sum(1) / np.maximum(known.sum(1), 1), np.inf)
    order = np.argsort(means, kind="stable")[:_LISTED].tolist()
    lowest = tuple(Row(rows[i][0], tuple(Number(v, digits=1) for v in rows[i][1])) for i in order)
    title = f"People recognised least often, of {len(names)}: rank-1 (%)"
    return Table(title, tuple(c.name for c in conditions), lowest, corner="person")


def _mistakes(run: Analysed, pictures: bool) -> list[Block]:
    """A table of the hardest confusions, and strips of the worst where their walks are at hand."""
    rows, pairs = [], []
    gone: str | None = None if run.paths is not None else "the file does not say where its sequences are"
    gone = gone if pictures else "they were not asked for"
    for condition in run.analysis.conditions:
        for k, mistake in enumerate(condition.confusions):
            taken, other = (_called(run, place) for place in (mistake.probe, mistake.gallery))
            numbers = Number(mistake.distance, digits=3), Number(mistake.mate_distance, digits=3)
            rows.append(Row(taken, (condition.name, other, *numbers)))
            if k >= _SHOWN or gone is not None:
                continue
            try:
                shown = tuple(_strip(run, place) for place in (mistake.probe, mistake.gallery))
            except (GaitextError, OSError) as error:
                gone = str(error).splitlines()[0]
                continue
            pairs.append((f"{condition.name}: {taken} was taken for {other}", shown))
    if not rows:
        return []
    columns = ("condition", "taken for", "distance", "nearest of its own")
    blocks: list[Block] = [Table("Hardest confusions", columns, tuple(rows), corner="probe")]
    notes = () if gone is None else (f"No pictures of some or all: {gone}.",)
    if pairs or notes:
        blocks.append(Strips("Hardest confusions, seen", tuple(pairs), notes))
    return blocks


def _called(run: Analysed, place: int) -> str:
    data = run.analysis.data
    parts = (data[n] if isinstance(data, Mapping) else getattr(data, n) for n in ("labels", "types", "views"))
    return "/".join(str(part[place]) for part in parts)


def _strip(run: Analysed, place: int) -> Picture:
    assert run.paths is not None
    path = str(run.paths[place])
    if not path:
        raise DataError("the file does not say where this sequence is", where=_called(run, place))
    here = Path(path)  # where it was read from; or beside the run's files, if all have moved together
    return strip(here if here.exists() else run.folder / here, _called(run, place))
