"""The network of the bundled estimator: small enough for a package and for two CPU cores."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gaitext.models.exact_layers import BatchNorm2d
from gaitext.pose.estimator import HEATMAP_SHAPE

__all__ = ["PoseNet"]


class _Conv(nn.Module):
    """Convolution and BatchNorm, without an activation."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False)
        self.norm = BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(self.conv(x))
        return normed


class _Block(nn.Module):
    """One 3×3 convolution and a skip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = _Conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu_(x + self.conv(x))


class _Down(nn.Module):
    """Halve the resolution, then ``blocks`` residual blocks."""

    def __init__(self, in_channels: int, out_channels: int, blocks: int = 0) -> None:
        super().__init__()
        self.conv = _Conv(in_channels, out_channels, stride=2)
        self.blocks = nn.Sequential(*(_Block(out_channels) for _ in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        refined: Tensor = self.blocks(torch.relu_(self.conv(x)))
        return refined


class _Up(nn.Module):
    """Double the resolution, add what the way down had there, then ``blocks`` residual blocks."""

    def __init__(self, in_channels: int, out_channels: int, blocks: int = 0) -> None:
        super().__init__()
        # At the low resolution, where it costs a quarter.
        self.conv = _Conv(in_channels, out_channels, kernel=1)
        self.blocks = nn.Sequential(*(_Block(out_channels) for _ in range(blocks)))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        grown = nn.functional.interpolate(self.conv(x), scale_factor=2.0, mode="nearest")
        refined: Tensor = self.blocks(torch.relu_(grown + skip))
        return refined


class PoseNet(nn.Module):
    """Heatmaps of a person's crop, by a small encoder and decoder: [N, 3, H, W] -> [N, 17, H/4, W/4].

    Five halvings lead to 1/32 of the resolution, where three 3×3 convolutions see the whole crop;
    three doublings lead back to 1/4. Plain convolutions with few channels rather than depthwise
    ones: on a CPU these are as fast forwards, and several times as fast backwards.

    Args:
        widths: channels at 1/2, 1/4, 1/8, 1/16 and 1/32.
        down: residual blocks on the way down, at 1/8, 1/16 and 1/32.
        up: on the way back, at 1/16 and 1/8.
        joints: channels of the heatmaps.

    H and W must be multiples of 32.
    """

    def __init__(
        self,
        widths: Sequence[int] = (16, 24, 48, 64, 96),
        down: Sequence[int] = (1, 2, 3),
        up: Sequence[int] = (1, 1),
        joints: int = HEATMAP_SHAPE[0],
    ) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth, least = widths
        self.stem = nn.Sequential(_Down(3, half), _Down(half, quarter))
        self.down8 = _Down(quarter, eighth, down[0])
        self.down16 = _Down(eighth, sixteenth, down[1])
        self.down32 = _Down(sixteenth, least, down[2])
        self.up16 = _Up(least, sixteenth, up[0])
        self.up8 = _Up(sixteenth, eighth, up[1])
        self.up4 = _Up(eighth, quarter)
        self.head = nn.Conv2d(quarter, joints, 3, padding=1)
        # Begins with empty heatmaps, which is right nearly everywhere.
        for parameter, spread in zip(self.head.parameters(), (0.001, 0.0)):
            nn.init.normal_(parameter, std=spread)

    def forward(self, images: Tensor) -> Tensor:
        """Heatmaps of images [N, 3, H, W] in 0..1, not normalised: the first BatchNorm does that."""
        quarter = self.stem(images)
        eighth = self.down8(quarter)
        sixteenth = self.down16(eighth)
        decoded = self.up16(self.down32(sixteenth), sixteenth)
        heatmaps: Tensor = self.head(self.up4(self.up8(decoded, eighth), quarter))
        return heatmaps
