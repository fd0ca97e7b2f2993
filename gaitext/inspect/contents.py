"""What a sequence's file holds, and where an extracted sequence comes from: its record, and the video named there."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union

import numpy as np
import numpy.typing as npt

from gaitext.errors import ConfigError, DataError
from gaitext.making import Records, frame_numbers, video_digest
from gaitext.skeleton import COCO_JOINTS, MIRROR_PAIRS, resolve_partition
from gaitext.store import CompactSequence, open_sequence
from gaitext.video import VIDEO_SUFFIXES, digest

log = logging.getLogger(__name__)

Array = npt.NDArray[Any]
#: What :func:`gaitext.store.open_sequence` returns.
Sequence = Union[Array, CompactSequence]

#: Values in memory at a time: a sequence may be longer than memory.
_BLOCK = 4_000_000


@dataclass
class FileContents:
    """What one file holds.

    Attributes:
        path: of the file.
        kind: ``heatmaps``, ``poses``, ``boxes``, ``silhouettes``, ``pictures`` or ``other``,
            guessed from the shape and the name.
        form: how it is stored: ``float16 pickle``, ``compact, 8 bits`` or ``compact, lossless``.
        dtype, shape: of the whole sequence, time first.
        bytes: of the file.
        low, high: of the finite values; NaN where there are none.
        zeros: share of values that are 0.
        nans, infinite: how many values are.
        empty: frames without any peak (heatmaps), joint (poses), area (boxes) or person (silhouettes).
        channels: names of heatmaps' channels or poses' joints.
        means: for each channel, the mean height of the peak, or the mean score.
        scores: for each frame, the mean over channels of what ``means`` averages; empty for other kinds.
    """

    path: Path
    kind: str
    form: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int
    low: float = float("nan")
    high: float = float("nan")
    zeros: float = 0.0
    nans: int = 0
    infinite: int = 0
    empty: int = 0
    channels: list[str] = field(default_factory=list)
    means: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    @property
    def bytes_per_frame(self) -> float:
        return self.bytes / self.shape[0]

    def to_json(self) -> dict[str, Any]:
        """Numbers and text only; what is unknown is None."""
        return {
            "file": str(self.path),
            "kind": self.kind,
            "form": self.form,
            "dtype": self.dtype,
            "shape": list(self.shape),
            "bytes": self.bytes,
            "bytes_per_frame": round(self.bytes_per_frame, 1),
            "low": _finite(self.low),
            "high": _finite(self.high),
            "zeros": self.zeros,
            "nans": self.nans,
            "infinite": self.infinite,
            "empty_frames": self.empty,
            "means": {name: _finite(mean) for name, mean in zip(self.channels, self.means)},
            "scores": [_finite(score) for score in self.scores],
        }

    def __str__(self) -> str:
        return self.describe()

    def describe(self, *, channels: bool = True) -> str:
        """A few lines for people, with or without a table of channels."""
        lines = [
            f"{self.path.name}: {self.kind}, {self.form}",
            f"  {self.dtype} {list(self.shape)}, {amount(self.bytes)}, {amount(self.bytes_per_frame)} a frame",
            f"  values {self.low:.4g} to {self.high:.4g}, {self.zeros:.1%} zeros"
            + (f", {self.nans} NaN" if self.nans else ", no NaN")
            + (f", {self.infinite} infinite" if self.infinite else ""),
        ]
        lacking = {
            "heatmaps": "any peak",
            "poses": "any joint",
            "boxes": "a box of positive size",
            "silhouettes": "a person",
        }
        if self.kind in lacking:
            lines.append(f"  frames without {lacking[self.kind]}: {self.empty}")
        if self.means and channels:
            lines.append("  mean peak of each channel:" if self.kind == "heatmaps" else "  mean score of each joint:")
            lines += _columns([f"{name} {mean:.3f}" for name, mean in zip(self.channels, self.means)])
        return "\n".join(lines)


def inspect_file(path: str | Path, *, merged: list[str] | None = None) -> FileContents:
    """Read a sequence's file and say what it holds.

    Args:
        path: a ``.pkl`` of any form; a compact one is read some frames at a time.
        merged: names of the parts, where heatmaps are known to be merged.

    Raises:
        DataError: missing, truncated, empty, or holding something else than arrays.
    """
    path = Path(path)
    sequence = open_sequence(path)
    if isinstance(sequence, CompactSequence):
        sequence.verify()
    kind = guess_kind(path.name, sequence.shape, sequence.dtype)
    contents = FileContents(
        path, kind, form_of(sequence), str(sequence.dtype), tuple(sequence.shape), path.stat().st_size
    )
    if kind in ("heatmaps", "poses"):
        contents.channels = channel_names(sequence.shape[1], merged)
    low, high, zeros, count = np.inf, -np.inf, 0, 0
    heights: list[Array] = []
    for block in _blocks(sequence):
        count += block.size
        zeros += block.size - int(np.count_nonzero(block))
        finite = np.isfinite(block)
        if not finite.all():
            contents.nans += int(np.isnan(block).sum())
            contents.infinite += int(np.isinf(block).sum())
        low = min(low, float(block.min(initial=np.inf, where=finite)))
        high = max(high, float(block.max(initial=-np.inf, where=finite)))
        height, empty = _heights(kind, np.where(finite, block, 0))
        contents.empty += int(empty.sum())
        if height is not None:
            heights.append(height)
    contents.zeros = zeros / count if count else 0.0
    if low <= high:
        contents.low, contents.high = low, high
    if heights:
        stacked = np.concatenate(heights)
        contents.means, contents.scores = stacked.mean(0).tolist(), stacked.mean(1).tolist()
    return contents


def guess_kind(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    """What a sequence of this shape, in a file of this name, is likely to be.

    >>> guess_kind("0_heatmaps.pkl", (30, 17, 64, 48), np.dtype("f2"))
    'heatmaps'
    >>> guess_kind("sils.pkl", (30, 64, 64), np.dtype("u1"))
    'silhouettes'
    """
    if len(shape) == 4:
        bytes_of_colour = dtype == np.uint8 and 3 in (shape[1], shape[3])
        return "pictures" if bytes_of_colour else "heatmaps"
    if len(shape) == 3:
        named = any(word in name.lower() for word in ("pose", "keypoint", "joint"))
        return "poses" if named or shape[2] in (2, 3) else "silhouettes"
    if len(shape) == 2 and shape[1] == 4:
        return "boxes"
    return "other"


def form_of(sequence: Sequence) -> str:
    """How a sequence is stored."""
    if isinstance(sequence, CompactSequence):
        return "compact, lossless" if sequence.bits == 16 else f"compact, {sequence.bits} bits"
    return f"{sequence.dtype} pickle"


def channel_names(channels: int, merged: list[str] | None = None) -> list[str]:
    """Names of heatmaps' channels: joints, the parts they were merged to, or numbers.

    >>> channel_names(2)
    ['channel 0', 'channel 1']
    """
    if merged is not None and len(merged) == channels:
        return list(merged)
    if channels == len(COCO_JOINTS):
        return list(COCO_JOINTS)
    return [f"channel {i}" for i in range(channels)]


def amount(count: float) -> str:
    """Bytes for people, in decimal units.

    >>> amount(104_448)
    '104.4 KB'
    """
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} TB"


def spread(count: int, most: int) -> list[int]:
    """At most ``most`` positions spread evenly over ``count``."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist() if count else []


