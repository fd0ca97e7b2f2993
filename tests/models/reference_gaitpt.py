"""GaitPT the straightforward way: torch's TransformerEncoder and loops, under the published names.

Written from the description and the published checkpoint's keys and shapes: one sequence at a
time, patches, frames and tokens gathered by loops.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

TOKENS, PATCHES, DIMS = (18, 6, 3, 1), (1, 3, 2, 3), (32, 64, 128, 256)


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
    def __init__(self, inputs: int, size: int) -> None:
        super().__init__()
        self.proj = nn.Linear(inputs, size)


class Spatial(nn.Module):
    def __init__(self, tokens: int, size: int) -> None:
        super().__init__()
        self.spatial_pos_embed = nn.Parameter(torch.zeros(1, tokens, size))
        self.spatial_transformer = _encoder(size)
        self.norm = nn.LayerNorm(size)

    def forward(self, x: Tensor) -> Tensor:  # [T, V, d]
        frames = []
        for frame in x:
            placed = frame + self.spatial_pos_embed[0]
            frames.append(placed + self.norm(self.spatial_transformer(placed[None])[0]))
        return torch.stack(frames)


class Temporal(nn.Module):
    def __init__(self, frames: int, size: int) -> None:
        super().__init__()
        self.temporal_cls_token = nn.Parameter(torch.zeros(1, 1, size))
        self.temporal_pos_embed = nn.Parameter(torch.zeros(1, frames + 1, size))
        self.transformer = _encoder(size)
        self.norm = nn.LayerNorm(size)

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:  # [T, V, d]
        classes, tokens = [], []
        for token in range(x.shape[1]):
            with_cls = torch.cat([self.temporal_cls_token[0], x[:, token]])
            placed = with_cls + self.temporal_pos_embed[0, : len(with_cls)]
            y = self.norm(self.transformer(placed[None])[0])
            classes.append(y[0])
            tokens.append(x[:, token] + y[1:])
        return classes, torch.stack(tokens, 1)


class Layer(nn.Module):
    def __init__(self, tokens: int, patch: int, inputs: int, size: int, frames: int) -> None:
        super().__init__()
        self.patch = patch
        self.patch_embedding = Patches(inputs * patch, size)
        if tokens > 1:
            self.spatial_module = Spatial(tokens, size)
        self.temporal_module = Temporal(frames, size)

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:  # [T, joints, c]
        patches = []
        for first in range(0, x.shape[1], self.patch):
            # channel by channel, and in a channel joint by joint
            features = [x[:, first + joint, channel] for channel in range(x.shape[2]) for joint in range(self.patch)]
            patches.append(self.patch_embedding.proj(torch.stack(features, -1)))
        x = torch.stack(patches, 1)
        if hasattr(self, "spatial_module"):
            x = self.spatial_module(x)
        return self.temporal_module(x)


class Reference(nn.Module):
    """``forward`` embeds one window [T, 18, 2]; ``embed_sequence`` a walk."""

    def __init__(self, frames: int = 60) -> None:
        super().__init__()
        inputs = (2, *DIMS[:-1])
        self.layers = nn.ModuleList(Layer(*sizes, frames) for sizes in zip(TOKENS, PATCHES, inputs, DIMS))
        self.projection = nn.Linear(1600, 256)

    def forward(self, window: Tensor) -> Tensor:
        x, classes = window, []
        for layer in self.layers:
            found, x = layer(x)
            classes += found
        projected = self.projection(torch.cat(classes))
        return projected / projected.norm()


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
