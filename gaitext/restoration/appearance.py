"""What a corrector has done to pictures: how far they are from its input, in numbers and side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log10
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gaitext.inspect.contact_sheet import write_picture
from gaitext.inspect.paint import draw_text, text_size
from gaitext.video import read_frames
from gaitext.video.frames import middles

Frames = npt.NDArray[np.uint8]

#: Rows of a preview, and the most that it shows of a frame (height, width).
_ROWS, _WINDOW = 4, (360, 480)
#: Narrower frames are enlarged to about this width, so that what is written on them can be read.
_LEAST_WIDTH = 240
_DARK, _GAP, _LINE = 24, 4, 22
#: Differences are amplified until the largest hundredth is near white, but noise is not made to look like much.
_MOST_AMPLIFIED = 16


@dataclass
class PictureChange:
    """How far pictures are from others of the same size, as sums, which many videos' add up to exactly.

    Attributes:
        values: how many were compared: frames × height × width × 3.
        absolute, squared: sums of their absolute and squared differences, in grey levels of 0 to 255.
    """

    values: int = 0
    absolute: int = 0
    squared: int = 0

    def compare(self, before: Frames, after: Frames) -> None:
        """Count pictures uint8 [..., H, W, 3] in."""
        apart = _apart(before, after)
        self.values += apart.size
        self.absolute += int(apart.sum(dtype=np.int64))
        self.squared += int(np.square(apart, dtype=np.int32).sum(dtype=np.int64))

    def add(self, other: PictureChange) -> None:
        """Take in what others have counted."""
        self.values += other.values
        self.absolute += other.absolute
        self.squared += other.squared

    @property
    def mean(self) -> float:
        """Mean absolute difference, grey levels; 0 of nothing."""
        return self.absolute / max(self.values, 1)

    @property
    def psnr(self) -> float:
        """Peak signal-to-noise ratio in dB, by the mean square over all values; infinite where none differ."""
        return 10 * log10(255**2 * self.values / self.squared) if self.squared else inf

    def __str__(self) -> str:
        if not self.squared:
            return "unchanged"
        return f"PSNR {self.psnr:.2f} dB, mean absolute difference {self.mean:.2f} grey levels"


@dataclass(frozen=True)
class Finished:
    """A video and what became of it.

    Attributes:
        name: as people know it.
        before, after: videos, or folders of frames, of as many frames.
        frames: how many.
    """

    name: str
    before: Path
    after: Path
    frames: int


def write_preview(videos: Sequence[Finished], path: Path) -> Path:
    """Draw a few frames before, after, and what has changed, amplified; evenly spread over all frames of all videos.

    Of frames larger than 480×360 the part of this size is shown whose change varies most, in the video's own pixels.

    Args:
        videos: with a frame among them.
        path: a picture; it appears whole or not at all.

    Raises:
        VideoError: one cannot be read.
        MissingDependencyError: Pillow or PyAV is not installed.
    """
    ends = np.cumsum([video.frames for video in videos])
    total = int(ends[-1])
    wanted: dict[int, list[int]] = {}
    for place in middles(total, min(_ROWS, total)):
        number = int(np.searchsorted(ends, place, "right"))
        wanted.setdefault(number, []).append(place - int(ends[number]) + videos[number].frames)
    shown: list[tuple[str, Frames, Frames]] = []
    for video, places in ((videos[number], places) for number, places in wanted.items()):
        before, after = (read_frames(source, frozenset(places)) for source in (video.before, video.after))
        for (index, one), (_, other) in zip(before, after, strict=True):
            height, width = one.shape[:2]
            # Video of odd sides has a row or column more.
            shown.append((f"{video.name}, frame {index + 1}", one, other[:height, :width]))
    tops = [np.percentile(_apart(before, after), 99) for _, before, after in shown]
    gain = int(np.clip(255 // max(1, *tops), 1, _MOST_AMPLIFIED))
    rows = [_row(*row, gain) for row in shown]
    width = max(row.shape[1] for row in rows)
    return write_picture(np.concatenate([_padded(row, len(row), width) for row in rows]), path)


def _row(name: str, before: Frames, after: Frames, gain: int) -> Frames:
    """A frame before, after, and the difference, under a line of text."""
    change = PictureChange()
    change.compare(before, after)
    height, width = (min(most, side) for most, side in zip(_WINDOW, before.shape))
    top, left = _most_changed(before, after, height, width)
    before, after = (image[top : top + height, left : left + width] for image in (before, after))
    difference = (_apart(before, after) * gain).clip(0, 255).astype(np.uint8)
    scale = max(1, _LEAST_WIDTH // width)
    tiles = []
    for title, image in (("input", before), ("as written", after), (f"difference x{gain}", difference)):
        tile = np.ascontiguousarray(image.repeat(scale, 0).repeat(scale, 1))
        draw_text(tile, title, 0, 0)
        tiles.append(_padded(tile, len(tile) + _GAP, tile.shape[1] + _GAP))
    row = np.concatenate(tiles, 1)
    text = f"{name}: {change}"
    head = np.full((_LINE, max(row.shape[1], text_size(text)[0] + 2 * _GAP), 3), _DARK, np.uint8)
    draw_text(head, text, _GAP, _GAP, back=0)
    return np.concatenate([head, _padded(row, len(row), head.shape[1])])


def _apart(before: Frames, after: Frames) -> npt.NDArray[np.int16]:
    return np.abs(after.astype(np.int16) - before)


def _most_changed(before: Frames, after: Frames, height: int, width: int) -> tuple[int, int]:
    """Top and left of the window in which the change varies most.

    Not the one where it is largest: all of a wall may be a level darker, while what people look at is edges.
    """
    change = after.astype(np.float64) - before
    mean, square = (_window_means(values, height, width) for values in (change, change**2))
    varies = (square - mean**2).sum(-1)
    top, left = np.unravel_index(int(varies.argmax()), varies.shape)
    return int(top), int(left)


def _window_means(values: npt.NDArray[np.float64], height: int, width: int) -> npt.NDArray[np.float64]:
    """Of values [H, W, C], the mean over every window of a size."""
    sums = np.pad(values.cumsum(0).cumsum(1), ((1, 0), (1, 0), (0, 0)))
    inside = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    return inside / (height * width)


def _padded(image: Frames, height: int, width: int) -> Frames:
    room = ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0))
    return np.pad(image, room, constant_values=_DARK)
