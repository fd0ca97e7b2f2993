"""FBCNN as it is published, written plainly: what tools/bench_models.py compares gaitext's with.

The predictor runs for every image, also where its answer is replaced; γ and β are applied to feature
maps. Weights lie under the published names.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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


class StraightforwardFBCNN(nn.Module):
    """Images [N, 3, H, W] in 0..1 and a quality for all of them, or the predictor's."""

    def __init__(self, channels: tuple[int, int, int, int] = (64, 128, 256, 512), blocks: int = 4) -> None:
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
            self.add_module(f"to_gamma_{level}", nn.Sequential(nn.Linear(512, here), nn.Sigmoid()))
            self.add_module(f"to_beta_{level}", nn.Sequential(nn.Linear(512, here), nn.Tanh()))
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
        wide = [layer for size in (1, 512, 512) for layer in (nn.Linear(size, 512), nn.ReLU())]
        self.qf_embed = nn.Sequential(*wide)

    def forward(self, images: Tensor, quality: float | None = None) -> Tensor:
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
            predicted = torch.full_like(predicted, quality)
        embedded = self.qf_embed(predicted)
        for level in range(self.levels, 0, -1):
            grow, *blocks = getattr(self, f"m_up{level}")
            gamma, beta = getattr(self, f"to_gamma_{level}")(embedded), getattr(self, f"to_beta_{level}")(embedded)
            x = grow(x + skips[level])
            for block in blocks:
                x = block(x, gamma, beta)
        return self.m_tail(x + skips[0])[..., :height, :width]
