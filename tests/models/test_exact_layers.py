"""BatchNorm and convolutions on a CPU against torch's in float64, in every layout."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from gaitext.models.exact_layers import BatchNorm1d, BatchNorm2d, BatchNorm3d, Conv2d, exact_on_cpu

PAIRS = {2: (BatchNorm1d, nn.BatchNorm1d), 3: (BatchNorm1d, nn.BatchNorm1d)}
PAIRS |= {4: (BatchNorm2d, nn.BatchNorm2d), 5: (BatchNorm3d, nn.BatchNorm3d)}
SHAPES = [(300, 5), (40, 6, 50), (30, 1, 9, 8), (50, 7, 1, 1), (24, 12, 16, 11), (10, 5, 3, 4, 6), (1, 3, 8, 5)]


def error(found: Tensor | None, expected: Tensor | None) -> float:
    """Of a tensor, relative to its norm."""
    assert found is not None
    assert expected is not None
    found, expected = found.detach().double(), expected.detach().double()
    return float((found - expected).norm() / expected.norm().clamp_min(1e-12))


def layouts(x: Tensor) -> Iterator[Tensor]:
    """The same values in other places."""
    yield x.contiguous()
    yield x.movedim(1, -1).contiguous().movedim(-1, 1)
    yield x.transpose(0, -1).contiguous().transpose(0, -1)
    yield torch.stack((x, x), -1)[..., 0]


def step(norm: nn.Module, x: Tensor, grad: Tensor) -> list[Tensor | None]:
    """Output, gradients and statistics of one step."""
    leaf = x.detach().requires_grad_()  # detach keeps the strides
    y = norm(leaf)
    y.backward(grad)
    return [y.detach(), leaf.grad, norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_var]  # type: ignore[union-attr, list-item]


def twins(shape: tuple[int, ...], mean: float, sd: float) -> tuple[nn.Module, nn.Module]:
    ours, theirs = (cls(shape[1]) for cls in PAIRS[len(shape)])
    nn.init.uniform_(ours.weight, 0.5, 1.5)
    nn.init.normal_(ours.bias)
    ours.running_mean.fill_(mean)
    ours.running_var.fill_(sd**2)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs.double()


@pytest.mark.parametrize(("mean", "sd"), [(0.0, 1.0), (1.05, 0.03), (100.0, 0.01)])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_a_step_is_float64s_in_every_layout(shape: tuple[int, ...], mean: float, sd: float, training: bool) -> None:
    torch.manual_seed(0)
    x, grad = mean + sd * torch.randn(shape), torch.randn(shape) + 0.5
    ours, theirs = twins(shape, mean, sd)
    expected = step(theirs.train(training), x.double(), grad.double())
    for given in layouts(x):
        for weighed in layouts(grad):
            norm = copy.deepcopy(ours).train(training)
            found = step(norm, given, weighed)
            assert [e for e in map(error, found, expected) if e > 2e-6] == []
            assert norm.num_batches_tracked == int(training)


@pytest.mark.parametrize("maps", [96, 768])
@pytest.mark.parametrize(("mean", "sd"), [(1.05, 0.03), (100.0, 0.01)])
def test_statistics_lose_nothing_as_batches_grow(maps: int, mean: float, sd: float) -> None:
    """torch's own lose 1e-4 of the variance at 96 maps that lie channels last, 0.1 at 768, all of it at 2,880."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(maps, 64, 48, 4, generator=generator).sub_(0.5).mul_(12**0.5 * sd).add_(mean).permute(0, 3, 1, 2)
    norm = BatchNorm2d(4, momentum=1.0)
    norm(x)
    exact = x.double()
    assert error(norm.running_mean, exact.mean((0, 2, 3))) < 1e-6
    assert error(norm.running_var, exact.var((0, 2, 3))) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(("mean", "sd"), [(1.05, 0.03), (100.0, 0.01)])
def test_statistics_at_the_published_batch(mean: float, sd: float) -> None:
    test_statistics_lose_nothing_as_batches_grow(8 * 8 * 30 * 3, mean, sd)


