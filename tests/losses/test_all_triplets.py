"""The all-triplets loss against triple loops, pytorch-metric-learning and itself over two processes."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.losses import TripletMarginLoss
from torch import Tensor

from gaitext.errors import ConfigError, ShapeError
from gaitext.losses import AllTripletsLoss, TripletLoss, all_triplets_loss
from gaitext.standalone.building import LossSum


def _batch(labels: list[int], *shape: int, seed: int = 0, spread: float = 1.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return 0.5 + spread * torch.randn(len(labels), *shape, generator=generator), torch.tensor(labels)


def _slow(embeddings: Tensor, labels: Tensor, margin: float) -> list[float]:
    points = []
    for row in embeddings.double().flatten(1).tolist():
        norm = math.sqrt(sum(x * x for x in row))
        points.append([x / norm for x in row])
    n, terms = len(points), []
    for a in range(n):
        for p in range(n):
            for q in range(n):
                if a != p and labels[a] == labels[p] and labels[a] != labels[q]:
                    terms.append(margin + math.dist(points[a], points[p]) - math.dist(points[a], points[q]))
    return [term for term in terms if term > 0]


LABELS = {"balanced": [0, 1, 2] * 4, "ragged": [0, 0, 0, 0, 1, 1, 2, 5, 5, 5]}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("shape", [(8,), (4, 3), (8, 1)])
def test_the_mean_of_the_nonzero_terms_of_all_triplets(labels: list[int], shape: tuple[int, ...]) -> None:
    embeddings, given_labels = _batch(labels, *shape)
    loss, info = AllTripletsLoss(0.1)(embeddings=embeddings, labels=given_labels)
    terms = _slow(embeddings, given_labels, 0.1)
    assert loss.shape == (1,)
    assert float(loss) == pytest.approx(sum(terms) / len(terms), rel=1e-5)
    assert float(info["loss"]) == float(loss)
    assert float(info["hard_loss"]) == pytest.approx(max(terms), rel=1e-5)
    assert int(info["loss_num"]) == len(terms)
    assert all(value.shape == (1,) and not value.requires_grad for value in info.values())


def _both(embeddings: Tensor, labels: Tensor, margin: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Our loss and gradient, and pytorch-metric-learning's in float64."""
    ours_in, theirs_in = embeddings.clone().requires_grad_(), embeddings.double().requires_grad_()
    ours, _ = AllTripletsLoss(margin)(ours_in, labels)
    theirs = TripletMarginLoss(margin=margin)(theirs_in, labels)
    (ours.mean() * 3).backward()
    (theirs * 3).backward()
    assert ours_in.grad is not None
    assert theirs_in.grad is not None
    return ours.detach(), theirs.detach(), ours_in.grad, theirs_in.grad


@pytest.mark.parametrize("spread", [1.0, 0.02])
def test_equals_pytorch_metric_learning(spread: float) -> None:
    for seed, labels in enumerate([*LABELS.values(), list(range(20)) * 6]):
        embeddings, given_labels = _batch(labels, 32, seed=seed, spread=spread)
        ours, theirs, ours_grad, theirs_grad = _both(embeddings, given_labels, 0.01)
        assert float(theirs) > 0
        assert float(ours) == pytest.approx(float(theirs), rel=1e-4)
        # Rounding may put a triplet whose term is about 0 on the other side.
        assert float((ours_grad - theirs_grad).norm() / theirs_grad.norm()) < 2e-3


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(0, 4), min_size=3, max_size=16).filter(lambda ls: 1 < len(set(ls)) < len(ls)),
    st.integers(0, 99),
    st.sampled_from([0.0, 0.01, 0.3, 5.0]),
)
def test_equals_pytorch_metric_learning_for_any_labels(labels: list[int], seed: int, margin: float) -> None:
    ours, theirs, ours_grad, theirs_grad = _both(*_batch(labels, 6, seed=seed), margin)
    assert float(ours) == pytest.approx(float(theirs), rel=1e-3, abs=1e-6)
    torch.testing.assert_close(ours_grad.double(), theirs_grad, rtol=1e-2, atol=1e-4)


def test_gradient_is_that_of_differences() -> None:
    """Moving an embedding a little changes the loss as the gradient says."""
    embeddings, labels = _batch(LABELS["ragged"], 5, seed=3)
    embeddings.requires_grad_()
    loss, _ = AllTripletsLoss(0.2)(embeddings, labels)
    loss.sum().backward()
    assert embeddings.grad is not None
    for row, column in ((0, 0), (4, 2), (7, 4), (9, 1)):
        losses = []
        for step in (1e-4, -1e-4):
            moved = embeddings.detach().double().clone()
            moved[row, column] += step
            terms = _slow(moved, labels, 0.2)
            losses.append(sum(terms) / len(terms))
        assert float(embeddings.grad[row, column]) == pytest.approx((losses[0] - losses[1]) / 2e-4, rel=1e-2, abs=1e-5)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, labels = _batch([0, 1, 2, 3, 3] * 6, 16)
    results = []
    for chunk in (1 << 22, 100, 1):
        monkeypatch.setattr(all_triplets_loss, "_CHUNK", chunk)
        given_in = embeddings.clone().requires_grad_()
        loss, info = AllTripletsLoss()(given_in, labels)
        loss.sum().backward()
        results.append((loss.detach(), given_in.grad, *info.values()))
    for other in results[1:]:
        torch.testing.assert_close(other, results[0])


