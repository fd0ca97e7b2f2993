"""Means, intervals and verdicts, against explicit loops and cases worked by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gaitext.errors import ConfigError, DataError, ShapeError
from gaitext.studies import statistics
from gaitext.studies.cells import Cell, Cells
from gaitext.studies.statistics import bootstrap, compare, decide, seed_interval, summarise
from tests.studies.made_up import CLAIM, cell, cells

FEW = {"samples": 200}
NUMBERS = st.floats(-1e3, 1e3).map(lambda x: round(x, 3))
VALUES = arrays(float, st.tuples(st.integers(2, 8), st.integers(1, 3)), elements=NUMBERS)


def quantile(values: list[float], share: float) -> float:
    """Linear between the two neighbours."""
    values = sorted(values)
    place = share * (len(values) - 1)
    below = min(math.floor(place), len(values) - 2)
    return values[below] + (place - below) * (values[below + 1] - values[below])


def slow_means(rows: list[float], samples: int, seed: Any) -> list[float]:
    generator = np.random.default_rng(seed)
    means = []
    for _ in range(samples):
        drawn = [rows[generator.integers(len(rows))] for _ in rows]
        means.append(sum(drawn) / len(drawn))
    return means


def slow(rows: list[float], samples: int, seed: Any = 0, level: float = 0.95) -> list[float]:
    means = slow_means(rows, samples, seed)
    return [quantile(means, (1 - level) / 2), quantile(means, (1 + level) / 2)]


@pytest.mark.parametrize("at_once", [1, 13, 2_000_000])
def test_bootstrap_by_explicit_loops(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is drawn at once, the draws are those of one generator, one by one."""
    monkeypatch.setattr(statistics, "_AT_ONCE", at_once)
    values = np.random.default_rng(7).normal(50, 20, (6, 3))
    rows = [sum(row) / 3 for row in values.tolist()]
    assert bootstrap(values, samples=300, seed=5) == pytest.approx(slow(rows, 300, 5))
    assert bootstrap(values, samples=300, seed=5, level=0.8) == pytest.approx(slow(rows, 300, 5, 0.8))
    assert bootstrap(rows, samples=300) == pytest.approx(slow(rows, 300))
    assert bootstrap(values, samples=300, seed=5) != bootstrap(values, samples=300, seed=6)


def test_bootstrap_agrees_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(1).gamma(2.0, 10.0, 40)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(2))
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    ours = bootstrap(values, samples=20_000)
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=0.02 * width)


def test_bootstrap_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    inside = 0
    for trial in range(400):
        low, high = bootstrap(rng.normal(5, 2, 50), samples=400, level=0.8, seed=trial)
        inside += low <= 5 <= high
    assert 0.73 < inside / 400 < 0.86  # four standard errors of 0.8, and the bootstrap's own narrowness


@hypothesis_settings(max_examples=40, deadline=None)
@given(VALUES, NUMBERS, st.floats(0.01, 100))
def test_intervals_move_and_grow_with_their_values(values: Any, shift: float, scale: float) -> None:
    low, high = bootstrap(values, **FEW)
    assert values.mean(1).min() - 1e-9 <= low <= high <= values.mean(1).max() + 1e-9
    assert bootstrap(values + shift, **FEW) == pytest.approx((low + shift, high + shift), abs=1e-8)
    assert bootstrap(values * scale, **FEW) == pytest.approx((low * scale, high * scale), abs=1e-6)
    assert bootstrap(values[:, ::-1], **FEW) == pytest.approx((low, high), abs=1e-9)
    assert bootstrap(-values, **FEW) == (-high, -low)  # to the last bit
    assert bootstrap(values, **FEW) == (low, high)


@hypothesis_settings(max_examples=20, deadline=None)
@given(st.integers(2, 9), NUMBERS)
def test_equal_values_have_an_interval_of_no_width(count: int, value: float) -> None:
    assert bootstrap([value] * count, **FEW) == pytest.approx((value, value), abs=1e-9)


