"""What cells say: means, intervals and verdicts.

Two things make a study's numbers uncertain, and each has an interval of its own. *Test identities* are a sample of all
people: they are resampled (percentile bootstrap), seeds averaged, which says what other people would have shown of
these very networks. *Training seeds* are a sample of all trainings: too few to resample, so theirs is Student's
t-interval of the seeds' numbers, which says what other trainings would have shown of these very people. A claim is
decided where both intervals, and every single seed, are on one side of its bound (:func:`decide`). One seed says
nothing of other trainings and decides nothing. Intervals are not widened for there being many claims, and with few
identities (below some ten) a percentile bootstrap is known to be too narrow.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitext.errors import ConfigError, ShapeError
from gaitext.studies.cells import Cells
from gaitext.studies.settings import ClaimSettings

Array = npt.NDArray[Any]

#: Of every interval that a study reports.
LEVEL = 0.95
SAMPLES = 10_000

#: Indices drawn at once, which bounds memory whatever the number of identities.
_AT_ONCE = 2_000_000
#: Two means that are further apart are not the same number.
_SAME = 1e-6


@dataclass(frozen=True)
class Summary:
    """A metric of a system under a condition.

    Attributes:
        mean: over seeds, of all identities' numbers.
        sd: their standard deviation over seeds (ddof = 1); NaN for one seed.
        low, high: interval over identities, seeds averaged; NaN where their numbers are not known.
        seeds: that have a number.
        identities: that were resampled.
        centre: mean over identities, which the interval is of. It is ``mean`` unless identities have unequal numbers
            of probes.
        by_seed: seed -> number.
    """

    mean: float
    sd: float
    low: float
    high: float
    seeds: int
    identities: int
    centre: float = math.nan
    by_seed: Mapping[int, float] = field(default_factory=dict)

    @property
    def is_uneven(self) -> bool:
        """Whether the interval is of another mean than ``mean``."""
        return abs(self.centre - self.mean) > _SAME  # NaN is not


@dataclass(frozen=True)
class Comparison:
    """A claim, decided.

    Attributes:
        claim: which.
        verdict: one of :data:`gaitext.report.study.VERDICTS`, see :func:`decide`; ``not run`` where cells are missing.
        difference: mean over seeds; positive where ``better`` is better, for distances, too.
        sd: standard deviation (ddof = 1) over seeds of each seed's difference; NaN for one seed.
        low, high: interval over identities of the mean of their differences, seeds averaged; NaN where unknown.
        seed_low, seed_high: Student's interval over seeds of their differences' mean; NaN for one seed.
        seeds: that both sides have.
        identities: that were resampled; the lesser number where each side was resampled by itself.
        by_seed: seed -> difference.
        note: what a reader has to know of it; may be empty.
    """

    claim: ClaimSettings
    verdict: str
    difference: float
    sd: float
    low: float
    high: float
    seed_low: float
    seed_high: float
    seeds: int
    identities: int
    by_seed: Mapping[int, float]
    note: str


def bootstrap(
    values: npt.ArrayLike, *, level: float = LEVEL, samples: int = SAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean over identities.

    A row's seeds are averaged first; then rows are drawn with replacement, as many as there are. Seeds are not
    resampled. The same rows in the same order give the same interval, and negated ones its exact mirror image.

    Args:
        values: [n] or [n, seeds], a row for each identity. NaN is no number: means are over the others, and rows
            without any are left out.
        level: that the interval covers, in (0, 1).
        samples: how often identities are drawn.
        seed: of the draws.

    Returns:
        (low, high); NaN for fewer than two rows.

    Raises:
        ShapeError: values of another shape.
        ConfigError: level or samples out of range.

    >>> bootstrap([3.0, 3.0, 3.0])
    (3.0, 3.0)
    """
    if samples < 1:
        raise ConfigError(f"is {samples}", where="samples", how="draw at least once")
    return _interval(_resampled_means(_row_means(values), samples, seed), level)


