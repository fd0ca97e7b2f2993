"""How near restored pictures come to the good ones: PSNR, SSIM and PSNR-B of torchmetrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from gaitext.errors import import_extra
from gaitext.restoration.footage import QUALITIES, Clip
from gaitext.restoration.patches import PatchData, h264_quality, jpeg, jpeg_quality, middle

#: ITU-R BT.601's weights of R, G and B in brightness.
_LUMA = (0.299, 0.587, 0.114)
MEASURES = ("PSNR", "SSIM", "PSNR-B")
#: Of [N, 3, H, W] in 0..1: restored, and the predicted quality [N, 1].
Restore = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Measured:
    """Means over the frames of one way to compress.

    Attributes:
        codec: ``jpeg`` or ``h264``; ``level``: the quality factor, or the crf.
        frames: how many.
        before, after: PSNR (dB), SSIM and PSNR-B (dB) of what is compressed, and of what is restored.
        quality: what the predictor is to say; ``quality_error``: the mean distance of what it says.
    """

    codec: str
    level: float
    frames: int
    before: dict[str, float]
    after: dict[str, float]
    quality: float
    quality_error: float

    @property
    def name(self) -> str:
        return f"{self.codec}-{self.level:g}"

    @property
    def gain(self) -> float:
        """Of PSNR, dB."""
        return self.after["PSNR"] - self.before["PSNR"]

    def row(self) -> dict[str, Any]:
        """Plain values, for a table."""
        both = (("before", self.before), ("after", self.after))
        columns = {f"{measure} {when}": values[measure] for measure in MEASURES for when, values in both}
        row = {"codec": self.codec, "level": self.level, "frames": self.frames, **columns}
        return row | {"quality": self.quality, "quality error": self.quality_error}


def compare(image: Tensor, original: Tensor) -> dict[str, float]:
    """PSNR and SSIM over RGB, PSNR-B of the brightness (BT.601), of one image [3, H, W] in 0..1 with 8 bits.

    SSIM has a Gaussian window of σ = 1.5 and 11 pixels, with edges reflected; PSNR-B has blocks of 8 pixels from the
    image's corner (Yim and Bovik, 2011). All are torchmetrics'.
    """
    metrics: Any = import_extra("torchmetrics.functional.image", "standalone", "measuring pictures")
    ours, theirs = image[None], original[None]
    weights = ours.new_tensor(_LUMA).view(1, 3, 1, 1)
    grey = [(picture * weights).sum(1, keepdim=True) for picture in (ours, theirs)]
    values = (
        metrics.peak_signal_noise_ratio(ours, theirs, data_range=1.0),
        metrics.structural_similarity_index_measure(ours, theirs, data_range=1.0),
        metrics.peak_signal_noise_ratio_with_blocked_effect(*grey, data_range=1.0),
    )
    # An image that is no other has an infinite PSNR, of which no mean can be taken.
    return {name: min(float(value), 100.0) for name, value in zip(MEASURES, values)}


@torch.no_grad()
def measure(
    restore: Restore,
    data: PatchData,
    at: Sequence[tuple[Clip, int]],
    size: int,
    *,
    device: torch.device | str = "cpu",
    rank: int = 0,
    world: int = 1,
) -> list[Measured]:
    """Compress frames in every way, restore them, and compare; each of ``world`` processes does its share, all get all.

    JPEG at :data:`~gaitext.restoration.footage.QUALITIES`, H.264 at the crfs that each clip has.

    Args:
        restore: what is measured; its result is clamped and rounded to 8 bits.
        data: what the frames are of.
        at: the frames.
        size: of their middle, pixels; 0 takes all of them.
        device: where it is computed.
        rank, world: of this process.
    """
    found: list[tuple[str, float, dict[str, float], dict[str, float], float, float]] = []
    for clip, row in at[rank::world]:
        original = middle(data.original(clip, row), size)
        ways = [("jpeg", float(factor), jpeg_quality(factor), jpeg(original, factor)) for factor in QUALITIES]
        for version in range(len(clip.degraded)):
            crf, degraded = data.degraded(clip, row, version)
            ways.append(("h264", crf, h264_quality(crf), middle(degraded, size)))
        images = torch.from_numpy(np.stack([image for *_, image in ways])).to(device).float() / 255
        truth = torch.from_numpy(original).to(device).float() / 255
        restored, quality = restore(images)
        restored = restored.float().clamp(0, 1).mul(255).round() / 255
        for (codec, level, label, _), image, better, said in zip(ways, images, restored, quality.flatten().tolist()):
            found.append((codec, level, compare(image, truth), compare(better, truth), label, abs(said - label)))
    if world > 1:
        parts: list[Any] = [None] * world
        dist.all_gather_object(parts, found)
        found = [each for part in parts for each in part]
    ways_there = sorted({each[:2] for each in found}, key=lambda way: (way[0] != "jpeg", way[1]))
    return [_mean([each for each in found if each[:2] == way]) for way in ways_there]


def _mean(found: list[Any]) -> Measured:
    codec, level, _, _, label, _ = found[0]
    before, after = ({m: float(np.mean([each[k][m] for each in found])) for m in MEASURES} for k in (2, 3))
    return Measured(codec, level, len(found), before, after, label, float(np.mean([each[5] for each in found])))