def test_a_frozen_norms_weights_have_exact_gradients() -> None:
    """In evaluation (``fix_BN``) weight and bias may still be trained: torch loses their sums in the same way."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 64, 48, 3, generator=generator).permute(0, 3, 1, 2)
    norm = BatchNorm2d(3).eval()
    norm(x).square().sum().backward()
    y = x.double() / (1 + norm.eps) ** 0.5
    assert error(norm.weight.grad, 2 * y.square().sum((0, 2, 3))) < 1e-6
    assert error(norm.bias.grad, 2 * y.sum((0, 2, 3))) < 1e-3


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("options", [{}, {"affine": False}, {"track_running_stats": False}, {"momentum": None}])
def test_options_mean_what_they_mean_to_torch(options: dict[str, object], training: bool) -> None:
    torch.manual_seed(0)
    ours = BatchNorm2d(3, eps=0.01, **options).train(training)  # type: ignore[arg-type]
    theirs = nn.BatchNorm2d(3, eps=0.01, **options).double().train(training)  # type: ignore[arg-type]
    for _ in range(3):
        x = torch.randn(4, 5, 6, 3).permute(0, 3, 1, 2).requires_grad_()
        torch.testing.assert_close(ours(x).double(), theirs(x.double()), atol=1e-6, rtol=1e-6)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name].to(value), value, atol=1e-6, rtol=1e-6)


def test_half_precision_is_added_up_in_float32() -> None:
    torch.manual_seed(0)
    x = (3 + torch.randn(200, 30, 20, 6)).bfloat16().permute(0, 3, 1, 2)
    ours, theirs = twins((1, 6, 1, 1), 0.0, 1.0)
    grad = torch.randn(200, 30, 20, 6).bfloat16().permute(0, 3, 1, 2)
    found, expected = step(ours, x, grad), step(theirs, x.double(), grad.double())
    assert found[0].dtype == found[1].dtype == torch.bfloat16  # type: ignore[union-attr]
    assert max(map(error, found[:2], expected[:2])) < 4e-3  # their own rounding
    assert max(map(error, found[2:], expected[2:])) < 1e-5


def test_it_is_torchs_module_to_everybody_else() -> None:
    norm = nn.Sequential(BatchNorm2d(3))
    assert list(norm.state_dict()) == list(nn.Sequential(nn.BatchNorm2d(3)).state_dict())
    assert type(nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(norm))[0]) is nn.SyncBatchNorm  # type: ignore[index]
    assert "BatchNorm" in type(norm[0]).__name__  # by which toolboxes find what fix_BN fixes
    assert type(pickle.loads(pickle.dumps(norm))[0]) is BatchNorm2d
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        norm(torch.rand(1, 3, 1, 1))
    with pytest.raises(ValueError, match="expected 4D"):
        norm(torch.rand(4, 3))
    assert norm(torch.rand(0, 3, 2, 2)).shape == (0, 3, 2, 2)


@pytest.mark.parametrize("stride", [1, 2, 3, (1, 2)])
@pytest.mark.parametrize("size", [(7, 9), (1, 1), (8, 6)])
def test_strided_1x1_convolutions_are_float64s(stride: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    ours, theirs = Conv2d(4, 8, 1, stride), nn.Conv2d(4, 8, 1, stride).double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(3, 4, *size)
    for given in layouts(x):
        leaf, exact = given.detach().requires_grad_(), x.double().requires_grad_()
        y, expected = ours(leaf), theirs(exact)
        grad = torch.randn_like(expected)
        ours.zero_grad()
        theirs.zero_grad()
        y.backward(grad.float())
        expected.backward(grad)
        pairs = [(y, expected), (leaf.grad, exact.grad), (ours.weight.grad, theirs.weight.grad)]
        assert max(error(a, b) for a, b in pairs) < 1e-6


class Own(nn.Conv2d):
    """A library's convolution."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def test_a_foreign_network_works_exactly_too() -> None:
    """As transformers make maps of tokens (a view that lies channels last), with a library's convolution."""
    torch.manual_seed(0)
    network = nn.Sequential(Own(4, 6, 1, 2), nn.BatchNorm2d(6), nn.Conv2d(6, 3, 1, 2, bias=False), nn.BatchNorm2d(3))
    exact = copy.deepcopy(network).double()
    keys = list(network.state_dict())
    assert exact_on_cpu(network) is network
    x = 100 + 0.1 * torch.randn(90, 64 * 48, 4)
    outputs = []
    for each, tokens in ((network, x), (exact, x.double())):
        maps = tokens.transpose(1, 2).reshape(90, 4, 64, 48)
        assert maps.stride(1) == 1
        outputs.append(each(maps))
        outputs[-1][:, :, :5].square().sum().backward()
    assert error(*outputs) < 1e-4
    for ours, theirs in zip(network.state_dict().values(), exact.state_dict().values()):
        torch.testing.assert_close(ours, theirs.to(ours), atol=1e-6, rtol=1e-5)
    assert list(network.state_dict()) == keys
    assert [type(module) for module in network][1] is BatchNorm2d
    copy.deepcopy(network).load_state_dict(pickle.loads(pickle.dumps(network)).state_dict())
