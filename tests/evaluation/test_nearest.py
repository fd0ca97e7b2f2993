"""Who is nearest, by float32 and what it leaves undecided, against exact distances."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext.evaluation import on_device
from gaitext.evaluation.distances import Nearest, Reference, nearest
from gaitext.evaluation.ranking import places_of
from tests.evaluation.expected import plain_distances

RANKS = 3


def case(seed: int, offset: float = 0, scale: float = 1, values: int = 0, dtype: Any = np.float32) -> Any:
    """Probes, gallery, its groups, and identities of both; of few whole numbers where ``values`` says how many."""
    generator = np.random.default_rng(seed)
    shape = (40, 5, 3)
    drawn = generator.integers(0, values, shape) if values else generator.normal(size=shape)
    embeddings = ((drawn + offset) * scale).astype(dtype)
    identity = generator.integers(0, 6, 40)
    return embeddings[:15], embeddings[15:], [slice(0, 9), slice(9, 9), slice(9, 25)], identity[:15], identity[15:]


def expected(probe: Any, gallery: Any, groups: Any, own: Any, theirs: Any, metric: str) -> list[Nearest]:
    apart = plain_distances(probe, gallery, metric)
    if metric == "cos":
        apart[apart < 1e-13] = 0
    return [nearest(apart[:, group], own[:, None] == theirs[group]) for group in groups]


def check(found: Nearest, wanted: list[Nearest]) -> None:
    for place, one in enumerate(wanted):
        ours = Nearest(found.before[:, place], found.size[:, place], found.matches[:, place])
        assert (ours.size == 0).tolist() == (one.size == 0).tolist()
        np.testing.assert_allclose(ours.within(RANKS), one.within(RANKS), atol=1e-12)
        within = one.before < RANKS
        np.testing.assert_array_equal(ours.mixed[within], one.mixed[within])


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 99),
    st.sampled_from([0.0, 30.0, 1e4, -1e6]),
    st.sampled_from([1.0, 1e-30, 1e30]),
    st.sampled_from([0, 2, 4]),
    st.sampled_from(["euc", "cos"]),
    st.sampled_from([np.float32, np.float64]),
)
def test_as_exact_distances_say(seed: int, offset: float, scale: float, values: int, metric: str, dtype: Any) -> None:
    if metric == "cos" and abs(offset) > 30:
        offset = 30.0  # beyond, float64 itself cannot hold what is expected
    probe, gallery, groups, own, theirs = case(seed, offset, scale, values, dtype)
    columns, known = places_of(own, theirs)
    found = Reference(gallery, metric).nearest(probe, groups, columns, known, RANKS)
    check(found, expected(probe, gallery, groups, own, theirs, metric))


def test_the_bound_holds() -> None:
    """Of every pair, also of embeddings of very different lengths, and of some that lie close together."""
    generator = np.random.default_rng(0)
    probe, gallery = (generator.normal(size=(30, 64, 4)).astype(np.float32) for _ in range(2))
    probe[:10] *= np.float32(1000)
    gallery[:5] = probe[10:15] + np.float32(1e-4)
    gallery[5:10] *= np.float32(1e-3)
    for metric in ("euc", "cos"):
        reference = Reference(gallery, metric)
        reference.nearest(probe, [slice(0, 30)], np.zeros((30, 1), int), np.ones((30, 1), bool))
        assert reference._single is not None
        apart, error, share = reference._single.distances(probe)
        unit = 4 * 2.0 ** (-reference._single.exponent if metric == "euc" else -2 * reference._single.exponent)
        exact = plain_distances(probe, gallery, metric) * unit
        wrong = np.abs(apart.double().numpy() - exact)
        assert (wrong <= error[:, None] + share * exact).all()
        assert wrong.max() > 0  # or it is no test of float32


def test_little_is_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    embeddings = generator.normal(size=(300, 64, 4)).astype(np.float32)
    identity = np.arange(300) % 20
    again: list[int] = []
    pairs = Reference.pairs
    monkeypatch.setattr(Reference, "pairs", lambda self, p, r, c: again.append(len(r)) or pairs(self, p, r, c))
    monkeypatch.setattr(Reference, "distances", lambda *_: pytest.fail("all was computed in float64"))
    columns, known = places_of(identity[:100], identity[100:])
    Reference(embeddings[100:]).nearest(embeddings[:100], [slice(0, 200)], columns, known)
    assert sum(again) < 200  # of 20,000


@pytest.mark.parametrize("values", [0, 2])
@pytest.mark.parametrize("undecided", [0.0, 1.0])
def test_blocks_and_the_way_do_not_matter(undecided: float, values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules[Reference.__module__]
    probe, gallery, groups, own, theirs = case(1, values=values)
    columns, known = places_of(own, theirs)
    monkeypatch.setattr(module, "_SINGLE", 60)
    monkeypatch.setattr(module, "_UNDECIDED", undecided)
    found = Reference(gallery).nearest(probe, groups, columns, known, RANKS)
    check(found, expected(probe, gallery, groups, own, theirs, "euc"))


def test_products_in_less_than_float32_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where torch is allowed bfloat16 or TF32, float64 is what finds the nearest."""
    product = torch.Tensor.__matmul__
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda a, b: product(a.bfloat16(), b.bfloat16()).float())
    probe, gallery, groups, own, theirs = case(2)
    columns, known = places_of(own, theirs)
    reference = Reference(gallery)
    check(reference.nearest(probe, groups, columns, known, RANKS), expected(probe, gallery, groups, own, theirs, "euc"))
    assert reference._single is not None
    assert not reference._single.exact


def test_a_device_without_float64_is_left_alone() -> None:
    with on_device("mps"):
        assert Reference(np.ones((2, 3, 1), np.float32))._device == "cpu"
    with on_device("cuda:1"):
        assert Reference(np.ones((2, 3, 1), np.float32))._device == "cuda:1"
    assert Reference(np.ones((2, 3, 1), np.float32))._device == "cpu"
