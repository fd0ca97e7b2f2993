"""One pass over a video in four stages that overlap: decode, crop, estimate, write."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

import numpy as np
import numpy.typing as npt
import torch

from gaitext.errors import DataError, VideoError
from gaitext.execution.stages import Behind, ahead
from gaitext.extraction.clips import Clip, ExtractReport, ExtractSettings
from gaitext.extraction.crops import crop_images, overlaps
from gaitext.geometry import apply, crop_matrices, invert
from gaitext.making import Entry, Progress, Records, frame_ranges
from gaitext.pose import HEATMAP_SHAPE, PoseEstimator, check_heatmaps, decode_heatmaps
from gaitext.skeleton import merge_parts
from gaitext.store import LeafWriter
from gaitext.store.contract import BOXES, HEATMAPS, POSES, POSES_FRAME
from gaitext.video import read_frames

OTHER_VIDEO = "are these the boxes of this video, and of this version of it (frame rate, cut)?"

#: A clip and the position in it of one frame.
Slot = tuple["ClipWriter", int]
#: Crops with their slots, or the slots alone, whose boxes lie outside the picture.
Cut = tuple[list[Slot], Union[torch.Tensor, None]]

#: The mean score of a person's keypoints below which GaitHeat drops a frame (§3.2).
_POOR = 0.4
#: Decoded frames that may wait to be cut, and batches that may wait for either neighbour.
_FRAMES, _BATCHES = 8, 2


@dataclass
class Pipeline:
    """One pass over a video for any number of clips.

    In memory are a few decoded frames and a few batches of crops and heatmaps, whatever the
    video's length.

    Args:
        clips: what is to be made.
        estimator: turns crops into heatmaps.
        batch_size: crops given to it at a time.
        records, report: told of every clip's outcome.
        progress: called with (frames done, frames to do), from the thread that writes.
        correct: what is done to crops [N, 3, H, W] in 0..1 before the estimator sees them.
    """

    clips: Sequence[ClipWriter]
    estimator: PoseEstimator
    batch_size: int
    records: Records
    report: ExtractReport
    progress: Progress | None = None
    correct: Callable[[torch.Tensor], torch.Tensor] | None = None

    def __post_init__(self) -> None:
        self.total = sum(clip.left for clip in self.clips)

    def over(self, video: Path, source: str) -> None:
        """Work through ``video``; ``source`` is where the boxes come from, for errors.

        Clips that are complete when an error comes are written.

        Raises:
            VideoError: it does not decode as far as the boxes go.
            DataError: it is over before the last box, or the disk is full.
        """
        wanted: dict[int, list[Slot]] = defaultdict(list)
        for clip in self.clips:
            for position, number in enumerate(clip.clip.frames.tolist()):
                wanted[number - 1].append((clip, position))
        try:
            batches = ahead(self._batches(video, wanted, source), _BATCHES)
            with Behind(self._write, _BATCHES) as writer, closing(batches), torch.no_grad():
                for slots, images in batches:
                    # Left where it is: the writer waits for the device while the next batch starts.
                    maps = None if images is None else self._estimate(images)
                    writer.put((slots, maps))
        finally:
            for clip in self.clips:
                if clip.left:
                    clip.abandon()

    def _batches(self, video: Path, wanted: dict[int, list[Slot]], source: str) -> Iterator[Cut]:
        """Batches of ``batch_size`` crops in the video's order; the last one before an error, too."""
        slots: list[Slot] = []
        images: list[torch.Tensor] = []
        frames = ahead(read_frames(video, frozenset(wanted)), _FRAMES)
        try:
            for index, frame in frames:
                here = wanted.pop(index)
                boxes = np.stack([clip.clip.boxes[position] for clip, position in here])
                inside = overlaps(boxes, *frame.shape[:2])
                outside = [slot for slot, seen in zip(here, inside) if not seen]
                if outside:
                    yield outside, None
                here = [slot for slot, seen in zip(here, inside) if seen]
                if here:
                    crops = np.stack([clip.crops[position] for clip, position in here])
                    images.append(crop_images(frame, crops, self.estimator.input_size))
                    slots += here
                while len(slots) >= self.batch_size:
                    whole = torch.cat(images)
                    yield slots[: self.batch_size], whole[: self.batch_size]
                    slots, images = slots[self.batch_size :], [whole[self.batch_size :]]
        except VideoError:
            if slots:
                yield slots, torch.cat(images)
            raise
        finally:
            frames.close()
        if slots:
            yield slots, torch.cat(images)
        if wanted:
            number = min(wanted)
            raise DataError(
                f"track {wanted[number][0][0].clip.track} has a box in frame {number + 1}, but {video} ends before it",
                where=source,
                how=OTHER_VIDEO,
            )

    def _estimate(self, images: torch.Tensor) -> torch.Tensor:
        size = getattr(self.estimator, "heatmap_size", HEATMAP_SHAPE[1:])
        if self.correct is not None:
            images = self.correct(images)
        return check_heatmaps(self.estimator.heatmaps(images), images, type(self.estimator).__name__, size)

    def _write(self, estimated: tuple[list[Slot], torch.Tensor | None]) -> None:
        slots, maps = estimated
        if maps is None:
            for clip, position in slots:
                clip.outside(position)
        else:
            poses = decode_heatmaps(maps.float().cpu().numpy())
            # Stored as halves; torch makes them ten times as fast as numpy.
            heatmaps: npt.NDArray[np.float16] = maps.half().cpu().numpy()
            rows: dict[int, list[int]] = defaultdict(list)  # of each clip, in the batch
            for row, (clip, _) in enumerate(slots):
                rows[id(clip)].append(row)
            for mine in rows.values():
                slots[mine[0]][0].add([slots[row][1] for row in mine], heatmaps[mine], poses[mine])
            self.report.frames += len(slots)
        touched = {id(clip) for clip, _ in slots}
        for clip in self.clips:
            if id(clip) in touched and not clip.left:
                clip.finish(self.records, self.report)
        if self.progress is not None:
            self.progress(self.total - sum(clip.left for clip in self.clips), self.total)


