"""Tiles in rows and columns, with headings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gaitext.inspect.contact_sheet import even
from gaitext.inspect.paint import Frame, draw_text, text_size

#: Height of the letters, pixels.
TEXT = 16
_DARK, _GAP = 24, 6


def sheet(headings: Sequence[str], rows: Sequence[tuple[list[str], list[Frame]]], *, room: int = 0) -> Frame:
    """Tiles in rows and columns, with a heading above each column and a few lines before each row.

    Args:
        headings: of the columns.
        rows: lines of text, and as many tiles as there are headings.
        room: least width of the lines, so that pictures of a video are equally wide.

    Returns:
        RGB uint8 [H, W, 3], H and W even.
    """
    heights = [max(tile.shape[0] for tile in row[1]) for row in rows]
    tops = np.cumsum([0, *(height + _GAP for height in heights)])
    widths = [max(row[1][i].shape[1] for row in rows) for i in range(len(headings))]
    widths = [max(width, text_size(heading, TEXT)[0]) for width, heading in zip(widths, headings)]
    lines = [text_size(line, TEXT)[0] for row in rows for line in row[0]]
    lead, head = max(room, *lines) + 2 * _GAP, text_size("Ág", TEXT)[1] + _GAP
    size = (head + int(tops[-1]), lead + sum(widths) + len(widths) * _GAP)
    canvas = np.full((even(size[0] + 1), even(size[1] + 1), 3), _DARK, np.uint8)
    lefts = lead + np.cumsum([0, *(width + _GAP for width in widths[:-1])])
    for heading, left, width in zip(headings, lefts, widths):
        draw_text(canvas, heading, left + (width - text_size(heading, TEXT)[0]) / 2, _GAP / 2, size=TEXT, back=0)
    for top, (text, tiles) in zip(head + tops, rows):
        for place, line in enumerate(text):
            draw_text(canvas, line, _GAP, top + place * (TEXT + 6), size=TEXT, back=0)
        for tile, left, width in zip(tiles, lefts, widths):
            inset = left + (width - tile.shape[1]) // 2
            canvas[top : top + tile.shape[0], inset : inset + tile.shape[1]] = tile
    return canvas
