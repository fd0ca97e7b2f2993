"""Runs against the first of them: differences with intervals, and who is recognised by one and not by the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from gaitext.evaluation.analysis import SCORES, analyse
from gaitext.evaluation.compare import Comparison, Difference, compare
from gaitext.evaluation.saved import read_saved
from gaitext.report.document import Document, Number, Row, Section, Table, Text, warning
from gaitext.report.environment import environment
from gaitext.report.runs import LEVEL, names_of

#: People's walks that are listed of those won, and of those lost.
_LISTED = 50


def compare_files(
    paths: Sequence[str | Path],
    *,
    dataset: str | None = None,
    metric: str | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Document:
    """Compare saved embeddings, each other file with the first.

    Args:
        paths: two .npz at least.
        dataset, metric: whose protocol; None: what the files say.
        resamples, seed: of intervals and tests.

    Raises:
        DataError: fewer than two files, one that is no saved embeddings, or nothing that both have.
        ConfigError: a file does not say whose protocol it is for, and none is given.
    """
    names = names_of([Path(path).resolve() for path in paths])
    analyses = [
        analyse(read_saved(path), dataset, metric, level=LEVEL, resamples=resamples, seed=seed) for path in paths
    ]
    found = compare(analyses, names, level=LEVEL, resamples=resamples, seed=seed)
    protocols = list(dict.fromkeys(analysis.result.protocol for analysis in analyses))
    about = {"protocol": "; ".join(protocols), "first": names[0], **environment()}
    return Document(f"{' and '.join(names[1:])} against {names[0]}", tuple(comparison_sections(found)), about)


def comparison_sections(found: Comparison) -> list[Section]:
    """A section for each system that is compared with the first."""
    first = found.names[0]
    return [
        Section(
            f"{name} against {first}",
            (
                *warning([f"{d.condition}: {note}" for d in differences for note in d.notes]),
                _differences(first, name, differences, found.level),
                *_changed(name, first, differences),
            ),
        )
        for name, differences in found.differences.items()
    ]


def _differences(first: str, name: str, differences: Sequence[Difference], level: float) -> Table:
    rows = []
    for of in differences:
        for score in SCORES:
            if math.isnan(of.difference[score]):
                continue
            low, high = of.intervals[score]
            moved = [Number(len(walks), digits=0) for walks in (of.gained, of.lost)] if score == "rank-1" else ["", ""]
            cells: list[Number | str] = [
                Number(of.first[score]),
                Number(of.other[score]),
                Number(of.difference[score], low=low, high=high, signed=True),
                Number(of.p[score], digits=4),
                *moved,
            ]
            rows.append(Row(f"{of.condition}, {score}", tuple(cells)))
    columns = (first, name, "difference", "p", "gained", "lost")
    counts = sorted({of.people for of in differences})
    people = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    notes = (
        f"Scores in %, differences in points: {name} minus {first}, on the probes that both have. [ ] is a "
        f"{level:.0%} interval over {people} people, paired (BCa bootstrap).",
        "p: how often a difference as large comes by chance, if it were by chance which of the two had which outcome, "
        "person by person (permutation test, two-sided). It is not corrected for the number of rows.",
        f"Gained: probes that {name} recognises in more galleries than {first}; lost: in fewer.",
    )
    return Table("Differences", columns, tuple(rows), notes, corner="condition")


def _changed(name: str, first: str, differences: Sequence[Difference]) -> list[Text]:
    """Who is recognised by one and not by the other."""
    lines = []
    for of in differences:
        for system, walks in ((name, of.gained), (first, of.lost)):
            shown = ", ".join(walks[:_LISTED])
            more = f" and {len(walks) - _LISTED} more" if len(walks) > _LISTED else ""
            lines.append(
                f"{of.condition}, better by {system}: {len(walks)} probes{': ' if shown else ''}{shown}{more}."
            )
    return [Text(tuple(lines))] if lines else []
