"""MimicGait: its loss recomputed slowly, who learns and who does not, packs."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gaitext.errors import ConfigError
from gaitext.losses import AllTripletsLoss
from gaitext.models import GaitBase, GaitHeat, GaitPT, MimicGait, MimicGaitOutput, OcclusionEvaluator, RGGait

SMALL: dict[str, Any] = {"class_num": 5, "channels": (2, 2, 4, 4), "embedding_size": 6, "bins": (8, 4)}


def teachers() -> dict[str, tuple[nn.Module, Tensor, tuple[int, int]]]:
    torch.manual_seed(0)
    heat = GaitHeat(class_num=5, channels=(2, 2, 4, 4), embedding_size=6)
    pose = GaitPT(dims=(8, 8, 16, 16), depths=(1, 1, 1, 1), embedding_size=8, frames=6)
    return {
        "GaitBase": (GaitBase(**SMALL), (torch.rand(4, 5, 64, 44) > 0.5).float(), (6, 12)),
        "GaitHeat": (heat, torch.rand(4, 3, 17, 64, 48), (6, 16)),
        "GaitPT": (pose, torch.rand(4, 9, 17, 3), (8, 1)),
    }


def build(name: str = "GaitBase") -> tuple[MimicGait, nn.Module, Tensor, Tensor]:
    """The system, its teacher, walkers and the same with their lower half hidden."""
    network, whole, shape = teachers()[name]
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
    system = MimicGait(network, OcclusionEvaluator(channels=(2, 4, 4), feature_size=7), shape=shape)
    occluded = whole.clone()
    occluded[..., whole.shape[-2] // 2 :, :] = 0
    return system, network, whole, occluded


def output(system: MimicGait, occluded: Tensor, whole: Tensor, seqL: Any = None) -> MimicGaitOutput:
    found = system(occluded, seqL, whole=whole)
    assert isinstance(found, MimicGaitOutput)
    return found


def slow_loss(rows: list[list[float]], labels: list[int], margin: float) -> float:
    points = []
    for row in rows:
        norm = math.sqrt(sum(x * x for x in row))
        points.append([x / norm for x in row])
    terms = [
        margin + math.dist(points[a], points[p]) - math.dist(points[a], points[q])
        for a in range(len(points))
        for p in range(len(points))
        for q in range(len(points))
        if a != p and labels[a] == labels[p] and labels[a] != labels[q]
    ]
    terms = [term for term in terms if term > 0]
    return sum(terms) / len(terms)


@pytest.mark.parametrize("kind", ["identity", "instance"])
def test_the_loss_is_of_all_triplets_of_both_networks_embeddings(kind: str) -> None:
    system, network, whole, occluded = build()
    evaluator = system.occlusion_evaluator
    assert evaluator is not None
    found = output(system, occluded, whole)
    rows = []
    restored = system.frn(occluded).detach()  # in training mode, as above: of the batch's own statistics
    with torch.no_grad():
        for index in range(4):
            feature = torch.stack([evaluator(frame[None, None]).feature[0] for frame in occluded[index]]).mean(0)
            parts = [torch.cat((restored[index, :, p], feature)) @ system.mix.weight[p] for p in range(12)]
            rows.append(torch.stack(parts, 1))
        rows += list(network.eval().signature(whole))
    for index, row in enumerate(rows):
        torch.testing.assert_close(torch.cat((found.student, found.teacher))[index], row, atol=1e-5, rtol=1e-5)
    labels = torch.tensor([0, 0, 1, 1]) if kind == "identity" else torch.arange(4)
    pairs = found.pairs(labels)
    assert pairs["embeddings"].shape == (8, 6, 12)
    loss, _ = AllTripletsLoss(margin=0.2)(**pairs)
    flat = [row.double().flatten().tolist() for row in rows]
    assert float(loss) == pytest.approx(slow_loss(flat, labels.tolist() * 2, 0.2), rel=1e-4)
    if kind == "instance":  # the only positive of a sequence is the same one, as the other network sees it
        assert int((pairs["labels"][:, None] == pairs["labels"][None]).sum()) == 16


@pytest.mark.parametrize("name", ["GaitBase", "GaitHeat", "GaitPT"])
def test_the_student_alone_learns(name: str) -> None:
    system, network, whole, occluded = build(name)
    if name == "GaitPT":
        occluded = whole * torch.tensor([1.0, 0.5, 1.0])
    before = {key: value.clone() for key, value in system.state_dict().items()}
    with torch.no_grad():
        taught = network.eval().signature(whole)
    system.frn.remove_neck()
    trained = [weight for weight in system.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.1, momentum=0.9, weight_decay=0.1)
    for _ in range(3):
        system.train()
        found = output(system, occluded, whole)
        assert not found.teacher.requires_grad
        loss, _ = AllTripletsLoss(margin=0.2)(**found.pairs(torch.tensor([0, 0, 1, 1])))
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
        expected = taught if taught.ndim == 3 else taught[:, :, None]
        assert torch.equal(found.teacher, expected)
    after = system.state_dict()
    still = {key for key, value in before.items() if torch.equal(after[key], value)}
    assert still >= {key for key in before if key.startswith(("gse.", "occlusion_evaluator."))}
    assert "mix.weight" not in still
    assert [key for key in before if key.startswith("frn.") and key not in still]
    touched = {key.partition(".")[0] for key, weight in system.named_parameters() if weight.grad is not None}
    assert touched == {"frn", "mix"}
    assert system.neck is None


def test_at_test_the_student_is_rg_gaits_occlusion_aware_part_and_the_teacher_is_not_run() -> None:
    system, network, _, occluded = build()
    alone = RGGait(
        network,
        system.occlusion_evaluator,
        shape=(6, 12),
        neck=None,
        residual=False,
        adaptive=False,
    )
    alone.load_state_dict(system.state_dict())
    runs: list[int] = []
    system.gse.register_forward_hook(lambda *_: runs.append(1))
    with torch.no_grad():
        assert torch.equal(system.eval()(occluded), alone.eval()(occluded))
    assert not runs


def test_packs_give_what_their_sequences_give_alone() -> None:
    system, _, _, _ = build()
    lengths = [3, 8, 1]
    whole = (torch.rand(12, 64, 44) > 0.5).float()
    occluded = whole.clone()
    occluded[:, 32:] = 0
    with torch.no_grad():
        packed = system.eval()(occluded[None], torch.tensor([lengths]))
        alone = torch.cat([system(part[None]) for part in occluded.split(lengths)])
        torch.testing.assert_close(packed, alone, atol=1e-5, rtol=1e-4)
        system.train()
        taught = output(system, occluded[None], whole[None], torch.tensor([lengths])).teacher
        each = torch.cat([system.gse(part[None]) for part in whole.split(lengths)])
    torch.testing.assert_close(taught, each, atol=1e-5, rtol=1e-4)


def test_what_is_missing_is_named() -> None:
    system, _, _, occluded = build()
    with pytest.raises(ConfigError, match="whole="):
        system(occluded)
    shaped = MimicGait(GaitBase(**SMALL), OcclusionEvaluator())  # the size is known by the teacher's BNNeck
    assert shaped.mix.weight.shape == (12, 6 + 64, 6)
