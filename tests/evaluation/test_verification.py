"""Error rates against loops over thresholds, in every order of the pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext.evaluation import OpenSet, Verification, analyse
from gaitext.evaluation.result import Gait
from gaitext.evaluation.searches import Search, run
from gaitext.evaluation.verification import equal_error, open_set, verification
from tests.evaluation.expected import plain_distances


def condition(seed: int, people: int = 6, each: int = 4, values: int = 0, spread: float = 1.5) -> tuple[Gait, Search]:
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(people), each).astype(str)
    centre = generator.normal(size=(people, 4, 2))
    count = people * each
    drawn = (
        generator.integers(0, values, (count, 1, 1))
        if values
        else centre[np.repeat(np.arange(people), each)] + spread * generator.normal(size=(count, 4, 2))
    )
    gait = Gait.of(drawn.astype(np.float32), labels, ["x"] * count, ["0"] * count)
    probe = np.arange(count) % each == 0
    return gait, Search("c", np.flatnonzero(probe), np.flatnonzero(~probe))


def pairs_of(gait: Gait, search: Search) -> tuple[Any, Any]:
    apart = plain_distances(gait.embeddings[search.probe], gait.embeddings[search.gallery])
    same = gait.labels[search.probe][:, None] == gait.labels[search.gallery]
    return apart, same


def rates(genuine: Any, impostor: Any, threshold: float) -> tuple[float, float]:
    """False match and false non-match rates of accepting up to a distance."""
    edge = threshold * (1 + 1e-9)
    return float(np.mean(impostor <= edge)), float(np.mean(genuine > edge))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 999), st.sampled_from([0, 3, 8]))
def test_verification_by_a_loop_over_thresholds(seed: int, values: int) -> None:
    gait, search = condition(seed, values=values)
    found = verification(run(gait, search).pairs)
    apart, same = pairs_of(gait, search)
    genuine, impostor = apart[same], apart[~same]
    assert found is not None
    assert (found.genuine_pairs, found.impostor_pairs) == (same.sum(), (~same).sum())
    assert found.genuine.sum() == same.sum()
    assert found.impostor.sum() == (~same).sum()
    # At every genuine distance the curve has the point that accepting up to it has.
    points = {(round(float(a), 9), round(float(b), 9)) for a, b in zip(found.fmr, found.fnmr)}
    every = [rates(genuine, impostor, threshold) for threshold in np.unique(genuine)]
    assert {(round(a, 9), round(b, 9)) for a, b in every} <= points
    assert (np.diff(found.fmr) >= 0).all()
    assert (np.diff(found.fnmr) <= 1e-12).all()
    assert (found.fmr[0], found.fnmr[0]) == (0, 1)
    assert (found.fmr[-1], found.fnmr[-1]) == (1, 0)
    at_all = [rates(genuine, impostor, threshold) for threshold in np.unique(apart)]
    for rate, value in found.fnmr_at.items():
        assert value == pytest.approx(100 * min([1.0, *(b for a, b in at_all if a <= rate)]))


def slow_equal_error(genuine: Any, impostor: Any) -> float:
    """Thresholds one by one; between two of them the rates are on a line."""
    before = (0.0, 1.0)
    for threshold in np.unique(np.concatenate([genuine, impostor])):
        after = rates(genuine, impostor, threshold)
        if after[0] >= after[1]:
            low, high = before[0] - before[1], after[0] - after[1]
            share = -low / (high - low)
            return before[0] + share * (after[0] - before[0])
        before = after
    raise AssertionError


@pytest.mark.parametrize("values", [0, 3, 8])
@pytest.mark.parametrize("seed", range(5))
def test_equal_error_rate(seed: int, values: int) -> None:
    gait, search = condition(seed, values=values)
    found = verification(run(gait, search).pairs)
    apart, same = pairs_of(gait, search)
    assert found is not None
    # Distances are of float32 numbers, whole ones or not: equal ones are equal in both.
    assert found.eer == pytest.approx(100 * slow_equal_error(apart[same].round(7), apart[~same].round(7)))


def test_normal_scores_have_the_rates_of_normal_distributions() -> None:
    """Genuine N(0, 1), impostors N(2, 1): rates are equal at 1, where each is Φ(−1) = 15.87 %."""
    generator = np.random.default_rng(0)
    from sklearn.metrics import roc_curve

    genuine, impostor = generator.normal(0, 1, 40_000), generator.normal(2, 1, 40_000)
    truth = np.repeat([1, 0], 40_000)
    fmr, tmr, _ = roc_curve(truth, -np.concatenate([genuine, impostor]), drop_intermediate=False)
    assert 100 * equal_error(fmr, 1 - tmr) == pytest.approx(15.87, abs=0.4)


def test_who_is_told_apart_without_error() -> None:
    gait, search = condition(0, spread=1e-3)
    found = verification(run(gait, search).pairs)
    assert found is not None
    assert found.eer == 0
    assert found.fnmr_at == {0.01: 0, 0.001: 0}


def test_one_kind_of_pairs_has_no_curve() -> None:
    gait, search = condition(0, people=1)
    assert verification(run(gait, search).pairs) is None
    assert open_set(run(gait, search)) is None
    assert verification(None) is None


def slow_open_set(apart: Any, same: Any, threshold: float) -> tuple[float, float]:
    edge = threshold * (1 + 1e-9)
    positives, negatives = [], []
    for row, right in zip(apart, same):
        other = row[~right].min()
        positives.append(other <= edge)
        if right.any():
            mate = row[right].min()
            negatives.append(not (mate <= edge and mate < other))
    return float(np.mean(positives)), float(np.mean(negatives))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 999))
def test_open_set_by_a_loop_over_thresholds(seed: int) -> None:
    gait, search = condition(seed, people=8)
    gait.labels[0] = "not enrolled"
    found = open_set(run(gait, search))
    apart, same = pairs_of(gait, search)
    assert found is not None
    points = {(round(float(a), 9), round(float(b), 9)) for a, b in zip(found.fpir, found.fnir)}
    every = [slow_open_set(apart, same, threshold) for threshold in np.unique(apart)]
    assert points <= {(0.0, 1.0), *((round(a, 9), round(b, 9)) for a, b in every)}
    for rate, value in found.fnir_at.items():
        assert value == pytest.approx(100 * min([1.0, *(b for a, b in every if a <= rate)]))


def test_open_set_ends_where_rank_1_begins() -> None:
    """Where everything is accepted, a search fails only where another is nearer; ties by their chance."""
    for values in (0, 3):
        gait, search = condition(3, people=9, values=values)
        found = run(gait, search)
        curve = open_set(found)
        assert isinstance(curve, OpenSet)
        assert 1 - curve.fnir[-1] == pytest.approx(float(found.numbers[:, 0, 0].mean()))


@pytest.mark.parametrize("held", [1, 7, 2**20])
def test_blocks_do_not_matter(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    gait, search = condition(1, values=5)
    whole = verification(run(gait, search).pairs)
    monkeypatch.setattr("gaitext.evaluation.searches._HELD", held)
    found = verification(run(gait, search).pairs)
    assert isinstance(whole, Verification)
    assert isinstance(found, Verification)
    for name in ("fmr", "fnmr", "thresholds", "edges", "genuine", "impostor"):
        np.testing.assert_allclose(getattr(found, name), getattr(whole, name))


def test_identical_embeddings_are_worth_nothing() -> None:
    gait, search = condition(0)
    gait = Gait.of(np.full_like(gait.embeddings, 3.7), gait.labels, gait.types, gait.views)
    found = verification(run(gait, search).pairs)
    assert found is not None
    assert found.eer == pytest.approx(50)
    assert found.fnmr_at == {0.01: 100, 0.001: 100}


def test_shown_counts_are_of_distances() -> None:
    gait, search = condition(4)
    found = verification(run(gait, search).pairs)
    apart, same = pairs_of(gait, search)
    assert found is not None
    for counts, distances in ((found.genuine, apart[same]), (found.impostor, apart[~same])):
        np.testing.assert_array_equal(counts, np.histogram(distances, found.edges)[0])


def test_views_that_are_not_compared_have_no_pairs() -> None:
    rows = [(i, t, v) for i in "abc" for t in ("00", "01") for v in ("000", "015", "030")]
    embeddings = np.random.default_rng(0).normal(size=(len(rows), 3))
    labels, types, views = (list(each) for each in zip(*rows))
    data = {"embeddings": embeddings, "labels": labels, "types": types, "views": views}
    found = analyse(data, "OUMVLP", resamples=10).conditions[0].verification
    assert found is not None
    # 9 probes, each against the two other views.
    assert (found.genuine_pairs, found.impostor_pairs) == (18, 36)
