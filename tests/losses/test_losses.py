"""The losses against slow loops, OpenGait's own, and their errors."""

from __future__ import annotations

import importlib.util
import math
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from gaitext.errors import ConfigError, ShapeError
from gaitext.losses import BatchHardTripletLoss, CrossEntropyLoss, TripletLoss


def _batch(n: int = 12, c: int = 5, p: int = 3, identities: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, c, p, generator=generator), torch.arange(n) % identities


def _distance(a: Tensor, b: Tensor) -> float:
    return math.sqrt(sum(float(x - y) ** 2 for x, y in zip(a.double(), b.double())))


def _slow_triplets(embeddings: Tensor, labels: Tensor, margin: float, part: int) -> list[float]:
    n = len(labels)
    terms = []
    for a in range(n):
        for p in range(n):
            for q in range(n):
                if labels[a] == labels[p] and labels[a] != labels[q]:
                    positive = 0.0 if a == p else _distance(embeddings[a, :, part], embeddings[p, :, part])
                    negative = _distance(embeddings[a, :, part], embeddings[q, :, part])
                    terms.append(max(0.0, margin + positive - negative))
    return terms


@pytest.mark.parametrize("labels", [[0, 1, 2, 0, 1, 2], [0, 0, 0, 1, 1, 2]], ids=["balanced", "ragged"])
def test_triplet_is_the_mean_of_the_nonzero_terms(labels: list[int]) -> None:
    embeddings, _ = _batch(len(labels))
    loss, info = TripletLoss(0.2)(embeddings, torch.tensor(labels))
    for part in range(3):
        terms = [t for t in _slow_triplets(embeddings, torch.tensor(labels), 0.2, part) if t > 0]
        assert float(loss[part]) == pytest.approx(sum(terms) / len(terms), rel=1e-5)
        assert float(info["loss"][part]) == float(loss[part])
        assert float(info["hard_loss"][part]) == pytest.approx(max(terms), rel=1e-5)
        assert int(info["loss_num"][part]) == len(terms)


def test_triplet_without_a_violation_is_zero() -> None:
    embeddings = torch.tensor([[0.0], [0.1], [9.0], [9.1]]).unsqueeze(2).requires_grad_()
    loss, info = TripletLoss(0.2)(embeddings, torch.tensor([0, 0, 1, 1]))
    assert float(loss.detach()) == 0
    assert int(info["loss_num"]) == 0
    loss.sum().backward()
    assert embeddings.grad is not None
    assert torch.equal(embeddings.grad, torch.zeros_like(embeddings))


def test_triplet_gradient_is_finite_for_equal_embeddings() -> None:
    embeddings = torch.ones(4, 3, 2, requires_grad=True)
    loss, _ = TripletLoss(0.2)(embeddings, torch.tensor([0, 0, 1, 1]))
    loss.sum().backward()
    assert embeddings.grad is not None
    assert bool(embeddings.grad.isfinite().all())


def test_batch_hard_takes_the_hardest_pairs() -> None:
    embeddings, labels = _batch()
    loss, _ = BatchHardTripletLoss(0.3)(embeddings, labels)
    for part in range(3):
        terms = []
        for a in range(len(labels)):
            distances = [_distance(embeddings[a, :, part], e[:, part]) for e in embeddings]
            hardest = max(d for i, d in enumerate(distances) if labels[i] == labels[a] and i != a)
            nearest = min(d for i, d in enumerate(distances) if labels[i] != labels[a])
            terms.append(max(0.0, 0.3 + hardest - nearest))
        assert float(loss[part]) == pytest.approx(sum(terms) / len(terms), rel=1e-5)


@pytest.mark.parametrize("smooth", [True, False])
def test_cross_entropy_by_hand(smooth: bool) -> None:
    logits, labels = _batch(6, 4, 2)
    loss, info = CrossEntropyLoss(scale=16, label_smooth=smooth, eps=0.1, log_accuracy=True)(logits, labels)
    total, right = 0.0, 0
    for i in range(6):
        for part in range(2):
            scaled = [16 * float(x) for x in logits[i, :, part]]
            log_norm = max(scaled) + math.log(sum(math.exp(x - max(scaled)) for x in scaled))
            weight = 0.1 if smooth else 0.0
            own = log_norm - scaled[int(labels[i])]
            total += (1 - weight) * own + weight * sum(log_norm - x for x in scaled) / 4
            right += max(range(4), key=lambda k: scaled[k]) == int(labels[i])
    assert float(loss) == pytest.approx(total / 12, rel=1e-5)
    assert float(info["accuracy"]) == pytest.approx(right / 12)


@pytest.mark.parametrize("kind", [TripletLoss, BatchHardTripletLoss])
def test_half_precision_is_computed_in_float32(kind: Any) -> None:
    embeddings, labels = _batch()
    half = embeddings.half()
    loss, _ = kind()(half, labels)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, kind()(half.float(), labels)[0], rtol=0, atol=0)