def _resampled_means(rows: Array, samples: int = SAMPLES, seed: int = 0, stream: int = 0) -> Array:
    """Means [samples] of rows drawn with replacement, as :func:`bootstrap` draws them; empty for fewer than two rows.

    Another ``stream`` draws other rows for the same seed.
    """
    count = len(rows)
    if count < 2:
        return np.empty(0)
    generator = np.random.default_rng(seed if stream == 0 else [seed, stream])
    means = np.empty(samples)
    step = max(1, _AT_ONCE // count)
    for start in range(0, samples, step):
        end = min(start + step, samples)
        means[start:end] = rows[generator.integers(count, size=(end - start, count))].mean(1)
    return means


def _row_means(values: npt.ArrayLike) -> Array:
    """Each row's mean of the numbers that are there; rows without any are left out.

    Raises:
        ShapeError: neither [n] nor [n, seeds].
    """
    array = np.asarray(values, float)
    if array.ndim == 1:
        return array[~np.isnan(array)]
    if array.ndim != 2:
        raise ShapeError(f"has shape {array.shape}", where="values", how="give [n] or [n, seeds]")
    there = ~np.isnan(array)
    counts = there.sum(1)
    known = counts > 0
    return np.where(there, array, 0).sum(1)[known] / counts[known]


def _interval(means: Array, level: float) -> tuple[float, float]:
    _check_level(level)
    if not len(means):
        return math.nan, math.nan
    tail = (1 - level) / 2
    # Both ends are found as a lower one: so an interval of negated values is the mirror image, to the last bit.
    return float(np.quantile(means, tail)), -float(np.quantile(-means, tail))


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ConfigError(f"is {level}", where="level", how="give a share, such as 0.95")


def seed_interval(values: Iterable[float], *, level: float = LEVEL) -> tuple[float, float]:
    """Student's t-interval of the mean over seeds: mean ± t · sd / √n, with n − 1 degrees of freedom.

    Negated values have the mirror image, to the last bit.

    Args:
        values: a number for each seed.
        level: that the interval covers, in (0, 1).

    Returns:
        (low, high); NaN for fewer than two seeds.

    Raises:
        ConfigError: level out of range.

    >>> [round(end, 2) for end in seed_interval([1.0, 2.0, 3.0])]
    [-0.48, 4.48]
    """
    numbers = np.asarray(list(values), float)
    _check_level(level)
    if len(numbers) < 2:
        return math.nan, math.nan
    half = _student(level, len(numbers) - 1) * float(np.std(numbers, ddof=1)) / math.sqrt(len(numbers))
    return float(np.mean(numbers)) - half, float(np.mean(numbers)) + half


@functools.lru_cache(maxsize=64)
def _student(level: float, freedom: int) -> float:
    """t with P(|T| ≤ t) = ``level``, by bisection of Abramowitz and Stegun's 26.7.3 and 26.7.4 (θ = arctan(t / √ν))."""

    def inside(angle: float) -> float:
        sine, cosine = math.sin(angle), math.cos(angle)
        odd = freedom % 2
        total = 0.0
        term = cosine if odd else 1.0
        for k in range(1 + odd, freedom, 2):
            total += term
            term *= (k / (k + 1)) * cosine**2
        return 2 / math.pi * (angle + sine * total) if odd else sine * total

    low, high = 0.0, math.pi / 2
    for _ in range(80):  # to the last bit of a float
        middle = (low + high) / 2
        low, high = (middle, high) if inside(middle) < level else (low, middle)
    return math.tan(low) * math.sqrt(freedom)


def decide(low: float, high: float, by_seed: Iterable[float], by: float = 0.0) -> str:
    """A verdict on a difference that is claimed to be more than ``by``.

    The claim **holds** where all of these are above ``by``: the interval over identities, that over seeds
    (:func:`seed_interval`), and each seed's difference. It **does not hold** where all are below. Anything else is
    **undecided**: so are a difference that is on both sides of ``by`` from seed to seed, and that of one seed.

    Args:
        low, high: interval over identities; NaN decides nothing.
        by_seed: each seed's difference.
        by: the bound.

    >>> decide(0.5, 3, [1.0, 1.2, 0.9]), decide(-3, -0.5, [-1.0, -1.2]), decide(-1, 2, [1.0, 1.2])
    ('holds', 'undecided', 'undecided')
    >>> decide(0.5, 3, [4.0, -1.0, 2.0]), decide(0.5, 3, [1.0])
    ('undecided', 'undecided')
    """
    seeds = list(by_seed)
    ends = [low, high, *seed_interval(seeds), *seeds]
    if all(end > by for end in ends):
        return "holds"
    return "does not hold" if all(end < by for end in ends) else "undecided"  # NaN is neither


@functools.lru_cache(maxsize=1024)  # tables, plots and results ask for the same ones
def summarise(cells: Cells, system: str, condition: str, metric: str) -> Summary:
    """Mean and standard deviation over seeds, and the interval over identities.

    Without cells everything is NaN, of no seeds.

    Raises:
        ConfigError: the cells have no such metric.
    """
    by_seed = _numbers(cells, system, condition, metric)
    rows = _row_means(list(cells.people(system, condition, metric).values()))
    low, high = bootstrap(rows)
    centre = float(rows.mean()) if len(rows) else math.nan
    return Summary(*_spread(by_seed), low, high, len(by_seed), len(rows), centre, by_seed)


@functools.lru_cache(maxsize=256)
def compare(cells: Cells, claim: ClaimSettings) -> Comparison:
    """Decide a claim.

    Everything is paired: the seeds that both sides have, by number, and the identities that were tested on both
    sides, by name. Where at most one identity is on both sides, each side's are resampled by themselves.

    Raises:
        ConfigError: the cells have no such metric.
        DataError: seeds of one side were tested on different identities.
    """
    sign = -1.0 if claim.lower_is_better else 1.0
    places = claim.places()
    ours, theirs = (_numbers(cells, *place, claim.metric) for place in places)
    common = sorted(ours.keys() & theirs.keys())
    by_seed = {seed: sign * (ours[seed] - theirs[seed]) for seed in common}
    difference, sd = _spread(by_seed)
    over, notes, verdict = _OverIdentities(), [], "undecided"
    if not all(cells.of(*place) for place in places):
        verdict = "not run"
    elif not common:
        notes.append("no seed has a number on both sides")
    else:
        over = _over_identities(claim, [cells.people(*place, claim.metric, common) for place in places], sign)
        verdict = decide(over.low, over.high, by_seed.values(), claim.by)
        notes += over.notes
        if abs(over.centre - difference) > _SAME:
            notes.append(
                f"the interval is of the mean over identities, {over.centre:+.2f}, "
                f"while the difference is of all their probes at once"
            )
        if left := sorted(ours.keys() ^ theirs.keys()):
            notes.append(f"only one side has seed {', '.join(map(str, left))}")
        notes += _seed_notes(by_seed, claim.by)
    ends = (over.low, over.high, *seed_interval(by_seed.values()))
    return Comparison(claim, verdict, difference, sd, *ends, len(common), over.identities, by_seed, "; ".join(notes))


def _seed_notes(by_seed: Mapping[int, float], by: float) -> list[str]:
    """Why seeds decide nothing."""
    differences = list(by_seed.values())
    bound = f"{by:g}"
    if len(differences) == 1:
        return ["one seed: nothing is known of other trainings"]
    above = sum(difference > by for difference in differences)
    if 0 < above < len(differences):
        return [f"above {bound} for {above} of {len(differences)} seeds"]
    low, high = seed_interval(differences)
    return [f"the interval over seeds has {bound} in it"] if low <= by <= high else []


@dataclass(frozen=True)
class _OverIdentities:
    """The interval of a claim's difference over identities, and the mean that it is of."""

    low: float = math.nan
    high: float = math.nan
    centre: float = math.nan
    identities: int = 0
    notes: list[str] = field(default_factory=list)


def _over_identities(claim: ClaimSettings, people: list[dict[str, list[float]]], sign: float) -> _OverIdentities:
    if not all(people):
        return _OverIdentities(notes=["no interval: the host keeps identities' numbers to itself"])
    ours, theirs = people
    notes, centre, means = [], math.nan, np.empty(0)
    shared = sorted(ours.keys() & theirs.keys())
    if len(shared) > 1 or ours.keys() == theirs.keys():
        apart = _row_means([sign * (np.array(ours[i]) - np.array(theirs[i])) for i in shared])
        count = len(apart)
        if count:
            means, centre = _resampled_means(apart), float(apart.mean())
        if (every := len(ours.keys() | theirs.keys())) > len(shared):
            notes.append(f"the interval is over the {len(shared)} of {every} identities that were tested on both sides")
    else:
        notes.append("the sides were tested on different identities: each side's were resampled by themselves")
        # Each side draws from a stream of its own, which goes with its name: exchanged sides have the same draws.
        streams = [1 + (own > other) for own, other in ((claim.better, claim.than), (claim.than, claim.better))]
        sides = [_row_means(list(side.values())) for side in people]
        count = min(map(len, sides))
        if count > 1:
            first, second = (_resampled_means(side, stream=stream) for side, stream in zip(sides, streams))
            means, centre = sign * (first - second), float(sign * (sides[0].mean() - sides[1].mean()))
    if count < 2:
        why = "one identity" if count else "no identity has a number on both sides"
        return _OverIdentities(identities=count, notes=[*notes, f"no interval: {why}"])
    return _OverIdentities(*_interval(means, LEVEL), centre, count, notes)


def _numbers(cells: Cells, system: str, condition: str, metric: str) -> dict[int, float]:
    """Seed -> number, where there is one."""
    every = {cell.seed: cell.number(metric) for cell in cells.of(system, condition)}
    return {seed: value for seed, value in every.items() if not math.isnan(value)}


def _spread(by_seed: Mapping[int, float]) -> tuple[float, float]:
    """Mean and standard deviation."""
    values = list(by_seed.values())
    if not values:
        return math.nan, math.nan
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
