"""How sure numbers of people are: intervals by resampling people, and tests by exchanging two systems' outcomes.

People are a sample of all people. So they are resampled, and all their probes go with them; a number is then formed
again as the protocol forms it, from cells of probe views and galleries.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from gaitext.errors import ConfigError
from gaitext.evaluation.cross_view import mean_along
from gaitext.evaluation.distances import Array
from gaitext.evaluation.searches import NUMBERS, Found

#: Indices of people held at once.
_HELD = 2**22


def check_level(level: float, resamples: int) -> None:
    """Refuse an interval's level or number of resamples that is out of range.

    Raises:
        ConfigError: it is.
    """
    if not 0 < level < 1:
        raise ConfigError(f"is {level}", where="level", how="give a share, such as 0.95")
    if resamples < 1:
        raise ConfigError(f"is {resamples}", where="resamples", how="draw at least once")


@dataclass(frozen=True)
class People:
    """Each person's share in the numbers of a condition.

    Args:
        names: [i], identities that have a probe that counts.
        sums: [i, R, C, 5], sums over their probes of :data:`~gaitext.evaluation.searches.NUMBERS`, as shares.
        counts: [i, R, C, 5], of how many probes.
    """

    names: list[str]
    sums: Array
    counts: Array

    @classmethod
    def of(cls, labels: Array, found: Found) -> People:
        """Of the sequences' labels [N]."""
        row = found.search.placed()[0]
        owners = labels[found.search.probe]
        there = ~np.isnan(found.numbers)
        counted = there.any((1, 2))
        names = np.unique(owners[counted])
        shape = (len(names), *found.hits.shape[:2], len(NUMBERS))
        sums, counts = np.zeros(shape), np.zeros(shape)
        whose = np.searchsorted(names, owners[counted])
        np.add.at(sums, (whose, row[counted]), np.where(there, found.numbers, 0)[counted])
        np.add.at(counts, (whose, row[counted]), there[counted])
        return cls(names.tolist(), sums, counts)

    def where(self, chosen: Sequence[int] | Array) -> People:
        """Those at some places."""
        return People([self.names[i] for i in chosen], self.sums[chosen], self.counts[chosen])

    def scores(self, weights: Array | None = None) -> Array:
        """[…, 5] percent, the protocol's numbers with people counted so many times; all once without weights.

        Args:
            weights: […, i].
        """
        if not self.names:
            return np.full((*(() if weights is None else weights.shape[:-1]), len(NUMBERS)), np.nan)
        weights = np.ones(len(self.names)) if weights is None else weights
        shape = self.sums.shape
        flat = weights.astype(np.float64) @ np.concatenate(
            [self.sums.reshape(shape[0], -1), self.counts.reshape(shape[0], -1)], 1
        )
        sums, counts = np.split(flat, 2, axis=-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            cells = (100 * sums / np.where(counts > 0, counts, np.nan)).reshape(*weights.shape[:-1], *shape[1:])
        return mean_along(mean_along(cells, -2), -2)

    def cells(self) -> Array:
        """[R, C, 5] percent."""
        with np.errstate(invalid="ignore"):
            counts = self.counts.sum(0)
            return np.asarray(100 * self.sums.sum(0) / np.where(counts > 0, counts, np.nan))

    def each(self, number: int = 0) -> dict[str, float]:
        """Identity -> its own probes' number, percent."""
        if not self.names:
            return {}
        return dict(zip(self.names, self.scores(np.eye(len(self.names)))[:, number].tolist()))

    def shares(self, number: int = 0) -> Array:
        """[i], percent, which add up to the protocol's number."""
        counts = self.counts[..., number].sum(0)
        there = counts > 0
        rows = there.sum(1)
        weight = np.where(there, 1 / np.maximum(counts, 1), 0) / np.maximum(rows, 1)[:, None] / max(1, (rows > 0).sum())
        return np.asarray(100 * (self.sums[..., number] * weight).sum((1, 2)))


def interval(
    statistic: Callable[[Array], Array], people: int, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[Array, Array]:
    """Bias-corrected and accelerated bootstrap intervals over people (Efron 1987, by :func:`scipy.stats.bootstrap`).

    Args:
        statistic: of weights […, people], how often each person counts, to […, k] numbers.
        people: how many there are.
        level: that the intervals cover.
        resamples: how often people are drawn.
        seed: of the draws.

    Returns:
        Lower and upper ends, [k] each; NaN where there are fewer than two people, where a number does not change
        with the people drawn, as 100 % of everybody does not, and where some draw has no number.
    """
    check_level(level, resamples)
    if people < 2:
        return (np.full_like(statistic(np.ones(people)), np.nan),) * 2

    def drawn(places: Array, axis: int = -1) -> Array:
        lines = places.reshape(-1, places.shape[-1])
        line = np.repeat(np.arange(len(lines)), lines.shape[1])
        weights = np.bincount(line * people + lines.reshape(-1), minlength=len(lines) * people)
        found = statistic(weights.reshape(*places.shape[:-1], people))
        return np.moveaxis(found, -1, 0)

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of degenerate distributions, which are NaN here
        found = stats.bootstrap(
            (np.arange(people),),
            drawn,
            vectorized=True,
            n_resamples=resamples,
            batch=max(1, min(resamples, _HELD // people)),
            confidence_level=level,
            method="BCa",
            random_state=np.random.default_rng(seed),
        ).confidence_interval
    low, high = np.asarray(found.low, np.float64), np.asarray(found.high, np.float64)
    same = ~(high > low)
    return np.where(same, np.nan, low), np.where(same, np.nan, high)


def permutation(differences: Array, *, resamples: int = 9999, seed: int = 0) -> float:
    """Two-sided p of people's differences [i] between two systems, if it were by chance which system had which outcome.

    Signs are flipped person by person (:func:`scipy.stats.permutation_test`): all 2ⁱ ways where they are no more than
    ``resamples``, and otherwise as many random ones, of which the one that was found is counted as one more.

    Returns:
        NaN without anybody.
    """
    if not len(differences):
        return float("nan")
    if not differences.any():
        return 1.0
    return float(
        stats.permutation_test(
            (differences,),
            lambda values, axis: np.sum(values, axis=axis),
            permutation_type="samples",
            vectorized=True,
            n_resamples=resamples,
            batch=max(1, _HELD // len(differences)),
            random_state=np.random.default_rng(seed),
        ).pvalue
    )
