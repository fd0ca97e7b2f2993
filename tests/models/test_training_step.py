"""One training step of every network with convolutions against the same in float64, by torch's own layers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from gaitext.losses import CrossEntropyLoss, TripletLoss
from gaitext.models import FBCNN, GaitBase, GaitHeat, GaitPT, OcclusionEvaluator, RGGait
from gaitext.models.exact_layers import BatchNorm1d, BatchNorm2d, Conv2d

TINY = {"class_num": 4, "channels": (8, 8, 16, 16), "embedding_size": 8}
LABELS = torch.arange(8) // 2

#: The network, its inputs, and the loss of its output.
Case = tuple[nn.Module, tuple[Tensor, ...], Callable[..., Tensor]]


def recognition(*heads: tuple[Tensor, Tensor]) -> Tensor:
    """Of embeddings and logits. The triplet loss takes all, so that no comparison decides by a last digit."""
    triplet, softmax = TripletLoss(margin=100.0), CrossEntropyLoss(scale=16, label_smooth=True)
    return torch.stack([triplet(e, LABELS)[0].mean() + softmax(logits, LABELS)[0] for e, logits in heads]).sum()


def weighed(found: Tensor) -> Tensor:
    """A loss whose gradient differs from place to place."""
    return (found * torch.linspace(-1, 2, found.numel(), dtype=found.dtype).view_as(found)).sum()


def heatmaps() -> Tensor:
    """[8, 6, 17, 64, 48] with a peak for each joint."""
    x, y = (torch.rand(8, 6, 17, 1, 1) * (size - 12) + 6 for size in (48, 64))
    across, down = (torch.arange(48.0) - x).square(), (torch.arange(64.0)[:, None] - y).square()
    return torch.exp(-(across + down) / 8) * (0.5 + 0.5 * torch.rand(8, 6, 17, 1, 1))


def gaitheat(inputs: Tensor | None = None) -> Case:
    def loss(output) -> Tensor:  # type: ignore[no-untyped-def]
        return recognition(*(tuple(head) for head in output.heads.values()))

    return GaitHeat(**TINY), (heatmaps() if inputs is None else inputs,), loss


def gaitbase() -> Case:
    return GaitBase(**TINY), (torch.rand(8, 6, 64, 44),), lambda output: recognition(tuple(output.head))


def rggait(gse: nn.Module, inputs: Tensor) -> Case:
    network = RGGait(gse, OcclusionEvaluator(channels=(4, 8, 8), feature_size=8))
    return network, (inputs,), lambda output: recognition((output.embeddings, output.logits))


def oem() -> Case:
    def loss(output) -> Tensor:  # type: ignore[no-untyped-def]
        return weighed(output.logits) + weighed(output.amount)

    return OcclusionEvaluator(channels=(8, 8, 12), feature_size=6), (torch.rand(48, 1, 64, 44),), loss


CASES: dict[str, Callable[[], Case]] = {
    "GaitHeat": gaitheat,
    "GaitHeat on noise": lambda: gaitheat(torch.rand(8, 6, 17, 64, 48)),
    "GaitBase": gaitbase,
    "GaitPT": lambda: (GaitPT(dropout=0.0), (torch.rand(2, 60, 18, 2),), weighed),
    "RGGait over GaitBase": lambda: rggait(GaitBase(**TINY), torch.rand(8, 6, 64, 44)),
    "RGGait over GaitHeat": lambda: rggait(GaitHeat(**TINY), heatmaps()),
    "OcclusionEvaluator": oem,
    "FBCNN": lambda: (FBCNN(channels=(8, 12, 16), blocks=1, embedding_size=8), (torch.rand(2, 3, 64, 48),), weighed),
}


def in_float64(network: nn.Module) -> nn.Module:
    """A copy with torch's layers in place of ours."""
    twin = copy.deepcopy(network).double()
    theirs = {BatchNorm1d: nn.BatchNorm1d, BatchNorm2d: nn.BatchNorm2d, Conv2d: nn.Conv2d}
    for module in twin.modules():
        module.__class__ = theirs.get(type(module), type(module))  # type: ignore[call-overload]
    return twin


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def step(network: nn.Module, inputs: tuple[Tensor, ...], loss: Callable[..., Tensor]) -> None:
    torch.manual_seed(1)
    loss(network.train()(*inputs)).backward()


