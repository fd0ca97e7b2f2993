"""Biometric errors: verification (is it the same person?) and open-set identification (is it anybody enrolled?).

Terms are those of ISO/IEC 19795-1: a *false match* accepts a pair of two people, a *false non-match* rejects a pair of
one; a *false positive identification* names somebody for a probe who is not enrolled, a *false negative identification*
does not name a probe's own identity. Curves are scikit-learn's, of distances: smaller is more alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gaitext.evaluation.distances import TIE, Array
from gaitext.evaluation.searches import SHOWN, Found, Pairs, distinct

#: False match rates, and false positive identification rates, at which the other error is told.
FMR = (0.01, 0.001)
FPIR = (0.01, 0.1)


@dataclass(frozen=True)
class Verification:
    """Pairs of a probe and a gallery sequence, accepted up to a distance; t thresholds in falling order of strictness.

    Args:
        fmr: [t], false match rate, a share of impostor pairs.
        fnmr: [t], false non-match rate, a share of genuine pairs.
        thresholds: [t], distances up to which pairs are accepted; the first accepts none.
        eer: percent, where both are equal.
        fnmr_at: false match rate -> the least false non-match rate, percent, with no higher one.
        edges: [b + 1], distances.
        genuine: [b], genuine pairs between them.
        impostor: [b], impostor pairs between them.
        genuine_pairs: how many there are.
        impostor_pairs: how many there are.
    """

    fmr: Array
    fnmr: Array
    thresholds: Array
    eer: float
    fnmr_at: dict[float, float]
    edges: Array
    genuine: Array
    impostor: Array
    genuine_pairs: int
    impostor_pairs: int


@dataclass(frozen=True)
class OpenSet:
    """Searches whose nearest sequence is accepted up to a distance; t thresholds.

    A search is made twice: with all of the gallery, and with the probe's mates left out, as if it were not enrolled
    (a probe that is not enrolled has the second only).

    Args:
        fpir: [t], false positive identification rate: searches without mates that accept a sequence.
        fnir: [t], false negative identification rate: searches with mates whose nearest sequence is none of them or is
            not accepted.
        fnir_at: false positive identification rate -> the least false negative identification rate, percent, with no
            higher one.
    """

    fpir: Array
    fnir: Array
    fnir_at: dict[float, float]


def verification(pairs: Pairs | None) -> Verification | None:
    """Curves of counted pairs; None where either kind of pair is missing."""
    if pairs is None or not len(pairs.genuine) or not pairs.between.sum():
        return None
    alike = distinct(pairs.genuine)
    counts = np.diff(np.append(np.searchsorted(pairs.genuine, alike), len(pairs.genuine)))
    # Impostors stand at a genuine distance or half-way between two: where exactly changes no rate.
    beyond = [alike[0] / 2, *((alike[1:] + alike[:-1]) / 2), alike[-1] * 2 + 1]
    places = np.empty(len(pairs.between))
    places[::2], places[1::2] = beyond, alike
    some = pairs.between > 0
    fmr, fnmr, thresholds = _rates(alike, counts, places[some], pairs.between[some])
    fine = np.histogram(pairs.genuine, len(pairs.fine), (0, pairs.limit or 1))[0]
    edges, genuine, impostor = _shown(fine, pairs.fine, pairs.limit or 1)
    return Verification(
        fmr,
        fnmr,
        thresholds,
        100 * equal_error(fmr, fnmr),
        {rate: 100 * _at(fmr, fnmr, rate) for rate in FMR},
        edges,
        genuine,
        impostor,
        len(pairs.genuine),
        int(pairs.between.sum()),
    )


def open_set(found: Found) -> OpenSet | None:
    """Curves of searches; None where none has a mate, or none has a sequence of another identity."""
    rank1 = found.numbers[:, :, 0]
    searched = ~np.isnan(rank1)
    mated, other = searched & np.isfinite(found.mate), searched & np.isfinite(found.other)
    if not mated.any() or not other.any():
        return None
    share = rank1[mated]
    # A search whose mate ties with another's sequence is found by its chance, and missed by the rest of it.
    missed = max(found.mate[mated].max(), found.other[other].max()) * 2 + 1
    far = np.concatenate([found.mate[mated], np.full(int(mated.sum()), missed)])
    weight = np.concatenate([share, 1 - share])
    fpir, fnir, _ = _rates(far[weight > 0], weight[weight > 0], found.other[other], np.ones(int(other.sum())))
    accepted = slice(0, -1) if (share < 1).any() else slice(None)  # the last accepts what is beyond all
    fpir, fnir = fpir[accepted], fnir[accepted]
    return OpenSet(fpir, fnir, {rate: 100 * _at(fpir, fnir, rate) for rate in FPIR})


def equal_error(false_positive: Array, false_negative: Array) -> float:
    """Where a curve's two rates are equal, on the line between the thresholds on either side."""
    apart = false_positive - false_negative
    after = int(np.argmax(apart >= 0))
    if after == 0:
        return float(max(false_positive[0], false_negative[0]))
    before = after - 1
    step = -apart[before] / (apart[after] - apart[before])
    return float(false_positive[before] + step * (false_positive[after] - false_positive[before]))


def _rates(genuine: Array, weights: Array, impostor: Array, impostor_weights: Array) -> tuple[Array, Array, Array]:
    """False positive and false negative rates and thresholds, of distances with weights."""
    from sklearn.metrics import roc_curve  # which takes a second to import

    truth = np.concatenate([np.ones(len(genuine), np.int64), np.zeros(len(impostor), np.int64)])
    fpr, tpr, thresholds = roc_curve(
        truth,
        -np.concatenate([genuine, impostor]),
        sample_weight=np.concatenate([weights, impostor_weights]).astype(np.float64),
        drop_intermediate=False,
    )
    return fpr, np.clip(1 - tpr, 0, 1), -thresholds


def _at(false_positive: Array, false_negative: Array, rate: float) -> float:
    """The least false negative rate where the other is no more than ``rate``."""
    return float(false_negative[false_positive <= rate * (1 + TIE)].min())


def _shown(genuine: Array, impostor: Array, limit: float) -> tuple[Array, Array, Array]:
    """Fine counts put together to some :data:`SHOWN`, without the empty ends: edges, genuine, impostor."""
    some = np.flatnonzero(genuine + impostor)
    first, last = int(some[0]), int(some[-1]) + 1
    step = -(-(last - first) // SHOWN)
    starts = np.arange(first, last, step)
    edges = np.append(starts, starts[-1] + step) * (limit / len(genuine))
    padded = [np.pad(each, (0, step)) for each in (genuine, impostor)]
    return edges, *(np.array([each[i : i + step].sum() for i in starts]) for each in padded)  # type: ignore[return-value]
