"""Intervals over people and tests of two systems, against exact distributions and against slow code."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from scipy import stats

from gaitext.errors import ConfigError, DataError
from gaitext.evaluation import analyse, compare
from gaitext.evaluation.searches import NUMBERS
from gaitext.evaluation.statistics import People, interval, permutation
from tests.evaluation import test_protocols as protocols

Data = dict[str, Any]


def weighted(values: Any) -> Any:
    return lambda weights: (weights @ values / weights.sum(-1))[..., None]


def test_as_scipy_says_of_a_mean() -> None:
    """The same draws for people's means as for plain numbers: the same interval."""
    values = np.random.default_rng(1).gamma(2, size=25)
    low, high = interval(weighted(values), 25, level=0.9, resamples=500, seed=3)
    expected = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=500,
        confidence_level=0.9,
        method="BCa",
        random_state=np.random.default_rng(3),
    ).confidence_interval
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high))


def test_several_numbers_have_their_own_intervals() -> None:
    values = np.random.default_rng(0).normal(size=(20, 3))
    both = interval(lambda w: w @ values / w.sum(-1, keepdims=True), 20, resamples=200)
    for k in range(3):
        alone = interval(weighted(values[:, k]), 20, resamples=200)
        assert (both[0][k], both[1][k]) == pytest.approx((alone[0][0], alone[1][0]))


def test_intervals_cover_at_their_level() -> None:
    """Rank-1 of 40 people with 2 to 6 probes, who differ in how well they are recognised: shares of a Beta."""
    generator = np.random.default_rng(0)
    truth, covered, trials = 2 / 3, 0, 400
    for trial in range(trials):
        counts = generator.integers(2, 7, 40)
        hits = generator.binomial(counts, generator.beta(4, 2, 40))
        sums = np.zeros((40, 1, 1, len(NUMBERS)))
        sums[:, 0, 0] = hits[:, None]
        people = People([str(i) for i in range(40)], sums, np.broadcast_to(counts[:, None, None, None], sums.shape))
        low, high = interval(people.scores, 40, level=0.9, resamples=300, seed=trial)
        covered += int(low[0] <= 100 * truth <= high[0])
    # 90 % of 400, give or take three standard deviations and what the bootstrap of 40 is known to lack.
    assert 0.9 - 0.055 <= covered / trials <= 0.9 + 0.045


def test_people_are_drawn_with_all_their_probes() -> None:
    """Numbers of a draw are those of the protocol on the draw itself, cells and all."""
    data = protocols._keep(protocols._casia(identities=6), lambda i, t, v: (i, v) != ("002", "036"))
    condition = analyse(data, "CASIA-B", resamples=10).conditions[0]
    people = condition.shares
    drawn = np.array([0, 0, 2, 3, 3, 3])
    weights = np.bincount(drawn, minlength=6)
    hits = np.full((3, 3), np.nan)
    for row, column in itertools.product(range(3), range(3)):
        if row != column:
            count = people.counts[drawn, row, column, 0].sum()
            hits[row, column] = 100 * people.sums[drawn, row, column, 0].sum() / count
    assert people.scores(weights)[0] == pytest.approx(np.nanmean(np.nanmean(hits, 1)))
    assert people.scores()[0] == pytest.approx(condition.scores["rank-1"])
    assert people.shares().sum() == pytest.approx(condition.scores["rank-1"])


def test_who_is_always_right_has_no_interval() -> None:
    low, high = interval(weighted(np.ones(10)), 10, resamples=50)
    assert np.isnan([low[0], high[0]]).all()
    with pytest.raises(ConfigError, match="level"):
        interval(weighted(np.ones(3)), 3, level=0)