def test_a_label_without_a_class_names_class_num() -> None:
    logits, _ = _batch(4, 3, 2)
    with pytest.raises(ConfigError, match="class_num") as caught:
        CrossEntropyLoss()(logits, torch.tensor([0, 1, 2, 5]))
    assert "at least 6" in str(caught.value)


def test_one_identity_has_no_triplets() -> None:
    with pytest.raises(ConfigError, match="one identity"):
        TripletLoss()(torch.randn(4, 3, 2), torch.zeros(4))


@pytest.mark.parametrize("kind", [TripletLoss, BatchHardTripletLoss, CrossEntropyLoss])
def test_wrong_shapes_are_named(kind: Any) -> None:
    with pytest.raises(ShapeError, match=r"\[n, c, p\]"):
        kind()(torch.randn(4, 3), torch.arange(4))


@pytest.mark.parametrize("loss", [TripletLoss, BatchHardTripletLoss])
@pytest.mark.parametrize("offset", [3.0, 100.0, 1e4])
def test_an_offset_of_all_embeddings_changes_neither_loss_nor_gradient(loss: Any, offset: float) -> None:
    """Against float64 differences, number by number, of the same rounded embeddings.

    To the precision that OpenGait's formula has near the origin: a sequence is not quite at 0 from itself.
    """
    embeddings, labels = _batch(12, 64, 3)
    embeddings[:, :, 0] += offset  # one part is far, the others are not
    ours = embeddings.clone().requires_grad_()
    found, info = loss(0.2)(ours, labels)
    found.sum().backward()

    exact = embeddings.double().requires_grad_()
    apart = (exact[:, None] - exact[None]).square().sum(2)
    distances = torch.where(apart > 0, apart, torch.ones_like(apart)).sqrt() * (apart > 0)
    same = labels[:, None] == labels
    expected, _ = loss(0.2).reduce(distances.permute(2, 0, 1), same)
    expected.sum().backward()
    torch.testing.assert_close(found.double(), expected, rtol=2e-3, atol=1e-6)
    torch.testing.assert_close(info["mean_dist"].double(), distances.mean((0, 1)), rtol=2e-4, atol=0)
    assert ours.grad is not None
    assert exact.grad is not None
    assert float((ours.grad.double() - exact.grad).norm() / exact.grad.norm()) < 1e-3


@pytest.fixture(scope="module")
def opengait_losses() -> dict[str, ModuleType]:
    root = os.environ.get("OPENGAIT_ROOT")
    if not root:
        pytest.skip("OPENGAIT_ROOT is not set")
    source = Path(root) / "opengait"
    # OpenGait's loss package imports `utils`; a stub with what it uses keeps the import small.
    utils = ModuleType("utils")
    utils.Odict = dict  # type: ignore[attr-defined]
    utils.ddp_all_gather = lambda x: x  # type: ignore[attr-defined]
    sys.modules["utils"] = utils
    found = {}
    package = ModuleType("og_losses")
    package.__path__ = [str(source / "modeling" / "losses")]  # type: ignore[attr-defined]
    sys.modules["og_losses"] = package
    try:
        for name in ("base", "triplet", "ce"):
            path = source / "modeling" / "losses" / f"{name}.py"
            spec = importlib.util.spec_from_file_location(f"og_losses.{name}", path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[f"og_losses.{name}"] = module
            spec.loader.exec_module(module)
            found[name] = module
    finally:
        for name in ("utils", "og_losses", "og_losses.base", "og_losses.triplet", "og_losses.ce"):
            sys.modules.pop(name, None)
    return found


@pytest.mark.toolbox
@pytest.mark.parametrize("shape", [(8, 4), (256, 1)])
def test_triplet_equals_opengait(
    opengait_losses: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int]
) -> None:
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 1)
    for seed in range(5):
        embeddings, labels = _batch(16, *shape, identities=4, seed=seed)
        ours_in, theirs_in = embeddings.clone().requires_grad_(), embeddings.clone().requires_grad_()
        ours, info = TripletLoss(0.2)(embeddings=ours_in, labels=labels)
        theirs, their_info = opengait_losses["triplet"].TripletLoss(0.2)(embeddings=theirs_in, labels=labels)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
        for key, value in their_info.items():
            torch.testing.assert_close(info[key], value, rtol=0, atol=0)
        ours.mean().backward()
        theirs.mean().backward()
        torch.testing.assert_close(ours_in.grad, theirs_in.grad, rtol=1e-6, atol=1e-8)


@pytest.mark.toolbox
@pytest.mark.parametrize("options", [{}, {"label_smooth": False, "scale": 1}, {"eps": 0.3, "log_accuracy": True}])
def test_cross_entropy_equals_opengait(opengait_losses: dict[str, ModuleType], options: dict[str, Any]) -> None:
    logits, labels = _batch(16, 8, 4, identities=8)
    ours, info = CrossEntropyLoss(**options)(logits=logits, labels=labels)
    theirs, their_info = opengait_losses["ce"].CrossEntropyLoss(**options)(logits=logits, labels=labels)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert info.keys() == their_info.keys()
    for key, value in their_info.items():
        torch.testing.assert_close(info[key], value, rtol=0, atol=0)
