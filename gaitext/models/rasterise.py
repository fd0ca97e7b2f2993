"""Drawing poses as one-channel frames: what the occlusion evaluator sees of a pose sequence."""

from __future__ import annotations

import torch
from torch import Tensor

from gaitext import geometry
from gaitext.errors import ShapeError
from gaitext.skeleton import LIMBS

__all__ = ["rasterise_poses"]

#: Frames drawn at once: 16 limbs on 64×48 pixels are 200 KB a frame.
_CHUNK = 256


@torch.no_grad()
def rasterise_poses(
    poses: Tensor,
    size: tuple[int, int] = (64, 48),
    *,
    boxes: Tensor | None = None,
    thickness: float = 1.5,
) -> Tensor:
    """Draw COCO-17 skeletons: limbs and joints as strokes of 1 on 0, with a soft edge of one pixel.

    Args:
        poses: [N, 17, ≥2]: x, y, … in pixels; a joint whose numbers are all 0 is missing, and so are
            the limbs that end there.
        size: (H, W) of the frames.
        boxes: [N, 4] as x, y, w, h, in the poses' pixels: the part of the image that is drawn. None:
            the poses are in pixels of the frames themselves.
        thickness: half a stroke's width, in pixels.

    Returns:
        [N, 1, H, W], float32 in 0..1.
    """
    if poses.ndim != 3 or poses.shape[1] != 17 or poses.shape[2] < 2:
        raise ShapeError(
            f"poses have shape {tuple(poses.shape)}", where="rasterise_poses", how="give COCO-17 poses [N, 17, 3]"
        )
    there = (poses != 0).any(-1)
    points = poses[..., :2].float()
    if boxes is not None:
        points = geometry.apply(geometry.crop_matrices(boxes.float(), *size), points)
    # A joint is a limb that begins and ends there.
    begins, ends = (_ends(which, poses.device) for which in (0, 1))
    drawn = [
        _draw(some[:, begins], some[:, ends], seen[:, begins] & seen[:, ends], size, thickness)
        for some, seen in zip(points.split(_CHUNK), there.split(_CHUNK))
    ]
    return torch.cat(drawn)[:, None] if drawn else points.new_zeros(0, 1, *size)


def _ends(which: int, device: torch.device) -> Tensor:
    return torch.tensor([*(limb[which] for limb in LIMBS), *range(17)], device=device)


def _draw(begins: Tensor, ends: Tensor, seen: Tensor, size: tuple[int, int], thickness: float) -> Tensor:
    """Strokes between points [N, s, 2] where ``seen`` [N, s]: [N, H, W]."""
    rows, columns = (torch.arange(count, device=begins.device, dtype=begins.dtype) for count in size)
    pixels = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)  # [H, W, 2] as x, y
    along = (ends - begins)[:, :, None, None]
    start = begins[:, :, None, None]
    length = along.square().sum(-1).clamp_min(1e-6)
    place = (((pixels - start) * along).sum(-1) / length).clamp(0, 1)
    apart = (pixels - start - place[..., None] * along).norm(dim=-1)
    strokes = (thickness + 0.5 - apart).clamp(0, 1) * seen[:, :, None, None]
    return strokes.amax(1)
