"""Where matches stand among a gallery, and what that counts; equally near sequences stand in random order.

A sort has to put equals in some order, and whoever sorts the files sorts them. Every number here is what it is on
average over all orders of the equals, in closed form: of t sequences equally near, m of them matches, with N sequences
and M matches before them,

* the chance of a match within the first N + j: 1 − C(t − m, j) / C(t, j), which for the nearest is m / t;
* their share of the average precision's sum: Σᵣ₌₁..ₜ m/t · (M + 1 + (r − 1)(m − 1)/(t − 1)) / (N + r);
* the last match at N + l with probability C(l − 1, m − 1) / C(t, m).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from gaitext.errors import DataError
from gaitext.evaluation.distances import TIE, Array, Nearest, Reference

#: Distances held at once: 64 MiB.
_HELD = 2**24


@dataclass(frozen=True)
class Standing:
    """What ranking a gallery gives each of n probes.

    Args:
        count: [n], matches.
        first: where the nearest match stands.
        last: where the farthest does.
        precision: [n], average precision; NaN where there is no match.
        mixed: [n], whether any match is exactly as near as another's sequence.
    """

    count: Array
    first: Nearest
    last: Nearest
    precision: Array
    mixed: Array

    @property
    def penalty(self) -> Array:
        """[n], inverse negative penalty: matches over the rank of the last one; NaN where there is no match."""
        last = self.last
        found = self.count / np.maximum(last.before + last.size, 1)
        for i in np.flatnonzero(last.mixed):
            place = (int(last.before[i]), int(last.size[i]), int(last.matches[i]))
            found[i] = self.count[i] * _inverse_of_last(*place)
        return np.where(self.count > 0, found, np.nan)


def standing(apart: Array, columns: Array, wanted: Array) -> Standing:
    """Rank a gallery for each probe.

    Only distances are sorted, which is far cheaper than sorting places, and matches are looked up there.

    Args:
        apart: [n, m]; infinite where a gallery sequence is not for that probe.
        columns: [n, k], places of the probe's matches in the gallery.
        wanted: [n, k], which of them are any.
    """
    size = apart.shape[1]
    count = wanted.sum(1)
    value = np.sort(np.where(wanted, np.take_along_axis(apart, columns, 1), np.inf), axis=1)
    ordered = np.sort(apart, axis=1)
    before = np.minimum(_bisect(ordered, value), size - 1)
    equals = np.ones_like(before)
    steps = np.arange(value.shape[1])
    matched_before, matches = np.broadcast_to(steps, before.shape).copy(), equals.copy()
    with np.errstate(invalid="ignore"):  # infinite less infinite
        joined = ordered[:, 1:] - ordered[:, :-1] <= TIE * ordered[:, :-1]
    rows = np.flatnonzero(joined.any(1))
    if len(rows):
        begin, end = _runs(~joined[rows])
        begin, end = (np.take_along_axis(each, before[rows], 1) for each in (begin, end))
        before[rows], equals[rows] = begin, end - begin
        # Past the last match each stands alone, so that none joins it.
        own = np.where(steps < count[rows, None], begin, size + steps)
        begin, end = _runs(own[:, 1:] != own[:, :-1])
        matched_before[rows], matches[rows] = begin, end - begin
    valid = steps < count[:, None]
    mixed = valid & (matches < equals)
    shares = np.where(valid, (steps + 1) / (before + 1 + steps - matched_before), 0)
    if mixed.any():
        shares[mixed] = _share(before[mixed], equals[mixed], matched_before[mixed], matches[mixed])
    precision = np.where(count > 0, shares.sum(1) / np.maximum(count, 1), np.nan)
    first, last = (
        Nearest(
            *(
                np.where(count > 0, np.take_along_axis(each, place[:, None], 1)[:, 0], 0)
                for each in (before, equals, matches)
            )
        )
        for place in (np.zeros_like(count), np.maximum(count - 1, 0))
    )
    return Standing(count, first, last, precision, mixed.any(1))


@dataclass(frozen=True)
class Ranking:
    """Metrics of v probes that have at least one match in their gallery.

    Args:
        cmc: [k], the share of probes whose first match is among the first 1..k.
        precision: [v], average precision of each probe.
        penalty: [v], inverse negative penalty: matches over the rank of the last one.
        valid: [n], which of all probes these are.
        mixed: [v], whether a match is exactly as near as another's sequence.
    """

    cmc: Array
    precision: Array
    penalty: Array
    valid: Array
    mixed: Array

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

    Equal to the re-identification metrics of OpenGait (``evaluate_rank``, ``evaluate_many``), which rank equally near
    sequences in some order of the files; here each number is its mean over all orders. Probes without a match are left
    out, and counted by ``valid``.

    Args:
        distances: [n, m]; an infinite one is of a sequence that is not for that probe.
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
    numbers = np.unique(np.concatenate([probe_labels, gallery_labels]), return_inverse=True)[1].reshape(-1)
    hits = np.zeros(min(max_rank, size))
    precision, penalty, mixed = np.full(count, np.nan), np.full(count, np.nan), np.zeros(count, bool)
    for start in range(0, count, rows) if size else ():
        part = slice(start, min(start + rows, count))
        apart = np.array(distances[part], np.float64)
        if keep is not None:
            apart[~keep[part]] = np.inf
        columns, known = places_of(numbers[part], numbers[count:])
        found = standing(apart, columns, known & np.isfinite(np.take_along_axis(apart, columns, 1)))
        precision[part], penalty[part], mixed[part] = found.precision, found.penalty, found.mixed
        hits += found.first.within(len(hits)).sum(0)
    valid = ~np.isnan(precision)
    if not valid.any():
        raise DataError("no probe's identity is in the gallery", how="check the types of the test set")
    return Ranking(hits / valid.sum(), precision[valid], penalty[valid], valid, mixed[valid])


def chance_rank1(probe_labels: Array, gallery_labels: Array) -> float:
    """The rank-1 to expect, in percent, if the nearest sequence were drawn at random."""
    if not len(probe_labels) or not len(gallery_labels):
        return float("nan")
    names, counts = np.unique(gallery_labels, return_counts=True)
    share = dict(zip(names.tolist(), counts / len(gallery_labels)))
    return 100 * float(np.mean([share.get(label, 0.0) for label in probe_labels.tolist()]))


def places_of(probe: Array, gallery: Array) -> tuple[Array, Array]:
    """Places in ``gallery`` [m] of each number of ``probe`` [n]: [n, k] in order, and a mask of those that are any."""
    order = np.argsort(gallery, kind="stable")
    begin = np.searchsorted(gallery[order], probe, "left")
    count = np.searchsorted(gallery[order], probe, "right") - begin
    steps = np.arange(max(1, count.max(initial=0)))
    places = order[np.minimum(begin[:, None] + steps, len(gallery) - 1)]
    return places, steps < count[:, None]


def _bisect(ordered: Array, value: Array) -> Array:
    """How many of each row of ``ordered`` [n, m] are less than each of ``value`` [n, k]."""
    low = np.zeros(value.shape, np.int64)
    step = 1 << max(0, ordered.shape[1].bit_length() - 1)
    while step:
        # low is right to within 2·step: take the step if all it skips comes before.
        reached = low + step
        there = np.take_along_axis(ordered, np.minimum(reached, ordered.shape[1]) - 1, 1)
        low = np.where((reached <= ordered.shape[1]) & (there < value), reached, low)
        step >>= 1
    return low


def _runs(starts: Array) -> tuple[Array, Array]:
    """First place and the place after the last of the run that each of m places is in, [n, m] each.

    Args:
        starts: [n, m − 1], whether a run begins at places 1..m − 1.
    """
    size = starts.shape[1] + 1
    begin = np.zeros((len(starts), size), np.int64)
    np.maximum.accumulate(np.where(starts, np.arange(1, size), 0), axis=1, out=begin[:, 1:])
    end = np.full_like(begin, size)
    ends = np.where(starts, np.arange(1, size), size)[:, ::-1]
    end[:, :-1] = np.minimum.accumulate(ends, axis=1)[:, ::-1]
    return begin, end


def _share(before: Array, size: Array, matched: Array, matches: Array) -> Array:
    """What one match of a mixed group adds to the sum of precisions, on average; all [g]."""
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, (before + size).max() + 1))])
    slope = (matches - 1) / (size - 1)
    rest = (matched + 1 - slope * (before + 1)) * (harmonic[before + size] - harmonic[before])
    return np.asarray(slope + rest / size)


@functools.lru_cache(maxsize=4096)
def _inverse_of_last(before: int, size: int, matches: int) -> float:
    """The mean of one over the rank of the last of ``matches``, in random order among ``size`` after ``before``."""
    place = np.arange(size, matches - 1, -1)
    chance = matches / size * np.cumprod(np.concatenate([[1.0], (place[:-1] - matches) / (place[:-1] - 1)]))
    return float((chance / (before + place)).sum())


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
    """What ranking a gallery gave each of n probes; equally near sequences stand in random order.

    Args:
        first: where the nearest match stands.
        precision: [n], average precision; NaN where there is no match.
        chance: [n], the share of matches among the sequences compared; 0 where there is none.
        withheld: [n], whether the identity is in the gallery, but only in sequences that are not for this probe.
        mixed: [n], whether a match is exactly as near as another's sequence.
    """

    first: Nearest
    precision: Array
    chance: Array
    withheld: Array
    mixed: Array


def match(probe: Sequences, gallery: Sequences, metric: str = "euc") -> Matches:
    """Rank the gallery for each probe.

    Example:
        >>> import numpy as np
        >>> people = Sequences(np.array([[[0.0]], [[1.0]], [[3.0]], [[4.0]]]), np.array([0, 1, 0, 0]), np.arange(4))
        >>> found = match(people.where([0]), people)
        >>> found.first.within(3).tolist(), found.precision.round(4).tolist(), found.chance.round(4).tolist()
        ([[0.0, 1.0, 1.0]], [0.5833], [0.6667])
    """
    if not len(probe) or not len(gallery):
        none = np.zeros(len(probe))
        never = none.astype(bool)
        places = none.astype(np.int64)
        return Matches(Nearest(places, places, places), none + np.nan, none, never, never)
    reference = Reference(gallery.embeddings, metric)
    rows = max(1, _HELD // max(1, len(gallery)))
    parts = [_block(probe.where(slice(i, i + rows)), gallery, reference) for i in range(0, len(probe), rows)]
    ranked, chance, withheld = zip(*parts)

    def joined(of: str) -> Array:
        return np.concatenate([getattr(each, of) for each in ranked])

    first = (np.concatenate([getattr(each.first, of) for each in ranked]) for of in ("before", "size", "matches"))
    return Matches(
        Nearest(*first), joined("precision"), np.concatenate(chance), np.concatenate(withheld), joined("mixed")
    )


def _block(probe: Sequences, gallery: Sequences, reference: Reference) -> tuple[Standing, Array, Array]:
    """How the gallery ranks, chance and withheld."""
    same, known = places_of(probe.identity, gallery.identity)  # [n, k] places in the gallery, and which are any
    own, own_known = places_of(probe.own, gallery.own)
    wanted = known & ~(gallery.own[same] == probe.own[:, None])
    compared = len(gallery) - own_known.sum(1)
    apart = reference.distances(probe.embeddings)
    row, column = np.nonzero(own_known)
    apart[row, own[row, column]] = np.inf
    found = standing(apart, same, wanted)
    return found, found.count / np.maximum(compared, 1), known.any(1) & (found.count == 0)
