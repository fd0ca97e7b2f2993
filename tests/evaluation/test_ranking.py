"""Ranks of equally near sequences, against every order of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext.evaluation import rank
from gaitext.evaluation.distances import nearest
from gaitext.evaluation.ranking import places_of, standing
from tests.evaluation.expected import enumerated, summed


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=7))
def test_every_number_is_its_mean_over_all_orders_of_the_equals(row: list[tuple[int, bool]]) -> None:
    apart, right = np.array([[float(a) for a, _ in row]]), np.array([[yes for _, yes in row]])
    expected = enumerated(apart[0].tolist(), right[0].tolist(), 8)
    columns, known = places_of(np.array([1]), right[0].astype(int))
    found = standing(apart, columns, known)
    for first in (found.first, nearest(apart, right)):
        np.testing.assert_allclose(first.within(8)[0], expected["cmc"], atol=1e-12)
    np.testing.assert_allclose(found.precision[0], expected["ap"], rtol=1e-12)
    np.testing.assert_allclose(found.penalty[0], expected["inp"], rtol=1e-12)
    cmc, ap = summed(apart[0].tolist(), right[0].tolist(), 8)
    np.testing.assert_allclose(cmc, expected["cmc"], atol=1e-12)
    np.testing.assert_allclose(ap, expected["ap"], rtol=1e-12)


def test_by_hand() -> None:
    """One nearer stranger, then two matches and a stranger equally near."""
    ranking = rank(np.array([[1.0, 2.0, 2.0, 2.0]]), np.array(["a"]), np.array(["b", "a", "c", "a"]))
    # Orders of the three: aac, aca, caa, each as likely.
    np.testing.assert_allclose(ranking.cmc, [0, 2 / 3, 1, 1])
    np.testing.assert_allclose(
        ranking.mean_precision, np.mean([(1 / 2 + 2 / 3) / 2, (1 / 2 + 2 / 4) / 2, (1 / 3 + 2 / 4) / 2])
    )
    np.testing.assert_allclose(ranking.mean_penalty, np.mean([2 / 3, 2 / 4, 2 / 4]))
    assert ranking.mixed.tolist() == [True]


def test_equals_among_themselves_change_nothing() -> None:
    ranking = rank(np.array([[1.0, 1.0, 2.0, 2.0]]), np.array(["a"]), np.array(["a", "a", "c", "b"]))
    assert ranking.cmc.tolist() == [1, 1, 1, 1]
    assert ranking.mean_precision == 1
    assert ranking.mean_penalty == 1
    assert not ranking.mixed.any()


def test_large_ties_are_exact() -> None:
    """All of 5,000 equal: chance, by the closed form, against exact sums."""
    labels = np.arange(5000) % 50
    ranking = rank(np.zeros((3, 5000)), np.arange(3), labels)
    cmc, ap = summed([0.0] * 5000, (labels == 0).tolist(), 50)
    np.testing.assert_allclose(ranking.cmc, cmc, rtol=1e-10)
    np.testing.assert_allclose(ranking.precision, ap, rtol=1e-10)


@pytest.mark.parametrize("keep", [None, np.array([[True, False, True, True], [True, True, False, True]])])
def test_what_is_not_kept_is_no_equal(keep: np.ndarray | None) -> None:
    apart = np.array([[1.0, 1.0, 1.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
    gallery = np.array(["a", "b", "a", "b"])
    ranking = rank(apart, np.array(["a", "b"]), gallery, keep)
    for i, label in enumerate("ab"):
        shown = np.ones(4, bool) if keep is None else keep[i]
        expected = enumerated(apart[i][shown].tolist(), (gallery[shown] == label).tolist(), 4)
        assert ranking.precision[i] == pytest.approx(expected["ap"])
        assert ranking.penalty[i] == pytest.approx(expected["inp"])
