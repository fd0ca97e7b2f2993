"""The estimator that comes with the package, which knows rendered walkers and nothing else; and fine-tuned ones.

``gaitext correct train --finetune-estimator`` trains an estimator further; :class:`TunedEstimator` reads the result.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from gaitext.checkpoints import load, read_file
from gaitext.errors import CheckpointError
from gaitext.models.exact_layers import BatchNorm2d
from gaitext.pose.estimator import HEATMAP_SHAPE, INPUT_SIZE, load_estimator
from gaitext.pose.torch_estimator import Precision, TorchEstimator
from gaitext.video.digests import content_sha256

#: Where the weights lie, a float16 state dict, and how they were made and how good they are.
WEIGHTS = Path(__file__).parent / "data" / "walkers.pt"
PROVENANCE = WEIGHTS.with_suffix(".json")
#: Crops a pass on a CPU: the feature maps of more leave its cache.
_PASS = 32


class BundledEstimator(TorchEstimator):
    """A small :class:`~gaitext.pose.PoseEstimator` for videos of walkers (``gaitext.walkers.Scene``).

    Its network was trained on rendered walkers only. It lets demos and tests start from video where
    no other estimator is; on videos of people its heatmaps are worthless.

    Args:
        device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``.
        precision: of weights and computation; the weights are stored as float16.
        flip_test: average with the heatmaps of the mirrored images: twice the time.
        trainable: see :class:`~gaitext.pose.TorchEstimator`.

    Raises:
        ConfigError: no such device or precision.
        CheckpointError: the package's weights are missing or are not those it was released with.

    >>> BundledEstimator().heatmaps(torch.zeros(2, 3, 256, 192)).shape
    torch.Size([2, 17, 64, 48])
    """

    def __init__(
        self, *, device: str = "auto", precision: Precision = "auto", flip_test: bool = False, trainable: bool = False
    ) -> None:
        digest = _verified()
        network = PoseNet()
        network.load_state_dict(torch.load(WEIGHTS, map_location="cpu", weights_only=True))
        super().__init__(
            network,
            input_size=INPUT_SIZE,
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
            settings={"estimator": "bundled", "file": WEIGHTS.name, "sha256": digest},
            where="bundled",
            device=device,
            precision=precision,
            flip_test=flip_test,
            trainable=trainable,
        )

    def heatmaps(self, images: Tensor) -> Tensor:
        """Heatmaps [N, 17, 64, 48] of RGB crops [N, 3, 256, 192] in 0..1, as those of any torch estimator."""
        if self.device.type != "cpu" or len(images) <= _PASS:
            return super().heatmaps(images)
        estimate = super().heatmaps
        return torch.cat([estimate(part) for part in images.split(_PASS)])


def _verified() -> str:
    """The weights' digest, which must be the one in the record beside them."""
    how = "install gaitext again"
    try:
        provenance: dict[str, Any] = json.loads(PROVENANCE.read_text(encoding="utf-8"))
        digest = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot be read ({error})", where=WEIGHTS.parent, how=how) from error
    if provenance.get("sha256") != digest:
        raise CheckpointError(f"holds other weights than {PROVENANCE.name} describes", where=WEIGHTS, how=how)
    return digest


class TunedEstimator(TorchEstimator):
    """The estimator named in a checkpoint, with the checkpoint's weights: ``tuned:output/hrnet/best.pt``.

    Args:
        model: the checkpoint. What the estimator was loaded from must still be there.
        device, precision, flip_test, trainable: see :class:`~gaitext.pose.TorchEstimator`.

    Raises:
        CheckpointError: no such file, or one that holds no fine-tuned estimator.
    """

    def __init__(
        self,
        model: str,
        *,
        device: str = "auto",
        precision: Precision = "auto",
        flip_test: bool = False,
        trainable: bool = False,
    ) -> None:
        content = read_file(model)
        own = content.get("gaitext", {}) if isinstance(content, dict) else {}
        own = own if isinstance(own, dict) else {}
        if own.get("kind") != "estimator" or not isinstance(own.get("estimator"), str):
            raise CheckpointError(
                "holds no fine-tuned estimator",
                where=model,
                how="give one of gaitext correct train --finetune-estimator",
            )
        base = cast(TorchEstimator, load_estimator(own["estimator"], device="cpu", precision="float32", trainable=True))
        load(base.network, content, model)
        super().__init__(
            base.network,
            input_size=base.input_size,
            mean=base.mean,
            std=base.std,
            bgr=base.bgr,
            settings={
                "estimator": "tuned",
                "of": own["estimator"],
                "base": base.settings,
                "checkpoint": Path(model).name,
                "sha256": content_sha256(model),
            },
            where=model,
            device=device,
            precision=precision,
            flip_test=flip_test,
            shift_mirrored=base.shift_mirrored,
            trainable=trainable,
        )


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
