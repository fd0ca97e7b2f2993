"""One pass over a video: crops are cut, estimated in batches, and handed to their clips."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gaitext.errors import DataError, VideoError
from gaitext.extraction.crops import crop_images, overlaps
from gaitext.extraction.manifest import Entry, Manifest
from gaitext.extraction.plan import Clip, ExtractSettings, frame_ranges
from gaitext.extraction.report import ExtractReport
from gaitext.geometry import apply, crop_matrices, invert
from gaitext.pose import HEATMAP_SHAPE, PoseEstimator, check_heatmaps, decode_heatmaps
from gaitext.store import write_leaf
from gaitext.video import read_frames

__all__ = ["OTHER_VIDEO", "Part", "Run"]

OTHER_VIDEO = "are these the boxes of this video, and of this version of it (frame rate, cut)?"


@dataclass
class Part:
    """A clip being worked on.

    Attributes:
        crops: float64 [T, 4], x, y, w, h in frame pixels, of all frames of the clip.
        entry: what the manifest will say, but for the outcome.
        left: frames whose outcome is not known yet.
        kept: positions within the clip of the frames that are kept.
        best: highest mean keypoint score.
    """

    clip: Clip
    crops: npt.NDArray[np.float64]
    entry: Entry
    left: int
    kept: list[int] = field(default_factory=list)
    heatmaps: list[npt.NDArray[np.float16]] = field(default_factory=list)
    poses: list[npt.NDArray[np.float32]] = field(default_factory=list)
    dropped: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    best: float = 0.0


class Run:
    """One pass over the video.

    At any time a batch of crops and the heatmaps of the clips that are open are in memory.
    """

    def __init__(
        self,
        parts: list[Part],
        estimator: PoseEstimator,
        settings: ExtractSettings,
        out: Path,
        manifest: Manifest,
        report: ExtractReport,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.parts, self.estimator, self.settings = parts, estimator, settings
        self.out, self.manifest, self.report, self.progress = out, manifest, report, progress
        self.total = sum(part.left for part in parts)
        self.done = 0
        self.images: list[torch.Tensor] = []
        self.waiting: list[tuple[Part, int]] = []  # (clip, position in it) of each image

    def over(self, video: Path, source: str) -> None:
        """Work through ``video``; ``source`` is where the boxes come from, for errors.

        Raises:
            VideoError: it does not decode as far as the boxes go.
            DataError: it is over before the last box.
        """
        wanted: dict[int, list[tuple[Part, int]]] = defaultdict(list)
        for part in self.parts:
            for position, number in enumerate(part.clip.frames.tolist()):
                wanted[number - 1].append((part, position))
        try:
            for index, frame in read_frames(video, frozenset(wanted)):
                self._cut(frame, wanted.pop(index))
        except VideoError:
            self._estimate()  # clips that were complete before the damage are not to be lost
            raise
        self._estimate()
        if wanted:
            number = min(wanted)
            track = wanted[number][0][0].clip.track
            raise DataError(
                f"track {track} has a box in frame {number + 1}, but {video} ends before it",
                where=source,
                how=OTHER_VIDEO,
            )

    def _cut(self, frame: npt.NDArray[np.uint8], wanted: list[tuple[Part, int]]) -> None:
        inside = []
        for part, position in wanted:
            if overlaps(part.clip.boxes[position], *frame.shape[:2])[0]:
                inside.append((part, position))
            else:
                part.dropped["outside"].append(int(part.clip.frames[position]))
                self.report.dropped["outside"] += 1
                self._count(part)
        if inside:
            self.images.append(crop_images(frame, np.stack([part.crops[position] for part, position in inside])))
            self.waiting += inside
        if len(self.waiting) >= self.settings.batch_size:
            self._estimate()

    @torch.no_grad()
    def _estimate(self) -> None:
        if not self.waiting:
            return
        images = torch.cat(self.images)
        size = self.settings.batch_size
        estimated = [
            check_heatmaps(self.estimator.heatmaps(batch), batch, type(self.estimator).__name__)
            for batch in images.split(size)
        ]
        heatmaps = torch.cat(estimated).float().cpu().numpy()
        poses = decode_heatmaps(heatmaps)
        scores = poses[..., 2].mean(-1)
        waiting, self.waiting, self.images = self.waiting, [], []
        for (part, position), maps, pose, score in zip(waiting, heatmaps, poses, scores):
            self.report.frames += 1
            part.best = max(part.best, float(score))
            if score >= self.settings.min_score:  # so written, a NaN is dropped
                part.kept.append(position)
                part.heatmaps.append(maps.astype(np.float16))
                part.poses.append(pose)
            else:
                part.dropped["score"].append(int(part.clip.frames[position]))
                self.report.dropped["score"] += 1
            self._count(part)
        if self.progress is not None:
            self.progress(self.done, self.total)

    def _count(self, part: Part) -> None:
        self.done += 1
        part.left -= 1
        if part.left == 0:
            self._finish(part)

    def _finish(self, part: Part) -> None:
        clip, kept, folder = part.clip, len(part.kept), self.out / "sequences" / part.clip.leaf
        why = None
        if kept < self.settings.min_frames:
            why = (
                f"{kept} usable of {len(clip.frames)} frames, min_frames is {self.settings.min_frames} "
                f"({len(part.dropped['score'])} below min_score {self.settings.min_score:g}, best {part.best:.2f}; "
                f"{len(part.dropped['outside'])} outside the frame)"
            )
            self.report.skipped[clip.leaf] = why
            if folder.is_dir():  # made by this extraction with a lower min_frames or min_score
                shutil.rmtree(folder)
        else:
            identity, kind, view = clip.leaf.split("/")
            write_leaf(self.out / "sequences", identity, kind, view, self._sequences(part))
            self.report.written.append(clip.leaf)
        self.manifest.record(
            clip.leaf,
            part.entry
            | {
                "frames": frame_ranges(clip.frames[part.kept].tolist()),
                "kept": kept,
                "dropped": {reason: frame_ranges(numbers) for reason, numbers in sorted(part.dropped.items())},
                "skipped": why,
            },
        )
        part.heatmaps, part.poses = [], []

    @staticmethod
    def _sequences(part: Part) -> dict[str, npt.NDArray[Any]]:
        poses = np.stack(part.poses)
        crops = part.crops[part.kept]
        back = invert(crop_matrices(crops, *HEATMAP_SHAPE[1:]))
        in_frame = poses.copy()
        in_frame[..., :2] = apply(back, poses[..., :2].astype(np.float64))
        in_frame[poses[..., 2] <= 0] = 0  # a missing joint is missing everywhere
        return {
            "0_heatmaps": np.stack(part.heatmaps),
            "1_poses": poses,
            "2_poses_frame": in_frame,
            "3_boxes": crops.astype(np.float32),
        }
