"""The tables of tools/rg_gait_study.py, from the cells of its seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gaitext.evaluation import EvaluationResult, Table, write_result
from gaitext.store import atomic_path

__all__ = ["Cells", "StudyTable", "ablation", "generalisation", "retention", "write_table"]

#: (system, occlusion) -> per seed, rank-k -> percent.
Cells = Callable[[str, str], list[dict[str, float]]]
#: Of one row and column, a number per seed.
Numbers = Sequence[float]

RANKS = ("rank-1", "rank-5")
_MARK = {True: "✓", False: "✗"}


@dataclass(frozen=True)
class StudyTable:
    """Numbers of several seeds.

    Attributes:
        title: what the table shows.
        columns: names.
        rows: a row's name and per column the seeds' numbers.
        about: what decides them.
    """

    title: str
    columns: list[str]
    rows: list[tuple[str, list[Numbers]]]
    about: dict[str, Any]


def _mean(cells: Cells, system: str, occlusions: Sequence[str], rank: str) -> Numbers:
    """Per seed, the mean over occlusions."""
    each = [[cell[rank] for cell in cells(system, occlusion)] for occlusion in occlusions]
    return np.mean(each, axis=0).tolist()


def _about(settings: Any) -> dict[str, Any]:
    return {
        "seeds": " ".join(map(str, settings.seeds)),
        "seen in training": ", ".join(settings.seen),
    }


def retention(settings: Any, cells: Cells) -> StudyTable:
    """What is kept on whole walkers and won on occluded ones, and over the signature extractor."""
    conditions = ["unoccluded", *settings.occlusions]
    columns = [f"{name} {rank}" for rank in RANKS for name in conditions]
    rows: list[tuple[str, list[Numbers]]] = []
    for name, system in (("GSE", "gse"), ("GSE, fine-tuned", "finetuned"), ("RG-Gait", "rg_gait")):
        rows.append((name, [_mean(cells, system, [c], rank) for rank in RANKS for c in conditions]))
    for name, row in (rows[1], rows[2]):
        gains = [[a - b for a, b in zip(ours, theirs)] for ours, theirs in zip(row, rows[0][1])]
        rows.append((f"{name} − GSE", gains))
    return StudyTable("Holistic retention (%)", columns, rows, _about(settings))


def ablation(settings: Any, cells: Cells) -> StudyTable:
    """The poster's ablation: mean over the occlusions seen in training, and unoccluded walkers beside it."""
    rows: list[tuple[str, list[Numbers]]] = []
    for name, system, switches in (
        ("Baseline-1", "none", (False, False, False)),
        ("Vanilla residual", "residual", (True, False, False)),
        ("Aware only", "aware", (True, False, True)),
        ("Adaptive only", "adaptive", (True, True, False)),
        ("RG-Gait", "rg_gait", (True, True, True)),
    ):
        label = f"{name} (residual {_MARK[switches[0]]} adaptive {_MARK[switches[1]]} aware {_MARK[switches[2]]})"
        seen = [_mean(cells, system, settings.seen, rank) for rank in RANKS]
        rows.append((label, [*seen, *(_mean(cells, system, ["unoccluded"], rank) for rank in RANKS)]))
    columns = [f"{name} {rank}" for name in ("occluded", "unoccluded") for rank in RANKS]
    return StudyTable("Ablation (%)", columns, rows, _about(settings))


def generalisation(settings: Any, cells: Cells) -> StudyTable:
    """Occlusions unseen in training, before and after training on with each of them."""
    columns = [f"{name} {rank}" for name in settings.new for rank in RANKS]
    rows: list[tuple[str, list[Numbers]]] = []
    for kind, systems in (
        ("Generalisation", (("GSE", "gse"), ("GSE, fine-tuned", "finetuned"), ("RG-Gait", "rg_gait"))),
        ("Adaptation", (("GSE, fine-tuned", "finetuned"), ("RG-Gait", "rg_gait"))),
    ):
        for name, system in systems:
            end = "+{}" if kind == "Adaptation" else ""
            row = [_mean(cells, system + end.format(new), [new], rank) for new in settings.new for rank in RANKS]
            rows.append((f"{kind}: {name}", row))
    return StudyTable("Generalisation to unseen and adaptation to new occlusions (%)", columns, rows, _about(settings))


def write_table(table: StudyTable, path: Path, occluded: str) -> None:
    """Write ``path``.md, with mean ± standard deviation over the seeds, and .csv and .json with the two apart."""
    means = [(name, [float(np.mean(n)) for n in row]) for name, row in table.rows]
    spreads = [
        (name, [float(np.std(n, ddof=1)) if len(n) > 1 else float("nan") for n in row]) for name, row in table.rows
    ]
    count = len(table.rows[0][1][0])
    about = {**table.about, "occluded at test": {"all": "all sequences", "probes": "the probes alone"}[occluded]}
    parts = [
        Table(f"{table.title}, mean of {count} seeds", table.columns, means),
        Table(f"{table.title}, standard deviation over {count} seeds", table.columns, spreads),
    ]
    result = EvaluationResult("RG-Gait study", parts, {}, about=about)
    for suffix in (".csv", ".json"):
        write_result(result, path.with_suffix(suffix))
    with atomic_path(path.with_suffix(".md")) as temporary:
        temporary.write_text(_markdown(table, about, means, spreads), encoding="utf-8")


def _markdown(table: StudyTable, about: dict[str, Any], means: Any, spreads: Any) -> str:
    lines = [f"# {table.title}", "", *(f"* {name}: {value}" for name, value in about.items()), ""]
    lines += ["| | " + " | ".join(table.columns) + " |", "|---" * (len(table.columns) + 1) + "|"]
    for (name, row), (_, spread) in zip(means, spreads):
        cells = [
            "–" if np.isnan(m) else f"{m:.1f}" + ("" if np.isnan(s) else f" ± {s:.1f}") for m, s in zip(row, spread)
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
