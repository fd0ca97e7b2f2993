"""Frames of a sequence side by side: crop, heatmaps, skeleton, score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitext.errors import ConfigError, import_extra
from gaitext.extraction import crop_images
from gaitext.geometry import crop_matrices
from gaitext.inspect.contents import spread
from gaitext.inspect.footage import Footage
from gaitext.inspect.paint import Frame, draw_heat, draw_skeleton, draw_text, text_size
from gaitext.store import atomic_path

_DARK = 24
_GAP = 4
_LINE = 20


def contact_sheet(footage: Footage, *, frames: int = 12, columns: int = 6, height: int = 256) -> Frame:
    """Draw frames spread evenly over a sequence.

    With a video and boxes, a tile is the crop as the estimator saw it, with the heatmaps over it;
    otherwise heatmaps and skeleton on dark ground. Heatmaps are coloured by side (left, right,
    middle), merged ones by part, in full colour at ``footage.full``. Skeletons are as faint as
    their scores are low.

    Args:
        frames: how many, at most.
        columns: tiles in a row.
        height: of a tile, pixels.

    Returns:
        RGB uint8 [H, W, 3].
    """
    tiles = [
        _captioned(draw_tile(footage, position, frame, height=height), footage, position)
        for position, frame in footage.frames(spread(footage.length, frames))
    ]
    columns = min(columns, len(tiles))
    tall, wide = tiles[0].shape[:2]
    rows = -(-len(tiles) // columns)
    text, legend = _title(footage, len(tiles)), _legend(footage)
    lead = _LINE * (1 + bool(legend)) + 2 * _GAP
    width = max(columns * (wide + _GAP) + _GAP, text_size(text)[0] + 2 * _GAP, _legend_width(legend))
    sheet = np.full((lead + rows * (tall + _GAP), width, 3), _DARK, np.uint8)
    draw_text(sheet, text, _GAP, _GAP, back=0)
    x = _GAP
    for name, colour in legend:
        draw_text(sheet, name, x, _GAP + _LINE, colour=colour, back=0)
        x += text_size(name)[0] + 3 * _GAP
    for i, tile in enumerate(tiles):
        top, left = lead + i // columns * (tall + _GAP), _GAP + i % columns * (wide + _GAP)
        sheet[top : top + tall, left : left + wide] = tile
    return sheet


def write_contact_sheet(footage: Footage, path: str | Path, *, frames: int = 12) -> Path:
    """Write :func:`contact_sheet` as a picture, whose suffix chooses the format.

    Raises:
        ConfigError: a suffix Pillow does not know.
        MissingDependencyError: Pillow is not installed.
    """
    check_picture(path)
    return write_picture(contact_sheet(footage, frames=frames), path)


def check_picture(path: str | Path) -> None:
    """Refuse a path whose suffix is no picture's.

    Raises:
        ConfigError: a suffix Pillow does not know.
        MissingDependencyError: Pillow is not installed.
    """
    images = import_extra("PIL.Image", "video", "writing a contact sheet")
    path = Path(path)
    if path.suffix.lower() not in images.registered_extensions():
        raise ConfigError(f"'{path.suffix}' is no suffix of a picture", where=path, how="call it .png or .jpg")


def write_picture(picture: Frame, path: str | Path) -> Path:
    """Write RGB uint8 [H, W, 3] to a file that appears whole or not at all; its suffix chooses the format."""
    images = import_extra("PIL.Image", "video", "writing a contact sheet")
    path = Path(path)
    with atomic_path(path) as temporary:
        images.fromarray(picture).save(temporary, quality=90)  # of JPEG; others have none
    return path


def draw_tile(footage: Footage, position: int, frame: Frame | None, *, height: int = 256) -> Frame:
    """One frame of a sequence: the crop, or dark ground, with heatmaps and skeleton.

    Args:
        position: in the sequence, from 0.
        frame: of the video, if it is there.
        height: of the tile; its width follows the heatmaps.

    Returns:
        RGB uint8 [height, W, 3], H and W even if ``height`` is.
    """
    if footage.heatmaps is None:
        return _without_heatmaps(footage, position, frame, height)
    maps = np.asarray(footage.heatmaps[position])
    tile = np.full((height, even(height * maps.shape[2] / maps.shape[1]), 3), _DARK // 2, np.uint8)
    if frame is not None and footage.boxes is not None:
        tile = cut_tile(frame, footage.boxes[position], *tile.shape[:2])
    draw_heat(tile, maps, (0, 0, tile.shape[1], height), footage.groups, full=footage.full)
    found = footage.skeleton_in_map(position, height / maps.shape[1])
    if found is not None:
        draw_skeleton(tile, *found, width=height / 170)
    return tile


def draw_silhouette(footage: Footage, position: int, height: int) -> Frame:
    """A frame's silhouette in grey, uint8 [height, W, 3]."""
    assert footage.masks is not None
    mask = np.asarray(footage.masks[position], np.float32)
    grey = (mask / max(float(mask.max()), 1e-6)).clip(0, 1) * 255
    picture = np.repeat(grey.astype(np.uint8)[..., None], 3, -1)
    return cut_tile(picture, (0, 0, mask.shape[1], mask.shape[0]), height, even(height * mask.shape[1] / len(mask)))


