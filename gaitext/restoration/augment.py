"""What top-down estimators are trained with: crops turned, scaled, and of half a body, targets moved alike.

The recipe is that of HRNet's ``w32_256x192_adam_lr1e-3`` for COCO: rotation 45, scale 0.35, half body 0.3 of those with
more than 8 known joints; its mirroring (0.5) is the trainer's ``mirror``. There the frame is cut anew; here the crop
is, which is black beyond its edges.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from gaitext.geometry import invert, normalised
from gaitext.restoration.settings import AugmentSettings

Array = npt.NDArray[Any]

#: Joints 0 to 10 of COCO-17, above the hips, are the upper body there.
_UPPER = np.arange(17) < 11
#: How often it is the upper body: there, where a standard normal draw is below ½.
_UPPER_SHARE = 0.5 * (1 + math.erf(0.5 / math.sqrt(2)))
#: A view of half a body is so many times its joints' extent, and shows so many joints at least.
_PADDING, _FEWEST = 1.5, 3


class Dice(NamedTuple):
    """Draws for N crops, whatever is in them, so that a batch's are the same however it is shared out.

    Attributes:
        normal: [N, 2], of scale and rotation.
        uniform: [N, 3], whether to turn, whether half a body, which half.
    """

    normal: Array
    uniform: Array

    @classmethod
    def thrown(cls, rng: np.random.Generator, count: int) -> Dice:
        """For ``count`` crops."""
        return cls(rng.standard_normal((count, 2)), rng.random((count, 3)))

    def of(self, chosen: slice) -> Dice:
        """Those of some of the crops."""
        return Dice(self.normal[chosen], self.uniform[chosen])


def view_matrices(
    settings: AugmentSettings, dice: Dice, targets: Array, weights: Array, size: tuple[int, int]
) -> Array:
    """Where each crop's pixels go: float64 [N, 2, 3], pixels of the crop to pixels of what is trained on.

    A view has a centre, which is the crop's or the mean of half a body's joints, and a size in widths of the crop,
    1 or that half's extent × 1.5; it is scaled by 1 + N(0, scale²), within ± scale, and, by chance, turned
    by N(0, rotation²) degrees, within twice rotation.

    Args:
        settings: how much.
        dice: for N crops.
        targets: [N, 17, 2], true joints in pixels of the crops.
        weights: [N, 17]; 0 is a joint that is not known.
        size: height and width.
    """
    height, width = size
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    matrices = np.empty((len(targets), 2, 3))
    for k, (joints, known) in enumerate(zip(targets.astype(float), weights > 0)):
        (by_scale, by_angle), (turn, half, which) = dice.normal[k], dice.uniform[k]
        centre, extent = middle, 1.0
        if half < settings.half_body and known.sum() > settings.half_body_joints:
            centre, extent = _half_body(joints, known, which, size) or (centre, extent)
        extent *= np.clip(1 + by_scale * settings.scale, 1 - settings.scale, 1 + settings.scale)
        angle = 0.0
        if turn < settings.rotation_share:
            angle = np.clip(by_angle, -2, 2) * math.radians(settings.rotation)
        cos, sin = math.cos(angle) / extent, math.sin(angle) / extent
        turned = np.array([[cos, -sin], [sin, cos]])
        matrices[k] = np.concatenate((turned, (middle - turned @ centre)[:, None]), 1)
    return matrices


def _half_body(joints: Array, known: Array, which: float, size: tuple[int, int]) -> tuple[Array, float] | None:
    """Centre, and size in widths of the crop, of a view of half a body; None where too little of it is known."""
    upper, lower = joints[known & _UPPER], joints[known & ~_UPPER]
    chosen = upper if which < _UPPER_SHARE and len(upper) >= _FEWEST else lower if len(lower) >= _FEWEST else upper
    if len(chosen) < _FEWEST:
        return None
    across, down = np.ptp(chosen, axis=0)
    extent = max(across / size[1], down / size[0]) * _PADDING
    return (chosen.mean(0), float(extent)) if extent > 0 else None


def moved_images(images: Tensor, matrices: Tensor) -> Tensor:
    """Images [N, 3, H, W], uint8, moved by ``matrices`` [N, 2, 3], bilinearly, black where there is no picture."""
    height, width = images.shape[-2:]
    theta = normalised(invert(matrices.double()), height, width)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False).float()
    moved = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return moved.round().to(torch.uint8)


def moved_boxes(boxes: Tensor, matrices: Tensor) -> Tensor:
    """Upright boxes [N, 4] (x, y, w, h; edges are pixels' edges) around the moved ones."""
    x, y, w, h = boxes.to(matrices.dtype).unbind(-1)
    corners = torch.stack((torch.stack((x, x + w, x, x + w), -1), torch.stack((y, y, y + h, y + h), -1)), -1) - 0.5
    moved = corners @ matrices[:, :, :2].mT + matrices[:, None, :, 2] + 0.5
    low, high = moved.amin(1), moved.amax(1)
    return torch.cat((low, high - low), -1).to(boxes.dtype)
