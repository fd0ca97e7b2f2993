"""Systems compared on the same probes: paired intervals over people, a permutation test, and who is won and lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gaitext.errors import DataError
from gaitext.evaluation.analysis import SCORES, Analysis, Condition
from gaitext.evaluation.distances import Array
from gaitext.evaluation.result import Gait
from gaitext.evaluation.statistics import People, check_level, interval, permutation

#: What :attr:`EvaluationResult.about` must say alike of two that are compared.
_SAME = ("dataset", "gallery", "probe", "exclude", "exclude_same_walk")


@dataclass(frozen=True)
class Difference:
    """What another system's condition differs by from the first system's, in percentage points.

    Args:
        condition: its name.
        first: the first system's scores on the probes that both have, percent, each of
            :data:`~gaitext.evaluation.analysis.SCORES`.
        other: the other's.
        difference: other minus first.
        intervals: ends of the differences' intervals; people are drawn, and both systems' outcomes go with them.
        p: two-sided, if it were by chance which system had which outcome, person by person.
        people: how many there are.
        gained: ``id/type/view`` of probes that the other recognises and the first does not.
        lost: of those that the first recognises and the other does not.
        notes: what is not compared.
    """

    condition: str
    first: dict[str, float]
    other: dict[str, float]
    difference: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    p: dict[str, float]
    people: int
    gained: list[str]
    lost: list[str]
    notes: list[str]


@dataclass(frozen=True)
class Comparison:
    """Systems against the first of them.

    Args:
        names: of all systems, the first one's first.
        differences: name of each other system -> a difference for each condition.
        level: that the intervals cover.
    """

    names: list[str]
    differences: dict[str, list[Difference]]
    level: float


def compare(
    analyses: Sequence[Analysis],
    names: Sequence[str],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare each other analysis with the first, condition by condition.

    Only probes that both have are compared, and notes say where one lacks some: what a probe is looked for in is not
    looked at. A probe counts as recognised by the share of its galleries in which a mate is nearest, gained where that
    share is larger.

    Args:
        analyses: two at least, of one protocol.
        names: one for each, all different.
        level: that intervals cover.
        resamples: how often people are drawn, and signs are flipped.
        seed: of both.

    Raises:
        DataError: fewer than two analyses, other names than analyses, or no condition that both have.
        ConfigError: level or resamples out of range.
    """
    check_level(level, resamples)
    if len(analyses) < 2 or len(set(names)) != len(analyses) or len(names) != len(analyses):
        raise DataError(
            f"{len(analyses)} results with the names {', '.join(names) or 'none'}",
            where="compare",
            how="give two results at least, each with a name of its own",
        )
    first = analyses[0]
    found: dict[str, list[Difference]] = {}
    for name, other in zip(names[1:], analyses[1:]):
        for key in _SAME:
            ours, theirs = (analysis.result.about.get(key) for analysis in (first, other))
            if ours != theirs:
                raise DataError(
                    f"its {key} is {theirs}, that of {names[0]} {ours}",
                    where=name,
                    how="evaluate both under one protocol",
                )
        by_name = {condition.name: condition for condition in other.conditions}
        shared = [(condition, by_name[condition.name]) for condition in first.conditions if condition.name in by_name]
        if not shared:
            raise DataError(
                f"has the conditions {', '.join(by_name)}, and {names[0]} has "
                f"{', '.join(condition.name for condition in first.conditions)}",
                where=name,
                how="evaluate both under one protocol",
            )
        sides = (_Side.of(first, names[0]), _Side.of(other, name))
        found[name] = [_difference(sides, pair, level, resamples, seed) for pair in shared]
    return Comparison(list(names), found, level)


@dataclass(frozen=True)
class _Side:
    """A system's name, and its sequences' names and identities."""

    name: str
    sequences: list[str]
    gait: Gait

    @classmethod
    def of(cls, analysis: Analysis, name: str) -> _Side:
        gait = analysis.gait
        columns = (gait.labels.tolist(), gait.types.tolist(), gait.views.tolist())
        return cls(name, ["/".join(each) for each in zip(*columns)], gait)


def _difference(
    sides: tuple[_Side, _Side], conditions: tuple[Condition, Condition], level: float, resamples: int, seed: int
) -> Difference:
    probes = [_probes(side, condition) for side, condition in zip(sides, conditions)]
    both = sorted(probes[0].keys() & probes[1].keys())
    notes = [
        f"{len(own) - len(both)} probes of {side.name} are not in the other and are not compared"
        for side, own in zip(sides, probes)
        if len(own) > len(both)
    ]
    people = [
        _people(side, condition, [own[name] for name in both])
        for side, condition, own in zip(sides, conditions, probes)
    ]
    shared = sorted(set(people[0].names) & set(people[1].names))
    aligned = [each.where([each.names.index(name) for name in shared]) for each in people]
    if any(set(each.names) != set(shared) for each in people):
        notes.append("some people count in one only, and are not compared")
    first, other = (each.scores() for each in aligned)
    low, high = interval(
        lambda weights: aligned[1].scores(weights) - aligned[0].scores(weights),
        len(shared),
        level=level,
        resamples=resamples,
        seed=seed,
    )
    recognised = [
        np.nan_to_num(condition.recognised[[own[name] for name in both]]) if both else np.zeros(0)
        for condition, own in zip(conditions, probes)
    ]
    texts = [name.partition("#")[0] for name in both]
    return Difference(
        conditions[0].name,
        _named(first),
        _named(other),
        _named(other - first),
        {name: (float(low[k]), float(high[k])) for k, name in enumerate(SCORES)},
        {
            name: permutation(aligned[1].shares(k) - aligned[0].shares(k), resamples=resamples, seed=seed)
            for k, name in enumerate(SCORES)
        },
        len(shared),
        [text for text, one, two in zip(texts, *recognised) if two > one],
        [text for text, one, two in zip(texts, *recognised) if one > two],
        notes,
    )


def _named(scores: Array) -> dict[str, float]:
    return {name: float(score) for name, score in zip(SCORES, scores)}


def _probes(side: _Side, condition: Condition) -> dict[str, int]:
    """A probe's name, numbered where several have one -> its place among the condition's probes."""
    found: dict[str, int] = {}
    again: dict[str, int] = {}
    for number, place in enumerate(condition.places.tolist()):
        name = side.sequences[place]
        times = again[name] = again.get(name, 0) + 1
        found[name if times == 1 else f"{name}#{times}"] = number
    return found


def _people(side: _Side, condition: Condition, probes: Sequence[int]) -> People:
    """People's shares by these of the condition's probes."""
    if len(probes) == condition.probes:
        return condition.shares
    return People.of(side.gait.labels, condition.found.only(np.array(probes, np.int64)))
