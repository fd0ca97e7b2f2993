"""A dataset on one picture: a row of frames a person, whatever the leaves hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gaitext.errors import DataError, GaitextError, describe_failures
from gaitext.inspect.contact_sheet import check_picture, draw_silhouette, draw_tile, write_picture
from gaitext.inspect.contents import spread
from gaitext.inspect.footage import Footage, load_footage
from gaitext.inspect.paint import Frame, draw_text, text_size
from gaitext.store import Leaf, leaves_of_people
from gaitext.video.frames import middles

_DARK, _GAP, _LINE = 24, 4, 22
_SMALL = 12


@dataclass
class PeopleSheet:
    """What :func:`people_sheet` drew.

    Attributes:
        picture: RGB uint8 [H, W, 3].
        people: how many are on it; ``more``: how many are not.
        tiles: frames drawn; ``bare``: those of them for which no video was found.
        failed: sequence -> why it could not be drawn.
    """

    picture: Frame
    people: int = 0
    more: int = 0
    tiles: int = 0
    bare: int = 0
    failed: dict[str, BaseException] = field(default_factory=dict)

    def __str__(self) -> str:
        """A few lines for people."""
        lines = [f"{self.people} people, {self.tiles} frames"]
        if self.bare:
            lines[0] += f" ({self.bare} without their video: what the leaves hold alone is drawn)"
        if self.more:
            lines[0] += f"; {self.more} people more are not drawn (--people)"
        return "\n".join(lines + describe_failures(self.failed, "sequences", title="NOT DRAWN: "))


def people_sheet(
    data: str | Path,
    *,
    frames: int = 12,
    people: int = 40,
    height: int = 160,
    check: bool = True,
    progress: Callable[[int], None] | None = None,
) -> PeopleSheet:
    """Draw some frames of each person, spread over the person's sequences.

    A tile is the crop with heatmaps and skeleton where the video is there, heatmaps or skeleton on dark ground where it
    is not; where a leaf has silhouettes as well, the frame's stands beside it. Above it is the sequence, below the
    frame's number in the video and its mean score.

    Args:
        data: what extraction wrote to, or a root of ``<id>/<type>/<view>``.
        frames: tiles of a person.
        people: rows at most, in the order of their names.
        height: of a tile, pixels.
        check: draw no video whose digest is not the record's.
        progress: told how many people are drawn.

    Raises:
        DataError: no sequences there.
    """
    root, found = leaves_of_people(data)
    if not found:
        raise DataError("holds no sequences", where=root, how="give OUT, or the root of <id>/<type>/<view>/*.pkl")
    sheet, rows = PeopleSheet(np.empty((0, 0, 3), np.uint8)), []
    chosen = list(found)[:people]
    for number, person in enumerate(chosen, 1):
        tiles: list[Frame] = []
        for leaf, count in shares(found[person], frames):
            tiles += _tiles(leaf, count, height, check, sheet)
        rows.append(_row(f"{person}   {len(found[person])} sequences", tiles, height))
        if progress is not None:
            progress(number)
    sheet.people, sheet.more = len(chosen), len(found) - len(chosen)
    title = f"{root}   {len(chosen)} of {len(found)} people; above: sequence, below: frame in the video, mean score"
    width = max(text_size(title)[0] + 2 * _GAP, *(row.shape[1] for row in rows))
    head = np.full((_LINE + _GAP, width, 3), _DARK, np.uint8)
    draw_text(head, title, _GAP, _GAP, back=0)
    sheet.picture = np.concatenate([head, *(_widened(row, width) for row in rows)])
    return sheet


def write_people_sheet(
    data: str | Path,
    path: str | Path,
    *,
    frames: int = 12,
    people: int = 40,
    check: bool = True,
    progress: Callable[[int], None] | None = None,
) -> PeopleSheet:
    """Write :func:`people_sheet` as a picture, whose suffix chooses the format.

    Raises:
        ConfigError: a suffix Pillow does not know.
        DataError: see :func:`people_sheet`.
        MissingDependencyError: Pillow is not installed.
    """
    check_picture(path)
    sheet = people_sheet(data, frames=frames, people=people, check=check, progress=progress)
    write_picture(sheet.picture, path)
    return sheet


def shares(found: Sequence[Leaf], frames: int) -> list[tuple[Leaf, int]]:
    """The leaves that are drawn, and how many frames of each."""
    chosen = [found[i] for i in spread(len(found), frames)]
    whole, rest = divmod(frames, len(chosen))
    return [(leaf, whole + (place < rest)) for place, leaf in enumerate(chosen)]


def _tiles(leaf: Leaf, count: int, height: int, check: bool, sheet: PeopleSheet) -> list[Frame]:
    """Frames from the middles of ``count`` parts of a sequence; one dark tile where it cannot be drawn."""
    try:
        footage = _footage(leaf, check)
        positions = middles(footage.length, count)
        drawn = [_tile(leaf, footage, position, frame, height) for position, frame in footage.frames(positions)]
    except GaitextError as error:
        sheet.failed[leaf.name] = error
        tile = np.full((height, height * 3 // 4, 3), _DARK // 2, np.uint8)
        draw_text(tile, f"{leaf.type}/{leaf.view}", 0, 0, size=_SMALL)
        draw_text(tile, "cannot be drawn", 0, height // 2, size=_SMALL)
        return [tile]
    sheet.tiles += len(drawn)
    sheet.bare += len(drawn) if footage.video is None else 0
    return drawn


def _footage(leaf: Leaf, check: bool) -> Footage:
    """What there is to draw; without its video where that is another one now."""
    try:
        return load_footage(leaf.path, check=check)
    except GaitextError:
        footage = load_footage(leaf.path, check=False)
        footage.video = None
        return footage


def _tile(leaf: Leaf, footage: Footage, position: int, frame: Frame | None, height: int) -> Frame:
    tile = draw_tile(footage, position, frame, height=height)
    poses = footage.heatmaps is not None or footage.poses is not None or footage.poses_frame is not None
    if footage.masks is not None and poses:
        tile = np.concatenate([tile, draw_silhouette(footage, position, height)], 1)
    draw_text(tile, f"{leaf.type}/{leaf.view}", 0, 0, size=_SMALL)
    draw_text(tile, footage.caption(position), 0, height, size=_SMALL)
    return tile


def _row(text: str, tiles: Sequence[Frame], height: int) -> Frame:
    """A person's tiles side by side, under a line of text."""
    width = max(sum(tile.shape[1] + _GAP for tile in tiles) + _GAP, text_size(text)[0] + 2 * _GAP)
    row = np.full((_LINE + height + 2 * _GAP, width, 3), _DARK, np.uint8)
    draw_text(row, text, _GAP, _GAP, back=0)
    left = _GAP
    for tile in tiles:
        row[_LINE : _LINE + height, left : left + tile.shape[1]] = tile
        left += tile.shape[1] + _GAP
    return row


def _widened(row: Frame, width: int) -> Frame:
    return np.concatenate([row, np.full((len(row), width - row.shape[1], 3), _DARK, np.uint8)], 1)
