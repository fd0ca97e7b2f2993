"""A clip on its way from crops to a leaf on disk."""

from __future__ import annotations

import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitext.extraction.plan import Clip, ExtractSettings
from gaitext.extraction.report import Entry, ExtractReport, Records
from gaitext.geometry import apply, crop_matrices, invert
from gaitext.making import frame_ranges
from gaitext.skeleton import merge_parts
from gaitext.store import LeafWriter
from gaitext.store.contract import BOXES, HEATMAPS, POSES, POSES_FRAME

__all__ = ["Assembly"]

#: The mean score of a person's keypoints below which GaitHeat drops a frame (§3.2).
_POOR = 0.4


class Assembly:
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
