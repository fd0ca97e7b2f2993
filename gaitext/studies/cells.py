"""Cells of a study: a system, trained with a seed, tested under a condition; and sums of cells."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gaitext.errors import ConfigError, DataError, suggest
from gaitext.evaluation.result import json_number
from gaitext.store import write_json
from gaitext.studies.tasks import Task


@dataclass(frozen=True)
class Cell:
    """What one test found.

    Attributes:
        system: what was trained.
        condition: what it was tested on: data, an occlusion, a kind of video.
        seed: of the training.
        scalars: metric -> number of all test identities, such as ``{"NM": 34.4, "mean": 30.1}``.
        people: metric -> test identity -> the same number of that identity's probes alone, in the whole
            gallery. Where a protocol's numbers are means over probes, and all identities have as many, their mean is
            the scalar. Empty where the host keeps it to itself.
    """

    system: str
    condition: str
    seed: int
    scalars: Mapping[str, float]
    people: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.system}@{self.condition}, seed {self.seed}"

    def number(self, metric: str) -> float:
        """A scalar.

        Raises:
            ConfigError: there is no such metric.
        """
        if metric not in self.scalars:
            raise ConfigError(f"has no '{metric}'", where=self.name, how=suggest(metric, self.scalars))
        return self.scalars[metric]

    def write(self, path: Path, **about: Any) -> None:
        """As JSON, whole or not at all; ``about`` is what it was made of."""
        write_json(path, {**self.plain(), "about": about})

    def plain(self) -> dict[str, Any]:
        """For JSON; null where there is no number."""
        return {
            "system": self.system,
            "condition": self.condition,
            "seed": self.seed,
            "scalars": {metric: json_number(value) for metric, value in self.scalars.items()},
            "people": {metric: {i: json_number(v) for i, v in of.items()} for metric, of in self.people.items()},
        }

    @classmethod
    def read(cls, path: Path) -> tuple[Cell, dict[str, Any]]:
        """A cell and what it was made of.

        Raises:
            DataError: the file holds no cell.
        """

        def numbers(of: Mapping[str, float | None]) -> dict[str, float]:
            return {name: math.nan if value is None else float(value) for name, value in of.items()}

        try:
            read = json.loads(path.read_text(encoding="utf-8"))
            people = {metric: numbers(of) for metric, of in read["people"].items()}
            scalars = numbers(read["scalars"])
            return cls(read["system"], read["condition"], int(read["seed"]), scalars, people), read["about"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"holds no cell ({error!r})", where=path, how="delete it: it will be made again") from error


class Cells:
    """All cells of a study, by system and condition.

    Raises:
        DataError: two cells of one system, condition and seed.
    """

    def __init__(self, cells: Iterable[Cell]) -> None:
        self._of: dict[tuple[str, str], dict[int, Cell]] = {}
        for cell in cells:
            seeds = self._of.setdefault((cell.system, cell.condition), {})
            if cell.seed in seeds:
                raise DataError("there are two cells", where=cell.name)
            seeds[cell.seed] = cell

    def __iter__(self) -> Iterator[Cell]:
        return iter([cell for seeds in self._of.values() for cell in seeds.values()])

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))

    def of(self, system: str, condition: str, seeds: Collection[int] | None = None) -> list[Cell]:
        """All seeds' cells, or those of ``seeds``, seeds ascending; empty where there is none."""
        there = self._of.get((system, condition), {})
        return [there[seed] for seed in sorted(there) if seeds is None or seed in seeds]

    def numbers(self, system: str, condition: str, metric: str) -> list[float]:
        """A number for each seed.

        Raises:
            ConfigError: the cells have no such metric.
        """
        return [cell.number(metric) for cell in self.of(system, condition)]

    def people(
        self, system: str, condition: str, metric: str, seeds: Collection[int] | None = None
    ) -> dict[str, list[float]]:
        """Identity -> a number for each seed, identities sorted; empty where a cell does not know its identities'.

        Raises:
            DataError: seeds were tested on different identities.
        """
        cells = self.of(system, condition, seeds)
        if not cells or any(metric not in cell.people for cell in cells):
            return {}
        names = sorted(cells[0].people[metric])
        if any(sorted(cell.people[metric]) != names for cell in cells):
            raise DataError("seeds were tested on different identities", where=f"{system}@{condition}")
        return {name: [cell.people[metric][name] for cell in cells] for name in names}


@dataclass(frozen=True)
class WeightedSum:
    """A weighted sum of cells, identity by identity.

    Args:
        system, condition, seed: of the cell to be made.
        parts: weights and cells' files.
        cell: the file to write.
        about: what it is made of; None: the parts' files, whose folders' names tell what they are made of.
    """

    system: str
    condition: str
    seed: int
    parts: tuple[tuple[float, Path], ...]
    cell: Path
    about: Mapping[str, Any] | None = None

    @property
    def made_of(self) -> Mapping[str, Any]:
        named = [[weight, f"{part.parent.name}/{part.name}"] for weight, part in self.parts]
        return {"sum of": named} if self.about is None else self.about

    def task(self, name: str, needs: tuple[str, ...], *, alone: bool = False) -> Task:
        return Task(name, add_cells, self, self.cell, self.made_of, needs, alone)


def add_cells(wanted: WeightedSum) -> None:
    """Write the cell: of the metrics that all parts have.

    Raises:
        DataError: the parts were tested on different identities.
    """
    weights, cells = [weight for weight, _ in wanted.parts], [Cell.read(part)[0] for _, part in wanted.parts]

    def total(of: list[Mapping[str, float]], name: str) -> float:
        return math.fsum(weight * each[name] for weight, each in zip(weights, of))

    numbers = [cell.scalars for cell in cells]
    scalars = {metric: total(numbers, metric) for metric in numbers[0] if all(metric in of for of in numbers)}
    people: dict[str, dict[str, float]] = {}
    for metric in cells[0].people:
        if metric not in scalars or any(metric not in cell.people for cell in cells):
            continue
        parts = [cell.people[metric] for cell in cells]
        if any(part.keys() != parts[0].keys() for part in parts):
            raise DataError(f"{' and '.join(c.name for c in cells)} were tested on different identities")
        people[metric] = {name: total(parts, name) for name in parts[0]}
    Cell(wanted.system, wanted.condition, wanted.seed, scalars, people).write(wanted.cell, **wanted.made_of)
