"""One pass over a video in four stages that overlap: decode, crop, estimate, write."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Union

import numpy as np
import numpy.typing as npt
import torch

from gaitext.errors import DataError, VideoError
from gaitext.execution.stages import Behind, ahead
from gaitext.extraction.assembly import Assembly
from gaitext.extraction.crops import crop_images, overlaps
from gaitext.extraction.report import ExtractReport, Records
from gaitext.pose import HEATMAP_SHAPE, PoseEstimator, check_heatmaps, decode_heatmaps
from gaitext.video.reading import read_frames

__all__ = ["OTHER_VIDEO", "Pipeline"]

OTHER_VIDEO = "are these the boxes of this video, and of this version of it (frame rate, cut)?"

#: A clip and the position in it of one frame.
Slot = tuple[Assembly, int]
#: Crops with their slots, or the slots alone, whose boxes lie outside the picture.
Cut = tuple[list[Slot], Union[torch.Tensor, None]]

#: Decoded frames that may wait to be cut, and batches that may wait for either neighbour.
_FRAMES, _BATCHES = 8, 2


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

    def __init__(
        self,
        clips: Sequence[Assembly],
        estimator: PoseEstimator,
        batch_size: int,
        records: Records,
        report: ExtractReport,
        progress: Callable[[int, int], None] | None = None,
        correct: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        self.correct = correct
        self.clips, self.estimator, self.batch_size = clips, estimator, batch_size
        self.records, self.report, self.progress = records, report, progress
        self.total = sum(clip.left for clip in clips)

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
