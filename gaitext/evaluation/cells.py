"""Cells of a cross-view table: one for each pair of a probe view and a gallery view."""

from __future__ import annotations

import numpy as np

from gaitext.evaluation.distances import Array, distances
from gaitext.evaluation.result import Gait

__all__ = ["excluding_identical", "hits", "matched", "mean", "missing"]


def hits(probe: Gait, gallery: Gait, metric: str, ranks: int) -> Array:
    """[ranks], percent of probes with a match among the nearest 1..ranks; NaN if either is empty."""
    if not len(probe) or not len(gallery):
        return np.full(ranks, np.nan)
    return 100 * matched(probe, gallery, metric, ranks).mean(0)


def matched(probe: Gait, gallery: Gait, metric: str, ranks: int) -> Array:
    """[n, ranks], whether a probe has a match among the nearest 1..ranks of a gallery that is not empty."""
    apart = distances(probe.embeddings, gallery.embeddings, metric)
    nearest_first = np.argsort(apart, axis=1, kind="stable")[:, :ranks]
    hit = (gallery.labels[nearest_first] == probe.labels[:, None]).cumsum(1) > 0
    return np.concatenate([hit, np.repeat(hit[:, -1:], ranks - hit.shape[1], axis=1)], axis=1)


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
