"""Folded layers against the modules they stand for, and everything that must not leave them behind."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gaitext.models import GaitBase, GaitHeat
from gaitext.models.folding import Folding
from gaitext.models.resnet import Stem, channels_last, stage

TINY = {"class_num": 3, "channels": (4, 4, 6, 8), "embedding_size": 6}


def lived(network: nn.Module, seed: int = 0) -> nn.Module:
    """Statistics and weights of BatchNorm as training leaves them, all of them different."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            for tensor, low, high in (
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.2, 2.0),
                (module.weight.data, -1.5, 1.5),
                (module.bias.data, -0.5, 0.5),
            ):
                assert tensor is not None
                tensor.uniform_(low, high, generator=generator)
    return network.eval()


def folded(*modules: nn.Module) -> list[bool]:
    """Which of the blocks inside would run folded."""
    return [block.folded() is not None for each in modules for block in each.modules() if isinstance(block, Folding)]


def as_it_is(modules: list[nn.Module], x: Tensor) -> Tensor:
    for module in modules:
        x = module(x)
    return x


@settings(max_examples=25, deadline=None)
@given(
    inputs=st.integers(1, 3),
    widths=st.lists(st.integers(1, 20), min_size=2, max_size=3),
    blocks=st.integers(1, 3),
    strides=st.lists(st.integers(1, 2), min_size=3, max_size=3),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    batch=st.integers(1, 4),
    same=st.booleans(),
)
def test_folded_layers_compute_what_the_modules_do(inputs, widths, blocks, strides, size, batch, same) -> None:
    torch.manual_seed(0)
    widths = [widths[0]] * len(widths) if same else widths  # no projections
    modules = [Stem(inputs, widths[0])]
    modules += [stage(a, b, blocks, s) for a, b, s in zip(widths, widths[1:], strides)]
    for seed, module in enumerate(modules):
        lived(module, seed)
    x = torch.randn(batch, inputs, *size)
    with torch.no_grad():
        expected = as_it_is([m.double() for m in copy.deepcopy(modules)], x.double())
        assert all(folded(*modules))
        given_ = channels_last(x)
        found = as_it_is(modules, given_)
    torch.testing.assert_close(found.double(), expected, atol=2e-5, rtol=2e-5)
    assert torch.equal(given_, x)  # stages overwrite theirs, nobody a caller's


def test_folding_far_from_zero_is_as_exact_as_its_inputs() -> None:
    """Statistics of mean 100 and deviation 0.5: the shift is computed in float64."""
    torch.manual_seed(0)
    stem = Stem(1, 8).eval()
    stem.norm.running_mean.fill_(100)
    stem.norm.running_var.fill_(0.25)
    x = 100 + torch.randn(2, 1, 6, 7)
    stem.conv.weight.data.zero_()[:, :, 1, 1] = torch.linspace(0.999, 1.001, 8)[:, None]
    for kind, tolerance in ((torch.float32, 1e-4), (torch.float64, 1e-12)):
        module = copy.deepcopy(stem).to(kind)
        exact = copy.deepcopy(stem).double()(x.double())
        with torch.no_grad():
            assert all(folded(module))
            assert (module(channels_last(x.to(kind))) - exact).abs().max() < tolerance


def test_the_layers_that_have_no_fused_operator_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    network = lived(GaitHeat(**TINY))
    heatmaps = torch.rand(1, 5, 17, 64, 48)
    with torch.no_grad():
        fused = network(heatmaps)
        monkeypatch.setattr("gaitext.models.folding._FUSED", None)
        torch.testing.assert_close(network(heatmaps), fused, atol=1e-5, rtol=0)


def test_one_channel_lies_channels_last() -> None:
    x = torch.rand(3, 1, 4, 5)
    laid = channels_last(x)
    assert torch.equal(laid, x)
    assert laid.stride() == (20, 1, 5, 1)
    assert torch.conv2d(laid, torch.rand(4, 1, 3, 3)).is_contiguous(memory_format=torch.channels_last)


def networks() -> list[tuple[nn.Module, Tensor]]:
    torch.manual_seed(0)
    return [
        (lived(GaitHeat(**TINY)), torch.rand(2, 4, 17, 64, 48)),
        (lived(GaitBase(**TINY)), torch.rand(2, 4, 64, 44)),
    ]


@pytest.fixture(params=[0, 1], ids=["GaitHeat", "GaitBase"])
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor]:
    return networks()[request.param]


def slow(network: nn.Module, inputs: Tensor) -> Tensor:
    """With a graph nothing is folded."""
    assert not any(folded(network))
    return network(inputs).detach()


def fast(network: nn.Module, inputs: Tensor) -> Tensor:
    with torch.inference_mode():
        assert all(folded(network))
        found = network(inputs)
    return torch.tensor(found.tolist())


def test_embeddings_are_those_of_the_network_as_it_is(case) -> None:
    torch.testing.assert_close(fast(*case), slow(*case), atol=1e-5, rtol=0)


