"""Drawing on RGB frames, to fractions of a pixel: heatmaps, skeletons, boxes, text.

Coordinates are those of :mod:`gaitext.geometry`: integers are pixel centres, a box's corner is an
edge. Text needs Pillow (extra ``video``).
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitext.errors import import_extra
from gaitext.extraction import crop_images
from gaitext.skeleton import COCO_JOINTS, LIMBS, MIRROR_PAIRS

Frame = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

# Told apart by the colour-blind, too, and not found on skin or streets.
_LEFT: Colour = (255, 140, 0)
_RIGHT: Colour = (0, 170, 255)
_MIDDLE: Colour = (240, 110, 200)


@dataclass(frozen=True)
class Group:
    """Channels of a heatmap that are drawn in one colour."""

    name: str
    channels: tuple[int, ...]
    colour: Colour


def groups_of(names: list[str]) -> list[Group]:
    """COCO's joints by side; other channels each for itself.

    >>> [group.name for group in groups_of(list(COCO_JOINTS))]
    ['left', 'right', 'middle']
    """
    if names == list(COCO_JOINTS):
        left, right = zip(*MIRROR_PAIRS)
        middle = tuple(sorted(set(range(len(names))) - {*left, *right}))
        return [Group("left", left, _LEFT), Group("right", right, _RIGHT), Group("middle", middle, _MIDDLE)]
    first = [_LEFT, _RIGHT, _MIDDLE]
    return [Group(name, (i,), first[i] if len(names) <= 3 else _wheel(i, len(names))) for i, name in enumerate(names)]


def draw_heat(
    image: Frame,
    heatmaps: npt.NDArray[Any],
    crop: npt.ArrayLike,
    groups: list[Group],
    *,
    full: float = 1.0,
    strength: float = 0.8,
) -> None:
    """Lay one frame's heatmaps over an image, in place.

    Each group is the maximum over its channels. They are resized as frames are
    (:func:`gaitext.extraction.crop_images`), so that heatmap pixels come to lie exactly where
    :func:`gaitext.geometry.crop_matrices` says.

    Args:
        image: [H, W, 3]; changed.
        heatmaps: [C, h, w].
        crop: x, y, w, h in image pixels of what the heatmaps show; may leave the image.
        groups: of :func:`groups_of`.
        full: value that is drawn in full colour; what is higher looks the same.
        strength: opacity of full colour.
    """
    x, y, width, height = np.asarray(crop, np.float64)
    left, top = max(0, int(np.floor(x))), max(0, int(np.floor(y)))
    right = min(image.shape[1], int(np.ceil(x + width)))
    bottom = min(image.shape[0], int(np.ceil(y + height)))
    if right <= left or bottom <= top:
        return
    maps = np.nan_to_num(np.stack([heatmaps[list(group.channels)].max(0) for group in groups]).astype(np.float32))
    levels = (maps / max(full, 1e-12)).clip(0, 1) * 255
    levels = np.concatenate((levels, np.zeros((-len(maps) % 3, *maps.shape[1:])))).round().astype(np.uint8)
    sx, sy = maps.shape[2] / width, maps.shape[1] / height
    # The other way round than in extraction: the image's window as a crop of the heatmaps.
    window = np.array([[(left - x) * sx, (top - y) * sy, (right - left) * sx, (bottom - top) * sy]])
    shares = np.concatenate(
        [
            crop_images(np.ascontiguousarray(three.transpose(1, 2, 0)), window, (bottom - top, right - left))[0].numpy()
            for three in levels.reshape(-1, 3, *maps.shape[1:])
        ]
    )[: len(groups)]
    total, opacity = shares.sum(0), shares.max(0)
    colours = np.array([group.colour for group in groups], np.float32)
    mixed = np.tensordot(shares, colours, (0, 0)) / np.maximum(total, 1e-6)[..., None]
    _blend(image[top:bottom, left:right], mixed, strength * opacity)


def draw_skeleton(
    image: Frame, points: npt.NDArray[np.floating], scores: npt.NDArray[np.floating], *, width: float = 1.5
) -> None:
    """Draw limbs and joints, in place; a joint of score 0 is missing, a low score is faint.

    Args:
        image: [H, W, 3]; changed.
        points: [17, 2], x and y in image pixels.
        scores: [17].
        width: of the lines, pixels.
    """
    sides = _sides()
    seen = np.where(np.isfinite(points).all(-1), np.nan_to_num(scores), 0).clip(0, 1)
    for a, b in LIMBS:
        if seen[a] > 0 and seen[b] > 0:
            colour = sides[a] if sides[a] == sides[b] else _MIDDLE
            draw_line(image, points[a], points[b], width, colour, 0.25 + 0.65 * min(seen[a], seen[b]))
    for point, score, colour in zip(points, seen, sides):
        if score > 0:
            draw_line(image, point, point, 2.4 * width, (255, 255, 255), 0.25 + 0.75 * score)
            draw_line(image, point, point, 1.4 * width, colour, 1.0)


def draw_line(
    image: Frame, a: npt.NDArray[Any], b: npt.NDArray[Any], width: float, colour: Colour, opacity: float = 1.0
) -> None:
    """Draw a line with round ends, in place; its opacity falls off over a pixel at its edge.

    Args:
        image: [H, W, 3]; changed.
        a, b: [2], its ends, x and y in image pixels.
        width: pixels.
        colour: RGB.
        opacity: of the line, 0 to 1.
    """
    reach = width / 2 + 1
    # A wild keypoint may lie anywhere; only what is near the image is looked at.
    low = np.floor(np.minimum(a, b) - reach).clip(0, (image.shape[1], image.shape[0])).astype(int)
    high = np.ceil(np.maximum(a, b) + reach + 1).clip(0, (image.shape[1], image.shape[0])).astype(int)
    if (high <= low).any():
        return
    x, y = np.arange(low[0], high[0]) - a[0], np.arange(low[1], high[1])[:, None] - a[1]
    dx, dy = float(b[0] - a[0]), float(b[1] - a[1])
    along = np.clip((x * dx + y * dy) / max(dx * dx + dy * dy, 1e-12), 0, 1)
    distance = np.hypot(x - along * dx, y - along * dy)
    cover = np.clip(width / 2 + 0.5 - distance, 0, 1) * opacity
    _blend(image[low[1] : high[1], low[0] : high[0]], np.array(colour, np.float32), cover)


def draw_box(image: Frame, box: npt.ArrayLike, colour: Colour = (255, 255, 255), *, width: float = 1.0) -> None:
    """Draw the outline of a box (x, y, w, h in edge coordinates), in place."""
    x, y, w, h = (float(value) for value in np.asarray(box, np.float64))
    corners = np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]]) - 0.5
    for a, b in zip(corners, np.roll(corners, -1, 0)):
        draw_line(image, a, b, width, colour, 0.7)


def draw_text(
    image: Frame, text: str, x: float, y: float, *, size: int = 14, colour: Colour = (255, 255, 255), back: float = 0.6
) -> None:
    """Write a line with its top-left corner at (x, y), on darkened ground, moved to lie inside.

    Raises:
        MissingDependencyError: Pillow is not installed.
    """
    mask = _text_mask(text, size)[: image.shape[0], : image.shape[1]]
    top = int(np.clip(y, 0, image.shape[0] - mask.shape[0]))
    left = int(np.clip(x, 0, image.shape[1] - mask.shape[1]))
    window = image[top : top + mask.shape[0], left : left + mask.shape[1]]
    if back:
        _blend(window, np.zeros(3, np.float32), np.full(mask.shape, back, np.float32))
    _blend(window, np.array(colour, np.float32), mask)


def text_size(text: str, size: int = 14) -> tuple[int, int]:
    """Width and height that :func:`draw_text` needs."""
    height, width = _text_mask(text, size).shape
    return width, height


def _blend(window: Frame, colour: npt.NDArray[Any], opacity: npt.NDArray[Any]) -> None:
    share = opacity[..., None].astype(np.float32)
    window[...] = (window * (1 - share) + colour * share).round().clip(0, 255).astype(np.uint8)


@lru_cache(maxsize=1)
def _sides() -> list[Colour]:
    sides = [_MIDDLE] * len(COCO_JOINTS)
    for left, right in MIRROR_PAIRS:
        sides[left], sides[right] = _LEFT, _RIGHT
    return sides


def _wheel(i: int, count: int) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(i / count, 0.75, 1.0)
    return int(255 * red), int(255 * green), int(255 * blue)


@lru_cache(maxsize=256)
def _text_mask(text: str, size: int) -> npt.NDArray[np.float32]:
    """How much of each pixel a line of text covers."""
    images = import_extra("PIL.Image", "video", "writing text into pictures")
    draws = import_extra("PIL.ImageDraw", "video", "writing text into pictures")
    font = _font(size)
    if not isinstance(font, import_extra("PIL.ImageFont", "video", "writing text into pictures").FreeTypeFont):
        text = text.encode("latin-1", "replace").decode("latin-1")  # all that the old font has
    left, top, right, bottom = font.getbbox(text)
    base = font.getbbox("Ág|")  # so that lines of different letters are of one height
    top, bottom = min(top, base[1]), max(bottom, base[3])
    canvas = images.new("L", (int(np.ceil(right - left)) + 4, int(np.ceil(bottom - top)) + 4))
    draws.Draw(canvas).text((2 - left, 2 - top), text, fill=255, font=font)
    return np.asarray(canvas, np.float32) / np.float32(255)


@lru_cache(maxsize=8)
def _font(size: int) -> Any:
    fonts = import_extra("PIL.ImageFont", "video", "writing text into pictures")
    try:
        return fonts.load_default(size)
    except (TypeError, OSError):  # Pillow before 10.1, or built without FreeType: one size
        return fonts.load_default()