def cut_picture(footage: Footage, position: int, height: int, width: int) -> Frame:
    """The picture that a leaf itself holds of a frame, whole, on black, uint8 [height, width, 3]."""
    assert footage.pictures is not None
    picture = np.asarray(footage.pictures[position])
    picture = picture.transpose(1, 2, 0) if picture.shape[0] == 3 else picture
    tall, wide = picture.shape[:2]
    whole = max(tall, wide * height / width)
    box = ((wide - whole * width / height) / 2, (tall - whole) / 2, whole * width / height, whole)
    return cut_tile(np.ascontiguousarray(picture), box, height, width)


def _without_heatmaps(footage: Footage, position: int, frame: Frame | None, height: int) -> Frame:
    """A tile of silhouettes, of poses, or of the leaf's own pictures."""
    poses = footage.poses_frame if footage.poses_frame is not None else footage.poses
    if poses is None and footage.masks is None:
        return cut_picture(footage, position, height, even(height * 0.75))
    if poses is None:
        return draw_silhouette(footage, position, height)
    pose = np.asarray(poses[position], np.float64)
    scores = pose[:, 2] if pose.shape[1] > 2 else np.ones(len(pose))
    tile = np.full((height, even(height * 0.75), 3), _DARK // 2, np.uint8)
    if footage.boxes is not None and footage.poses_frame is not None:
        box = np.asarray(footage.boxes[position], np.float64)
    else:
        box = box_around(pose[scores > 0, :2])
    if frame is not None:
        tile = cut_tile(frame, box, *tile.shape[:2])
    matrix = crop_matrices(box[None], *tile.shape[:2])[0]
    draw_skeleton(tile, pose[:, :2] @ matrix[:, :2].T + matrix[:, 2], scores, width=height / 170)
    return tile


def box_around(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """A 3:4 box around points, with room."""
    points = points[np.isfinite(points).all(-1)]
    if len(points) == 0:
        return np.array([0.0, 0.0, 3.0, 4.0])
    low, high = points.min(0), points.max(0)
    tall = 1.3 * max(float(high[1] - low[1]), float(high[0] - low[0]) / 0.75, 1e-3)
    centre = (low + high) / 2
    return np.array([centre[0] - 0.375 * tall, centre[1] - tall / 2, 0.75 * tall, tall])


def cut_tile(frame: Frame, box: npt.ArrayLike, height: int, width: int) -> Frame:
    """A box (x, y, w, h) of a frame, black where it leaves it, resized to uint8 [height, width, 3]."""
    cut = crop_images(frame, np.asarray(box, np.float64)[None], (height, width))[0]
    return (cut.permute(1, 2, 0) * 255).round().byte().numpy()


def even(value: float) -> int:
    """The nearest even number of pixels, 2 at least."""
    return max(2, 2 * round(value / 2))


def _captioned(tile: Frame, footage: Footage, position: int) -> Frame:
    draw_text(tile, footage.caption(position), 0, 0, size=13)
    return tile


def _title(footage: Footage, shown: int) -> str:
    text = f"{footage.name}   {shown} of {footage.length} frames: number, mean score"
    if footage.origin is not None:
        text += f"   {Path(footage.origin.entry['video']).name}"
    return text if footage.video is not None else f"{text}   (no video)"


def _legend(footage: Footage) -> list[tuple[str, Any]]:
    if not footage.groups:
        return []
    shown = footage.groups[:16]
    return [(group.name, group.colour) for group in shown] + [
        (f"in full colour at {footage.full:.2g}", (200, 200, 200))
    ]


def _legend_width(legend: list[tuple[str, Any]]) -> int:
    return sum(text_size(name)[0] + 3 * _GAP for name, _ in legend) + 2 * _GAP
