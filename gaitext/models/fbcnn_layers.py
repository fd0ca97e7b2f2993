"""FBCNN's blocks and levels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gaitext.errors import ShapeError


class ResidualBlock(nn.Module):
    """x + conv(ReLU(conv(x))), without normalisation; modulated, x + γ·(…) + β.

    Args:
        channels: of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None) -> Tensor:
        """Of x [N, C, H, W]; γ and β are [1, C], for all images, or [N, C]."""
        hidden = torch.relu_(self.conv1(x))
        if gamma is None or beta is None:
            plain: Tensor = self.conv2(hidden)
            return plain.add_(x)
        if gamma.shape[0] == 1:
            # One small product with the weights instead of two passes over the feature maps.
            return F.conv2d(hidden, *modulated(self.conv2, gamma[0], beta[0]), padding=1).add_(x)
        return torch.addcmul(x + beta[..., None, None], gamma[..., None, None], self.conv2(hidden))


def modulated(convolution: nn.Conv2d, gamma: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and bias of γ · convolution(·) + β, with γ and β [C]."""
    assert convolution.bias is not None
    return convolution.weight * gamma[:, None, None, None], convolution.bias * gamma + beta


class DownLevel(nn.Module):
    """Residual blocks, then half the resolution by a 2×2 convolution."""

    def __init__(self, here: int, below: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(ResidualBlock(here) for _ in range(blocks)))
        self.shrink = nn.Conv2d(here, below, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        shrunk: Tensor = self.shrink(self.blocks(x))
        return shrunk


class UpLevel(nn.Module):
    """Double the resolution by a 2×2 transposed convolution, then modulated residual blocks."""

    def __init__(self, below: int, here: int, blocks: int) -> None:
        super().__init__()
        self.grow = nn.ConvTranspose2d(below, here, 2, stride=2)
        self.blocks = nn.ModuleList(ResidualBlock(here) for _ in range(blocks))

    def forward(self, x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None) -> Tensor:
        """γ and β are those of all blocks of the level."""
        x = self.grow(x)
        for block in self.blocks:
            x = block(x, gamma, beta)
        return x


class QualityPredictor(nn.Module):
    """How badly images are compressed, 1 − QF/100: residual blocks, the mean over places, three layers."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))
        self.mlp = nn.Sequential(
            nn.Linear(channels, channels),
            nn.ReLU(),
            nn.Linear(channels, channels),
            nn.ReLU(),
            nn.Linear(channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, encoded: Tensor) -> Tensor:
        """[N, 1] of the encoder's output [N, C, h, w]."""
        estimate: Tensor = self.mlp(self.blocks(encoded).mean((-2, -1)))
        return estimate


def check_images(images: Tensor, channels: int) -> None:
    """Raise ShapeError unless ``images`` are [N, channels, H, W] and not empty."""
    if images.ndim != 4 or images.shape[1] != channels or 0 in images.shape[-2:]:
        raise ShapeError(f"images have shape {list(images.shape)}", where="FBCNN", how=f"give [N, {channels}, H, W]")


def padded(images: Tensor, multiple: int) -> Tensor:
    """Images [N, C, H, W] with H and W grown to multiples, their last row and column repeated."""
    height, width = images.shape[-2:]
    right, bottom = -width % multiple, -height % multiple
    return F.pad(images, (0, right, 0, bottom), mode="replicate") if right or bottom else images
