"""Cells of a cross-view table: one for each pair of a probe view and a gallery view."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from gaitext.evaluation.distances import Array, Reference
from gaitext.evaluation.ranking import nearest
from gaitext.evaluation.result import Gait

__all__ = ["Shown", "excluding_identical", "listed", "mean", "missing", "ties"]


class Shown:
    """The gallery of a cell.

    Args:
        gallery: its sequences; there may be none.
        metric: ``euc`` or ``cos``.
    """

    def __init__(self, gallery: Gait, metric: str) -> None:
        self.labels = gallery.labels
        self._reference = Reference(gallery.embeddings, metric)

    def __len__(self) -> int:
        return len(self.labels)

    def matched(self, probe: Gait, ranks: int) -> tuple[Array, Array]:
        """[n, ranks], the chance of a match among the nearest 1..ranks, and [n], whether equals decide it.

        The chance is 0 or 1, unless a match is exactly as near as another's sequence.
        """
        found = nearest(self._reference.distances(probe.embeddings), probe.labels[:, None] == self.labels)
        return found.within(ranks), found.mixed & (found.before < ranks)


def ties(condition: str, tied: Array, where: str = "") -> list[str]:
    """A note on the probes [n] for which equally near sequences decide."""
    if not tied.any():
        return []
    return [
        f"{condition}: {tied.sum()} of {len(tied)} probes tie: a match is exactly as near as another identity's "
        f"sequence{where}; each counts by what it is on average over all orders of the equals"
    ]


def excluding_identical(cells: Array) -> Array:
    """Mean over gallery views other than the probe's: [V, V, …] -> [V, …], skipping NaN."""
    masked = cells.copy()
    masked[np.arange(len(cells)), np.arange(len(cells))] = np.nan
    there = ~np.isnan(masked)
    total = np.where(there, masked, 0).sum(1)
    return np.where(there.any(1), total / np.maximum(there.sum(1), 1), np.nan)


def mean(values: Array) -> float:
    """Mean of the numbers that are there; NaN if none is."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else float("nan")


def missing(condition: str, views: list[str], cells: Array, probes: int) -> list[str]:
    """Notes on the pairs of views without a number in ``cells`` [V, V], of a condition with ``probes`` probes."""
    if not probes:
        return [f"{condition}: there are no probes; it has no number"]
    off_diagonal = ~np.eye(len(views), dtype=bool)
    gone = np.isnan(cells) & off_diagonal
    if not gone.any():
        return []
    listed = [f"{views[i]}→{views[j]}" for i, j in np.argwhere(gone)]
    more = f" and {len(listed) - 6} more" if len(listed) > 6 else ""
    return [f"{condition}: no probes or no gallery to compare for {', '.join(listed[:6])}{more}; left out of the means"]


def listed(names: Iterable[str], most: int = 12) -> str:
    """Sorted names without doubles, cut short; "none" if there is none."""
    names = sorted(set(names))
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "") or "none"
