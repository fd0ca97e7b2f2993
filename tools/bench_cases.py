"""What tools/bench_models.py compares: gaitext's networks and the published arrangements, on the same weights."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gaitext import checkpoints, losses
from gaitext.models import FBCNN, GaitBase, GaitHeat, GaitPT, OcclusionEvaluator, RGGait

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.models.reference_fbcnn import ReferenceFBCNN
from tests.models.reference_gaitheat import ReferenceGaitHeat
from tests.models.reference_gaitpt import ReferenceGaitPT
from tests.models.reference_rg_gait import ReferenceRGGait

#: Of the tests of this tool: everything runs, nothing is measured.
TINY = (4, 4, 6, 8)
PUBLISHED = (64, 128, 256, 512)


@dataclass
class Case:
    """Two networks with the same weights, and what is done with them.

    Attributes:
        networks: gaitext's and the published arrangement's.
        infer: of one of them, in evaluation: what is compared.
        loss: of one of them, in training.
        same: of the published arrangement, where its arithmetic differs: the same thing with gaitext's.
        count: how many of ``unit`` a call of ``infer`` and of ``loss`` takes.
        serving: gaitext's network for inference in a dtype, if that is not the network itself.
        note: what a reader must know.
    """

    networks: tuple[nn.Module, nn.Module]
    infer: Callable[[nn.Module], Tensor]
    loss: Callable[[nn.Module], Tensor]
    count: tuple[int, int]
    unit: str
    same: Callable[[nn.Module], Tensor] | None = None
    serving: Callable[[torch.dtype], nn.Module] | None = None
    note: str = ""


def lived(network: nn.Module) -> nn.Module:
    """Weights and statistics under which signals neither die nor explode and no BatchNorm is the identity."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return network


def people(sequences: int, frames: int) -> Tensor:
    """Heatmaps [n, T, 17, 64, 48] of stick people, every other of whom leans by 8 degrees, the rest by 2."""
    fixed = {5: (-4.0, 0.0), 6: (4.0, 0.0), 11: (-3.0, 22.0), 12: (3.0, 22.0)}
    places = torch.rand(sequences, frames, 17, 2) * 20 - 6
    for joint, place in fixed.items():
        places[:, :, joint] = torch.tensor(place)
    angle = torch.tensor([math.radians((8.0, 2.0)[i % 2]) for i in range(sequences)])[:, None, None]
    dx, dy = places.unbind(-1)
    x = 24 + dx * angle.cos() - dy * angle.sin()
    y = 18 + dx * angle.sin() + dy * angle.cos()
    across = (torch.arange(48.0) - x[..., None]).square()[..., None, :]
    down = (torch.arange(64.0) - y[..., None]).square()[..., :, None]
    return torch.exp(-(across + down) / 8) * (0.5 + 0.5 * torch.rand(sequences, frames, 17, 1, 1))


def recognition_loss(outputs: list[tuple[Tensor, Tensor]], labels: Tensor) -> Tensor:
    """Triplet loss and cross-entropy of every head."""
    triplet, softmax = losses.TripletLoss(margin=0.2), losses.CrossEntropyLoss(scale=16, label_smooth=True)
    terms = [triplet(e, labels)[0].mean() + softmax(logits, labels)[0] for e, logits in outputs]
    return torch.stack(terms).sum()


