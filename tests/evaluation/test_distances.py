"""Distances wherever embeddings lie, against differences in float64, number by number."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gaitext.errors import DataError, ShapeError
from gaitext.evaluation import distances
from gaitext.evaluation.distances import Reference
from tests.evaluation.expected import plain_distances

METRICS = ("euc", "cos")


def made(seed: int = 0, n: int = 9, c: int = 20, p: int = 3) -> Any:
    return np.random.default_rng(seed).normal(size=(n, c, p))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("dtype", "offset"),
    [
        *((np.float16, offset) for offset in (0, 30)),
        *((dtype, offset) for dtype in (np.float32, np.float64) for offset in (0, 30, 1e4, 1e6, -1e12)),
    ],
)
def test_far_from_the_origin(offset: float, dtype: Any, metric: str) -> None:
    x, y = (made(seed) + offset for seed in (0, 1))
    x, y = x.astype(dtype), y.astype(dtype)
    expected = plain_distances(x, y, metric)
    # What float64 itself can hold of 1 − cosine: the last digit of a part's direction, and its square.
    floor = 1e-11 if metric == "cos" and abs(offset) > 1e5 else 0
    np.testing.assert_allclose(distances(x, y, metric), expected, rtol=2e-9, atol=floor)


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e-25, 1e-3, 1e19, 1e150, 1e300])
def test_the_unit_does_not_matter(scale: float) -> None:
    x, y = made(), made(1)
    before = {metric: distances(x, y, metric) for metric in METRICS}
    found = {metric: distances(x * scale, y * scale, metric) for metric in METRICS}
    assert np.isfinite(found["euc"]).all()
    np.testing.assert_allclose(found["euc"] / scale, before["euc"], rtol=1e-9)
    np.testing.assert_allclose(found["cos"], before["cos"], rtol=1e-9)


@pytest.mark.parametrize("scale", [1e-25, 1e19])
def test_of_float32(scale: float) -> None:
    x, y = (made() * scale).astype(np.float32), (made(1) * scale).astype(np.float32)
    np.testing.assert_allclose(distances(x, y) / scale, plain_distances(x / scale, y / scale), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounded_multiples_have_the_same_direction(dtype: Any) -> None:
    x = np.random.default_rng(0).normal(size=(200, 3, 2)).astype(dtype)
    for factor in (3, 7.3, 1 / 3, 1e-20, 1e19):
        found = distances((x * dtype(factor)).astype(dtype), (x * dtype(1.1)).astype(dtype), "cos")
        assert not np.diag(found).any()
        assert np.count_nonzero(found == 0) == len(x)


def test_lengths_of_one_sequence_do_not_matter_to_cosines() -> None:
    x, y = made(), made(1)
    scales = 10.0 ** np.linspace(-90, 90, len(x))[:, None, None]
    np.testing.assert_allclose(distances(x * scales, y, "cos"), distances(x, y, "cos"), rtol=1e-9)
    assert distances(np.zeros((1, 4)), np.ones((2, 4)), "cos").tolist() == [[1.0, 1.0]]
    assert distances(np.zeros((1, 4)), np.zeros((1, 4)), "cos").tolist() == [[1.0]]


@pytest.mark.parametrize("metric", METRICS)
def test_a_sequence_is_at_no_distance_from_itself_anywhere_in_a_batch(metric: str) -> None:
    """Products of matrices differ in the last bit with a row's place; equal embeddings must not."""
    one = np.random.default_rng(0).normal(size=(1, 256, 16)).astype(np.float32) + 3
    others = np.random.default_rng(1).normal(size=(40, 256, 16)).astype(np.float32)
    gallery = np.concatenate([others[:13], one, others[13:], one, others[:2], one * (2 if metric == "cos" else 1)])
    found = distances(np.concatenate([others[:5], one]), gallery, metric)
    assert found[5, [13, 41, 44]].tolist() == [0, 0, 0]
    apart = found[:5]
    np.testing.assert_allclose(apart[:, 13], apart[:, 41], rtol=1e-10)
    assert (found[[0, 1], [0, 1]] == 0).all()


def test_an_outlier_does_not_blur_the_others() -> None:
    x = made()
    y = np.concatenate([made(1), made(2, n=1) * 1e12, x[:2] + 1e-9])
    np.testing.assert_allclose(distances(x, y), plain_distances(x, y), rtol=2e-10, atol=0)


def test_a_part_that_is_dead_or_huge() -> None:
    x, y = made(), made(1)
    for part in (x, y):
        part[:, :, 0] = 7.3
        part[:, :, 2] += 1e7
    np.testing.assert_allclose(distances(x, y), plain_distances(x, y), rtol=2e-10)


@settings(max_examples=80, deadline=None)
@given(
    arrays(
        np.float64,
        st.tuples(st.integers(2, 6), st.integers(1, 4), st.integers(1, 3)),
        elements=st.floats(-1e60, 1e60, allow_subnormal=False).filter(lambda v: v == 0 or abs(v) > 1e-30),
    )
)
def test_any_numbers(values: Any) -> None:
    np.testing.assert_allclose(distances(values, values[::-1]), plain_distances(values, values[::-1]), rtol=2e-10)


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = made(n=30), np.concatenate([made(1, n=20), made(n=30)[:10]])
    whole = distances(x, y)
    module = sys.modules[Reference.__module__]
    monkeypatch.setattr(module, "_BLOCK", 1)
    monkeypatch.setattr(module, "_PAIRS", 1)
    np.testing.assert_allclose(distances(x, y), whole, rtol=1e-10)
    assert Reference(y).distances(x[:0]).shape == (0, 30)


def test_what_is_no_embedding() -> None:
    with pytest.raises(DataError, match="not numbers"):
        distances(np.array([["a"]]), np.array([["a"]]))
    with pytest.raises(DataError, match="not numbers"):
        distances(np.ones((1, 2), complex), np.ones((1, 2), complex))
    with pytest.raises(ShapeError):
        distances(np.zeros((2, 0)), np.zeros((2, 0)))
    assert distances(np.array([[1, 2]], np.uint8), np.array([[2, 1]], np.uint8)).tolist() == [[2**0.5]]
