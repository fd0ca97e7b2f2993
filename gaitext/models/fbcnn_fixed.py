"""FBCNN at one quality, for use: what depends on the quality alone is computed once."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from gaitext.models.fbcnn_layers import ResidualBlock, UpLevel, check_images, modulated, padded
from gaitext.models.tiling import Tiles, tiled

if TYPE_CHECKING:
    from gaitext.models.fbcnn import FBCNN

__all__ = ["FixedFBCNN"]


class FixedFBCNN(nn.Module):
    """What :meth:`gaitext.models.FBCNN.fixed` returns: the same images for less work.

    The predictor and its blocks are gone; γ scales the weights and the bias of each modulated
    block's second convolution, β is added to that bias. Weights lie channels last, in which
    convolutions are fastest on CPUs and GPUs alike. They are frozen; gradients flow to images that
    require them.

    Args:
        network: whose weights are copied.
        quality: 1 − QF/100, in 0..1.
        dtype: of weights and computation.
        tiles: how larger images are cut; None takes them whole.
        batch_size: images, or tiles, that go through at a time; None takes all.
    """

    def __init__(
        self,
        network: FBCNN,
        quality: float,
        *,
        dtype: torch.dtype = torch.float32,
        tiles: Tiles | None = None,
        batch_size: int | None = None,
    ) -> None:
        super().__init__()
        self.quality, self.tiles, self.batch_size = quality, tiles, batch_size
        self.channels, self.multiple = network.settings.image_channels, network.multiple
        self.head, self.tail = copy.deepcopy(network.head), copy.deepcopy(network.tail)
        self.down, self.up = copy.deepcopy(network.down), copy.deepcopy(network.up)
        self.body = nn.Sequential(*copy.deepcopy(network.encoder), *copy.deepcopy(network.decoder))
        with torch.no_grad():
            weight = network.head.weight
            levels = network.modulation(weight.new_full((1, 1), quality))
            for level, (gamma, beta) in zip(self.up, levels):
                for block in cast(UpLevel, level).blocks:
                    _fold(cast(ResidualBlock, block), gamma[0], beta[0])
        self.eval().requires_grad_(False)
        self.to(weight.device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """Correct images [N, 3, H, W] in 0..1: the same shape and dtype, not clamped.

        Raises:
            ShapeError: other shapes.
        """
        check_images(images, self.channels)
        if len(images) == 0:
            return torch.zeros_like(images)
        height, width = images.shape[-2:]
        ready = padded(images, self.multiple).to(self.head.weight.dtype, memory_format=torch.channels_last)
        whole = Tiles(max(ready.shape[-2:]), 0)  # of one tile
        restored = tiled(self._run, ready, self.tiles or whole, multiple=self.multiple, batch_size=self.batch_size)
        return restored[..., :height, :width].to(images.dtype, memory_format=torch.contiguous_format)

    def _run(self, x: Tensor) -> Tensor:
        x = self.head(x)
        skips = []
        for level in self.down:
            skips.append(x)
            x = level(x)
        skips.append(x)
        x = self.body(x)
        for index in reversed(range(len(self.up))):
            x = self.up[index](x.add_(skips[index + 1]))
        restored: Tensor = self.tail(x.add_(skips[0]))
        return restored


def _fold(block: ResidualBlock, gamma: Tensor, beta: Tensor) -> None:
    weight, bias = modulated(block.conv2, gamma, beta)
    block.conv2.weight, block.conv2.bias = nn.Parameter(weight), nn.Parameter(bias)
