"""Applying occlusions to poses: joints in the hidden region go missing."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from gaitext import geometry
from gaitext.errors import ShapeError
from gaitext.occlusion.drawing import Occlusion, Occlusions
from gaitext.occlusion.regions import regions

__all__ = ["occlude_pose_batch", "occlude_poses", "pose_boxes"]

#: numpy array or torch tensor
A = TypeVar("A", Any, np.ndarray, torch.Tensor)


def occlude_poses(
    poses: A,
    occlusion: Occlusion,
    width: float = 48,
    height: float = 64,
    *,
    boxes: A | None = None,
    grid: tuple[int, int] = (64, 48),
) -> A:
    """Occlude one sequence of poses: joints inside the region become (0, 0, 0); nothing is resized.

    Args:
        poses: [T, V, ≥2]: x, y, … in pixels whose integer values are centres; never changed.
        occlusion: what :func:`~gaitext.occlusion.draw_occlusion` drew.
        width, height: of the image that the poses' pixels count and that is occluded.
        boxes: [T, 4] as x, y, w, h in the poses' pixels: the occluded part of a larger image, for
            example crop boxes or :func:`pose_boxes`; then width and height do not count.
        grid: (H, W) of the map whose pixels are occluded: a heatmap's, so that a joint goes missing
            exactly if its heatmap's peak does. A joint outside belongs to the nearest pixel.

    Returns:
        The occluded poses, same shape and number type, new memory.
    """
    repeated = Occlusions.of([occlusion]).repeat(len(poses))
    return occlude_pose_batch(poses, repeated, np.arange(len(poses)), width, height, boxes=boxes, grid=grid)


def occlude_pose_batch(
    poses: A,
    occlusions: Occlusions,
    index: npt.ArrayLike = 0,
    width: float = 48,
    height: float = 64,
    *,
    boxes: A | None = None,
    grid: tuple[int, int] = (64, 48),
) -> A:
    """Occlude the poses [N, V, ≥2] of many sequences at once, as :func:`occlude_poses` does one.

    Args:
        occlusions: one per frame.
        index: int [N] or one number: frames since each one's sequence began.
    """
    if poses.ndim != 3 or poses.shape[-1] < 2 or len(occlusions) != len(poses):
        raise ShapeError(
            f"{len(occlusions)} occlusions for poses of shape {tuple(poses.shape)}",
            where="occlude_pose_batch",
            how="give [N, V, at least 2] and one occlusion per frame",
        )
    tensor = isinstance(poses, torch.Tensor)
    places = poses[..., :2]
    if boxes is None and (width, height) == (grid[1], grid[0]):
        mapped = places
    else:
        if boxes is None:
            boxes = _like(places, np.tile(np.array([0.0, 0.0, width, height], np.float32), (len(poses), 1)))
        mapped = geometry.apply(geometry.crop_matrices(boxes, *grid), places)
    xp = torch if tensor else np
    pixel = xp.floor(mapped + 0.5)
    column = xp.clip(pixel[..., 0], 0, grid[1] - 1)
    row = xp.clip(pixel[..., 1], 0, grid[0] - 1)
    found = regions(occlusions, index, *grid)
    top, bottom, left, right = (_like(places, np.ascontiguousarray(edge))[:, None] for edge in found.T)
    hidden = (row >= top) & (row < bottom) & (column >= left) & (column < right)
    return xp.where(hidden[..., None], xp.zeros_like(poses), poses)


def _like(poses: Any, values: npt.NDArray[Any]) -> Any:
    return torch.from_numpy(values).to(poses.device) if isinstance(poses, torch.Tensor) else values


def pose_boxes(poses: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Crop boxes [T, 4] about the joints found in poses [T, V, ≥2], grown as a pose estimator's are.

    For poses that come without boxes. A frame without any joint gets a box of one pixel.
    """
    poses = np.asarray(poses, np.float64)
    found = np.any(poses != 0, axis=-1)
    low = np.where(found[:, :, None], poses[..., :2], np.inf).min(1)
    high = np.where(found[:, :, None], poses[..., :2], -np.inf).max(1)
    empty = ~np.any(found, axis=1)
    low[empty] = high[empty] = 0
    # A joint fills its pixel, which also gives a lone joint's box an area.
    return geometry.crop_boxes(np.concatenate((low - 0.5, high - low + 1), -1))
