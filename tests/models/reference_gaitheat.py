"""GaitHeat as it is published, written plainly, under the published names: for tests and for tools/bench_models.py.

Two resamplings, the rotation and then the translation; features lie [n, c, T, h, w] and are turned
about for every stage, which works frame by frame; maps are compared by stacking them; a whole pack
goes through at once; all heads and classifiers run at test.
"""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Upper and lower body in COCO's joints.
PARTS = (tuple(range(11)), tuple(range(11, 17)))
SHOULDERS, HIPS = (5, 6), (11, 12)


def random_weights(shapes: dict[str, list[int]], seed: int = 0) -> dict[str, Tensor]:
    """Weights of the published shapes at a scale at which signals neither die nor explode."""
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, Tensor] = {}
    for key, shape in shapes.items():
        if key.endswith("num_batches_tracked"):
            weights[key] = torch.tensor(1)
        elif key.endswith("running_var") or (key.endswith("weight") and len(shape) == 1):
            weights[key] = torch.rand(shape, generator=generator) + 0.5
        elif len(shape) == 1:
            weights[key] = torch.randn(shape, generator=generator) * 0.1
        else:
            fan_in = math.prod(shape[1:]) if len(shape) == 4 else shape[1]
            weights[key] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
    return weights


def published_shapes() -> dict[str, list[int]]:
    return json.loads((Path(__file__).parent / "gaitheat_fastposegait.json").read_text())


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class Convolution(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Backbone(nn.Module):
    """Some of a ResNet9's four layers, by number, with the stem before the first if ``stem``."""

    def __init__(self, channels: Sequence[int], layers: Sequence[int], *, stem: bool) -> None:
        super().__init__()
        modules: dict[str, nn.Module] = {}
        if stem:
            modules |= {"conv1": Convolution(1, channels[0]), "bn1": nn.BatchNorm2d(channels[0])}
            modules |= {"relu": nn.ReLU(inplace=True)}
        for layer in layers:
            inputs, stride = channels[max(layer - 2, 0)], (1, 2, 2, 1)[layer - 1]
            modules[f"layer{layer}"] = nn.Sequential(Block(inputs, channels[layer - 1], stride))
        self.forward_block = nn.Sequential(OrderedDict(modules))

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_block(x)


class Separate(nn.Module):
    def __init__(self, parts: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.fc_bin = nn.Parameter(torch.randn(parts, inputs, outputs) * inputs**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(2, 0, 1).contiguous().matmul(self.fc_bin).permute(1, 2, 0).contiguous()


class Neck(nn.Module):
    def __init__(self, parts: int, size: int, classes: int) -> None:
        super().__init__()
        self.bn1d = nn.BatchNorm1d(parts * size)
        self.fc_bin = nn.Parameter(torch.randn(parts, size, classes))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings [n, size, p] -> the same behind the BNNeck, and logits [n, classes, p]."""
        n, size, parts = x.shape
        x = self.bn1d(x.reshape(n, size * parts)).view(n, size, parts).permute(2, 0, 1)
        x = F.normalize(x, dim=-1)
        logits = x.matmul(F.normalize(self.fc_bin, dim=1))
        return x.permute(1, 2, 0).contiguous(), logits.permute(1, 2, 0).contiguous()


def pyramid(x: Tensor, bins: int = 16) -> Tensor:
    """[n, c, h, w] -> [n, c, p], mean and maximum of each bin of rows."""
    x = x.reshape(*x.shape[:2], bins, -1)
    return x.mean(-1) + x.max(-1)[0]


def framewise(block: nn.Module, x: Tensor) -> Tensor:
    """Run a block on every frame of [n, c, T, h, w]."""
    n, c, frames, h, w = x.shape
    x = block(x.transpose(1, 2).reshape(-1, c, h, w))
    return x.reshape(n, frames, *x.shape[1:]).transpose(1, 2).contiguous()


def strongest(x: Tensor, n: int) -> Tensor:
    return torch.max(torch.stack(x.split(n), -1), -1)[0]


class ReferenceGaitHeat(nn.Module):
    """Heatmaps [n, T, 17, 64, 48], or packed [1, ΣT, …] with lengths.

    Args:
        resamplings: 2 as published; 1 samples at the composed matrix, which gives gaitext's pixels.
    """

    def __init__(
        self,
        class_num: int = 74,
        channels: Sequence[int] = (64, 128, 256, 512),
        embedding_size: int = 256,
        *,
        resamplings: int = 2,
        threshold: float = 5.0,
        probability: float = 0.2,
    ) -> None:
        super().__init__()
        self.resamplings, self.threshold, self.probability = resamplings, threshold, probability
        for layer in range(1, 5):
            self.add_module(f"Backbone{layer}", Backbone(channels, [layer], stem=layer == 1))
            if layer > 1:
                self.add_module(f"Backbone{layer}_fusion", Backbone(channels, [layer], stem=False))
        for name in ("part", "global", "fusion"):
            self.add_module(f"FCs_{name}", Separate(16, channels[-1], embedding_size))
            self.add_module(f"BNNecks_{name}", Neck(16, embedding_size, class_num))

    def forward(
        self, heatmaps: Tensor, lengths: Sequence[int] | None = None
    ) -> dict[str, tuple[Tensor, Tensor]] | Tensor:
        """In training embeddings and logits by head; in evaluation the embedding [n, size, p]."""
        n = len(heatmaps)
        maps = self.maps(heatmaps, lengths)  # [n, 2, T, h, w]
        upper, lower = maps[:, :1], maps[:, 1:]
        x = torch.cat((upper, lower, torch.max(maps, 1, keepdim=True)[0]), 0)
        x = framewise(self.Backbone1, x)
        fused = strongest(x, n)
        for layer in (2, 3, 4):
            x = framewise(getattr(self, f"Backbone{layer}"), x)
            fused = strongest(x, n) + framewise(getattr(self, f"Backbone{layer}_fusion"), fused)
        upper, lower, whole = x.split(n)
        branches = {"part": torch.max(torch.stack((upper, lower), -1), -1)[0], "global": whole, "fusion": fused}
        outputs = {}
        for name, branch in branches.items():
            before = getattr(self, f"FCs_{name}")(pyramid(self.over_time(branch, lengths)))
            outputs[name] = before, *getattr(self, f"BNNecks_{name}")(before)
        if self.training:
            return {name: (before, logits) for name, (before, _, logits) in outputs.items()}
        return outputs["fusion"][1]

    @staticmethod
    def over_time(x: Tensor, lengths: Sequence[int] | None) -> Tensor:
        if lengths is None:
            return torch.max(x, 2)[0]
        return torch.cat([torch.max(piece, 2)[0] for piece in x.split(list(lengths), 2)])

    def maps(self, heatmaps: Tensor, lengths: Sequence[int] | None) -> Tensor:
        """Aligned maps of the two parts [n, 2, T, h, w]."""
        n, frames = heatmaps.shape[:2]
        flat = heatmaps.flatten(0, 1)
        rotation, translation = self.matrices(flat)
        pieces = flat.split(list(lengths) if lengths is not None else frames)
        flat = torch.cat([(p - p.min()) / (p.max() - p.min()) for p in pieces])
        if self.resamplings == 1:
            flat = self.sampled(flat, rotation @ translation)
        else:
            flat = self.sampled(self.sampled(flat, rotation), translation)
        parts = torch.stack([torch.max(flat[:, list(part)], 1)[0] for part in PARTS], 1)
        return parts.unflatten(0, (n, frames)).transpose(1, 2)

    def matrices(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Where pixels come from, [N, 3, 3] for the rotation and for the translation; identities where none is due."""
        width = frames.shape[-1]
        spine = frames[:, [*SHOULDERS, *HIPS]].flatten(2)
        top, index = spine.max(-1)
        points = torch.stack((index % width, index // width), -1).float()
        neck, hip = points[:, :2].mean(1), points[:, 2:].mean(1)
        lean = torch.atan2(neck[:, 0] - hip[:, 0], hip[:, 1] - neck[:, 1])
        due = torch.rad2deg(lean).abs() >= self.threshold
        if self.training:
            due |= torch.rand(len(due), device=due.device) < self.probability
        due &= (top > spine.amin(-1)).all(1)
        middle = (neck + hip) / 2
        cos, sin = torch.cos(lean), torch.sin(lean)  # turning back by the lean what was turned upright
        zero, one = torch.zeros_like(cos), torch.ones_like(cos)
        x, y = middle.unbind(1)
        back = torch.stack(
            (*(cos, -sin, x - cos * x + sin * y), *(sin, cos, y - sin * x - cos * y), *(zero, zero, one)), 1
        ).view(-1, 3, 3)
        ahead = torch.linalg.inv(back)
        turned = (ahead[:, :2, :2] @ neck[:, :, None] + ahead[:, :2, 2:]).squeeze(2)
        shift = turned - neck.new_tensor([24.0, 16.0])
        move = torch.stack((*(one, zero, shift[:, 0]), *(zero, one, shift[:, 1]), *(zero, zero, one)), 1).view(-1, 3, 3)
        same = torch.eye(3, device=frames.device).expand_as(back)
        due = due[:, None, None]
        return torch.where(due, back, same), torch.where(due, move, same)

    @staticmethod
    def sampled(maps: Tensor, pixels: Tensor) -> Tensor:
        """Maps [N, C, H, W] seen through matrices between pixels [N, 3, 3]."""
        height, width = maps.shape[-2:]
        scale = pixels.new_tensor([[2 / width, 0, 1 / width - 1], [0, 2 / height, 1 / height - 1], [0, 0, 1]])
        theta = scale @ pixels @ torch.linalg.inv(scale)
        grid = F.affine_grid(theta[:, :2], list(maps.shape), align_corners=False)
        return F.grid_sample(maps, grid.to(maps.dtype), padding_mode="border", align_corners=False)
