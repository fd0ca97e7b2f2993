"""True poses for degraded video: what an estimator found in the original (artifact correction §III-A).

``gaitext extract`` makes and caches them: it runs any estimator on the original video, and keeps poses in
frame pixels with the numbers of the frames they belong to. Here they are brought together with what
``gaitext degrade`` made of the same video.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitext.errors import DataError
from gaitext.making import Entry, Records, frame_numbers, video_digest
from gaitext.store import read_sequence
from gaitext.store.contract import BOXES, POSES_FRAME

__all__ = ["Pair", "pair_up"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Pair:
    """A person's frames in a degraded video, and the poses that were found in the original.

    Attributes:
        leaf: ``id/type/view`` of the extracted sequence.
        original, degraded: the two videos, or folders of frames.
        original_frames, degraded_frames: int64 [T], which of their frames these are, counted from 0.
        poses: float32 [T, 17, 3], x, y in pixels of the degraded frames, and score; (0, 0, 0) is a missing joint.
        crops: float32 [T, 4], the crops they were found in, x, y, w, h in the same pixels.
        scale: (horizontal, vertical) from pixels of the original to those of the degraded video.
    """

    leaf: str
    original: Path
    degraded: Path
    original_frames: Array
    degraded_frames: Array
    poses: Array
    crops: Array
    scale: tuple[float, float]

    def __post_init__(self) -> None:
        if not (np.isfinite(self.poses).all() and np.isfinite(self.crops).all()):
            raise DataError(
                "has true poses or crops that are no numbers (NaN)", where=self.leaf, how="make its truth again"
            )

    def __len__(self) -> int:
        return len(self.poses)


def pair_up(extracted: str | Path, degraded: str | Path) -> list[Pair]:
    """Match an extraction of original videos with their degraded versions.

    Videos are recognised by their contents (the digests in the records), wherever they have been
    moved. Of a sequence only the frames are kept that the degraded video has.

    Args:
        extracted: ``--out`` of ``gaitext extract`` on the originals.
        degraded: ``--out`` of ``gaitext degrade`` on the same.

    Returns:
        A pair for each sequence whose video was degraded, in order of their names.

    Raises:
        DataError: no record in either, or none of the one's videos is among the other's; a file of a
            sequence that cannot be read.
    """
    extracted, degraded = Path(extracted), Path(degraded)
    worse: dict[str, list[tuple[str, Entry]]] = defaultdict(list)
    for name, entry in Records(degraded).all():
        worse[video_digest(entry)].append((name, entry))
    if not worse:
        raise DataError("holds no records of degraded videos", where=degraded, how="give the --out of gaitext degrade")
    entries = [(leaf, entry) for leaf, entry in Records(extracted).all() if not entry.get("skipped")]
    if not entries:
        raise DataError("holds no records of sequences", where=extracted, how="give the --out of gaitext extract")
    pairs = [pair for leaf, entry in entries for pair in _pairs(extracted, degraded, leaf, entry, worse)]
    if not pairs:
        raise DataError(
            f"none of its sequences is of a video that was degraded to {degraded}",
            where=extracted,
            how="extract from the originals, the very files that were degraded",
        )
    return pairs


def _pairs(
    extracted: Path, degraded: Path, leaf: str, entry: Entry, worse: dict[str, list[tuple[str, Entry]]]
) -> Iterator[Pair]:
    for name, made in worse.get(video_digest(entry), []):
        numbers, there = frame_numbers(entry["frames"]), frame_numbers(made["frames"])
        kept = np.isin(numbers, there)
        if not kept.any():
            continue
        folder = extracted / "sequences" / leaf
        poses, crops = (np.array(read_sequence(folder / part.file)) for part in (POSES_FRAME, BOXES))
        if len(poses) != len(numbers) or len(crops) != len(numbers):
            raise DataError(
                f"has {len(poses)} poses, its record names {len(numbers)} frames",
                where=folder,
                how="extract it again (gaitext extract --overwrite)",
            )
        poses, crops, scale = poses[kept], crops[kept], _scale(made)
        known = poses[..., 2] > 0
        # Pixel centres are whole numbers; boxes' edges are pixels' edges.
        poses[..., :2] = np.where(known[..., None], (poses[..., :2] + 0.5) * scale - 0.5, 0)
        yield Pair(
            leaf=leaf,
            original=Path(entry["video"]),
            degraded=degraded / "videos" / f"{name}.mp4",
            original_frames=numbers[kept] - 1,
            degraded_frames=np.searchsorted(there, numbers[kept]),
            poses=poses.astype(np.float32),
            crops=(crops * np.tile(scale, 2)).astype(np.float32),
            scale=scale,
        )


def _scale(made: Entry) -> tuple[float, float]:
    """What ``resolution`` did. A column or row that was repeated to make the size even moves nothing."""
    before, after, wanted = made["original_size"], made["size"], made["made_with"]["settings"]["resolution"]
    if wanted is None:
        return 1.0, 1.0
    return after[0] / before[0], after[1] / before[1]
