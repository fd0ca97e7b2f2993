"""A sequence's heatmaps laid over the frames they come from, as a video."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gaitext.inspect.contact_sheet import draw_tile
from gaitext.inspect.footage import Footage
from gaitext.inspect.paint import Frame, draw_box, draw_heat, draw_skeleton, draw_text
from gaitext.video import probe, sizes, write_video

_IDENTITY = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def draw_overlay(footage: Footage, position: int, frame: Frame, *, text: bool = True) -> Frame:
    """One frame of the video with what was found in it.

    The heatmaps go back to where :func:`gaitext.geometry.crop_matrices` took them from; the crop is
    outlined; the skeleton is as faint as its scores are low.

    Args:
        position: in the sequence, from 0.
        frame: RGB uint8 [H, W, 3] of the video; left as it is.
        text: write the frame's number and mean score.

    Returns:
        RGB uint8 [H, W, 3].
    """
    image = frame.copy()
    crop = None if footage.boxes is None else np.asarray(footage.boxes[position], np.float64)
    if crop is not None and footage.heatmaps is not None:
        draw_heat(image, np.asarray(footage.heatmaps[position]), crop, footage.groups, full=footage.full)
    found = footage.skeleton(position, _IDENTITY)
    if found is not None:
        draw_skeleton(image, *found, width=_line(crop, image))
    if crop is not None:
        draw_box(image, crop)
    if text:
        draw_text(image, f"frame {footage.caption(position)}", 0, 0, size=max(12, min(image.shape[:2]) // 24))
    return image


def write_overlay(footage: Footage, path: str | Path, *, progress: Callable[[int, int], None] | None = None) -> int:
    """Write every kept frame of the source video with the heatmaps on it (H.264).

    One frame of the video is in memory at a time. Without the video, the heatmaps alone are shown.
    Odd sizes gain a black row or column, and frames of different sizes are put on black.

    Args:
        path: of the video; its suffix chooses the container.
        progress: called with (frames done, frames to do).

    Returns:
        The number of frames written.

    Raises:
        DataError: the video ends before the sequence does.
        VideoError: it cannot be read, or the new one not be written.
        MissingDependencyError: PyAV or Pillow is not installed.
    """
    size, fps, aspect = (0, 0), 25.0, Fraction(1)
    if footage.video is not None:
        info = probe(footage.video)
        fps, aspect = info.fps or fps, info.pixel_aspect
        each = np.array(list(sizes(footage.video)))
        size = (int(each[:, 1].max()), int(each[:, 0].max()))
    return write_video(path, _drawn(footage, size, progress), fps=fps, pixel_aspect=aspect)


def _drawn(footage: Footage, size: tuple[int, int], progress: Callable[[int, int], None] | None) -> Iterator[Frame]:
    for done, (position, frame) in enumerate(footage.frames(range(footage.length)), 1):
        if frame is None:
            tile = draw_tile(footage, position, None, height=384)
            draw_text(tile, footage.caption(position), 0, 0)
            yield _padded(tile, tile.shape[0], tile.shape[1])
        else:
            yield _padded(draw_overlay(footage, position, frame), *size)
        if progress is not None:
            progress(done, footage.length)


def _padded(image: Frame, height: int, width: int) -> Frame:
    """The image at the top left of the next even size."""
    height, width = height + height % 2, width + width % 2
    if image.shape[:2] == (height, width):
        return image
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[: image.shape[0], : image.shape[1]] = image
    return canvas


def _line(crop: npt.NDArray[np.float64] | None, image: Frame) -> float:
    """A line's width that suits the person's size."""
    return max(1.0, (image.shape[0] / 2 if crop is None else float(crop[3])) / 170)
