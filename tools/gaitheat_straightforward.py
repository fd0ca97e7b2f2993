"""GaitHeat as it is published, written plainly: what tools/bench_models.py compares gaitext's with.

Two resamplings, the rotation and then the translation; features lie [n, c, T, h, w] and are turned
about for every stage, which works frame by frame; maps are compared by stacking them; a whole pack
goes through at once; all heads and classifiers run at test. Weights lie under gaitext's names.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Upper and lower body in COCO's joints.
PARTS = (tuple(range(11)), tuple(range(11, 17)))
SHOULDERS, HIPS = (5, 6), (11, 12)


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
        out += x if self.shortcut is None else self.shortcut(x)
        return self.relu(out)


class Stem(nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, outputs, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.norm(self.conv(x)))


class Separate(nn.Module):
    def __init__(self, parts: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(parts, inputs, outputs) * inputs**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(2, 0, 1).contiguous().matmul(self.weight).permute(1, 2, 0).contiguous()


class Neck(nn.Module):
    def __init__(self, parts: int, size: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(parts * size)
        self.classifier = nn.Parameter(torch.randn(parts, size, classes))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        n, size, parts = x.shape
        x = self.norm(x.reshape(n, size * parts)).view(n, size, parts).permute(2, 0, 1)
        x = F.normalize(x, dim=-1)
        logits = x.matmul(F.normalize(self.classifier, dim=1))
        return x.permute(1, 2, 0).contiguous(), logits.permute(1, 2, 0).contiguous()


class Head(nn.Module):
    def __init__(self, inputs: int, size: int, classes: int, bins: int = 16) -> None:
        super().__init__()
        self.bins = bins
        self.fc = Separate(bins, inputs, size)
        self.neck = Neck(bins, size, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[n, c, h, w] -> embeddings before and after the BNNeck [n, size, p], logits [n, classes, p]."""
        x = x.reshape(*x.shape[:2], self.bins, -1)
        before = self.fc(x.mean(-1) + x.max(-1)[0])
        after, logits = self.neck(before)
        return before, after, logits


def framewise(block: nn.Module, x: Tensor) -> Tensor:
    """Run a block on every frame of [n, c, T, h, w]."""
    n, c, frames, h, w = x.shape
    x = block(x.transpose(1, 2).reshape(-1, c, h, w))
    return x.reshape(n, frames, *x.shape[1:]).transpose(1, 2).contiguous()


def strongest(x: Tensor, n: int) -> Tensor:
    return torch.max(torch.stack(x.split(n), -1), -1)[0]


class StraightforwardGaitHeat(nn.Module):
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
        sizes = list(zip((channels[0], *channels), channels, (1, 2, 2, 1)))
        self.stem = Stem(channels[0])
        self.stages = nn.ModuleList(nn.Sequential(Block(*each)) for each in sizes)
        self.fusion_stages = nn.ModuleList(nn.Sequential(Block(*each)) for each in sizes[1:])
        names = ("local", "global", "fusion")
        self.heads = nn.ModuleDict({name: Head(channels[-1], embedding_size, class_num) for name in names})

    def forward(
        self, heatmaps: Tensor, lengths: Sequence[int] | None = None
    ) -> dict[str, tuple[Tensor, Tensor]] | Tensor:
        """In training embeddings and logits by head; in evaluation the embedding [n, size, p]."""
        n = len(heatmaps)
        maps = self.maps(heatmaps, lengths)  # [n, 2, T, h, w]
        upper, lower = maps[:, :1], maps[:, 1:]
        x = torch.cat((upper, lower, torch.max(maps, 1, keepdim=True)[0]), 0)
        x = framewise(nn.Sequential(self.stem, self.stages[0]), x)
        fused = strongest(x, n)
        for stage, fusion in zip(self.stages[1:], self.fusion_stages):
            x = framewise(stage, x)
            fused = strongest(x, n) + framewise(fusion, fused)
        upper, lower, whole = x.split(n)
        branches = {"local": torch.max(torch.stack((upper, lower), -1), -1)[0], "global": whole, "fusion": fused}
        outputs = {name: self.heads[name](self.over_time(branch, lengths)) for name, branch in branches.items()}
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
