"""ResNet stages for single-channel gait maps (the shared backbone of GaitHeat and GaitBase)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from gaitext.models.exact_layers import BatchNorm2d, Conv2d
from gaitext.models.folding import Folding


class Stem(Folding):
    """3×3 convolution with stride 1, BatchNorm, ReLU; no max pooling: [N, in, H, W] -> [N, out, H, W]."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm = BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)

    def convolutions(self) -> list[tuple[nn.Module, nn.Module]]:
        return [(self.conv, self.norm)]

    def forward(self, x: Tensor) -> Tensor:
        folded = self.folded()
        return folded[0](x) if folded is not None else self.relu(self.norm(self.conv(x)))


class BasicBlock(Folding):
    """Two 3×3 convolutions and a skip (He et al. 2016); 1×1 projection where the shape changes.

    Folded, a block without a projection overwrites its input.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.norm1 = BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.norm2 = BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                Conv2d(in_channels, out_channels, 1, stride, bias=False), BatchNorm2d(out_channels)
            )
        else:
            self.shortcut = nn.Identity()

    def convolutions(self) -> list[tuple[nn.Module, nn.Module]]:
        pairs: list[Any] = [(self.conv1, self.norm1), (self.conv2, self.norm2)]
        if isinstance(self.shortcut, nn.Sequential):
            pairs.append(tuple(self.shortcut))
        return pairs

    def forward(self, x: Tensor) -> Tensor:
        folded = self.folded()
        if folded is not None:
            conv1, conv2, *project = folded
            return conv2(conv1(x), add=project[0](x, relu=False) if project else x)
        out = self.relu(self.norm1(self.conv1(x)))
        return self.relu(self.norm2(self.conv2(out)).add_(self.shortcut(x)))


def channels_last(maps: Tensor) -> Tensor:
    """The same maps [N, C, H, W], lying as [N, H, W, C], in which convolutions are fastest.

    torch takes maps of one channel for channels first, whatever their strides, unless these say otherwise.
    """
    if maps.shape[1] == 1:
        return maps.squeeze(1).contiguous().unsqueeze(-1).permute(0, 3, 1, 2)
    return maps.contiguous(memory_format=torch.channels_last)


def stage(in_channels: int, out_channels: int, blocks: int, stride: int) -> nn.Sequential:
    """``blocks`` basic blocks, the first of which has the stride."""
    first = BasicBlock(in_channels, out_channels, stride)
    return nn.Sequential(first, *(BasicBlock(out_channels, out_channels) for _ in range(blocks - 1)))


def strongest(maps: Tensor, count: int) -> Tensor:
    """Maximum over each frame's maps: [N · count, …] -> [N, …], never a view, in the maps' memory format.

    Where several maps are equal, as all are that see nothing but the same part, they share the
    gradient evenly, as with ``amax``, whose own passes over memory cost several times as much.
    """
    return _Strongest.apply(maps, count) if torch.is_grad_enabled() and maps.requires_grad else _maximum(maps, count)


def _maximum(maps: Tensor, count: int) -> Tensor:
    first, *others = maps.unflatten(0, (-1, count)).unbind(1)
    if not others:
        return first.clone()
    top = torch.maximum(first, others[0])
    for other in others[1:]:
        torch.maximum(top, other, out=top)
    return top


class _Strongest(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, count: int) -> Tensor:
        top = _maximum(maps, count)
        ctx.save_for_backward(maps, top)
        ctx.count = count
        return top

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        maps, top = ctx.saved_tensors
        winners = [each == top for each in maps.unflatten(0, (-1, ctx.count)).unbind(1)]
        ties = winners[0].to(torch.uint8)
        for winner in winners[1:]:
            ties += winner
        share = grad / ties
        out = torch.empty_like(maps)
        for winner, each in zip(winners, out.unflatten(0, (-1, ctx.count)).unbind(1)):
            torch.mul(share, winner, out=each)
        return out, None
