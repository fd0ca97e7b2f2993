"""Cells made of other cells: means over conditions, differences of systems."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gaitext.errors import DataError
from gaitext.studies.cells import Cell
from gaitext.studies.tasks import Task, plain

__all__ = ["Combination", "combine"]


@dataclass(frozen=True)
class Combination:
    """A weighted sum of cells of one seed, identity by identity.

    Args:
        system, condition, seed: of the cell to be made.
        parts: cells' files, and their weights.
        cell: the file to write.
    """

    system: str
    condition: str
    seed: int
    parts: tuple[tuple[float, Path], ...]
    cell: Path

    @property
    def about(self) -> Mapping[str, object]:
        """The parts' files, whose folders' names tell what they are made of."""
        return {"sum of": [[weight, f"{part.parent.name}/{part.name}"] for weight, part in self.parts]}

    def task(self, needs: tuple[str, ...]) -> Task:
        """After the tasks that write the parts."""
        name = f"reckon {self.system}@{self.condition}, seed {self.seed}"
        return Task(name, combine, self, self.cell, self.about, needs)


def combine(combination: Combination) -> None:
    """Write the cell: of the metrics that all parts have.

    Raises:
        DataError: the parts were tested on different identities.
    """
    weights = [weight for weight, _ in combination.parts]
    cells = [Cell.read(part)[0] for _, part in combination.parts]
    first = cells[0]
    scalars = {
        metric: _sum(weights, [cell.scalars[metric] for cell in cells])
        for metric in first.scalars
        if all(metric in cell.scalars for cell in cells)
    }
    people: dict[str, dict[str, float]] = {}
    for metric, of in first.people.items():
        if metric not in scalars or any(metric not in cell.people for cell in cells):
            continue
        if any(cell.people[metric].keys() != of.keys() for cell in cells):
            raise DataError(f"{' and '.join(c.name for c in cells)} were tested on different identities")
        people[metric] = {name: _sum(weights, [cell.people[metric][name] for cell in cells]) for name in of}
    made = Cell(combination.system, combination.condition, combination.seed, scalars, people)
    made.write(combination.cell, **plain(combination.about))


def _sum(weights: Sequence[float], values: Sequence[float]) -> float:
    return math.fsum(weight * value for weight, value in zip(weights, values))
