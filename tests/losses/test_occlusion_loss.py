"""The occlusion evaluator's loss, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from gaitext.errors import ConfigError, ShapeError
from gaitext.losses import OcclusionLoss

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.0, 0.5, 0.0], [1.0, 1.0, 4.0]])
TYPES = torch.tensor([0, 2, 2])
AMOUNT, TRUE = torch.tensor([0.1, 0.7, 0.5]), torch.tensor([0.0, 0.5, 0.6])


def entropy(row: list[float], kind: int) -> float:
    return math.log(sum(math.exp(v) for v in row)) - row[kind]


@pytest.mark.parametrize("weight", [10.0, 3.0])
def test_equals_its_definition(weight: float) -> None:
    loss, info = OcclusionLoss(amount_weight=weight)(LOGITS, TYPES, AMOUNT, TRUE)
    kinds = sum(entropy(row, kind) for row, kind in zip(LOGITS.tolist(), TYPES.tolist())) / 3
    amounts = (0.1**2 + 0.2**2 + 0.1**2) / 3
    assert loss.item() == pytest.approx(kinds + weight * amounts, rel=1e-5)
    assert info["type_loss"].item() == pytest.approx(kinds, rel=1e-5)
    assert info["amount_loss"].item() == pytest.approx(amounts, rel=1e-5)
    assert info["accuracy"].item() == pytest.approx(2 / 3)
    assert loss.ndim == 0
    assert not any(value.requires_grad for value in info.values())


def test_frames_without_a_class_count_for_the_amount_alone() -> None:
    loss, info = OcclusionLoss()(LOGITS, torch.tensor([0, -1, -1]), AMOUNT, TRUE)
    assert info["type_loss"].item() == pytest.approx(entropy([2.0, 0.0, -1.0], 0), rel=1e-5)
    assert info["accuracy"] == 1
    loss, info = OcclusionLoss()(LOGITS, torch.full((3,), -1), AMOUNT, TRUE)
    assert loss.item() == pytest.approx(10 * 0.02, rel=1e-4)


def test_it_takes_logits_and_not_probabilities() -> None:
    logits = LOGITS.clone().requires_grad_()
    OcclusionLoss()(logits, TYPES, AMOUNT, TRUE)[0].backward()
    expected = (torch.softmax(LOGITS, 1) - torch.eye(3)[TYPES]) / 3
    torch.testing.assert_close(logits.grad, expected)


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ShapeError, match=r"\[3, 3\], \[2\]"):
        OcclusionLoss()(LOGITS, TYPES[:2], AMOUNT, TRUE)
    with pytest.raises(ConfigError, match="type 3"):
        OcclusionLoss()(LOGITS, torch.tensor([0, 1, 3]), AMOUNT, TRUE)
