"""Which frames to train on, with true poses and persons' boxes: of extractions, or of the walkers' renderer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitext.digests import digest
from gaitext.errors import DataError
from gaitext.extraction import Track, read_boxes
from gaitext.geometry import crop_boxes
from gaitext.records import Records, frame_numbers, video_digest
from gaitext.restoration.truth import Pair, pair_up
from gaitext.store import read_sequence
from gaitext.video import probe

__all__ = ["Targets", "find_targets"]

Array = npt.NDArray[Any]
_BOXES = (".csv", ".txt", ".json")
_NEAR = 1.0


@dataclass(frozen=True)
class Targets:
    """A pair of videos with poses, and the person's boxes.

    Attributes:
        pair: see :class:`~gaitext.restoration.Pair`.
        boxes: float64 [T, 4], x, y, w, h in pixels of the degraded frames.
    """

    pair: Pair
    boxes: Array

    @property
    def identity(self) -> str:
        return self.pair.leaf.split("/", 1)[0]


def find_targets(truth: str | Path, degraded: str | Path, boxes: str | Path | None = None) -> list[Targets]:
    """True poses and boxes for every degraded video that has them.

    Args:
        truth: ``--out`` of ``gaitext extract`` on the originals (:func:`~gaitext.restoration.pair_up` joins
            them), or a folder of ``gaitext walkers`` with keypoints and videos: the renderer's are
            the truth then, and every joint inside the picture counts, hidden or not.
        degraded: ``--out`` of ``gaitext degrade``.
        boxes: folder of boxes of the originals, ``<id>/<type>/<view>.csv`` (.txt, .json); None takes the
            walkers' own, or the extraction's crops without their margin.

    Raises:
        DataError: nothing fits together, a sequence without boxes, other numbers of frames, or NaN.
    """
    truth, degraded = Path(truth), Path(degraded)
    if (truth / "walkers.json").is_file():
        return _of_walkers(truth, degraded, truth / "boxes" if boxes is None else Path(boxes))
    scales = {leaf: entry["made_with"].get("crop_scale") or 1.25 for leaf, entry in Records(truth).all()}
    found = []
    for pair in pair_up(truth, degraded):
        if boxes is None:
            centre = pair.crops[:, :2] + pair.crops[:, 2:] / 2
            size = pair.crops[:, 2:] / scales[pair.leaf]
            found.append(Targets(pair, np.concatenate((centre - size / 2, size), 1).astype(np.float64)))
        else:
            found.append(Targets(pair, _boxes(Path(boxes), pair)))
    return found


def _boxes(folder: Path, pair: Pair) -> Array:
    """The person's boxes in the degraded frames: of the track that the sequence was cut from."""
    tracks = _tracks(folder, pair.leaf)
    scale = np.tile(pair.scale, 2)
    middle = pair.crops[:, :2] + pair.crops[:, 2:] / 2
    for track in tracks.values():
        there = np.isin(pair.original_frames + 1, track.frames)
        if not there.all():
            continue
        boxes = track.boxes[np.searchsorted(track.frames, pair.original_frames + 1)] * scale
        if np.abs(boxes[:, :2] + boxes[:, 2:] / 2 - middle).max() < _NEAR:
            return np.asarray(boxes, np.float64)
    raise DataError(
        f"holds no track that the crops of {pair.leaf} were cut from",
        where=folder,
        how="give the boxes of the extraction",
    )


def _tracks(folder: Path, leaf: str) -> dict[int, Track]:
    files = [path for suffix in _BOXES if (path := folder / f"{leaf}{suffix}").is_file()]
    if len(files) != 1:
        raise DataError(f"holds {len(files)} files of boxes for {leaf}", where=folder, how=f"expected {leaf}.csv")
    return read_boxes(files[0])


def _of_walkers(walkers: Path, degraded: Path, boxes: Path) -> list[Targets]:
    found = []
    for leaf, made in Records(degraded).all():
        sequence = walkers / "sequences" / leaf
        if not sequence.is_dir():
            continue
        files = sorted(sequence.glob("*_keypoints.pkl"))
        if not files:
            raise DataError(
                "holds no keypoints", where=sequence, how="make the walkers with --content keypoints,video,…"
            )
        numbers = frame_numbers(made["frames"])
        original, joints = _video(walkers / "videos", leaf), np.array(read_sequence(files[0]))
        if video_digest(made) != digest(original):
            raise DataError(
                f"{leaf} was not made from {original}", where=degraded, how="degrade the walkers' videos again"
            )
        if len(joints) < numbers[-1]:
            raise DataError(
                f"has keypoints of {len(joints)} frames, the video {numbers[-1]}",
                where=sequence,
                how="make the walkers again",
            )
        joints = joints[numbers - 1]
        # An odd size is made even by repeating, which moves nothing.
        asked = made["made_with"]["settings"]["resolution"]
        scale = (1.0, 1.0) if asked is None else tuple(b / a for a, b in zip(made["original_size"], made["size"]))
        width, height = made["original_size"]
        x, y = joints[..., 0], joints[..., 1]
        inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
        joints[..., :2] = (joints[..., :2] + 0.5) * scale - 0.5
        joints[..., 2] = inside
        joints[~inside] = 0
        (track,) = _tracks(boxes, leaf).values()
        if len(track.frames) < numbers[-1]:
            raise DataError(f"has boxes for {len(track.frames)} of {numbers[-1]} frames", where=boxes / leaf)
        person = track.boxes[numbers - 1] * np.tile(scale, 2)
        pair = Pair(
            leaf=leaf,
            original=original,
            degraded=degraded / "videos" / f"{leaf}.mp4",
            original_frames=numbers - 1,
            degraded_frames=np.arange(len(numbers)),
            poses=joints.astype(np.float32),
            crops=crop_boxes(person).astype(np.float32),
            scale=(float(scale[0]), float(scale[1])),
        )
        found.append(Targets(pair, np.asarray(person, np.float64)))
    if not found:
        raise DataError(f"none of its walkers was degraded to {degraded}", where=walkers, how="degrade its videos")
    return found


def _video(folder: Path, leaf: str) -> Path:
    path = folder / f"{leaf}.mp4"
    probe(path)
    return path