def test_small_distances_are_not_lost_beside_the_margin() -> None:
    # By the products of float32 vectors, distances of 1e-4 come out as 0 or 3e-4.
    points = torch.tensor([[0.0], [1e-4], [3e-4], [6e-4]])
    embeddings = torch.cat([points, torch.ones(4, 1)], 1).repeat(1, 20)
    terms = _slow(embeddings, torch.tensor([0, 0, 1, 1]), 1e-4)
    loss, _ = AllTripletsLoss(1e-4)(embeddings, torch.tensor([0, 0, 1, 1]))
    assert float(loss) == pytest.approx(sum(terms) / len(terms), rel=1e-2)


def test_length_does_not_matter() -> None:
    embeddings, labels = _batch(LABELS["ragged"], 8)
    scaled = embeddings * torch.rand(len(labels), 1) * 9
    torch.testing.assert_close(AllTripletsLoss()(scaled, labels)[0], AllTripletsLoss()(embeddings, labels)[0])


def test_nothing_to_push_apart_and_equal_embeddings_have_finite_gradients() -> None:
    apart = torch.tensor([[1.0, 0.0], [1.0, 0.001], [0.0, 1.0], [0.001, 1.0]]).requires_grad_()
    loss, info = AllTripletsLoss()(apart, torch.tensor([0, 0, 1, 1]))
    loss.sum().backward()
    assert [float(loss.detach()), int(info["loss_num"])] == [0, 0]
    assert apart.grad is not None
    assert not apart.grad.any()
    equal = torch.ones(4, 3, requires_grad=True)
    loss, _ = AllTripletsLoss()(equal, torch.tensor([0, 0, 1, 1]))
    loss.sum().backward()
    assert float(loss.detach()) == pytest.approx(0.01)
    assert equal.grad is not None
    assert bool(equal.grad.isfinite().all())


def test_half_precision_is_computed_in_float32() -> None:
    embeddings, labels = _batch(LABELS["balanced"], 8)
    half = embeddings.half()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = AllTripletsLoss()(half, labels)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, AllTripletsLoss()(half.float(), labels)[0], rtol=0, atol=0)


def test_errors() -> None:
    with pytest.raises(ShapeError, match=r"\[n, c\] or \[n, c, p\]"):
        AllTripletsLoss()(torch.randn(4), torch.arange(4))
    with pytest.raises(ShapeError, match="labels"):
        AllTripletsLoss()(torch.randn(4, 3), torch.arange(5))
    with pytest.raises(ConfigError, match="one identity"):
        AllTripletsLoss()(torch.randn(4, 3), torch.zeros(4))
    with pytest.raises(ConfigError, match="no triplet has a positive"):
        AllTripletsLoss()(torch.randn(4, 3), torch.arange(4))


def test_both_losses_take_what_gaitpt_feeds() -> None:
    """[n, 256, 1], in the embedded host; and a part-wise triplet loss of one part is of one part."""
    embeddings, labels = _batch(LABELS["balanced"], 256, 1)
    fed = {"triplet": {"embeddings": embeddings, "labels": labels}}
    for entry, loss in (
        ({"type": "AllTripletsLoss", "margin": 0.01}, AllTripletsLoss()),
        ({"type": "TripletLoss", "margin": 0.2}, TripletLoss(0.2)),
    ):
        total, scalars = LossSum([{**entry, "log_prefix": "triplet", "loss_term_weight": 2.0}])(fed)
        value, _ = loss(embeddings, labels)
        assert value.shape == (1,)
        assert float(total) == pytest.approx(2 * float(value))
        assert float(scalars["triplet/loss_num"]) > 0


def _share(rank: int, folder: str) -> None:
    """One of two processes: the loss and gradient of every second sequence."""
    os.environ.update(GLOO_SOCKET_IFNAME="lo")
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    embeddings, labels = _batch([0, 1, 2] * 4, 6, 1)
    own = embeddings[rank::2].clone().requires_grad_()
    loss, info = AllTripletsLoss()(own, labels[rank::2])
    loss.mean().backward()
    torch.save((info, own.grad), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_have_the_loss_and_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    mp.spawn(_share, (str(tmp_path),), nprocs=2)
    embeddings, labels = _batch([0, 1, 2] * 4, 6, 1)
    embeddings.requires_grad_()
    loss, info = AllTripletsLoss()(embeddings, labels)
    loss.mean().backward()
    assert embeddings.grad is not None
    for rank in range(2):
        shared: tuple[dict[str, Any], Tensor] = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(shared[0], info)
        # DDP averages the processes' gradients, hence the factor.
        torch.testing.assert_close(shared[1], 2 * embeddings.grad[rank::2], rtol=1e-4, atol=1e-6)
