"""Ranking metrics: CMC, average precision, inverse negative penalty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gaitext.errors import DataError
from gaitext.evaluation.distances import Array

__all__ = ["Ranking", "chance_rank1", "rank"]


@dataclass(frozen=True)
class Ranking:
    """Metrics of v probes that have at least one match in their gallery.

    Args:
        cmc: [k], the share of probes whose first match is among the first 1..k.
        precision: [v], average precision of each probe.
        penalty: [v], inverse negative penalty: matches over the rank of the last one.
        valid: [n], which of all probes these are.
    """

    cmc: Array
    precision: Array
    penalty: Array
    valid: Array

    @property
    def mean_precision(self) -> float:
        """mAP."""
        return float(self.precision.mean())

    @property
    def mean_penalty(self) -> float:
        """mINP."""
        return float(self.penalty.mean())


def rank(
    distances: Array,
    probe_labels: Array,
    gallery_labels: Array,
    keep: Array | None = None,
    *,
    max_rank: int = 50,
    rows: int = 512,
) -> Ranking:
    """Rank the gallery for each probe.

    Equal to the re-identification metrics of OpenGait (``evaluate_rank``, ``evaluate_many``):
    probes without a match are left out, and counted by ``valid``.

    Args:
        distances: [n, m].
        probe_labels: [n].
        gallery_labels: [m].
        keep: [n, m], false where a gallery sequence is not for that probe; None: all are.
        max_rank: how long the CMC is, at most m.
        rows: probes worked on at once, which bounds memory.

    Raises:
        DataError: no probe has a match.

    Example:
        >>> import numpy as np
        >>> ranking = rank(np.array([[0.1, 0.2, 0.3]]), np.array(["a"]), np.array(["b", "a", "a"]))
        >>> ranking.cmc.tolist(), round(ranking.mean_precision, 4), round(ranking.mean_penalty, 4)
        ([0.0, 1.0, 1.0], 0.5833, 0.6667)
    """
    count, size = distances.shape
    longest = min(max_rank, size)
    cmc = np.zeros(longest)
    precision, penalty = np.full(count, np.nan), np.full(count, np.nan)
    for start in range(0, count, rows):
        part = slice(start, start + rows)
        order = np.argsort(distances[part], axis=1, kind="stable")
        allowed = np.ones_like(order, bool) if keep is None else np.take_along_axis(keep[part], order, 1)
        match = (gallery_labels[order] == probe_labels[part][:, None]) & allowed
        matches = match.sum(1)
        valid = matches > 0
        if not valid.any():
            continue
        allowed, match, matches = allowed[valid], match[valid], matches[valid]
        # A sequence's rank among those that are allowed, from 1.
        ranks = allowed.cumsum(1)
        found = match.cumsum(1)
        indices = np.arange(start, min(start + rows, count))[valid]
        precision[indices] = np.where(match, found / np.maximum(ranks, 1), 0).sum(1) / matches
        last = match.shape[1] - 1 - match[:, ::-1].argmax(1)
        penalty[indices] = matches / np.take_along_axis(ranks, last[:, None], 1)[:, 0]
        first = np.take_along_axis(ranks, match.argmax(1)[:, None], 1)
        cmc += (first <= np.arange(1, longest + 1)).sum(0)
    valid = ~np.isnan(precision)
    if not valid.any():
        raise DataError("no probe's identity is in the gallery", how="check the types of the test set")
    return Ranking(cmc / valid.sum(), precision[valid], penalty[valid], valid)


def chance_rank1(probe_labels: Array, gallery_labels: Array) -> float:
    """The rank-1 to expect, in percent, if the nearest sequence were drawn at random."""
    if not len(probe_labels) or not len(gallery_labels):
        return float("nan")
    names, counts = np.unique(gallery_labels, return_counts=True)
    share = dict(zip(names.tolist(), counts / len(gallery_labels)))
    return 100 * float(np.mean([share.get(label, 0.0) for label in probe_labels.tolist()]))
