"""Applying occlusions: to frames of silhouettes and heatmaps, and to poses, whose joints go missing."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from gaitext import geometry
from gaitext.errors import ShapeError
from gaitext.occlusion.drawing import Occlusion, Occlusions, regions

#: numpy array or torch tensor
A = TypeVar("A", Any, np.ndarray, torch.Tensor)


def occlude(frames: A, occlusion: Occlusion, *, binary: bool) -> A:
    """Occlude one sequence.

    Args:
        frames: [T, H, W] or [T, C, H, W], of any number type, on any device; never changed.
        occlusion: what :func:`~gaitext.occlusion.draw_occlusion` drew.
        binary: stretched frames are made binary again at half the frame's maximum: True for
            silhouettes, False for heatmaps.

    Returns:
        The occluded frames: same shape, number type and range, new memory.
    """
    return occlude_batch(frames, Occlusions.of([occlusion]).repeat(len(frames)), np.arange(len(frames)), binary=binary)


def occlude_batch(
    frames: A, occlusions: Occlusions, index: npt.ArrayLike = 0, *, binary: bool, nearest: bool = False
) -> A:
    """Occlude frames of many sequences at once, each by its own occlusion; no loop over frames.

    Args:
        frames: [N, H, W] or [N, C, H, W], of any number type, on any device; never changed.
        occlusions: one per frame; for whole sequences ``Occlusions.repeat(lengths)``.
        index: int [N] or one number: frames since each one's sequence began (patch and pole move).
        binary: see :func:`occlude`.
        nearest: stretched rows are copies of the nearest ones: for classes, which have no means.

    Returns:
        The occluded frames: same shape, number type and range, new memory.
    """
    if frames.ndim not in (3, 4) or len(occlusions) != len(frames):
        raise ShapeError(
            f"{len(occlusions)} occlusions for frames of shape {tuple(frames.shape)}",
            where="occlude_batch",
            how="give [N, H, W] or [N, C, H, W] and one occlusion per frame",
        )
    height, width = int(frames.shape[-2]), int(frames.shape[-1])
    found = regions(occlusions, index, height, width)
    maps = frames[:, None] if frames.ndim == 3 else frames
    hidden = _hidden(maps, found)
    out = geometry.array_namespace(maps).where(hidden[:, None], geometry.array_namespace(maps).zeros_like(maps), maps)
    stretched = np.flatnonzero(occlusions.resize & (found[:, 1] > found[:, 0]))
    if len(stretched):
        chosen = _like(maps, stretched)
        out[chosen] = _stretch(maps[chosen], found[stretched], binary, nearest)
    return out[:, 0] if frames.ndim == 3 else out


def _like(frames: Any, values: npt.NDArray[Any]) -> Any:
    """``values`` as an array of the frames' kind, on their device."""
    return torch.from_numpy(values).to(frames.device) if isinstance(frames, torch.Tensor) else values


def _hidden(maps: Any, found: npt.NDArray[np.int64]) -> Any:
    """Which pixels the regions [N, 4] hide: bool [N, H, W]."""
    top, bottom, left, right = (_like(maps, np.ascontiguousarray(edge))[:, None] for edge in found.T)
    row, column = (_like(maps, np.arange(size)) for size in maps.shape[-2:])
    in_rows, in_columns = (row >= top) & (row < bottom), (column >= left) & (column < right)
    return in_rows[:, :, None] & in_columns[:, None, :]


def _stretch(maps: Any, found: npt.NDArray[np.int64], binary: bool, nearest: bool) -> Any:
    """Stretch the rows above or below the hidden ones of [N, C, H, W] to H rows, bilinearly or to the nearest.

    Output row y has its centre at (y + ½)·n/H − ½ among the n visible rows, beyond which the outer
    rows go on. Places and weights are worked out in integers, so they are the same everywhere.
    """
    xp, height = geometry.array_namespace(maps), int(maps.shape[-2])
    below = found[:, 0] == 0  # the top is hidden
    begin = _like(maps, np.where(below, found[:, 1], 0))[:, None]
    end = _like(maps, np.where(below, height, found[:, 0]))[:, None]
    scaled = (2 * _like(maps, np.arange(height)) + 1) * (end - begin) - height
    place = scaled // (2 * height)
    frame = _like(maps, np.arange(len(maps)))[:, None]
    source = _as_float(maps)
    remainder = scaled - place * 2 * height
    remainder = remainder.to(source.dtype) if xp is torch else remainder.astype(source.dtype)
    weight = remainder[:, None, :, None] / (2 * height)
    lower, upper = (
        source[frame, :, xp.minimum(xp.maximum(begin + place + step, begin), end - 1)].swapaxes(1, 2) for step in (0, 1)
    )
    if nearest:
        return _back(xp.where(weight < 0.5, lower, upper), maps)
    mixed = lower + (upper - lower) * weight
    # Rounding must not lead out of the range.
    mixed = xp.minimum(xp.maximum(mixed, xp.minimum(lower, upper)), xp.maximum(lower, upper))
    if binary:
        most = source.reshape(len(maps), -1).max(1)
        most = (most.values if xp is torch else most)[:, None, None, None]
        mixed = xp.where(mixed > most / 2, most, xp.zeros_like(mixed))
    return _back(mixed, maps)


def _as_float(maps: Any) -> Any:
    """In float32 at least: halves and integers cannot be mixed without loss."""
    if isinstance(maps, torch.Tensor):
        return maps if maps.dtype == torch.float64 else maps.float()
    return maps if maps.dtype == np.float64 else maps.astype(np.float32)


def _back(mixed: Any, maps: Any) -> Any:
    """In the maps' own number type; integers are rounded."""
    if isinstance(maps, torch.Tensor):
        return mixed.to(maps.dtype) if maps.is_floating_point() else mixed.round().to(maps.dtype)
    return mixed.astype(maps.dtype) if maps.dtype.kind == "f" else np.rint(mixed).astype(maps.dtype)


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
    places = poses[..., :2]
    if boxes is None and (width, height) == (grid[1], grid[0]):
        mapped = places
    else:
        if boxes is None:
            boxes = _like(places, np.tile(np.array([0.0, 0.0, width, height], np.float32), (len(poses), 1)))
        mapped = geometry.apply(geometry.crop_matrices(boxes, *grid), places)
    xp = geometry.array_namespace(poses)
    pixel = xp.floor(mapped + 0.5)
    column = xp.clip(pixel[..., 0], 0, grid[1] - 1)
    row = xp.clip(pixel[..., 1], 0, grid[0] - 1)
    found = regions(occlusions, index, *grid)
    top, bottom, left, right = (_like(places, np.ascontiguousarray(edge))[:, None] for edge in found.T)
    hidden = (row >= top) & (row < bottom) & (column >= left) & (column < right)
    return xp.where(hidden[..., None], xp.zeros_like(poses), poses)


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
