"""A protocol's numbers with all that shows how far they can be trusted: intervals, chance, curves, mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gaitext.errors import ConfigError
from gaitext.evaluation.cross_view import mean_along
from gaitext.evaluation.distances import Array
from gaitext.evaluation.protocols import function_of, searches, told_protocol
from gaitext.evaluation.result import EvaluationResult, Gait
from gaitext.evaluation.saved import Saved
from gaitext.evaluation.searches import NUMBERS, Found, Search, run
from gaitext.evaluation.statistics import People, check_level, interval
from gaitext.evaluation.verification import OpenSet, Verification, open_set, verification

#: The scores of a condition.
SCORES = NUMBERS[:-1]
#: Mistakes that are listed; views of one's own data that are a matrix.
_LISTED, _VIEWS = 20, 24


@dataclass(frozen=True)
class Confusion:
    """A probe that another's sequence is nearer to than any of its own; places in the data.

    Args:
        probe: place of the probe.
        gallery: place of the nearest sequence, another person's.
        distance: between the two.
        mate_distance: to the nearest sequence of the probe's own identity; infinite without one.
    """

    probe: int
    gallery: int
    distance: float
    mate_distance: float


@dataclass(frozen=True)
class Condition:
    """A condition's numbers, in percent, NaN where there is none.

    Args:
        name: the protocol's.
        probe_views: [P], names of the matrix's rows.
        gallery_views: [G], of its columns.
        matrix: [P, G], rank-1 of each cell; of protocols with one gallery [1, 1], but of one's own data the views'.
        scores: each of :data:`SCORES`.
        intervals: the same -> its ends, over people.
        chance: the rank-1 of choosing at random.
        cmc: [ranks], rank-1..rank-k.
        people: identity -> the rank-1 of its own probes.
        probes: how many there are.
        verification: pairs accepted by their distance; None where there is no genuine or no impostor pair.
        open_set: searches accepted by their distance; None where none has a mate or another's sequence.
        confusions: the worst mistakes, the widest margin first.
        places: [probes], places of the probes in the data.
        recognised: [probes], the share of a probe's galleries in which its nearest sequence is a mate; NaN for one that
            does not count.
        shares: each person's share in the scores, of which intervals are made.
        found: the numbers of each search.
    """

    name: str
    probe_views: list[str]
    gallery_views: list[str]
    matrix: Array
    scores: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    chance: float
    cmc: Array
    people: dict[str, float]
    probes: int
    verification: Verification | None
    open_set: OpenSet | None
    confusions: list[Confusion]
    places: Array = field(repr=False)
    recognised: Array = field(repr=False)
    shares: People = field(repr=False)
    found: Found = field(repr=False)


@dataclass(frozen=True)
class Analysis:
    """What :func:`analyse` found.

    Args:
        result: what the protocol's own function returns.
        conditions: one for each of the protocol's.
        data: what was given.
        gait: its sequences, as they were compared.
    """

    result: EvaluationResult
    conditions: list[Condition]
    data: Saved | Mapping[str, Any] = field(repr=False)
    gait: Gait = field(repr=False)


def analyse(
    saved: Saved | Mapping[str, Any],
    dataset: str | None = None,
    metric: str | None = None,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    ranks: int = 20,
    **options: Any,
) -> Analysis:
    """Evaluate saved embeddings, with intervals, curves and mistakes.

    Args:
        saved: what :func:`~gaitext.evaluation.read_saved` returns, or a mapping with ``embeddings`` [n, c, p],
            ``labels``, ``types`` and ``views`` [n], and, if it has it, ``about``.
        dataset: whose protocol, of :data:`~gaitext.evaluation.protocols.FUNCTIONS`; None: what ``about`` says.
        metric: ``euc`` or ``cos``; None: what ``about`` says, or ``euc``.
        level: that the intervals cover.
        resamples: how often people are drawn for the intervals.
        seed: of the draws.
        ranks: how long the CMC is.
        options: arguments of the protocol, such as PsyMo's ``gallery``; those that are not given are what ``about``
            says, where the dataset is the one that it names.

    Raises:
        ConfigError: no dataset is named, there is no protocol for it, or an option that it does not have.
        DataError: the data cannot be evaluated.
    """
    check_level(level, resamples)
    if ranks < 1:
        raise ConfigError(f"is {ranks}", where="ranks", how="ask for one at least")
    data, about = (saved, saved.get("about") or {}) if isinstance(saved, Mapping) else (saved.data(), saved.about)
    dataset, arguments = told_protocol(about, dataset, metric, options)
    result = function_of(dataset)(dict(data), **arguments)
    gait = Gait.of_data(data)
    metric = arguments["metric"]
    options = {name: value for name, value in arguments.items() if name not in ("dataset", "metric")}
    conditions = []
    for search in searches(gait, dataset, **options):
        found = run(gait, search, metric, ranks=ranks)
        condition = _condition(gait, found, level, resamples, seed)
        if dataset == "own":
            condition = _with_matrix(condition, gait, search, metric)
        conditions.append(condition)
    return Analysis(result, conditions, saved, gait)


def _condition(gait: Gait, found: Found, level: float, resamples: int, seed: int) -> Condition:
    search = found.search
    people = People.of(gait.labels, found)
    scores = people.scores()
    low, high = interval(people.scores, len(people.names), level=level, resamples=resamples, seed=seed)
    return Condition(
        search.name,
        list(search.rows),
        list(search.columns),
        people.cells()[..., 0],
        {name: float(scores[k]) for k, name in enumerate(SCORES)},
        {name: (float(low[k]), float(high[k])) for k, name in enumerate(SCORES)},
        float(scores[len(SCORES)]),
        found.cmc(),
        people.each(),
        len(search.probe),
        verification(found.pairs),
        open_set(found),
        _confusions(found),
        search.probe,
        mean_along(found.numbers[:, :, 0], 1),
        people,
        found,
    )


def _with_matrix(condition: Condition, gait: Gait, search: Search, metric: str) -> Condition:
    """A condition whose gallery is one, with rank-1 of each pair of views beside it, where views are few."""
    rows, row = np.unique(gait.views[search.probe], return_inverse=True)
    columns, column = np.unique(gait.views[search.gallery], return_inverse=True)
    if not 1 < max(len(rows), len(columns)) <= _VIEWS or not len(rows):
        return condition
    views = replace(
        search, rows=rows.tolist(), columns=columns.tolist(), row=row.reshape(-1), column=column.reshape(-1)
    )
    found = run(gait, views, metric, ranks=1, pairs=False)
    matrix = People.of(gait.labels, found).cells()[..., 0]
    return replace(condition, probe_views=rows.tolist(), gallery_views=columns.tolist(), matrix=matrix)


def _confusions(found: Found) -> list[Confusion]:
    """Each probe's mistake of the widest margin, the widest of all first."""
    wrong = np.isfinite(found.mate) & (found.other < found.mate) & ~np.isnan(found.numbers[:, :, 0])
    if not wrong.any():
        return []
    margin = np.where(wrong, found.mate - np.where(wrong, found.other, 0), -np.inf)
    column = margin.argmax(1)
    probes = np.arange(len(margin))
    worst = margin[probes, column]
    order = np.argsort(-worst, kind="stable")[: min(_LISTED, int((worst > 0).sum()))]
    return [
        Confusion(
            int(found.search.probe[i]),
            int(found.nearest[i, column[i]]),
            float(found.other[i, column[i]]),
            float(found.mate[i, column[i]]),
        )
        for i in order.tolist()
    ]
