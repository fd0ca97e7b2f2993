"""RG-Gait: its formula, what is frozen, its switches, and packs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gaitext.errors import ConfigError, ShapeError
from gaitext.models import GaitBase, GaitHeat, GaitPT, OcclusionEvaluator, RGGait, RGGaitOutput
from gaitext.models.heads import BNNeck
from gaitext.models.signature import NetworkSignature, SignatureExtractor, freeze_unused

SILHOUETTES = {"class_num": 5, "channels": (2, 2, 4, 4), "embedding_size": 6, "bins": (8, 4)}


class Vector(nn.Module):
    """One embedding per sequence, no BNNeck."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64 * 44, 6)
        self.norm = nn.BatchNorm1d(6)
        self.idle = nn.Linear(2, 2)

    def signature(self, frames: Tensor, seqL: Any = None) -> Tensor:
        lengths = [frames.shape[1]] * len(frames) if seqL is None else torch.as_tensor(seqL).reshape(-1).tolist()
        mean = torch.stack([part.mean(0) for part in frames.flatten(0, 1).split(lengths)])
        return self.norm(self.linear(mean.flatten(1)))


def settled(network: nn.Module) -> nn.Module:
    """Statistics other than those that a network begins with."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return network


def systems() -> dict[str, tuple[nn.Module, Tensor]]:
    torch.manual_seed(0)
    heat = {"class_num": 5, "channels": (2, 2, 4, 4), "embedding_size": 6, "augmentation": {"mirror": 1.0}}
    pose = GaitPT(dims=(8, 8, 16, 16), depths=(1, 1, 1, 1), embedding_size=8, frames=6)
    return {
        "GaitBase": (settled(GaitBase(**SILHOUETTES)), (torch.rand(4, 5, 64, 44) > 0.5).float()),
        "GaitHeat": (settled(GaitHeat(**heat)), torch.rand(4, 3, 17, 64, 48)),
        "GaitPT": (pose, torch.rand(4, 9, 17, 3)),
        "vector": (settled(Vector()), torch.rand(4, 5, 64, 44)),
    }


def build(name: str, **settings: Any) -> tuple[RGGait, nn.Module, Tensor]:
    network, inputs = systems()[name]
    shape = tuple(NetworkSignature(network).eval()(inputs).shape[1:])
    system = RGGait(network, OcclusionEvaluator(channels=(2, 4, 4), feature_size=7), shape=shape, **settings)
    freeze_unused(system.frn, inputs)
    return system, network, inputs


def hide_nothing(system: RGGait) -> None:
    """Make every amount 0, exactly."""
    assert system.occlusion_evaluator is not None
    system.occlusion_evaluator.amount_head.bias.data.fill_(-1000)


NAMES = ["GaitBase", "GaitHeat", "GaitPT", "vector"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("training", [False, True])
def test_without_occlusion_the_output_is_the_extractors_to_the_last_bit(name: str, training: bool) -> None:
    system, network, inputs = build(name)
    with torch.no_grad():
        expected = network.eval().signature(inputs)
        system.train(training)
        before = system(inputs)
        before = before.embeddings if isinstance(before, RGGaitOutput) else before
        assert not torch.equal(before.squeeze(-1), expected.squeeze(-1))
        hide_nothing(system)
        found = system(inputs)
    found = found.embeddings if isinstance(found, RGGaitOutput) else found
    assert torch.equal(found, expected if expected.ndim == 3 else expected[..., None])


@pytest.mark.parametrize("name", NAMES)
def test_extractor_and_evaluator_are_bit_identical_after_training(name: str) -> None:
    system, _, inputs = build(name)
    frozen = {k: v.clone() for k, v in system.state_dict().items() if k.startswith(("gse.", "occlusion_evaluator."))}
    twin = {k: v.clone() for k, v in system.frn.state_dict().items()}
    neck = None if system.neck is None else {k: v.clone() for k, v in system.neck.state_dict().items()}
    trained = [p for p in system.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.1, momentum=0.9, weight_decay=0.1)
    calls: list[bool] = []
    system.gse.register_forward_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    for _ in range(3):
        system.train()  # as the toolboxes do, again and again
        output = system(inputs)
        loss = output.embeddings.square().mean() + (0 if output.logits is None else output.logits.square().mean())
        optimizer.zero_grad()
        loss.backward()
        assert [n for n, p in system.named_parameters() if p.requires_grad and p.grad is None] == []
        optimizer.step()
    assert calls == [False] * 3
    after = system.state_dict()
    assert all(torch.equal(after[key], value) for key, value in frozen.items())
    moved = {key for key, value in system.frn.state_dict().items() if not torch.equal(value, twin[key])}
    assert moved >= {key for key in twin if key.endswith(("running_mean",))}
    assert len(moved) > len(twin) / 2
    if neck is not None:
        assert all(not torch.equal(system.neck.state_dict()[key], value) for key, value in neck.items())


def test_the_formula() -> None:
    system, network, inputs = build("GaitBase")
    evaluator = system.occlusion_evaluator
    assert evaluator is not None
    nn.init.normal_(evaluator.amount_head.weight, 0, 3)
    system.eval()
    with torch.no_grad():
        found = system(inputs)
        theirs = network.eval().signature(inputs)
        for index in range(len(inputs)):
            frames = [evaluator(frame[None, None]) for frame in inputs[index]]
            feature = torch.stack([f.feature[0] for f in frames]).mean(0)
            alpha = torch.stack([f.amount[0] for f in frames]).mean()
            for part in range(12):
                restored = system.frn(inputs)[index, :, part]
                residual = torch.cat((restored, feature)) @ system.mix.weight[part]
                expected = theirs[index, :, part] + alpha * residual
                torch.testing.assert_close(found[index, :, part], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_twin_begins_as_the_extractor_and_apart_from_it(name: str) -> None:
    system, network, inputs = build(name)
    system.eval()
    with torch.no_grad():
        assert torch.equal(system.frn(inputs), system.gse(inputs))
    shared = {id(p) for p in system.gse.parameters()} & {id(p) for p in system.frn.parameters()}
    assert not shared
    assert not any(isinstance(m, BNNeck) for m in system.frn.modules())
    assert (system.neck is None) == (name in ("GaitPT", "vector"))
    if name == "GaitBase":
        assert torch.equal(system.neck.classifier, network.head.neck.classifier)
        assert torch.equal(system.neck.norm.running_var, network.head.neck.norm.running_var)


def test_switches() -> None:
    """Each by what it leaves out, on one set of weights."""
    inputs = systems()["GaitBase"][1]
    outputs: dict[str, Tensor] = {}
    for name, switches in (
        ("all", {}),
        ("constant", {"adaptive": False}),
        ("alone", {"residual": False}),
        ("blind", {"occlusion_aware": False}),
        ("vanilla", {"occlusion_aware": False, "adaptive": False}),
    ):
        torch.manual_seed(1)
        system, _, _ = build("GaitBase", **switches)
        assert system.mix.weight.shape[1] == (6 if "occlusion_aware" in switches else 13)
        torch.manual_seed(2)
        nn.init.normal_(system.mix.weight)
        system.eval()
        with torch.no_grad():
            outputs[name] = system(inputs)
            signature = system.gse(inputs)
            assert system.occlusion_evaluator is not None
            alpha = system.occlusion_evaluator(inputs.flatten(0, 1)[:, None]).amount.view(4, 5).mean(1)[:, None, None]
    torch.testing.assert_close(outputs["constant"] - outputs["alone"], signature)
    torch.testing.assert_close(outputs["all"], signature + alpha * outputs["alone"])
    torch.testing.assert_close(outputs["blind"] - signature, alpha * (outputs["vanilla"] - signature))
    network = systems()["GaitBase"][0]
    system = RGGait(network, None, adaptive=False, occlusion_aware=False, mix_init="zero").eval()
    with torch.no_grad():
        assert torch.equal(system(inputs), network.eval()(inputs))
        runs: list[int] = []
        single = RGGait(network, None, residual=False, occlusion_aware=False).eval()
        single.gse.register_forward_hook(lambda *_: runs.append(1))
        single(inputs)
    assert not runs


@pytest.mark.parametrize("inference", ["fc", "bnneck"])
def test_a_pack_gives_what_its_sequences_give_alone(inference: str) -> None:
    system, _, _ = build("GaitBase", inference=inference)
    system.eval()
    lengths = [3, 8, 1]
    frames = (torch.rand(12, 64, 44) > 0.5).float()
    with torch.no_grad():
        packed = system(frames[None], torch.tensor([lengths]))
        alone = torch.cat([system(part[None]) for part in frames.split(lengths)])
    torch.testing.assert_close(packed, alone, atol=1e-5, rtol=1e-4)
    if inference == "bnneck":
        torch.testing.assert_close(packed.norm(dim=1), torch.ones(3, 12))


def test_unused_weights_are_found_and_nothing_else_changes() -> None:
    network, inputs = systems()["vector"]
    twin = NetworkSignature(network)
    before = {key: value.clone() for key, value in twin.state_dict().items()}
    state = torch.get_rng_state()
    shape, frozen = freeze_unused(twin, inputs)
    assert shape == (6, 1)
    assert frozen == ["network.idle.weight", "network.idle.bias"]
    assert twin.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in twin.state_dict().items())
    assert [n for n, p in twin.named_parameters() if not p.requires_grad] == frozen


def test_a_twin_is_never_augmented_and_its_layers_see_the_batch() -> None:
    """GaitHeat mirrors in training; the extractor does not, so its twin must not."""
    system, _, inputs = build("GaitHeat")
    system.train()
    before = system.frn.network.stem.norm.running_mean.clone()
    first = system.frn(inputs)
    assert torch.equal(first, system.frn(inputs))
    assert not torch.equal(system.frn.network.stem.norm.running_mean, before)
    assert not system.frn.network.training
    assert system.frn.network.stem.training
    assert not any(module.training for module in system.gse.modules())


def test_an_extractor_that_is_frozen_already_leaves_nothing_else_frozen() -> None:
    system = RGGait(GaitBase(**SILHOUETTES).requires_grad_(False), OcclusionEvaluator())
    fixed = {name for name, weight in system.named_parameters() if not weight.requires_grad}
    assert fixed
    assert all(name.startswith(("gse.", "occlusion_evaluator.")) for name in fixed)


def test_it_reloads_whole() -> None:
    system, _, inputs = build("GaitBase")
    settled(system)
    again, _, _ = build("GaitBase")
    again.load_state_dict(system.state_dict())
    with torch.no_grad():
        assert torch.equal(again.eval()(inputs), system.eval()(inputs))


def test_what_does_not_fit_is_named() -> None:
    class Wrong(SignatureExtractor):
        def extract(self, inputs: Any, seqL: Any) -> Tensor:
            return torch.rand(2)

        def neck(self) -> None:
            return None

    base = GaitBase(**SILHOUETTES)
    with pytest.raises(ConfigError, match="no occlusion evaluator"):
        RGGait(base, None)
    with pytest.raises(ConfigError, match="no signature"):
        RGGait(nn.Linear(2, 2), OcclusionEvaluator())
    with pytest.raises(ConfigError, match=r"give \(c, p\)"):
        RGGait(Vector(), OcclusionEvaluator())
    with pytest.raises(ConfigError, match="no BNNeck"):
        RGGait(Vector(), OcclusionEvaluator(), shape=(6, 1), inference="bnneck")
    with pytest.raises(ShapeError, match="n, c, p"):
        Wrong(nn.Identity())(None)
