"""The corrector's loss against the slow sum."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext.errors import ConfigError, ShapeError
from gaitext.losses import CoordinateL1Loss


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), st.integers(1, 4), st.sampled_from(["sum", "frame", "mean"]), st.booleans())
def test_like_the_slow_sum(seed: int, frames: int, reduction: str, weighted: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    found, true = (torch.randn(frames, 17, 2, generator=generator) for _ in range(2))
    weights = torch.rand(frames, 17, generator=generator) * (torch.rand(frames, 17, generator=generator) > 0.3)
    terms, distances, total = [], [], 0.0
    for t in range(frames):
        for v in range(17):
            w = float(weights[t, v]) if weighted else 1.0
            dx, dy = (float(found[t, v, axis] - true[t, v, axis]) for axis in (0, 1))
            terms.append(w * (abs(dx) + abs(dy)))
            distances.append(w * math.hypot(dx, dy))
            total += w
    expected = sum(terms) / {"sum": 1, "frame": frames, "mean": 2 * total}[reduction]
    loss, info = CoordinateL1Loss(reduction)(found, true, weights if weighted else None)
    assert float(loss) == pytest.approx(expected, rel=1e-4)
    assert float(info["loss"]) == float(loss)
    assert float(info["l2"]) == pytest.approx(sum(distances) / total, rel=1e-4)


def test_unknown_joints_do_not_count_whatever_they_hold() -> None:
    found = torch.zeros(1, 3, 2, requires_grad=True)
    true = torch.tensor([[[1.0, 2.0], [math.nan, math.inf], [3.0, -4.0]]])
    loss, info = CoordinateL1Loss()(found, true, torch.tensor([[True, False, True]]))
    loss.backward()
    assert float(loss.detach()) == 10
    assert float(info["l2"]) == pytest.approx((math.sqrt(5) + 5) / 2)
    assert found.grad is not None
    assert found.grad.tolist() == [[[-1, -1], [0, 0], [-1, 1]]]


def test_nothing_known_is_no_loss() -> None:
    for reduction in ("sum", "frame", "mean"):
        found = torch.ones(2, 17, 2, requires_grad=True)
        loss, info = CoordinateL1Loss(reduction)(found, torch.zeros(2, 17, 2), torch.zeros(2, 17))
        loss.backward()
        assert float(loss.detach()) == float(info["l2"]) == 0
        assert found.grad is not None
        assert not found.grad.any()


def test_what_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"\[2, 17, 3\]"):
        CoordinateL1Loss()(torch.zeros(2, 17, 3), torch.zeros(2, 17, 3))
    with pytest.raises(ShapeError, match="targets"):
        CoordinateL1Loss()(torch.zeros(2, 17, 2), torch.zeros(1, 17, 2))
    with pytest.raises(ShapeError, match="weights"):
        CoordinateL1Loss()(torch.zeros(2, 17, 2), torch.zeros(2, 17, 2), torch.zeros(2, 17, 1))
    with pytest.raises(ConfigError, match="median"):
        CoordinateL1Loss("median")
