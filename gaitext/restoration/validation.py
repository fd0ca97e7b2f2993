"""How good poses are in the middle of training, and what corrections look like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor

from gaitext.evaluation import box_areas, keypoint_ap
from gaitext.pose import decode_heatmaps
from gaitext.restoration.crop_data import Batch, CropData
from gaitext.restoration.objective import CorrectionOutput, fit_to_input, rescaled

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Poses:
    """Found and true poses of N frames, in input pixels.

    Attributes:
        found: [N, 17, 3].
        true: [N, 17, 3], the score being 0 or 1.
        boxes: [N, 4], the persons'.
    """

    found: Array
    true: Array
    boxes: Array

    def precision(self) -> tuple[float, float]:
        """AP in percent, and the mean distance of true joints."""
        seen = self.true[..., 2] > 0
        ap = keypoint_ap(self.found, self.true, box_areas(self.boxes), seen).ap
        apart = np.linalg.norm(self.found[..., :2] - self.true[..., :2], axis=-1)
        return 100 * float(ap), float(apart[seen].mean())


def decode(heatmaps: Tensor, input_size: tuple[int, int]) -> Tensor:
    """Keypoints [N, 17, 3] of heatmaps [N, 17, h, w], as extraction decodes them, in input pixels.

    They stay on the heatmaps' device, in float32 and without a gradient; (0, 0, 0) is a missing joint.
    """
    found = decode_heatmaps(heatmaps)
    places = rescaled(found[..., :2], (heatmaps.shape[-2], heatmaps.shape[-1]), input_size)
    scores = found[..., 2:]
    return torch.cat((places.masked_fill(scores <= 0, 0), scores), -1)


@torch.no_grad()
def estimate(
    objective: Callable[[Tensor], CorrectionOutput],
    data: CropData,
    at: Array,
    *,
    original: bool = False,
    batch_size: int = 32,
    device: torch.device | str = "cpu",
    rank: int = 0,
    world: int = 1,
) -> Poses:
    """Poses that an objective finds in frames ``at``; each of ``world`` processes does its share, all get all."""
    found, true, boxes = [], [], []
    for batch in data.batches(at[rank::world], batch_size, original=original):
        found.append(decode(objective(batch.images.to(device)).heatmaps, data.input_size).cpu().numpy())
        true.append(torch.cat((batch.targets, batch.weights[..., None]), -1).numpy())
        boxes.append(batch.boxes.numpy())
    part: tuple[Any, ...] = tuple(map(_joined, (found, true, boxes)))
    if world > 1:
        parts: list[Any] = [None] * world
        dist.all_gather_object(parts, part)
        # Back in order: process r did frames r, r + world, …
        order = np.argsort(np.concatenate([np.arange(len(at))[r::world] for r in range(world)]))
        part = tuple(np.concatenate([p[k] for p in parts if p[k] is not None])[order] for k in range(3))
    return Poses(*part)


def _joined(parts: list[Array]) -> Array | None:
    return np.concatenate(parts) if parts else None


@torch.no_grad()
def pictures(objective: Callable[[Tensor], CorrectionOutput], worse: Batch, better: Batch, device: Any) -> Tensor:
    """Degraded, corrected and original crops beside one another, [N, 3, H, 3 W] in 0..1."""
    output = objective(worse.images.to(device))
    size = output.corrected.shape[-2:]
    seen = [fit_to_input(images.float() / 255, (size[0], size[1])) for images in (worse.images, better.images)]
    return torch.cat((seen[0], output.corrected.float().cpu().clamp(0, 1), seen[1]), -1)