@torch.no_grad()
def test_folding_is_done_once(case, monkeypatch: pytest.MonkeyPatch) -> None:
    network, inputs = case
    network(inputs)
    monkeypatch.setattr("gaitext.models.folding.folded_weights", None)
    network(inputs)
    network.eval()
    with pytest.raises(TypeError):
        network(inputs)


def test_folding_follows_the_weights(case) -> None:
    network, inputs = case
    start = fast(network, inputs)
    keys = list(network.state_dict())
    other = type(network)(**TINY)
    lived(other, seed=7)

    def step() -> None:
        network.train()
        output = network(inputs)
        head = output.heads["fusion"] if isinstance(network, GaitHeat) else output.head
        head.logits.square().sum().backward()
        torch.optim.SGD(network.parameters(), 0.05, momentum=0.9, foreach=True).step()
        network.eval()

    def step_in_evaluation() -> None:
        network(inputs).square().mean().backward()
        torch.optim.Adam(network.parameters(), 1e-2, foreach=True).step()

    def data() -> None:  # which torch does not count
        network.stem.conv.weight.data.mul_(0.3)
        network.eval()

    def converted() -> None:
        network.to(torch.bfloat16).to(torch.float32)

    changes = {
        "in place": lambda: network.stem.conv.weight.mul_(0.7),
        "assigned": lambda: network.load_state_dict(copy.deepcopy(other.state_dict()), assign=True),
        "step in evaluation": step_in_evaluation,
        "converted": converted,
        "load_state_dict": lambda: network.load_state_dict(lived(type(network)(**TINY), seed=8).state_dict()),
        "data": data,
        "statistics": lambda: network.stages[1][0].norm2.running_var.mul_(9),
        "step": step,
    }
    for name, change in changes.items():
        with torch.set_grad_enabled("step" in name):
            change()
        after = fast(network, inputs)
        assert (after - start).abs().max() > (1e-5 if name == "converted" else 1e-3), name
        torch.testing.assert_close(after, slow(network, inputs), atol=1e-5, rtol=1e-4)
        start = after
    assert list(network.state_dict()) == keys


def test_copies_and_pickles_are_independent(case) -> None:
    network, inputs = case
    start = fast(network, inputs)
    twin, read = copy.deepcopy(network), pickle.loads(pickle.dumps(network))
    with torch.no_grad():
        network.stem.conv.weight.zero_()
    for each in (twin, read):
        assert torch.equal(fast(each, inputs), start)
    assert not torch.equal(fast(network, inputs), start)


def test_a_norm_that_takes_the_batchs_statistics_is_not_folded(case) -> None:
    network, inputs = case
    network.stages[2].train()
    with torch.no_grad():
        assert folded(*network.stages) == [True, True, False, True]
    network.eval()
    network.stages[0][0].norm1 = nn.BatchNorm2d(4, track_running_stats=False).eval()
    with torch.no_grad():
        assert folded(*network.stages) == [False, True, True, True]
        assert network(inputs).isfinite().all()


def test_hooks_are_still_called(case) -> None:
    network, inputs = case
    seen: list[torch.Size] = []
    handle = network.stages[1][0].relu.register_forward_hook(lambda _m, _i, out: seen.append(out.shape))
    with torch.no_grad():
        hooked = network(inputs)
    assert seen
    handle.remove()
    torch.testing.assert_close(fast(network, inputs), hooked, atol=1e-5, rtol=0)


def test_modules_put_in_place_of_ours_are_called(case) -> None:
    network, inputs = case
    block = network.stages[1][0]
    block.conv1 = nn.Sequential(block.conv1, nn.Dropout(0.0))
    with torch.no_grad():
        assert folded(*network.stages) == [True, False, True, True]
        assert network(inputs).isfinite().all()
    torch.nn.utils.parametrizations.weight_norm(network.stages[0][0].conv1)
    with torch.no_grad():
        assert folded(network.stages[0]) == [False]


def test_synchronised_norms_are_folded_too(case) -> None:
    network, inputs = case
    start = fast(network, inputs)
    network = nn.SyncBatchNorm.convert_sync_batchnorm(network).eval()
    assert isinstance(network.stem.norm, nn.SyncBatchNorm)
    with torch.inference_mode():
        assert all(folded(network))
        assert torch.equal(network(inputs), start)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_decides_the_precision(case, dtype: torch.dtype) -> None:
    network, inputs = case
    exact = fast(network, inputs)
    with torch.no_grad(), torch.autocast("cpu", dtype):
        assert all(folded(network.stem))
        assert network.stem(torch.rand(1, 1, 64, 48)).dtype == dtype
        coarse = network(inputs).float()
    likeness = torch.cosine_similarity(coarse, exact, dim=1)
    assert 0.99 < likeness.min() < 1
    assert (coarse - exact).abs().max() > 1e-6  # it is not float32 by another name


def test_a_converted_trunk_takes_float32_maps() -> None:
    network = lived(GaitBase(**TINY))
    inputs = torch.rand(2, 3, 64, 44)
    exact = fast(network, inputs)
    coarse = fast(network.to(torch.bfloat16), inputs)
    assert torch.cosine_similarity(coarse.float(), exact, dim=1).min() > 0.99