class ClipWriter:
    """Takes a clip's frames as they are estimated, and writes them as they come.

    Frames go to disk at once, to a hidden folder that becomes the leaf when the last frame is
    known, so that memory does not grow with the clip.

    Args:
        clip: what it is.
        crops: float64 [T, 4], x, y, w, h in frame pixels, of all frames of the clip.
        entry: what its record will say, but for the outcome.
        settings: thresholds and form.
        out: output folder.
    """

    def __init__(
        self, clip: Clip, crops: npt.NDArray[np.float64], entry: Entry, settings: ExtractSettings, out: Path
    ) -> None:
        self.clip, self.crops, self.entry, self.settings, self.out = clip, crops, entry, settings, out
        self.left = len(clip.frames)
        self.kept: list[int] = []
        self.dropped: dict[str, list[int]] = defaultdict(list)
        self.best = 0.0
        self.poor = 0
        self._writer: LeafWriter | None = None

    def outside(self, position: int) -> None:
        """Frame ``position`` of the clip has its box outside the picture."""
        self._drop("outside", position)

    def add(self, positions: list[int], heatmaps: npt.NDArray[np.float16], poses: npt.NDArray[np.float32]) -> None:
        """Estimated frames, in ascending order.

        Args:
            positions: which of the clip's frames they are.
            heatmaps: [n, 17, H, W].
            poses: [n, 17, 3], decoded from them: x, y in heatmap pixels, score.
        """
        scores = poses[..., 2].mean(-1)
        good = scores >= self.settings.min_score  # so written, a NaN is dropped
        self.poor += int((~(scores >= (self.settings.min_score or _POOR))).sum())
        self.best = max(self.best, float(np.nan_to_num(scores).max(initial=0)))
        for position in np.asarray(positions)[~good].tolist():
            self._drop("score", position)
        chosen = np.asarray(positions)[good]
        self.left -= len(chosen)
        if not len(chosen):
            return
        if self._writer is None:
            identity, kind, view = self.clip.leaf.split("/")
            forms = {HEATMAPS.stem: self.settings.form}
            self._writer = LeafWriter(self.out / "sequences", identity, kind, view, forms)
        self._writer.append(self._sequences(heatmaps[good], poses[good], self.crops[chosen]))
        self.kept += chosen.tolist()

    def finish(self, records: Records, report: ExtractReport) -> None:
        """Write the leaf, or say why not, and record the outcome."""
        clip, kept, why = self.clip, len(self.kept), None
        records.remove(clip.leaf)
        if kept < self.settings.min_frames:
            why = (
                f"{kept} usable of {len(clip.frames)} frames, min_frames is {self.settings.min_frames} "
                f"({len(self.dropped['score'])} below min_score {self.settings.min_score:g}, best {self.best:.2f}; "
                f"{len(self.dropped['outside'])} outside the frame)"
            )
            self.abandon()
            shutil.rmtree(self.out / "sequences" / clip.leaf, ignore_errors=True)  # made with lower thresholds
            report.skipped[clip.leaf] = why
        else:
            assert self._writer is not None
            self._writer.commit()
            report.written.append(clip.leaf)
            poor, outside = self.poor, len(self.dropped.get("outside", ()))
            if 2 * (poor + outside) > len(clip.frames):
                report.doubtful[clip.leaf] = (
                    f"of {len(clip.frames)} frames {poor} score below {self.settings.min_score or _POOR:g}, and in "
                    f"{outside} the box is outside the picture"
                )
        for reason, numbers in self.dropped.items():
            report.dropped[reason] += len(numbers)
        outcome = {
            "frames": frame_ranges(clip.frames[self.kept].tolist()),
            "kept": kept,
            "dropped": {
                reason: frame_ranges(sorted(numbers)) for reason, numbers in sorted(self.dropped.items()) if numbers
            },
            "skipped": why,
        }
        records.put(clip.leaf, self.entry | outcome)

    def abandon(self) -> None:
        """Remove what is written so far: the clip will not be finished."""
        if self._writer is not None:
            self._writer.abandon()
            self._writer = None

    def _drop(self, reason: str, position: int) -> None:
        self.dropped[reason].append(int(self.clip.frames[position]))
        self.left -= 1

    def _sequences(
        self, heatmaps: npt.NDArray[np.float16], poses: npt.NDArray[np.float32], crops: npt.NDArray[np.float64]
    ) -> dict[str, npt.NDArray[Any]]:
        back = invert(crop_matrices(crops, *heatmaps.shape[2:]))
        in_frame = poses.copy()
        in_frame[..., :2] = apply(back, poses[..., :2].astype(np.float64))
        in_frame[poses[..., 2] <= 0] = 0  # a missing joint is missing everywhere
        if self.settings.merge is not None:
            heatmaps = merge_parts(heatmaps, self.settings.merge)
        return {
            HEATMAPS.stem: heatmaps,
            POSES.stem: poses,
            POSES_FRAME.stem: in_frame,
            BOXES.stem: crops.astype(np.float32),
        }
