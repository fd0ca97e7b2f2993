"""Contact strips: frames of a walk side by side, as a picture inside the page."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from gaitext.errors import import_extra
from gaitext.inspect.contact_sheet import draw_tile
from gaitext.inspect.contents import spread
from gaitext.inspect.footage import load_footage
from gaitext.report.document import Picture

#: Frames of a strip, and their height in pixels.
_FRAMES, _HEIGHT = 8, 112
_GAP = 2


def strip(path: str | Path, text: str) -> Picture:
    """Frames spread evenly over a sequence, as ``gaitext inspect`` draws them.

    Args:
        path: a sequence's folder, or one of its files.
        text: what it shows, in words.

    Raises:
        DataError: nothing there that can be drawn.
        VideoError: its video cannot be read.
        MissingDependencyError: Pillow is not installed.
    """
    images = import_extra("PIL.Image", "video", "a picture in a report")
    footage = load_footage(path)
    tiles = [
        draw_tile(footage, position, frame, height=_HEIGHT)
        for position, frame in footage.frames(spread(footage.length, _FRAMES))
    ]
    gap = np.full((tiles[0].shape[0], _GAP, 3), 255, np.uint8)
    parts = [part for tile in tiles for part in (tile, gap)][:-1]
    stream = io.BytesIO()
    images.fromarray(np.concatenate(parts, 1)).quantize(96).save(stream, format="PNG", optimize=True)
    return Picture(stream.getvalue(), text)