def test_what_is_no_number_is_left_out() -> None:
    nan = math.nan
    assert bootstrap([[1, 3], [nan, nan], [4, nan], [nan, 9]], **FEW) == bootstrap([2, 4, 9], **FEW)
    for few in ([], [3.0], [nan, 2.0], [[nan], [nan]]):
        assert all(map(math.isnan, bootstrap(few)))


def test_bootstrap_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ShapeError, match="seeds"):
        bootstrap(np.zeros((2, 2, 2)))
    with pytest.raises(ConfigError, match="level"):
        bootstrap([1, 2], level=95)
    with pytest.raises(ConfigError, match="samples"):
        bootstrap([1, 2], samples=0)


def test_a_summary_by_hand() -> None:
    made = cells({("a", "x"): [{"p": 10, "q": 30}, {"p": 20, "q": 60}, {"p": 30, "q": 0}]})
    found = summarise(made, "a", "x", "mean")
    # Seeds: 20, 40, 15. Their mean 25, deviations -5, 15, -10: sd = sqrt(350 / 2). Identities: 20 and 30.
    assert (found.mean, found.seeds, found.identities, found.centre) == (25, 3, 2, 25)
    assert found.sd == pytest.approx(math.sqrt(175))
    assert (found.low, found.high) == (20, 30)  # a quarter of all draws are p alone, a quarter q alone
    assert found.by_seed == {0: 20, 1: 40, 2: 15}
    assert not found.is_uneven


def test_a_summary_of_little() -> None:
    one = Cells([Cell("a", "x", 4, {"mean": 7.0}), Cell("a", "y", 4, {"mean": math.nan})])
    found = summarise(one, "a", "x", "mean")
    assert (found.mean, found.seeds, found.identities) == (7, 1, 0)
    assert all(map(math.isnan, (found.sd, found.low, found.high, found.centre)))
    for condition in ("y", "z"):
        found = summarise(one, "a", condition, "mean")
        assert found.seeds == 0
        assert math.isnan(found.mean)
    with pytest.raises(ConfigError, match=r"has no 'meen'\n.*did you mean 'mean'"):
        summarise(one, "a", "x", "meen")


def test_a_summary_says_when_its_interval_is_of_another_mean() -> None:
    uneven = Cells([Cell("a", "x", 0, {"mean": 40.0}, {"mean": {"p": 30, "q": 60}})])
    found = summarise(uneven, "a", "x", "mean")
    assert (found.mean, found.centre, found.is_uneven) == (40, 45, True)


@pytest.mark.parametrize(
    ("low", "high", "by", "verdict"),
    [
        (0.1, 2, 0, "holds"),
        (0, 2, 0, "undecided"),
        (-2, 0, 0, "undecided"),
        (-2, -0.1, 0, "does not hold"),
        (1, 3, 2, "undecided"),
        (2.1, 3, 2, "holds"),
        (0.5, 1.9, 2, "does not hold"),
        (math.nan, math.nan, 0, "undecided"),
    ],
)
def test_verdicts_follow_the_interval_where_seeds_agree(low: float, high: float, by: float, verdict: str) -> None:
    middle = (low + high) / 2
    assert decide(low, high, [middle, middle, middle], by) == verdict
    assert decide(low, high, [middle], by) == "undecided"  # one seed has no interval of its own
    assert decide(low, high, [], by) == "undecided"