def test_all_exchanges_of_few_people() -> None:
    differences = np.array([1.0, 2.0, -0.5, 3.0, 0.25])
    sums = [float(np.dot(signs, differences)) for signs in itertools.product((1, -1), repeat=5)]
    more = [np.mean([s >= 5.75 for s in sums]), np.mean([s <= 5.75 for s in sums])]
    assert permutation(differences) == pytest.approx(min(1, 2 * min(more)))
    assert permutation(np.zeros(5)) == 1
    assert np.isnan(permutation(np.zeros(0)))
    assert permutation(-differences) == pytest.approx(permutation(differences))


def test_no_difference_is_found_as_often_as_chance_has_it() -> None:
    generator = np.random.default_rng(0)
    found = [permutation(generator.normal(size=12), resamples=299, seed=k) for k in range(200)]
    assert np.mean(np.array(found) <= 0.1) == pytest.approx(0.1, abs=0.065)


def blurred(data: Data, noise: float, seed: int = 5) -> Data:
    generator = np.random.default_rng(seed)
    return protocols._changed(data, lambda e: e + noise * generator.normal(size=e.shape))


def test_a_comparison_by_loops() -> None:
    data = protocols._data([f"{i:02d}" for i in range(10)], ["00", "01"], ["000", "015", "030"], noise=1.2)
    systems = [analyse(data, "OUMVLP", resamples=20), analyse(blurred(data, 3), "OUMVLP", resamples=20)]
    found = compare(systems, ["sharp", "blurred"], resamples=300)
    (difference,) = found.differences["blurred"]
    one, two = (system.conditions[0] for system in systems)
    assert difference.difference["rank-1"] == pytest.approx(two.scores["rank-1"] - one.scores["rank-1"])
    assert difference.intervals["rank-1"][0] <= difference.difference["rank-1"] <= difference.intervals["rank-1"][1]
    assert difference.people == 10
    assert difference.notes == []
    names = ["/".join(r) for r in zip(data["labels"], data["types"], data["views"])]
    lost = [names[i] for i, a, b in zip(one.places, one.recognised, two.recognised) if b < a]
    assert difference.lost == sorted(lost)
    assert lost
    assert difference.p["rank-1"] < 0.02
    turned = compare(systems[::-1], ["blurred", "sharp"], resamples=300).differences["sharp"][0]
    assert turned.gained == difference.lost
    assert turned.difference["mAP"] == pytest.approx(-difference.difference["mAP"])
    assert turned.p == pytest.approx(difference.p)


def test_equal_systems_do_not_differ() -> None:
    system = analyse(protocols._casia(), "CASIA-B", resamples=10)
    found = compare([system, system], ["a", "b"], resamples=20)
    for difference in found.differences["b"]:
        assert set(difference.difference.values()) == {0}
        assert set(difference.p.values()) == {1}
        assert np.isnan(list(difference.intervals.values())).all()
        assert difference.gained == difference.lost == []


def test_only_what_both_have_is_compared() -> None:
    data = protocols._casia(identities=6)
    less = protocols._keep(data, lambda i, t, v: (i, t, v) != ("003", "nm-05", "036") and (i, t[:2]) != ("004", "cl"))
    found = compare([analyse(data, "CASIA-B", resamples=5), analyse(less, "CASIA-B", resamples=5)], ["all", "less"])
    by_name = {difference.condition: difference for difference in found.differences["less"]}
    assert by_name["NM"].notes == ["1 probes of all are not in the other and are not compared"]
    assert by_name["NM"].difference["rank-1"] == 0  # the other probes are the same
    assert (by_name["NM"].people, by_name["CL"].people) == (6, 5)
    assert by_name["BG"].notes == []


def test_what_cannot_be_compared() -> None:
    system = analyse(protocols._casia(), "CASIA-B", resamples=5)
    other = analyse(protocols._ccpg(), "CCPG", resamples=5)
    with pytest.raises(DataError, match="evaluate both under one protocol"):
        compare([system, other], ["a", "b"])
    for names in (["a"], ["a", "a"], ["a", "b", "c"]):
        with pytest.raises(DataError, match="name of its own"):
            compare([system, system], names)
    with pytest.raises(DataError):
        compare([system], ["a"])
