"""FBCNN as it is published, written plainly, under the published names: for tests and for tools/bench_models.py.

The predictor runs for every image, also where its answer is replaced; γ and β are applied to feature maps.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Weights = dict[str, Tensor]


def published_shapes(channels: tuple[int, ...] = (64, 128, 256, 512), embedding: int = 512) -> dict[str, list[int]]:
    """The published names and shapes, with other numbers of channels: 64 becomes channels[0] and so on."""
    shapes = json.loads((Path(__file__).parent / "fbcnn_color.json").read_text())
    new = dict(zip((64, 128, 256, 512), channels))

    def resized(name: str, shape: list[int]) -> list[int]:
        sizes = [new.get(size, size) for size in shape]
        if name.startswith("qf_embed"):
            sizes = [embedding if size == 512 else size for size in shape]
        elif name.startswith("to_") and len(shape) == 2:
            sizes[1] = embedding
        return sizes

    return {name: resized(name, shape) for name, shape in shapes.items()}


def random_weights(shapes: dict[str, list[int]], seed: int = 0) -> Weights:
    """Weights under which no part of the network is negligible, and nothing explodes."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes.items():
        fan_in = max(1, torch.Size(shape[1:]).numel())
        scale = 0.1 if name.endswith("bias") else (0.3 if ".res." in name else 1.0) * fan_in**-0.5
        weights[name] = torch.randn(shape, generator=generator) * scale
        if name.startswith("qf_embed"):
            weights[name].abs_()  # few ReLUs with weights of any sign may all be shut, whatever the quality
    return weights


def fbcnn(weights: Weights, images: Tensor, quality: Tensor | None) -> Tensor:
    """Restored images, in float64; ``quality`` [N, 1], or None for the predictor's."""
    channels = [weights["m_head.weight"].shape[0], *(weights[f"m_down{n}.4.weight"].shape[0] for n in (1, 2, 3))]
    network = ReferenceFBCNN(tuple(channels), 4, weights["qf_embed.0.weight"].shape[0])
    network.load_state_dict(weights)
    with torch.no_grad():
        return network.double()(images.double(), None if quality is None else quality.double())


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.res = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)
        )

    def forward(self, x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None) -> Tensor:
        out = self.res(x)
        if gamma is not None and beta is not None:
            out = gamma[:, :, None, None] * out + beta[:, :, None, None]
        return x + out


class ReferenceFBCNN(nn.Module):
    """Images [N, 3, H, W] in 0..1 and a quality for all of them or [N, 1], or the predictor's."""

    def __init__(self, channels: tuple[int, ...] = (64, 128, 256, 512), blocks: int = 4, embedding: int = 512) -> None:
        super().__init__()
        self.levels = len(channels) - 1
        least = channels[-1]

        def body(count: int, width: int) -> list[nn.Module]:
            return [Residual(width) for _ in range(count)]

        self.m_head = nn.Conv2d(3, channels[0], 3, padding=1)
        self.m_tail = nn.Conv2d(channels[0], 3, 3, padding=1)
        for level, (here, below) in enumerate(pairwise(channels), start=1):
            self.add_module(f"m_down{level}", nn.Sequential(*body(blocks, here), nn.Conv2d(here, below, 2, 2)))
            self.add_module(f"m_up{level}", nn.Sequential(nn.ConvTranspose2d(below, here, 2, 2), *body(blocks, here)))
            self.add_module(f"to_gamma_{level}", nn.Sequential(nn.Linear(embedding, here), nn.Sigmoid()))
            self.add_module(f"to_beta_{level}", nn.Sequential(nn.Linear(embedding, here), nn.Tanh()))
        self.m_body_encoder = nn.Sequential(*body(blocks, least))
        self.m_body_decoder = nn.Sequential(*body(blocks, least))
        mlp = [
            nn.Linear(least, least),
            nn.ReLU(),
            nn.Linear(least, least),
            nn.ReLU(),
            nn.Linear(least, 1),
            nn.Sigmoid(),
        ]
        self.qf_pred = nn.Sequential(*body(blocks, least), nn.AdaptiveAvgPool2d(1), nn.Flatten(), *mlp)
        wide = [layer for size in (1, embedding, embedding) for layer in (nn.Linear(size, embedding), nn.ReLU())]
        self.qf_embed = nn.Sequential(*wide)

    def forward(self, images: Tensor, quality: float | Tensor | None = None) -> Tensor:
        height, width = images.shape[-2:]
        multiple = 2**self.levels
        x = self.m_head(F.pad(images, (0, -width % multiple, 0, -height % multiple), mode="replicate"))
        skips = [x]
        for level in range(1, self.levels + 1):
            x = getattr(self, f"m_down{level}")(x)
            skips.append(x)
        x = self.m_body_encoder(x)
        predicted = self.qf_pred(x)
        x = self.m_body_decoder(x)
        if quality is not None:
            predicted = torch.zeros_like(predicted) + quality
        embedded = self.qf_embed(predicted)
        for level in range(self.levels, 0, -1):
            grow, *blocks = getattr(self, f"m_up{level}")
            gamma, beta = getattr(self, f"to_gamma_{level}")(embedded), getattr(self, f"to_beta_{level}")(embedded)
            x = grow(x + skips[level])
            for block in blocks:
                x = block(x, gamma, beta)
        return self.m_tail(x + skips[0])[..., :height, :width]