@pytest.mark.parametrize(
    ("seeds", "by", "verdict"),
    [
        # t with 2 degrees of freedom is 4.3027: 2 ± 4.3027 · 1 / √3 = [-0.484, 4.484]
        ((1.0, 2.0, 3.0), 0, "undecided"),
        ((1.0, 2.0, 3.0), -0.4, "undecided"),
        ((1.0, 2.0, 3.0), -0.5, "holds"),
        ((1.0, 2.0, 3.0), 4.4, "undecided"),
        ((1.0, 2.0, 3.0), 4.5, "does not hold"),
        # with 1 degree it is 12.706: 2 ± 12.706 · 0.1414 / √2 = 2 ± 1.271
        ((1.9, 2.1), 0, "holds"),
        ((1.8, 2.2), 0, "undecided"),  # ± 2.541
        # All but one of ten seeds agree, and t = 2.262 lets it pass; the one does not.
        ((5.0, 5.1, 5.2, 5.0, 4.9, 5.1, 5.0, 4.8, 5.2, -0.1), 0, "undecided"),
        ((5.0, 5.1, 5.2, 5.0, 4.9, 5.1, 5.0, 4.8, 5.2, 0.1), 0, "holds"),
        ((5.0, 0.0), -100, "holds"),
    ],
)
def test_verdicts_follow_seeds(seeds: tuple[float, ...], by: float, verdict: str) -> None:
    """The interval over identities is far from the bound on the seeds' side."""
    side = -1 if verdict == "does not hold" else 1
    low, high = sorted((by + side * 0.5, by + side * 9.0))
    assert decide(low, high, seeds, by) == verdict
    mirrored = {"holds": "does not hold", "does not hold": "holds", "undecided": "undecided"}
    assert decide(-high, -low, [-seed for seed in seeds], -by) == mirrored[verdict]
    # What identities leave open seeds do not decide.
    assert decide(by - 1, by + 1, seeds, by) == "undecided"


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6, 10, 30, 101])
@pytest.mark.parametrize("level", [0.5, 0.8, 0.95, 0.99])
def test_intervals_over_seeds_are_students(count: int, level: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(count).normal(3, 2, count)
    error = values.std(ddof=1) / math.sqrt(count)
    theirs = stats.t.interval(level, count - 1, values.mean(), error)
    assert seed_interval(values, level=level) == pytest.approx(theirs, rel=1e-10)
    low, high = seed_interval(values, level=level)
    assert seed_interval(-values, level=level) == (-high, -low)


def test_intervals_over_seeds_by_a_printed_table() -> None:
    """97.5 % points of Student's distribution."""
    for freedom, point in ((1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (29, 2.045)):
        values = np.arange(freedom + 1.0)
        half = point * values.std(ddof=1) / math.sqrt(freedom + 1)
        assert seed_interval(values) == pytest.approx((values.mean() - half, values.mean() + half), abs=3e-4 * half)
    assert all(map(math.isnan, seed_interval([4.0])))
    assert seed_interval([4.0, 4.0]) == (4.0, 4.0)
    with pytest.raises(ConfigError, match="level"):
        seed_interval([1, 2], level=95)


def test_a_comparison_by_hand() -> None:
    made = cells(
        {
            ("a", "x"): [{"p": 12, "q": 35}, {"p": 24, "q": 61.2}],
            ("b", "x"): [{"p": 10, "q": 30}, {"p": 20, "q": 60}],
        }
    )
    found = compare(made, CLAIM)
    # Differences of seed 0: 2, 5; of seed 1: 4, 1.2. Seeds: 3.5 and 2.6; identities: 3 and 3.1.
    assert (found.difference, found.low, found.high) == pytest.approx((3.05, 3, 3.1))
    assert found.sd == pytest.approx(math.sqrt(0.405))
    # Half the interval over seeds: 12.706 · sqrt(0.405) / sqrt(2) = 5.718.
    assert (found.seed_low, found.seed_high) == pytest.approx((3.05 - 5.718, 3.05 + 5.718), abs=1e-3)
    assert (found.verdict, found.note) == ("undecided", "the interval over seeds has 0 in it")
    assert (found.seeds, found.identities) == (2, 2)
    assert found.by_seed == pytest.approx({0: 3.5, 1: 2.6})
    for by, verdict in ((-2.6, "undecided"), (-2.7, "holds"), (8.8, "does not hold"), (3.2, "undecided")):
        assert compare(made, CLAIM.model_copy(update={"by": by})).verdict == verdict
    turned = compare(made, CLAIM.model_copy(update={"lower_is_better": True}))
    assert (turned.seed_low, turned.seed_high) == (-found.seed_high, -found.seed_low)
    assert (turned.difference, turned.low, turned.high) == pytest.approx((-3.05, -3.1, -3))


def test_one_seed_decides_nothing() -> None:
    made = cells({("a", "x"): [{"p": 12, "q": 35}], ("b", "x"): [{"p": 10, "q": 30}]})
    found = compare(made, CLAIM)
    assert (found.low, found.verdict, found.note) == (2, "undecided", "one seed: nothing is known of other trainings")
    assert math.isnan(found.seed_low)


def test_pairs_are_narrower_than_two_samples() -> None:
    """People differ by far more than systems do; paired, that does not matter."""
    rng = np.random.default_rng(0)
    ability = rng.normal(50, 20, 30)
    sides = [{f"{i:02d}": float(v) for i, v in enumerate(ability + g + rng.normal(0, 1, 30))} for g in (2, 0)]
    paired = compare(cells({("a", "x"): sides[:1] * 2, ("b", "x"): sides[1:] * 2}), CLAIM)
    other = {f"other {i}": v for i, v in sides[1].items()}
    apart = compare(cells({("a", "x"): sides[:1] * 2, ("b", "x"): [other] * 2}), CLAIM)
    rows = [sides[0][i] - sides[1][i] for i in sorted(sides[0])]
    assert [paired.low, paired.high] == pytest.approx(slow(rows, 10_000))
    assert (paired.verdict, apart.verdict) == ("holds", "undecided")
    assert apart.difference == pytest.approx(paired.difference)
    assert apart.high - apart.low > 5 * (paired.high - paired.low)
    assert "different identities" in apart.note


def test_sides_of_different_people_are_drawn_by_themselves() -> None:
    ours, theirs = {"p": 1.0, "q": 5.0, "r": 3.0}, {"s": 2.0, "t": 9.0}
    made = cells({("a", "x"): [ours], ("b", "x"): [theirs]})
    found = compare(made, CLAIM)
    first = slow_means(list(ours.values()), 10_000, [0, 1])
    second = slow_means(list(theirs.values()), 10_000, [0, 2])
    apart = [a - b for a, b in zip(first, second)]
    assert [found.low, found.high] == pytest.approx([quantile(apart, 0.025), quantile(apart, 0.975)])
    assert (found.difference, found.identities) == (-2.5, 2)
    turned = compare(made, CLAIM.model_copy(update={"lower_is_better": True}))
    assert (turned.difference, turned.low, turned.high, turned.note) == (2.5, -found.high, -found.low, found.note)


@hypothesis_settings(max_examples=25, deadline=None)
@given(st.data(), st.booleans(), st.booleans())
def test_exchanged_sides_are_the_mirror_image(data: st.DataObject, same_people: bool, lower: bool) -> None:
    people = data.draw(st.integers(2, 6))
    values = data.draw(arrays(float, (2, 2, people), elements=NUMBERS))
    names = [[f"{'ab'[side] if not same_people else ''}{i}" for i in range(people)] for side in range(2)]
    made = cells(
        {
            (system, "x"): [dict(zip(names[side], values[side, seed].tolist())) for seed in range(2)]
            for side, system in enumerate("ab")
        }
    )
    claim = CLAIM.model_copy(update={"lower_is_better": lower})
    there, back = compare(made, claim), compare(made, claim.model_copy(update={"better": "b@x", "than": "a@x"}))
    assert (back.low, back.high, back.difference) == (-there.high, -there.low, -there.difference)
    assert back.sd == pytest.approx(there.sd)
    mirrored = {"holds": "does not hold", "does not hold": "holds", "undecided": "undecided"}
    assert back.verdict == mirrored[there.verdict]
    assert (back.seed_low, back.seed_high) == (-there.seed_high, -there.seed_low)
    assert there.verdict == decide(there.low, there.high, there.by_seed.values())


def test_only_what_both_sides_have_is_compared() -> None:
    made = Cells(
        [
            cell("a", "x", 0, {"p": 5, "q": 6, "r": 100}),
            cell("a", "x", 1, {"p": 7, "q": 8, "r": 100}),
            cell("b", "x", 1, {"p": 1, "q": 2, "s": 0}),
            cell("b", "x", 2, {"p": 0, "q": 0, "s": 0}),
        ]
    )
    found = compare(made, CLAIM)
    assert (found.seeds, found.identities, found.by_seed) == (1, 2, {1: 115 / 3 - 1})
    assert math.isnan(found.sd)
    assert (found.low, found.high) == (6, 6)
    assert "2 of 4 identities" in found.note
    assert "only one side has seed 0, 2" in found.note
    assert "mean over identities, +6.00" in found.note  # while the scalars differ by 37.33


def test_what_cannot_be_decided_says_why() -> None:
    def made(first: dict[str, Any], second: dict[str, Any]) -> Any:
        return compare(Cells([Cell("a", "x", 0, **first), Cell("b", "x", 0, **second)]), CLAIM)

    silent = made({"scalars": {"mean": 2.0}}, {"scalars": {"mean": 1.0}, "people": {"mean": {"p": 1, "q": 1}}})
    assert (silent.difference, silent.verdict, silent.identities) == (1, "undecided", 0)
    assert "keeps identities' numbers to itself" in silent.note
    one = made(*({"scalars": {"mean": v}, "people": {"mean": {"p": v}}} for v in (2.0, 1.0)))
    assert (one.verdict, one.identities) == ("undecided", 1)
    assert "one identity" in one.note
    none = made(*({"scalars": {"mean": math.nan}, "people": {"mean": {"p": math.nan}}} for _ in range(2)))
    assert (none.verdict, none.seeds) == ("undecided", 0)
    assert "no seed" in none.note
    missing = compare(Cells([Cell("a", "x", 0, {"mean": 1.0})]), CLAIM)
    assert (missing.verdict, missing.seeds) == ("not run", 0)
    assert all(map(math.isnan, (missing.difference, missing.sd, missing.low, missing.high)))


def test_seeds_that_disagree_are_named() -> None:
    def of(*gains: float, by: float = 0.0) -> Any:
        ours = [{"p": 10 + gain, "q": 20 + gain} for gain in gains]
        made = cells({("a", "x"): ours, ("b", "x"): [{"p": 10, "q": 20}] * len(gains)})
        return compare(made, CLAIM.model_copy(update={"by": by}))

    # The interval over identities is [2, 2], which alone would decide.
    assert (of(5, -1, 2).low, of(5, -1, 2).verdict) == (2, "undecided")
    assert of(5, -1, 2).note == "above 0 for 2 of 3 seeds"
    assert (of(9, 1, 2).verdict, of(9, 1, 2).note) == ("undecided", "the interval over seeds has 0 in it")
    assert (of(3, 2.5, 3.5).verdict, of(3, 2.5, 3.5).note) == ("holds", "")
    assert of(-3, -2.5, -3.5).verdict == "does not hold"
    # Of a margin it is the margin that counts: all three are above -1, though they change sign.
    assert (of(0.1, -0.1, 0.0, by=-1).verdict, of(0.1, -0.1, 0.0, by=-1).note) == ("holds", "")
    assert of(0.1, -1.1, 0.0, by=-1).note == "above -1 for 2 of 3 seeds"


def test_the_order_of_cells_and_identities_changes_nothing() -> None:
    rng = np.random.default_rng(9)
    every = [
        cell(system, "x", seed, {f"{i}": float(v) for i, v in enumerate(rng.normal(50, 9, 5))})
        for system in "ab"
        for seed in range(3)
    ]
    backwards = [replace(c, people={"mean": dict(reversed(c.people["mean"].items()))}) for c in reversed(every)]
    assert compare(Cells(every), CLAIM) == compare(Cells(backwards), CLAIM)
    assert summarise(Cells(every), "a", "x", "mean") == summarise(Cells(backwards), "a", "x", "mean")


def test_seeds_of_different_people_are_refused() -> None:
    made = cells({("a", "x"): [{"p": 1}, {"q": 1}], ("b", "x"): [{"p": 1}, {"p": 1}]})
    with pytest.raises(DataError, match="different identities"):
        compare(made, CLAIM)
