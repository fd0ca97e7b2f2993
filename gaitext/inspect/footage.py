"""A sequence with all that belongs to its frames: what pictures of it are drawn from."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gaitext.errors import DataError
from gaitext.execution.stages import ahead
from gaitext.geometry import apply, crop_matrices, invert
from gaitext.inspect.contents import Origin, Sequence, channel_names, find_origin, find_video, guess_kind, spread
from gaitext.inspect.paint import Frame, Group, groups_of
from gaitext.store import open_sequence
from gaitext.video import count_frames, read_frames

#: Frames looked at for the value that is drawn in full colour.
_LOOKED_AT = 32


@dataclass
class Footage:
    """What there is to draw.

    Attributes:
        name: for titles.
        length: frames, T.
        heatmaps: [T, C, h, w].
        poses: [T, 17, 3], x, y in heatmap pixels (where there are heatmaps) and score.
        poses_frame: [T, 17, 3], x, y in frame pixels and score.
        boxes: [T, 4], the crops as x, y, w, h in frame pixels.
        masks: [T, h, w], silhouettes.
        pictures: uint8 [T, 3, h, w] or [T, h, w, 3], RGB, where the leaf itself holds it.
        video: where the frames can be had.
        numbers: int64 [T], the frames' numbers in the video, counted from 1.
        origin: the record.
        groups: how the heatmaps' channels are coloured.
        full: heatmap value that is drawn in full colour.
    """

    name: str
    length: int
    numbers: npt.NDArray[np.int64]
    heatmaps: Sequence | None = None
    poses: Sequence | None = None
    poses_frame: Sequence | None = None
    boxes: Sequence | None = None
    masks: Sequence | None = None
    pictures: Sequence | None = None
    video: Path | None = None
    origin: Origin | None = None
    groups: list[Group] = field(default_factory=list)
    full: float = 1.0

    def frames(self, positions: Collection[int]) -> Iterator[tuple[int, Frame | None]]:
        """(position, frame of the video or None without one) in ascending order, one in memory at a time."""
        if self.video is None:
            yield from ((position, None) for position in sorted(positions))
            return
        at = {int(self.numbers[position]) - 1: position for position in positions}
        missing = set(at)
        with closing(ahead(read_frames(self.video, frozenset(at)))) as frames:
            for index, frame in frames:
                missing.discard(index)
                yield at[index], frame
        if missing:
            raise DataError(
                f"ends before frame {min(missing) + 1}, which {self.name} was made from",
                where=self.video,
                how="is this the same video, of the same frame rate and cut?",
            )

    def score(self, position: int) -> float | None:
        """Mean score of the joints, or mean height of the peaks, of a frame."""
        poses = self.poses if self.poses is not None else self.poses_frame
        if poses is not None and poses.shape[2] > 2:
            return float(_finite(poses[position][:, 2]).mean())
        if self.heatmaps is None:
            return None
        maps = _finite(self.heatmaps[position])
        return float(maps.reshape(len(maps), -1).max(-1).mean())

    def caption(self, position: int) -> str:
        """A frame's number in the video, and its score."""
        score = self.score(position)
        return f"{self.numbers[position]}" + ("" if score is None else f"   {score:.2f}")

    def skeleton(
        self, position: int, matrix: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
        """Joints [17, 2] of a frame where ``matrix`` [2, 3] puts frame pixels, and their scores [17]."""
        if self.poses_frame is not None:
            pose = np.asarray(self.poses_frame[position], np.float64)
        elif self.poses is not None and self.boxes is not None and self.heatmaps is not None:
            pose = np.asarray(self.poses[position], np.float64)
            crop = np.asarray(self.boxes[position], np.float64)[None]
            back = invert(crop_matrices(crop, *self.heatmaps.shape[2:]))[0]
            pose[:, :2] = apply(back, pose[:, :2])
        else:
            return None
        return apply(matrix, pose[:, :2]), _scores(pose)

    def skeleton_in_map(
        self, position: int, scale: float
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
        """Joints [17, 2] of a frame in the heatmap enlarged ``scale`` times, and their scores [17]."""
        if self.heatmaps is None:
            return None
        if self.poses is not None:
            pose = np.asarray(self.poses[position], np.float64)
            return (pose[:, :2] + 0.5) * scale - 0.5, _scores(pose)
        if self.poses_frame is None or self.boxes is None:
            return None
        height, width = (round(side * scale) for side in self.heatmaps.shape[2:])
        return self.skeleton(
            position, crop_matrices(np.asarray(self.boxes[position], np.float64)[None], height, width)[0]
        )


def load_footage(path: str | Path, *, video: str | Path | None = None, check: bool = True) -> Footage:
    """Open what belongs to a sequence; frames are read when they are asked for.

    Args:
        path: a leaf's folder, or one of its files: then that file is drawn, placed by the leaf's boxes.
        video: where the video has moved.
        check: refuse a video whose digest is not the record's.

    Raises:
        DataError: nothing to draw; files of different lengths; a record of other frames; another
            video.
        VideoError: the given video is not there.
    """
    path = Path(os.path.abspath(path))  # whose folders' names are id, type and view
    leaf = path if path.is_dir() else path.parent
    files = sorted(file for file in leaf.glob("*.pkl") if not file.name.startswith("."))
    opened = {file: open_sequence(file) for file in files}
    footage = Footage("/".join(leaf.parts[-3:]), 0, np.empty(0, np.int64))
    for file, sequence in opened.items():
        kind = guess_kind(file.name, sequence.shape, sequence.dtype)
        if path.is_file() and file.name != path.name and kind != "boxes":
            continue
        slot = {"heatmaps": "heatmaps", "boxes": "boxes", "silhouettes": "masks", "pictures": "pictures"}.get(kind)
        if kind == "poses" and sequence.shape[1] == 17:
            slot = "poses_frame" if _in_frame(file.name, opened) else "poses"
        if slot is not None and getattr(footage, slot) is None:
            setattr(footage, slot, sequence)
            footage.length = footage.length or len(sequence)
            if len(sequence) != footage.length:
                listed = ", ".join(f"{name.name}: {len(one)}" for name, one in opened.items())
                raise DataError(
                    f"its sequences have different lengths ({listed})", where=leaf, how="make the leaf again"
                )
    drawn = (footage.heatmaps, footage.poses, footage.poses_frame, footage.masks, footage.pictures)
    if all(part is None for part in drawn):
        raise DataError(
            "holds nothing that can be drawn",
            where=path,
            how="heatmaps, poses of 17 joints, silhouettes or RGB pictures can",
        )
    footage.origin = find_origin(leaf)
    given = None if video is None else Path(video)
    placed = footage.boxes is not None or footage.poses_frame is not None
    if given is not None and not placed:
        raise DataError(
            "has no boxes, which say where in the video its frames are", where=leaf, how="leave --video out"
        )
    if placed:
        footage.video = find_video(leaf, footage.origin, given, check=check)
    footage.numbers = _numbers(footage, leaf)
    if footage.heatmaps is not None:
        names = channel_names(footage.heatmaps.shape[1], footage.origin.parts if footage.origin else None)
        footage.groups = groups_of(names)
        footage.full = _full(footage.heatmaps)
    return footage


def _finite(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Values with 0 for NaN and infinity, as :func:`~gaitext.inspect.contents.inspect_file` counts them."""
    return np.nan_to_num(np.asarray(values, np.float32), posinf=0, neginf=0)


def _scores(pose: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return pose[:, 2] if pose.shape[1] > 2 else np.ones(len(pose))


def _in_frame(name: str, opened: dict[Path, Sequence]) -> bool:
    """Whether poses are in frame pixels: named so, or there are no heatmaps they could belong to."""
    maps = any(guess_kind(file.name, one.shape, one.dtype) == "heatmaps" for file, one in opened.items())
    return "frame" in name or not maps


def _numbers(footage: Footage, leaf: Path) -> npt.NDArray[np.int64]:
    if footage.origin is None:
        if footage.video is not None:
            found = count_frames(footage.video)
            if found != footage.length:
                raise DataError(
                    f"has {found} frames, the sequence {footage.length}, and no record says which ones",
                    where=footage.video,
                    how="give a video of just these frames, or extract the sequence with gaitext extract",
                )
        return np.arange(1, footage.length + 1)
    numbers = footage.origin.frames
    if len(numbers) != footage.length:
        raise DataError(
            f"holds {footage.length} frames, but {footage.origin.path} says {len(numbers)}",
            where=leaf,
            how="it was changed after the extraction: extract it again",
        )
    return numbers


def _full(heatmaps: Sequence) -> float:
    """A usual height of the highest peak, from some frames."""
    peaks = [float(_finite(heatmaps[i]).max()) for i in spread(len(heatmaps), _LOOKED_AT)]
    return float(np.percentile(peaks, 75)) or 1.0
