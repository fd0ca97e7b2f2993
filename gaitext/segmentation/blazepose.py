"""BlazePose's segmentation network: which pixels of a square crop are the person in its middle.

MobileNetV2's blocks down to 1/32 of the resolution, a feature pyramid back to 1/4, and from there two small residual
steps at 1/2 and two at the full resolution (Bazarevsky et al. 2020; MediaPipe's ``pose_landmark_full``). Of the
published graph only what the mask needs is here: its heads of joints are not. Its BatchNorms are folded.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F

from gaitext.checkpoints import load_packaged
from gaitext.pose.estimator import check_multiple

#: Where the weights lie, and the record of where they are from.
DATA = Path(__file__).parent / "data"
WEIGHTS, RECORD = "blazepose-full.safetensors", "blazepose.json"
#: Height and width of the images it was published for.
SIZE = (256, 256)
#: Sides of images are multiples of this.
MULTIPLE = 32

_STEM = 24
#: Of each block: channels out, kernel, stride, and how many channels it works in.
_BLOCKS = (
    (16, 3, 1, 24),
    (24, 3, 2, 64),
    (24, 3, 1, 144),
    (32, 5, 2, 144),
    (32, 5, 1, 192),
    (64, 3, 2, 192),
    (64, 3, 1, 384),
    (64, 3, 1, 384),
    (88, 5, 1, 384),
    (88, 5, 1, 528),
    (88, 5, 1, 528),
    (144, 5, 2, 528),
    (144, 5, 1, 864),
    (144, 5, 1, 864),
    (144, 5, 1, 864),
)
_TOP = 864
#: The blocks whose outputs the pyramid takes in on its way up, at 1/16, 1/8 and 1/4; and the one at 1/2.
_TAPS, _DETAIL = (10, 4, 2), 0
_PYRAMID, _MASK = 48, 8


class BlazePoseMask(nn.Module):
    """The network with random weights; :func:`load_blazepose` gives the published ones.

    >>> import torch
    >>> list(BlazePoseMask()(torch.zeros(2, 3, 64, 32)).shape)
    [2, 64, 32]
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Conv(3, _STEM, 3, stride=2)
        self.blocks, outputs = nn.ModuleList(), []
        channels = _STEM
        for out, kernel, stride, inner in _BLOCKS:
            self.blocks.append(_Block(channels, out, kernel, stride, inner))
            channels = out
            outputs.append(out)
        self.top = nn.Sequential(
            _Conv(channels, _TOP),
            _Conv(_TOP, _TOP, 3, depthwise=True),
            _separable(_TOP, _PYRAMID),
        )
        self.laterals = nn.ModuleList(_separable(outputs[tap], _PYRAMID) for tap in _TAPS)
        self.narrow = _separable(_PYRAMID, _MASK)
        self.detail = _separable(outputs[_DETAIL], _MASK)
        self.refine_half = nn.ModuleList(_separable(_MASK, _MASK, relu6=False) for _ in range(2))
        self.refine_full = nn.ModuleList(_separable(_MASK, _MASK, relu6=False) for _ in range(2))
        self.out = _Conv(_MASK, 1, 3, relu6=False)

    def forward(self, images: Tensor) -> Tensor:
        """Masks of images.

        Args:
            images: [N, 3, H, W], RGB in 0..1; H and W multiples of 32.

        Returns:
            [N, H, W], how sure it is that a pixel is the person, 0..1.

        Raises:
            ShapeError: images of another shape.
        """
        check_multiple(images, MULTIPLE, "BlazePoseMask")
        x = self.stem(images)
        taps = {}
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in (*_TAPS, _DETAIL):
                taps[index] = x
        x = self.top(x)
        for tap, lateral in zip(_TAPS, self.laterals):
            x = _doubled(x) + lateral(taps[tap])
        x = _doubled(self.narrow(x)) + self.detail(taps[_DETAIL])
        for step in self.refine_half:
            x = F.relu6(x + step(x))
        x = _doubled(x)
        for step in self.refine_full:
            x = F.relu6(x + step(x))
        mask: Tensor = self.out(x)[:, 0].sigmoid()
        return mask


def load_blazepose() -> BlazePoseMask:
    """The published network, on the CPU, in float32 and evaluation mode.

    Raises:
        CheckpointError: the package's weights are missing, or are not those it was released with.
    """
    return load_packaged(BlazePoseMask(), DATA / WEIGHTS, RECORD)


class _Conv(nn.Conv2d):
    """A convolution padded by half its kernel on all sides, as the graph's are, and ReLU6 after it or not."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 1, *, stride: int = 1, depthwise: bool = False,
        relu6: bool = True,
    ) -> None:  # fmt: skip
        groups = in_channels if depthwise else 1
        super().__init__(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups)
        self.relu6 = relu6

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return F.relu6(y, inplace=True) if self.relu6 else y


class _Block(nn.Module):
    """MobileNetV2's inverted residual: widen, look around, narrow; and what came in, where that fits."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, inner: int) -> None:
        super().__init__()
        self.expand = _Conv(in_channels, inner) if inner != in_channels else nn.Identity()
        self.depthwise = _Conv(inner, inner, kernel, stride=stride, depthwise=True)
        self.project = _Conv(inner, out_channels, relu6=False)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return y + x if self.residual else y


def _separable(in_channels: int, out_channels: int, *, relu6: bool = True) -> nn.Sequential:
    """A 3×3 convolution of each channel, then a 1×1 of them all."""
    return nn.Sequential(
        _Conv(in_channels, in_channels, 3, depthwise=True), _Conv(in_channels, out_channels, relu6=relu6)
    )


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
