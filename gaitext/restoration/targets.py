"""Which frames to train on, with true poses and persons' boxes: of extractions, or of the walkers' renderer.

True poses for degraded video are what an estimator found in the original (artifact correction §III-A).
``gaitext extract`` makes and caches them: it runs any estimator on the original video, and keeps poses in
frame pixels with the numbers of the frames they belong to. Here they are brought together with what
``gaitext degrade`` made of the same video.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitext.errors import DataError
from gaitext.extraction import Track, read_boxes
from gaitext.extraction.boxes import is_json
from gaitext.extraction.coco import read_all_boxes
from gaitext.geometry import crop_boxes
from gaitext.making import Entry, Records, frame_numbers, video_digest
from gaitext.store import read_sequence
from gaitext.store.contract import BOXES, POSES_FRAME
from gaitext.video import probe
from gaitext.video.digests import digest
from gaitext.video.frames import frame_files

Array = npt.NDArray[Any]
_BOXES = (".csv", ".txt", ".json")
_NEAR = 1.0
#: The renderer's visibility from which on a joint is seen, and the score of one that is not.
_HALF_SEEN, _HIDDEN = 0.5, 0.5


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
            the truth then, every joint inside the picture, with a score of 1 if it is seen and 0.5 if hidden.
        degraded: ``--out`` of ``gaitext degrade``.
        boxes: of the originals, as the extraction took them: a folder of ``<id>/<type>/<view>.csv`` (.txt,
            .json), or of ``<name>.csv``; a file of one video, or a COCO-style json of all; or ``full``. None takes
            the walkers' own, or the extraction's crops without their margin.

    Raises:
        DataError: nothing fits together, a sequence without boxes, other numbers of frames, or NaN.
    """
    truth, degraded = Path(truth), Path(degraded)
    if (truth / "walkers.json").is_file():
        return _of_walkers(truth, degraded, truth / "boxes" if boxes is None else Path(boxes))
    scales = {leaf: entry["made_with"].get("crop_scale") or 1.25 for leaf, entry in Records(truth).all()}
    found = []
    pairs = pair_up(truth, degraded)
    if boxes is not None and str(boxes) == "full" and not Path(boxes).exists():
        boxes = None
    given = None if boxes is None else _Given(Path(boxes), {pair.leaf: pair.original for pair in pairs})
    for pair in pairs:
        if given is None:
            centre = pair.crops[:, :2] + pair.crops[:, 2:] / 2
            size = pair.crops[:, 2:] / scales[pair.leaf]
            found.append(Targets(pair, np.concatenate((centre - size / 2, size), 1).astype(np.float64)))
        else:
            found.append(Targets(pair, _boxes(given, pair)))
    return found


def _boxes(given: _Given, pair: Pair) -> Array:
    """The person's boxes in the degraded frames: of the track that the sequence was cut from."""
    tracks = given.tracks(pair.leaf)
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
        where=given.where,
        how="give the boxes of the extraction",
    )


class _Given:
    """Boxes of the originals, wherever they are.

    Args:
        where: a folder or a file.
        originals: name of each sequence -> the video, or folder of frames, it was extracted from.
    """

    def __init__(self, where: Path, originals: Mapping[str, Path]) -> None:
        self.where, self.originals = where, originals
        self._of_tree: dict[str, dict[int, Track]] | None = None
        if not where.exists():
            raise DataError("no such file or folder", where=where, how="give what --boxes was in the extraction")

    def tracks(self, leaf: str) -> dict[int, Track]:
        """The tracks of the video that a sequence is of.

        Raises:
            DataError: none, several files, or malformed ones.
        """
        original = self.originals[leaf]
        # In a tree the video is named as the sequence is; where --id and others were given, by its own place.
        place = "/".join([*original.parts[-3:-1], original.stem])
        names = list(dict.fromkeys((leaf, place)))
        if self.where.is_file():
            return self._from_file(names, original)
        stems = [*names, original.stem]
        files = [path for stem in stems for suffix in _BOXES if (path := self.where / f"{stem}{suffix}").is_file()]
        files = list(dict.fromkeys(files))
        if len(files) != 1:
            how = f"expected {leaf}.csv"
            raise DataError(f"holds {len(files)} files of boxes for {leaf}", where=self.where, how=how)
        return read_boxes(files[0], _pictures(original))

    def _from_file(self, names: Sequence[str], original: Path) -> dict[int, Track]:
        if len(set(self.originals.values())) == 1:
            return read_boxes(self.where, _pictures(original))
        if not is_json(self.where):
            raise DataError(
                f"is the boxes of one video, but there are {len(set(self.originals.values()))}",
                where=self.where,
                how="give a folder of <id>/<type>/<view>.csv, or a COCO-style json for all",
            )
        if self._of_tree is None:
            sources: dict[str, list[str] | None] = {}
            for leaf, video in self.originals.items():
                pictures = _pictures(video)
                sources |= {leaf: pictures, "/".join([*video.parts[-3:-1], video.stem]): pictures}
            self._of_tree = read_all_boxes(self.where, sources)
        for name in names:
            if name in self._of_tree:
                return self._of_tree[name]
        raise DataError(f"holds no boxes for {names[0]}", where=self.where, how="give the boxes of the extraction")


def _pictures(video: Path) -> list[str] | None:
    return [file.name for file in frame_files(video)] if video.is_dir() else None


def renderer_poses(sequence: Path, width: int, height: int) -> Array:
    """A walker's true joints, float64 [T, 17, 3] in frame pixels, and how well they are seen as score.

    The score is 1 for a joint that is seen, 0.5 for one of which a body hides more than half (the renderer's visibility
    is below 0.5), and joints outside the picture are (0, 0, 0).

    Raises:
        DataError: they were not written.
    """
    files = sorted(sequence.glob("*_keypoints.pkl"))
    if not files:
        raise DataError("holds no keypoints", where=sequence, how="make the walkers with --content keypoints,video,…")
    joints = np.array(read_sequence(files[0]), np.float64)
    x, y = joints[..., 0], joints[..., 1]
    inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    joints[..., 2] = np.where(joints[..., 2] >= _HALF_SEEN, 1.0, _HIDDEN)
    joints[~inside] = 0
    return joints


def _of_walkers(walkers: Path, degraded: Path, boxes: Path) -> list[Targets]:
    found = []
    for leaf, made in Records(degraded).all():
        sequence = walkers / "sequences" / leaf
        if not sequence.is_dir():
            continue
        numbers, original = frame_numbers(made["frames"]), walkers / "videos" / f"{leaf}.mp4"
        probe(original)  # an error that says what is wrong with it
        joints = renderer_poses(sequence, *made["original_size"])
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
        scale = _scale(made)
        inside = joints[..., 2] > 0
        joints[inside, :2] = (joints[inside, :2] + 0.5) * scale - 0.5
        (track,) = _Given(boxes, {leaf: original}).tracks(leaf).values()
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
            scale=scale,
        )
        found.append(Targets(pair, np.asarray(person, np.float64)))
    if not found:
        raise DataError(f"none of its walkers was degraded to {degraded}", where=walkers, how="degrade its videos")
    return found


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
