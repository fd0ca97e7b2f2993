"""GaitPT on torch's TransformerEncoder, under the published names: for tests and for the benches in tools/."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def published_shapes() -> dict[str, list[int]]:
    return json.loads((Path(__file__).parent / "gaitpt.json").read_text())


def random_weights(seed: int = 0) -> dict[str, Tensor]:
    """Weights of the published shapes, strong enough for every one of them to show in the result."""
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, Tensor] = {}
    for key, shape in published_shapes().items():
        value = torch.randn(shape, generator=generator)
        if "norm" in key and key.endswith("weight"):
            weights[key] = 1 + 0.3 * value
        elif key.endswith("weight"):
            weights[key] = value * (1.5 / shape[1]) ** 0.5
        else:
            weights[key] = 0.3 * value
    return weights


def _encoder(size: int) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(size, 8, 4 * size, 0.05, "gelu", batch_first=True, norm_first=True)
    return nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)


class Patches(nn.Module):
    def __init__(self, patch: int, inputs: int, size: int) -> None:
        super().__init__()
        self.patch = patch
        self.proj = nn.Linear(inputs * patch, size)

    def forward(self, x: Tensor) -> Tensor:
        x = x.unflatten(2, (-1, self.patch)).transpose(3, 4)  # channel by channel
        return self.proj(x.flatten(3))


class Spatial(nn.Module):
    def __init__(self, tokens: int, size: int) -> None:
        super().__init__()
        self.spatial_pos_embed = nn.Parameter(torch.zeros(1, tokens, size))
        self.spatial_transformer = _encoder(size)
        self.norm = nn.LayerNorm(size)

    def forward(self, x: Tensor) -> Tensor:
        placed = x.flatten(0, 1) + self.spatial_pos_embed
        return (placed + self.norm(self.spatial_transformer(placed))).view_as(x)


class Temporal(nn.Module):
    def __init__(self, frames: int, size: int) -> None:
        super().__init__()
        self.temporal_cls_token = nn.Parameter(torch.zeros(1, 1, size))
        self.temporal_pos_embed = nn.Parameter(torch.zeros(1, frames + 1, size))
        self.transformer = _encoder(size)
        self.norm = nn.LayerNorm(size)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        n, _, tokens, _ = x.shape
        x = x.transpose(1, 2).flatten(0, 1)
        y = torch.cat((self.temporal_cls_token.expand(len(x), -1, -1), x), 1) + self.temporal_pos_embed
        y = self.norm(self.transformer(y))
        return y[:, 0].reshape(n, -1), (x + y[:, 1:]).unflatten(0, (n, tokens)).transpose(1, 2)


class Layer(nn.Module):
    def __init__(self, tokens: int, patch: int, inputs: int, size: int, frames: int) -> None:
        super().__init__()
        self.patch_embedding = Patches(patch, inputs, size)
        self.spatial_module = Spatial(tokens, size) if tokens > 1 else None
        self.temporal_module = Temporal(frames, size)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.patch_embedding(x)
        if self.spatial_module is not None:
            x = self.spatial_module(x)
        cls, x = self.temporal_module(x)
        return cls, x


class ReferenceGaitPT(nn.Module):
    """Windows [n, 60, 18, 2] -> [n, 256], under the published names."""

    def __init__(self, frames: int = 60) -> None:
        super().__init__()
        sizes = zip((18, 6, 3, 1), (1, 3, 2, 3), (2, 32, 64, 128), (32, 64, 128, 256))
        self.layers = nn.ModuleList(Layer(*each, frames) for each in sizes)
        self.projection = nn.Linear(1600, 256)

    def forward(self, x: Tensor) -> Tensor:
        classes = []
        for layer in self.layers:
            cls, x = layer(x)
            classes.append(cls)
        return F.normalize(self.projection(torch.cat(classes, 1)), dim=-1)


def frame_lists(length: int, frames: int = 60) -> list[list[int]]:
    """The frames of the published two windows, by cutting lists."""

    def middle(part: list[int]) -> list[int]:
        while len(part) > frames:
            part = part[:-1] if (len(part) - frames) % 2 else part[1:-1]
        return part

    everything = list(range(length))
    if length < frames:
        return [(everything * frames)[:frames]]
    if length == frames:
        return [everything]
    half = length // 2
    first = everything[0 : half if half > frames else frames]
    second = everything[half if half < length - frames - 1 else length - frames - 1 : length - 1]
    return [middle(first), middle(second)]