def _labels(options: argparse.Namespace) -> Tensor:
    return (torch.arange(options.batch) // 2).to(options.device)


def gaitheat(options: argparse.Namespace) -> Case:
    channels, size = (TINY, 6) if options.tiny else (PUBLISHED, 256)
    theirs = lived(ReferenceGaitHeat(74, channels, size)).to(options.device)
    ours = GaitHeat(74, channels=channels, embedding_size=size).to(options.device)
    checkpoints.load(ours, theirs.state_dict())
    packed = people(options.sequences, options.frames).flatten(0, 1)[None].to(options.device)
    lengths = [options.frames] * options.sequences
    batch, labels = people(options.batch, options.train_frames).to(options.device), _labels(options)

    def loss(network: nn.Module) -> Tensor:
        output = network(batch)
        heads = output if isinstance(output, dict) else {k: tuple(head) for k, head in output.heads.items()}
        return recognition_loss(list(heads.values()), labels)

    def same(network: Any) -> Tensor:
        network.resamplings = 1
        found: Tensor = network(packed, lengths)
        network.resamplings = 2
        return found

    return Case(
        (ours, theirs),
        lambda network: network(packed, lengths),
        loss,
        (sum(lengths), options.batch * options.train_frames),
        "frame",
        same,
        note="two resamplings give other pixels than one: outputs are compared with the published arrangement "
        "sampling once at the composed matrix, timed is the published one with two",
    )


def gaitpt(options: argparse.Namespace) -> Case:
    theirs, ours = ReferenceGaitPT(), GaitPT()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, parameter.detach().mean(), 0.05)
    checkpoints.load(ours, theirs.state_dict())
    windows = options.sequences if options.tiny else 8 * options.sequences
    poses, batch = (torch.rand(n, 60, 18, 2, device=options.device) for n in (windows, options.batch))
    all_triplets, labels = losses.AllTripletsLoss(), _labels(options)

    def loss(network: nn.Module) -> Tensor:
        found: Tensor = all_triplets(network(batch), labels)[0].mean()
        return found

    networks = (ours.to(options.device), theirs.to(options.device))
    return Case(networks, lambda network: network(poses), loss, (windows, options.batch), "window")


def rggait(options: argparse.Namespace) -> Case:
    channels, size = (TINY, 6) if options.tiny else (PUBLISHED, 256)
    theirs = ReferenceRGGait(74, channels, size)
    lived(theirs.gse)
    base = GaitBase(74, channels=channels, embedding_size=size)
    checkpoints.load(base, theirs.gse.state_dict())
    ours = RGGait(base, OcclusionEvaluator()).to(options.device)
    # Restoration and the BNNeck begin as the extractor's. Published, the former keeps a BNNeck that counts for nothing.
    theirs.frn.load_state_dict(theirs.gse.state_dict())
    theirs.neck.load_state_dict(theirs.gse.BNNecks.state_dict())
    theirs.mix.load_state_dict({"fc_bin": ours.mix.weight})
    judge = {key: value for key, value in ours.occlusion_evaluator.state_dict().items() if key != "published"}
    theirs.occlusion_evaluator.load_state_dict(judge)
    theirs = theirs.to(options.device)
    packed = (torch.rand(1, options.sequences * options.frames, 64, 44, device=options.device) > 0.5).float()
    batch = (torch.rand(options.batch, options.train_frames, 64, 44, device=options.device) > 0.5).float()
    lengths, labels = [options.frames] * options.sequences, _labels(options)

    def loss(network: nn.Module) -> Tensor:
        output = network(batch)
        pair = output if isinstance(output, tuple) else (output.embeddings, output.logits)
        return recognition_loss([pair], labels)

    count = (sum(lengths), options.batch * options.train_frames)
    return Case((ours, theirs), lambda network: network(packed, lengths), loss, count, "frame")


def fbcnn(options: argparse.Namespace) -> Case:
    channels = TINY if options.tiny else PUBLISHED
    ours, theirs = FBCNN(channels=channels), ReferenceFBCNN(channels)
    for module in theirs.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(module.weight)
            module.weight.data *= 0.3
    checkpoints.load(ours, theirs.state_dict())
    ours.freeze_all_but_reconstruction()
    frozen = ("qf_", "to_")
    for name, parameter in theirs.named_parameters():
        parameter.requires_grad_(not name.startswith(frozen))
    ours, theirs = ours.to(options.device), theirs.to(options.device)
    height, width = (24, 16) if options.tiny else (256, 192)
    images = torch.rand(1, 3, height, width, device=options.device)
    target = torch.rand_like(images)

    def infer(network: Any) -> Tensor:
        restored: Tensor = network(images, 0.5) if isinstance(network, (FBCNN, ReferenceFBCNN)) else network(images)
        return restored

    return Case(
        (ours, theirs),
        infer,
        lambda network: (network(images, 0.5) - target).abs().mean(),
        (1, 1),
        "image",
        serving=lambda dtype: ours.fixed(0.5, dtype=dtype),
    )


CASES: dict[str, Callable[[argparse.Namespace], Case]] = {
    "gaitheat": gaitheat,
    "gaitpt": gaitpt,
    "rggait": rggait,
    "fbcnn": fbcnn,
}