def _blocks(sequence: Sequence) -> Iterator[Array]:
    """The frames, some at a time, as float32, or float64 where that is stored."""
    frames = max(1, _BLOCK // max(1, int(np.prod(sequence.shape[1:], dtype=np.int64))))
    kept = np.float64 if sequence.dtype == np.float64 else np.float32
    for first in range(0, len(sequence), frames):
        yield np.asarray(sequence[first : first + frames]).astype(kept)


def _heights(kind: str, block: Array) -> tuple[Array | None, Array]:
    """Peaks or scores [n, V] of some frames, and which frames are empty [n]."""
    if kind == "heatmaps":
        peaks = block.reshape(*block.shape[:2], -1).max(-1)
        return peaks, peaks.max(-1) <= 0
    if kind == "poses":
        if block.shape[2] < 3:
            return None, np.logical_not(block.any((1, 2)))
        return block[..., 2], block[..., 2].max(-1) <= 0
    empty = np.zeros(len(block), np.bool_)
    if kind == "boxes":
        empty |= (block[:, 2:] <= 0).any(-1)
    if kind == "silhouettes":
        empty |= ~block.any((1, 2))
    return None, empty


def _columns(cells: list[str]) -> list[str]:
    """Cells in lines: middle joints alone, left beside right; or four a line."""
    if len(cells) == len(COCO_JOINTS):
        rows = [[cells[0]], *([cells[left], cells[right]] for left, right in MIRROR_PAIRS)]
    else:
        rows = [cells[i : i + 4] for i in range(0, len(cells), 4)]
    width = max(map(len, cells)) + 3
    return ["    " + "".join(cell.ljust(width) for cell in row).rstrip() for row in rows]


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


@dataclass(frozen=True)
class Origin:
    """An extraction's record of one sequence.

    Attributes:
        path: of the record.
        entry: what stands in it.
    """

    path: Path
    entry: dict[str, Any]

    @property
    def made_with(self) -> dict[str, Any]:
        made: dict[str, Any] = self.entry["made_with"]
        return made

    @property
    def frames(self) -> npt.NDArray[np.int64]:
        """Numbers of the frames that were kept, counted from 1."""
        return frame_numbers(self.entry["frames"])

    @property
    def parts(self) -> list[str] | None:
        """Names of the parts that the heatmaps were merged to, if they were."""
        merge = self.made_with.get("merge")
        try:
            return None if merge is None else list(resolve_partition(merge))
        except ConfigError:
            return None

    def __str__(self) -> str:
        """A few lines for people."""
        made = self.made_with
        dropped = ", ".join(f"{why} {frames}" for why, frames in self.entry.get("dropped", {}).items() if frames)
        estimator = made.get("estimator")
        if isinstance(estimator, dict):
            estimator = ", ".join(f"{key} {value}" for key, value in estimator.items() if value is not None)
        lines = [
            f"from {self.entry['video']}, track {made.get('track')}, clip {self.entry.get('clip')}",
            f"  frames kept: {self.entry.get('kept')} ({self.entry['frames']})",
            f"  frames dropped: {dropped or 'none'}",
            f"  estimator: {estimator}",
        ]
        settings = ("content", "detector", "segmenter", "crop_scale", "min_score", "min_frames", "form", "merge")
        chosen = ", ".join(f"{key} {made[key]}" for key in settings if made.get(key) is not None)
        lines.append(f"  {chosen}{', ' if chosen else ''}gaitext {self.entry.get('gaitext')}")
        return "\n".join(lines)


def find_origin(leaf: Path) -> Origin | None:
    """Read a leaf's record; None where there is none, as with walkers. Raises DataError where it is damaged."""
    view, kind, identity, out = _places(leaf)
    records = Records(out)
    name = f"{identity}/{kind}/{view}"
    entry = records.get(name) if name in records else None
    if entry is None:
        return None
    path = records.folder / f"{name}.json"
    try:
        frame_numbers(entry["frames"])
        str(entry["video"])
    except (ValueError, KeyError, AttributeError) as error:
        raise DataError(
            f"is no record of an extracted sequence ({type(error).__name__}: {error})",
            where=path,
            how="remove it and its sequence, and extract that one again",
        ) from error
    return Origin(path, entry)


def _places(leaf: Path) -> tuple[str, str, str, Path]:
    """View, type and identity of ``OUT/sequences/<id>/<type>/<view>``, and OUT."""
    parents = leaf.absolute().parents
    # A lone folder near the root of the file system has neither; what is not there holds no record.
    return (
        leaf.absolute().name,
        parents[0].name,
        parents[min(1, len(parents) - 1)].name,
        parents[min(3, len(parents) - 1)],
    )


def find_video(leaf: Path, origin: Origin | None, given: Path | None, *, check: bool = True) -> Path | None:
    """The video that a sequence was made from, if it can be found.

    Args:
        leaf: folder of the sequence.
        origin: its record. Without one, ``OUT/videos/<id>/<type>/<view>`` is taken, where
            ``gaitext walkers --video`` writes.
        given: where the video has moved.
        check: compare its digest with the record's; otherwise only warn.

    Returns:
        None where it is gone and none was given.

    Raises:
        DataError: there is a video, but another one than the sequence was made from.
        VideoError: the given one is not there.
    """
    view, kind, identity, out = _places(leaf)
    if given is not None:
        places = [given]
    elif origin is not None:
        # A relative path was relative to where the extraction was started, which nobody knows now.
        named = Path(origin.entry["video"])
        places = [place for place in (named, out / named) if place.exists()]
    else:
        stem = out / "videos" / identity / kind
        places = [stem / f"{view}{suffix}" for suffix in sorted(VIDEO_SUFFIXES)]
        places = [place for place in places if place.is_file()]
    if origin is None or not places:
        return places[0] if places else None
    for place in places:
        if digest(place) == video_digest(origin.entry):
            return place
    what = f"is not the video that {leaf} was made from: its contents differ"
    if check:
        raise DataError(
            what,
            where=places[0],
            how="give the right one with --video; if this one has the same frames (re-encoded, another "
            "container), --unchecked takes it",
        )
    log.warning("%s: %s", places[0], what)
    return places[0]
