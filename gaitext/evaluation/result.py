"""What every protocol returns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gaitext.errors import DataError
from gaitext.evaluation.distances import Array, as_embeddings, in_own_unit

__all__ = ["EvaluationResult", "Gait", "Table"]


@dataclass(frozen=True)
class Table:
    """Numbers with names.

    Args:
        title: what the table shows, and in which unit.
        columns: names of the columns.
        rows: name of the row and its numbers; NaN where there is no number.
        counts: names of the columns that count something: whole numbers, without decimals.
    """

    title: str
    columns: list[str]
    rows: list[tuple[str, list[float]]]
    counts: tuple[str, ...] = ()

    def cells(self, values: Sequence[float]) -> list[str]:
        """A row's numbers as text: two decimals, or none of a count; a missing number is a dash."""
        digits = [0 if column in self.counts else 2 for column in self.columns]
        return ["–" if math.isnan(value) else f"{value:.{places}f}" for value, places in zip(values, digits)]

    def __str__(self) -> str:
        """The table as Markdown; a missing number is a dash."""
        lines = [self.title, "", "| | " + " | ".join(self.columns) + " |", "|---" * (len(self.columns) + 1) + "|"]
        for name, values in self.rows:
            lines.append(f"| {name} | " + " | ".join(self.cells(values)) + " |")
        return "\n".join(lines)


@dataclass(frozen=True)
class EvaluationResult:
    """The outcome of a protocol.

    Args:
        protocol: which one, with what decides its numbers.
        tables: the numbers, in percent.
        scalars: the toolboxes' names (``scalar/test_accuracy/NM@R1``) -> percent, or what ``units`` says.
        chance: condition -> the rank-1 that choosing at random would have, in percent.
        notes: what is missing or odd. Empty for a complete test set.
        about: what decides the numbers, one by one: dataset, metric, counts, a protocol's settings.
        units: name of a scalar that is no percentage -> its unit, as it is written behind the number.
    """

    protocol: str
    tables: list[Table]
    scalars: dict[str, float]
    chance: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    about: dict[str, str | int | bool] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.protocol}\n\n{self.body()}"

    def body(self) -> str:
        """The tables and notes as Markdown."""
        return "\n\n".join([*map(str, self.tables), *(f"Note: {note}" for note in self.notes)])


@dataclass(frozen=True)
class Gait:
    """Embedded sequences: [n, c, p], and n labels, types and views as text.

    Embeddings whose squares float64 cannot hold are kept in a unit of their own. ``collapsed`` tells of embeddings that
    are all equal but for a few roundings of their numbers. They are compared like any others: embeddings that lie far
    from the origin beside their differences look like that, too, and hold enough to tell people apart.
    """

    embeddings: Array
    labels: Array
    types: Array
    views: Array
    collapsed: bool = False

    @classmethod
    def of(cls, embeddings: Array, labels: Sequence[Any], types: Sequence[str], views: Sequence[str]) -> Gait:
        """Check and convert.

        Raises:
            ShapeError: embeddings of another shape.
            DataError: lists of different lengths, no sequence, or NaN in an embedding.
        """
        counts = {"labels": len(labels), "types": len(types), "views": len(views)}
        if len(set(counts.values())) > 1 or not len(labels):
            raise DataError(f"cannot evaluate {counts}", how="give one label, type and view per embedding")
        array = as_embeddings(embeddings, len(labels))
        finite = np.isfinite(array).all((1, 2))
        if not finite.all():
            first = int(np.argmin(finite))
            raise DataError(
                f"{int((~finite).sum())} embeddings hold NaN or infinity, the first that of "
                f"{labels[first]}/{types[first]}/{views[first]}",
                how="the model has diverged, or its input is damaged (`gaitext doctor --data CONFIG`)",
            )
        array = in_own_unit(array)[1][0]
        given = np.asarray(embeddings).dtype
        collapsed = _collapsed(array, float(np.finfo(given if given.kind == "f" else array.dtype).eps))
        return cls(array, np.asarray(labels, str), np.asarray(types, str), np.asarray(views, str), collapsed)

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> Gait:
        """From a toolbox's dict of ``embeddings``, ``labels``, ``types``, ``views``."""
        return cls.of(data["embeddings"], data["labels"], data["types"], data["views"])

    def about(self, dataset: str, metric: str) -> dict[str, str | int | bool]:
        """What every protocol says of the numbers it found in these sequences."""
        return {
            "dataset": dataset,
            "metric": metric,
            "identities": len(set(self.labels.tolist())),
            "sequences": len(self),
        }

    def notes(self) -> list[str]:
        """What every protocol notes of them."""
        if not self.collapsed:
            return []
        return [
            "all embeddings are equal to within a few roundings of their numbers: the model has collapsed, or an "
            "offset hides their differences; what is left to compare is mostly rounding"
        ]

    def where(self, mask: Array) -> Gait:
        return Gait(self.embeddings[mask], self.labels[mask], self.types[mask], self.views[mask], self.collapsed)

    def __len__(self) -> int:
        return len(self.labels)


def _collapsed(embeddings: Array, eps: float) -> bool:
    """Whether no number of any embedding is further than two roundings of the largest from that of the others."""
    if len(embeddings) < 2:
        return False
    high, low = embeddings.max(0).astype(np.float64), embeddings.min(0).astype(np.float64)
    largest = max(float(np.abs(high).max()), float(np.abs(low).max()))
    return bool((high - low).max() <= 4 * eps * largest)