def compare(network: nn.Module, exact: nn.Module) -> None:
    """Statistics to 1e-5 of each norm's, gradients to 5e-3 of the whole, and of each tensor's norm."""
    ours, theirs = (dict(each.named_modules()) for each in (network, exact))
    for name, norm in theirs.items():
        if isinstance(norm, _BatchNorm):
            for key in ("running_mean", "running_var"):
                found, expected = getattr(ours[name], key).double(), getattr(norm, key)
                # A running mean of nearly nothing is known as exactly as the values it is the mean of.
                scale = expected.norm() if key == "running_var" else (expected.square() + norm.running_var).sum().sqrt()
                assert (found - expected).norm() < 1e-5 * scale, f"{name}.{key}"
    pairs = [
        (name, mine.grad.double(), p.grad)
        for (name, p), mine in zip(exact.named_parameters(), network.parameters())
        if p.grad is not None and mine.grad is not None
    ]
    assert {name for name, p in network.named_parameters() if p.grad is not None} == {name for name, *_ in pairs}
    whole = torch.stack([expected.norm() for *_, expected in pairs]).norm()
    wrong = torch.stack([(found - expected).norm() for _, found, expected in pairs]).norm()
    assert wrong < 5e-3 * whole
    for name, found, expected in pairs:
        # Sums that nearly cancel (of a bias, say) are known less exactly in float32, whatever the layout.
        assert (found - expected).norm() < 5e-3 * expected.norm() + 3e-4 * whole, name


class Choices(TorchFunctionMode):
    """What ReLUs and maxima over maps, time and rows choose: kept, or taken from a tape."""

    def __init__(self, tape: list[Tensor] | None = None) -> None:
        super().__init__()
        self.kept: list[Tensor] = []
        self.tape = None if tape is None else iter(tape)

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        name, options = getattr(func, "__name__", ""), kwargs or {}
        if name not in ("relu", "relu_", "amax") or args[0].ndim < 4 or not args[0].requires_grad:
            return func(*args, **options)
        x, dim = args[0], args[1] if name == "amax" else ()
        found = x > 0 if name != "amax" else x == x.detach().amax(dim, keepdim=True)
        self.kept.append(found)
        chosen = (found if self.tape is None else next(self.tape)).to(x.dtype)
        return x * chosen if name != "amax" else (x * chosen / chosen.sum(dim, keepdim=True)).sum(dim)


def test_what_is_left_of_the_difference_is_what_maxima_and_relus_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    """With float64's choices, float32's gradients of noise are ten times as near to float64's."""
    torch.manual_seed(0)
    network, inputs, loss = gaitheat(torch.rand(8, 3, 17, 64, 48))
    monkeypatch.setattr("gaitext.models.gaitheat.strongest", lambda maps, n: maps.unflatten(0, (-1, n)).amax(1))
    exact, choices = in_float64(network), Choices()
    with monkeypatch.context() as patch, choices:
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        step(exact, tuple(x.double() for x in inputs), loss)
    replayed = Choices(choices.kept)
    with replayed:
        step(network, inputs, loss)
    assert len(replayed.kept) == len(choices.kept) > 20
    assert any((a != b).any() for a, b in zip(replayed.kept, choices.kept))
    found, expected = (torch.cat([p.grad.double().flatten() for p in n.parameters()]) for n in (network, exact))  # type: ignore[union-attr]
    assert (found - expected).norm() < 3e-4 * expected.norm()


@pytest.mark.parametrize("name", CASES)
def test_a_step_is_the_one_in_float64(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network, inputs, loss = CASES[name]()
    exact = in_float64(network)
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)  # networks and losses compute in float32
        step(exact, tuple(x.double() for x in inputs), loss)
    for count, last in ((1, False), (2, True)):
        twin, given = copy.deepcopy(network), inputs
        if last:  # as somebody may have moved it
            twin.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            given = tuple(x.movedim(-3, -1).contiguous().movedim(-1, -3) for x in inputs)
        with threads(count):
            step(twin, given, loss)
        compare(twin, exact)
