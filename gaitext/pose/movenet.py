"""MoveNet's networks: people's joints, centres and boxes from an image.

MobileNetV2 down to 1/32 of the resolution, a feature pyramid back to 1/4, and a small head for each kind of map there
(CenterNet on MobileNetV2 with FPN). Lightning and Thunder are Google's for one person an image, MultiPose for up to
six; they differ in width, and MultiPose has two heads more. Source: the published graphs, whose BatchNorms are folded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gaitext.checkpoints import load_packaged, packaged_sha256
from gaitext.errors import ConfigError, suggest
from gaitext.pose.estimator import check_multiple

#: Maps that every variant has, and how many channels: joints' heatmaps in 0..1, people's centres in 0..1, of each
#: person's centre the way to its joints, and of each joint's cell the way to the joint; (y, x) pairs, in cells.
HEADS = {"heatmaps": 17, "centres": 1, "joints": 34, "offsets": 34}
#: Of a centre's cell: the box's (height, width), and the way to the box's middle (y, x); in cells.
BOX_HEADS = {"box_sizes": 2, "box_offsets": 2}
#: Those that are in 0..1.
PROBABILITIES = ("heatmaps", "centres")
#: A cell of the maps is this many pixels of the image high and wide; its sides are multiples of MULTIPLE.
STRIDE, MULTIPLE = 4, 32
#: Of all three channels in 0..1: the graphs multiply pixels of 0..255 by 2/255, rounded to float16, and subtract 1.
MEAN = STD = 1 / (255 * 0.007843017578125)
#: Where the weights lie, and where they are from.
DATA = Path(__file__).parent / "data"
RECORD = "movenet.json"

#: MobileNetV2 (Sandler et al. 2018, table 2): channels, blocks and the first block's stride, at width 1.
_STAGES = ((16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
_STEM, _LAST, _EXPANSION = 32, 1280, 6
#: The blocks whose outputs the pyramid takes in on its way up, at 1/16, 1/8 and 1/4, and its channels.
TAPS = (9, 5, 2)
_PYRAMID = (64, 32, 24, 24)
_HEAD = 96
#: Images a pass, where maps are large.
_PASS = 2


@dataclass(frozen=True)
class Variant:
    """What one of the published networks is.

    Attributes:
        width: of the backbone's layers, as a multiple of MobileNetV2's own.
        heads: names of the maps, and their channels.
        several: whether it was published for several people an image.
    """

    width: float
    heads: dict[str, int]
    several: bool = False


VARIANTS = {
    "lightning": Variant(1.0, HEADS),
    "thunder": Variant(1.75, HEADS),
    "multipose": Variant(1.5, HEADS | BOX_HEADS, several=True),
}


class MoveNet(nn.Module):
    """A MoveNet with random weights; :func:`load_movenet` gives the published ones.

    Args:
        variant: a key of :data:`VARIANTS`.

    Raises:
        ConfigError: there is no such variant.

    >>> maps = MoveNet("lightning")(torch.zeros(2, 3, 256, 192))
    >>> {name: list(map.shape) for name, map in maps.items()}
    {'heatmaps': [2, 17, 64, 48], 'centres': [2, 1, 64, 48], 'joints': [2, 34, 64, 48], 'offsets': [2, 34, 64, 48]}
    """

    def __init__(self, variant: str = "lightning") -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise ConfigError(f"unknown MoveNet '{variant}'", where="movenet", how=suggest(variant, VARIANTS))
        self.variant = VARIANTS[variant]
        width = self.variant.width
        channels = _wide(_STEM, width)
        self.stem = _Conv(3, channels, 3, stride=2, activation=F.relu6)
        self.blocks, outputs = nn.ModuleList(), []
        for base, count, first_stride in _STAGES:
            for stride in (first_stride, *(1,) * (count - 1)):
                expansion = _EXPANSION if self.blocks else 1
                self.blocks.append(_Block(channels, _wide(base, width), stride, expansion))
                channels = _wide(base, width)
                outputs.append(channels)
        self.last = _Conv(channels, _LAST, activation=F.relu6)
        self.top = _Conv(_LAST, _PYRAMID[0])
        self.laterals = nn.ModuleList(_Conv(outputs[tap], own) for tap, own in zip(TAPS, _PYRAMID))
        self.merges = nn.ModuleList(_separable(own, out) for own, out in pairwise(_PYRAMID))
        self.heads = nn.ModuleDict(
            {
                name: nn.Sequential(*_separable(_PYRAMID[-1], _HEAD), _Conv(_HEAD, count))
                for name, count in self.variant.heads.items()
            }
        )

    def forward(self, images: Tensor, heads: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Maps of images.

        Args:
            images: [N, 3, H, W], RGB in 0..1 minus :data:`MEAN`, by :data:`STD`; H and W multiples of 32.
            heads: which maps; all that the variant has by default.

        Returns:
            By name [N, channels, H/4, W/4]; ``heatmaps`` and ``centres`` in 0..1, pairs as (y, x) of joint 0,
            (y, x) of joint 1, … in cells.

        Raises:
            ShapeError: images of another shape.
        """
        check_multiple(images, MULTIPLE, "MoveNet")
        names = tuple(heads or self.heads)
        quarter, eighth = _in_passes(self._down, images)
        found = _in_passes(partial(self._up, names), quarter, self._around(eighth))
        return dict(zip(names, found))

    def _down(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The backbone at 1/4 of the resolution, and at 1/8."""
        x = self.stem(images.contiguous(memory_format=torch.channels_last))
        for block in self.blocks[: TAPS[-1] + 1]:
            x = block(x)
        return x, self.blocks[TAPS[-1] + 1](x)

    def _around(self, x: Tensor) -> Tensor:
        """From 1/8 down to 1/32, and back to 1/8 by way of the pyramid."""
        taps = {}
        for index in range(TAPS[-1] + 2, len(self.blocks)):
            x = taps[index] = self.blocks[index](x)
        x = self.top(self.last(x))
        for tap, lateral, merge in zip(TAPS[:-1], self.laterals, self.merges):
            x = merge(_doubled(x) + lateral(taps[tap]))
        return x

    def _up(self, names: Iterable[str], quarter: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        """From 1/8 to 1/4, and the maps there."""
        features = self.merges[-1](_doubled(x) + self.laterals[-1](quarter))
        maps = ((name, self.heads[name](features)) for name in names)
        return tuple(found.sigmoid() if name in PROBABILITIES else found for name, found in maps)


def _doubled(x: Tensor) -> Tensor:
    """Maps of twice the height and width, bilinear, half-pixel centres."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def _in_passes(function: Callable[..., tuple[Tensor, ...]], *inputs: Tensor) -> tuple[Tensor, ...]:
    """What ``function`` returns of a batch, on a CPU of a few images at a time: large maps of more leave its cache."""
    if inputs[0].device.type != "cpu" or len(inputs[0]) <= _PASS:
        return function(*inputs)
    parts = [function(*part) for part in zip(*(each.split(_PASS) for each in inputs))]
    return tuple(torch.cat(column) for column in zip(*parts))


def load_movenet(variant: str) -> MoveNet:
    """A published MoveNet, on the CPU, in float32 and evaluation mode.

    Raises:
        ConfigError: there is no such variant.
        CheckpointError: the package's weights are missing, or are not those it was released with.
    """
    return load_packaged(MoveNet(variant), _file(variant), RECORD)


def verified_digest(variant: str) -> str:
    """The SHA-256 of a variant's weights, which must be the one in the record beside them.

    Raises:
        CheckpointError: they are missing, or are others.
    """
    return packaged_sha256(_file(variant), RECORD)


def _file(variant: str) -> Path:
    return DATA / f"movenet-{variant}.safetensors"


def _wide(channels: int, width: float) -> int:
    """``channels · width`` to the nearest multiple of 8 that loses no more than a tenth, as MobileNetV2 rounds."""
    rounded = max(8, int(channels * width + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels * width else rounded + 8


class _Conv(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME, and the activation after it.

    Of an even side that a 3×3 kernel halves, TensorFlow pads one pixel below and on the right, none above and on the
    left. Here the kernel is padded instead, above and on the left, which is the same and copies no map.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        depthwise: bool = False,
        bias: bool = True,
        activation: Callable[..., Tensor] | None = None,
    ) -> None:
        groups = in_channels if depthwise else 1
        super().__init__(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=bias)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        weight = F.pad(self.weight, (1, 0, 1, 0)) if self.stride == (2, 2) else self.weight
        y = F.conv2d(x, weight, self.bias, self.stride, self.padding, groups=self.groups)
        return y if self.activation is None else self.activation(y, inplace=True)


class _Block(nn.Module):
    """MobileNetV2's inverted residual: widen, look around, narrow; and what came in, where that fits."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = in_channels * expansion
        self.expand = _Conv(in_channels, inner, activation=F.relu6) if expansion > 1 else nn.Identity()
        self.depthwise = _Conv(inner, inner, 3, stride=stride, depthwise=True, activation=F.relu6)
        self.project = _Conv(inner, out_channels)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return y + x if self.residual else y


def _separable(in_channels: int, out_channels: int) -> nn.Sequential:
    """A 3×3 convolution of each channel, then a 1×1 of them all, and ReLU."""
    return nn.Sequential(
        _Conv(in_channels, in_channels, 3, depthwise=True, bias=False),
        _Conv(in_channels, out_channels, activation=F.relu),
    )
