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
from gaitext.extraction.clips import Clip, Content, ExtractReport, ExtractSettings
from gaitext.extraction.crops import crop_images, overlaps
from gaitext.geometry import apply, crop_matrices, invert
from gaitext.making import Entry, Progress, Records, frame_ranges
from gaitext.pose import HEATMAP_SHAPE, PoseEstimator, check_heatmaps, decode_heatmaps
from gaitext.segmentation import Segmenter, of_person, pretreat
from gaitext.skeleton import merge_parts
from gaitext.store import LeafWriter
from gaitext.store.contract import BOXES, CONTENTS, HEATMAPS, POSES, POSES_FRAME, SILHOUETTES
from gaitext.video import read_frames

OTHER_VIDEO = "are these the boxes of this video, and of this version of it (frame rate, cut)?"

#: A clip and the position in it of one frame.
Slot = tuple["ClipWriter", int]
#: Crops with their slots, or the slots alone, whose boxes lie outside the picture. The crops are those of the
#: estimator, and of the segmenter where there is one.
Cut = tuple[list[Slot], Union[list[torch.Tensor], None]]

#: The mean score of a person's keypoints below which GaitHeat drops a frame (§3.2).
_POOR = 0.4
#: A pixel is the person where the segmenter is surer than this.
_SURE = 0.5
#: Masks that cover a smaller share of the person's box show no whole person.
_SMALL = 0.05
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
        segmenter: masks the persons; None where no silhouettes are asked for.
    """

    clips: Sequence[ClipWriter]
    estimator: PoseEstimator
    batch_size: int
    records: Records
    report: ExtractReport
    progress: Progress | None = None
    correct: Callable[[torch.Tensor], torch.Tensor] | None = None
    segmenter: Segmenter | None = None

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
                for slots, crops in batches:
                    # Left where they are: the writer waits for the device while the next batch starts.
                    maps = None if crops is None else self._estimate(crops[0])
                    masks = None if crops is None or self.segmenter is None else self._segment(slots, crops[1])
                    writer.put((slots, maps, masks))
        finally:
            for clip in self.clips:
                if clip.left:
                    clip.abandon()

    def _batches(self, video: Path, wanted: dict[int, list[Slot]], source: str) -> Iterator[Cut]:
        """Batches of ``batch_size`` crops in the video's order; the last one before an error, too."""
        slots: list[Slot] = []
        cut: list[list[torch.Tensor]] = [[]] if self.segmenter is None else [[], []]
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
                    cut[0].append(crop_images(frame, crops, self.estimator.input_size))
                    if self.segmenter is not None:
                        squares = np.stack([clip.squares[position] for clip, position in here])
                        cut[1].append(crop_images(frame, squares, self.segmenter.input_size))
                    slots += here
                while len(slots) >= self.batch_size:
                    whole = [torch.cat(images) for images in cut]
                    yield slots[: self.batch_size], [images[: self.batch_size] for images in whole]
                    slots, cut = slots[self.batch_size :], [[images[self.batch_size :]] for images in whole]
        except VideoError:
            if slots:
                yield slots, [torch.cat(images) for images in cut]
            raise
        finally:
            frames.close()
        if slots:
            yield slots, [torch.cat(images) for images in cut]
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

    def _segment(self, slots: list[Slot], images: torch.Tensor) -> torch.Tensor:
        assert self.segmenter is not None
        size = self.segmenter.input_size
        boxes = np.stack([clip.box_in_square(position, size) for clip, position in slots])
        return self.segmenter.masks(images, torch.from_numpy(boxes).float().to(images.device))

    def _write(self, estimated: tuple[list[Slot], torch.Tensor | None, torch.Tensor | None]) -> None:
        slots, maps, masks = estimated
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
            sure = None if masks is None else (masks > _SURE).cpu().numpy()
            for mine in rows.values():
                own = None if sure is None else sure[mine]
                slots[mine[0]][0].add([slots[row][1] for row in mine], heatmaps[mine], poses[mine], own)
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
        squares: those of the segmenter, likewise.
        entry: what its record will say, but for the outcome.
        settings: thresholds and form.
        contents: which files the leaf gets.
        out: output folder.
    """

    def __init__(
        self,
        clip: Clip,
        crops: npt.NDArray[np.float64],
        squares: npt.NDArray[np.float64],
        entry: Entry,
        settings: ExtractSettings,
        contents: tuple[Content, ...],
        out: Path,
    ) -> None:
        self.clip, self.crops, self.squares, self.entry = clip, crops, squares, entry
        self.settings, self.contents, self.out = settings, contents, out
        self.left = len(clip.frames)
        self.kept: list[int] = []
        self.dropped: dict[str, list[int]] = defaultdict(list)
        self.best = 0.0
        self.poor = 0
        self._writer: LeafWriter | None = None

    def outside(self, position: int) -> None:
        """Frame ``position`` of the clip has its box outside the picture."""
        self._drop("outside", position)

    def add(
        self,
        positions: list[int],
        heatmaps: npt.NDArray[np.float16],
        poses: npt.NDArray[np.float32],
        masks: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        """Estimated frames, in ascending order.

        Args:
            positions: which of the clip's frames they are.
            heatmaps: [n, 17, H, W].
            poses: [n, 17, 3], decoded from them: x, y in heatmap pixels, score.
            masks: [n, H, W] of the persons in the segmenter's crops, where silhouettes are asked for.
        """
        scores = poses[..., 2].mean(-1)
        good = scores >= self.settings.min_score  # so written, a NaN is dropped
        self.poor += int((~(scores >= (self.settings.min_score or _POOR))).sum())
        self.best = max(self.best, float(np.nan_to_num(scores).max(initial=0)))
        for position in np.asarray(positions)[~good].tolist():
            self._drop("score", position)
        chosen = np.asarray(positions)[good]
        heatmaps, poses = heatmaps[good], poses[good]
        in_frame = self._in_frame(poses, chosen, heatmaps.shape[2:])
        silhouettes = None
        if masks is not None:
            found = [self._silhouette(*one) for one in zip(masks[good], in_frame, chosen.tolist())]
            there = np.array([one is not None for one in found], bool)
            for position in chosen[~there].tolist():
                self._drop("mask", position)
            silhouettes = np.array([one for one in found if one is not None], np.uint8)
            chosen, heatmaps, poses, in_frame = chosen[there], heatmaps[there], poses[there], in_frame[there]
        self.left -= len(chosen)
        if not len(chosen):
            return
        if self._writer is None:
            identity, kind, view = self.clip.leaf.split("/")
            forms = {HEATMAPS.stem: self.settings.form}
            self._writer = LeafWriter(self.out / "sequences", identity, kind, view, forms)
        self._writer.append(self._sequences(heatmaps, poses, in_frame, self.crops[chosen], silhouettes))
        self.kept += chosen.tolist()

    def finish(self, records: Records, report: ExtractReport) -> None:
        """Write the leaf, or say why not, and record the outcome."""
        clip, kept, why = self.clip, len(self.kept), None
        records.remove(clip.leaf)
        if kept < self.settings.min_frames:
            why = (
                f"{kept} usable of {len(clip.frames)} frames, min_frames is {self.settings.min_frames} "
                f"({len(self.dropped['score'])} below min_score {self.settings.min_score:g}, best {self.best:.2f}; "
                f"{len(self.dropped['outside'])} outside the frame"
                + (f"; {len(self.dropped['mask'])} without a mask of the person)" if self.dropped["mask"] else ")")
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

    def box_in_square(self, position: int, size: tuple[int, int]) -> npt.NDArray[np.float64]:
        """x, y, w, h of a frame's box in the segmenter's crop of height and width ``size``."""
        square, box = self.squares[position], self.clip.boxes[position]
        scale = np.array(size[::-1]) / square[2:]
        return np.concatenate(((box[:2] - square[:2]) * scale, box[2:] * scale))

    def _in_frame(
        self, poses: npt.NDArray[np.float32], chosen: npt.NDArray[np.int64], size: tuple[int, ...]
    ) -> npt.NDArray[np.float32]:
        """Poses in heatmap pixels as poses in frame pixels."""
        in_frame = poses.copy()
        back = invert(crop_matrices(self.crops[chosen], *size))
        in_frame[..., :2] = apply(back, poses[..., :2].astype(np.float64))
        in_frame[poses[..., 2] <= 0] = 0  # a missing joint is missing everywhere
        return in_frame

    def _silhouette(
        self, mask: npt.NDArray[np.bool_], joints: npt.NDArray[np.float32], position: int
    ) -> npt.NDArray[np.uint8] | None:
        """The silhouette of a frame, or None where its mask is empty or too small to be the person's."""
        height, width = mask.shape
        box = self.box_in_square(position, (height, width))
        in_mask = joints.astype(np.float64)
        in_mask[:, :2] = apply(crop_matrices(self.squares[position, None], height, width), in_mask[None, :, :2])[0]
        person = of_person(mask, in_mask, box)
        if person.sum() < _SMALL * box[2:].prod():
            return None
        return pretreat(person)

    def _sequences(
        self,
        heatmaps: npt.NDArray[np.float16],
        poses: npt.NDArray[np.float32],
        in_frame: npt.NDArray[np.float32],
        crops: npt.NDArray[np.float64],
        silhouettes: npt.NDArray[np.uint8] | None,
    ) -> dict[str, npt.NDArray[Any]]:
        if self.settings.merge is not None:
            heatmaps = merge_parts(heatmaps, self.settings.merge)
        everything: dict[str, npt.NDArray[Any] | None] = {
            HEATMAPS.stem: heatmaps,
            POSES.stem: poses,
            POSES_FRAME.stem: in_frame,
            BOXES.stem: crops.astype(np.float32),
            SILHOUETTES.stem: silhouettes,
        }
        asked = {CONTENTS[name].stem for name in self.contents}
        return {stem: frames for stem, frames in everything.items() if frames is not None and stem in asked}
