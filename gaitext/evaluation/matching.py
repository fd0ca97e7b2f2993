"""Where each probe's matches stand in a gallery, without sorting out the rest of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gaitext.evaluation.distances import Array, distances

__all__ = ["Matches", "Sequences", "match"]

#: Distances held at once: 64 MiB.
_HELD = 2**24


@dataclass(frozen=True)
class Sequences:
    """n embedded sequences, what they are told apart by in numbers.

    Args:
        embeddings: [n, c, p].
        identity: [n], integers.
        own: [n], integers: sequences with the same number are never compared.
    """

    embeddings: Array
    identity: Array
    own: Array

    def where(self, chosen: Array | slice) -> Sequences:
        """Those of a mask [n], of indices, or of a slice."""
        return Sequences(self.embeddings[chosen], self.identity[chosen], self.own[chosen])

    def __len__(self) -> int:
        return len(self.identity)


@dataclass(frozen=True)
class Matches:
    """What ranking a gallery gave each of n probes.

    Args:
        first: [n], rank of the nearest match, from 1; 0 where there is none.
        precision: [n], average precision; NaN where there is no match.
        chance: [n], the share of matches among the sequences compared; 0 where there is none.
        withheld: [n], whether the identity is in the gallery, but only in sequences that are not for this probe.
    """

    first: Array
    precision: Array
    chance: Array
    withheld: Array


def match(probe: Sequences, gallery: Sequences, metric: str = "euc") -> Matches:
    """Rank the gallery for each probe, as a stable sort by distance would; equals in the gallery's order.

    Only distances are sorted (which is far cheaper than sorting places), and a match's rank is
    looked up there. Probes for which a match is exactly as far as another sequence are sorted
    in full.

    Example:
        >>> import numpy as np
        >>> people = Sequences(np.array([[[0.0]], [[1.0]], [[3.0]], [[4.0]]]), np.array([0, 1, 0, 0]), np.arange(4))
        >>> found = match(people.where([0]), people)
        >>> found.first.tolist(), found.precision.round(4).tolist(), found.chance.round(4).tolist()
        ([2], [0.5833], [0.6667])
    """
    if not len(probe) or not len(gallery):
        none = np.zeros(len(probe))
        return Matches(none.astype(np.int64), none + np.nan, none, none.astype(bool))
    rows = max(1, _HELD // max(1, len(gallery)))
    parts = [_block(probe.where(slice(i, i + rows)), gallery, metric) for i in range(0, len(probe), rows)]
    return Matches(
        np.concatenate([p.first for p in parts]),
        np.concatenate([p.precision for p in parts]),
        np.concatenate([p.chance for p in parts]),
        np.concatenate([p.withheld for p in parts]),
    )


def _block(probe: Sequences, gallery: Sequences, metric: str) -> Matches:
    same, known = _pairs(probe.identity, gallery.identity)  # [n, k] places in the gallery, and which are any
    own, own_known = _pairs(probe.own, gallery.own)
    found = known & ~(gallery.own[same] == probe.own[:, None])
    compared = len(gallery) - own_known.sum(1)
    count = found.sum(1)
    none = count == 0

    apart = distances(probe.embeddings, gallery.embeddings, metric)
    row, column = np.nonzero(own_known)
    apart[row, own[row, column]] = np.inf
    ranks = np.sort(np.where(found, _ranks(apart, same, found), np.iinfo(np.int64).max), axis=1)
    steps = np.arange(1, same.shape[1] + 1)
    precision = np.where(steps <= count[:, None], steps / ranks, 0).sum(1) / np.maximum(count, 1)
    return Matches(
        np.where(none, 0, ranks[:, 0]),
        np.where(none, np.nan, precision),
        count / np.maximum(compared, 1),
        known.any(1) & none,
    )


def _pairs(probe: Array, gallery: Array) -> tuple[Array, Array]:
    """Places in ``gallery`` of each probe's number: [n, k] in order, and a mask [n, k] of those that are any."""
    order = np.argsort(gallery, kind="stable")
    begin = np.searchsorted(gallery[order], probe, "left")
    count = np.searchsorted(gallery[order], probe, "right") - begin
    steps = np.arange(max(1, count.max(initial=0)))
    places = order[np.minimum(begin[:, None] + steps, len(gallery) - 1)]
    return places, steps < count[:, None]


def _ranks(apart: Array, columns: Array, wanted: Array) -> Array:
    """Ranks, from 1, of the ``columns`` [n, k] of ``apart`` [n, m]; right where ``wanted``."""
    value = np.take_along_axis(apart, columns, 1)
    ordered = np.sort(apart, axis=1)
    nearer = _bisect(ordered, value, np.less)
    ranks = nearer + 1
    tied = (wanted & (_bisect(ordered, value, np.less_equal) > ranks)).any(1)
    if tied.any():
        order = np.argsort(apart[tied], axis=1, kind="stable")
        place = np.empty_like(order)
        np.put_along_axis(place, order, np.arange(1, apart.shape[1] + 1)[None], 1)
        ranks[tied] = np.take_along_axis(place, columns[tied], 1)
    return ranks


def _bisect(ordered: Array, value: Array, before: np.ufunc) -> Array:
    """How many of each row of ``ordered`` [n, m] come ``before`` each of ``value`` [n, k]."""
    low = np.zeros(value.shape, np.int64)
    step = 1 << max(0, ordered.shape[1].bit_length() - 1)
    while step:
        # low is right to within 2·step: take the step if all it skips comes before.
        reached = low + step
        there = np.take_along_axis(ordered, np.minimum(reached, ordered.shape[1]) - 1, 1)
        low = np.where((reached <= ordered.shape[1]) & before(there, value), reached, low)
        step >>= 1
    return low
