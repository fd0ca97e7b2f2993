"""From one video and boxes to sequences of heatmaps and poses."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

import gaitext
from gaitext.errors import DataError, VideoError
from gaitext.extraction.assembly import Assembly
from gaitext.extraction.coco import Track
from gaitext.extraction.pipeline import OTHER_VIDEO, Pipeline
from gaitext.extraction.plan import Clip, ExtractSettings, plan_clips
from gaitext.extraction.report import Entry, ExtractReport, Records
from gaitext.extraction.sources import Boxes, Source
from gaitext.extraction.tracker import longest
from gaitext.geometry import crop_boxes
from gaitext.making import made_with as recorded
from gaitext.making import video_digest
from gaitext.pose import HEATMAP_SHAPE, PoseEstimator, load_estimator
from gaitext.store import clear_staging
from gaitext.video.reading import digest, probe

__all__ = ["Correction", "extract_source", "extract_video"]

logger = logging.getLogger(__name__)

_ELSEWHERE = "give this video other names (--id '{video}-{track}', say) or another --out"
#: GaitHeat grows boxes by this; a box that is the whole frame is not grown.
_SCALE = {"person": 1.25, "full": 1.0}
_BATCH = 32


@dataclass(frozen=True)
class Correction:
    """What is done to crops before the estimator sees them.

    Attributes:
        correct: of [N, 3, H, W] in 0..1, keeping the shape.
        settings: what decides its result, as plain JSON values (a digest of weights, say), for the records.
    """

    correct: Callable[[torch.Tensor], torch.Tensor]
    settings: dict[str, Any]


def extract_video(
    video: str | Path,
    boxes: str | Path | dict[int, Track],
    estimator: str | PoseEstimator,
    out: str | Path,
    settings: ExtractSettings | None = None,
    *,
    correction: Correction | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ExtractReport:
    """Turn the tracked persons of a video into sequences that the toolboxes read (GaitHeat §3.2).

    Every box grows to a crop of the estimator's shape (3:4), is cut from the frame in RGB with
    black outside, is resized to 192×256, and becomes 17 heatmaps. Frames with a low mean keypoint
    score are dropped. Each clip becomes ``out/sequences/<id>/<type>/<view>/`` with four files of
    equal length:

    - ``0_heatmaps.pkl`` float16 [T, 17, 64, 48], as the estimator gave them (or in another form,
      or merged, see :class:`~gaitext.extraction.ExtractSettings`),
    - ``1_poses.pkl`` float32 [T, 17, 3], x, y in heatmap pixels and score,
    - ``2_poses_frame.pkl`` float32 [T, 17, 3], x, y in frame pixels and score,
    - ``3_boxes.pkl`` float32 [T, 4], the crops as x, y, w, h in frame pixels.

    ``out/records/<id>/<type>/<view>.json`` records where each comes from. Sequences appear whole or
    not at all and are recorded one by one: run again after a kill, and what is finished is not done
    again. Memory does not grow with the video's length.

    Args:
        video: a video file, or a folder of pictures.
        boxes: a file that :func:`~gaitext.extraction.read_boxes` reads, what it returned, or ``"full"``:
            the person fills the frame.
        estimator: a specification for :func:`gaitext.pose.load_estimator`, or an estimator.
        out: output folder; several videos may share it.
        settings: names, cutting, filtering and form.
        correction: what is done to crops before the estimator sees them; recorded.
        progress: called with (crops done, crops to do) after every batch.

    Returns:
        What was written, found finished, and left out, with the reasons.

    Raises:
        VideoError: the video cannot be read as far as the boxes go; sequences that end before the
            damage are written.
        DataError: malformed boxes, boxes beyond the video, a leaf that another video's extraction
            made, a full disk, or no sequence at all with enough usable frames.
        ConfigError: wrong settings or estimator.
        ShapeError: an estimator with other shapes.
        MissingDependencyError: PyAV or the estimator's library is not installed.
    """
    video = Path(video)
    given: Boxes = boxes if isinstance(boxes, dict) else ("full" if boxes == "full" else Path(boxes))
    report = ExtractReport()
    try:
        source = Source(video, boxes=given)
        extract_source(source, estimator, out, settings, report=report, correction=correction, progress=progress)
    finally:
        if report.written or report.standing or report.skipped:
            Records(out).conclude(report)
    return report


def extract_source(
    source: Source,
    estimator: str | PoseEstimator,
    out: str | Path,
    settings: ExtractSettings | None = None,
    *,
    report: ExtractReport,
    resume: bool = True,
    tracks: dict[int, Track] | None = None,
    found_by: Entry | None = None,
    correction: Correction | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """:func:`extract_video` for a source that may stand in a tree; ``manifest.json`` is not written.

    Args:
        source: what :func:`~gaitext.extraction.find_sources` found.
        estimator, out, settings, correction, progress: as for :func:`extract_video`.
        report: filled in, also when an error ends the work.
        resume: keep what stands with the same settings.
        tracks: its boxes, where they are not ``source``'s own.
        found_by: the settings of the detector that found ``tracks``, for the records.
    """
    started = time.perf_counter()
    out, settings = Path(out), settings or ExtractSettings()
    video = source.path
    if not video.exists():
        raise VideoError("no such file or folder", where=video, how="check the path of the video")
    boxes = "its boxes" if not isinstance(source.boxes, Path) else str(source.boxes)
    if tracks is None:
        tracks = source.tracks()
    if tracks is None:
        raise DataError("has no boxes", where=video, how="give --boxes (a file, a folder, or full) or --detector")
    clips = _clips(source, tracks, settings, report)
    if isinstance(estimator, str):
        estimator = load_estimator(estimator)
    records = Records(out)
    info = probe(video)
    todo = _remaining(
        clips, source, info.pixel_aspect, found_by, estimator, settings, out, records, report, resume, correction
    )
    if todo:
        _check_reach(todo, info.frames, video, boxes)
        _check_space(todo, estimator, settings, out)
        # With a records folder there, a leaf it does not name is one whose recording was cut off.
        records.folder.mkdir(parents=True, exist_ok=True)
        batch = settings.batch_size or getattr(estimator, "batch_size", None) or _BATCH
        change = None if correction is None else correction.correct
        Pipeline(todo, estimator, batch, records, report, progress, change).over(video, boxes)
    report.seconds = time.perf_counter() - started
    if not report.written and not report.standing:
        listed = "; ".join(f"{leaf}: {why}" for leaf, why in report.skipped.items())
        raise DataError(
            f"no sequence could be made from it: {listed}",
            where=video,
            how=f"look at the crops: is {boxes} of this video, are the boxes on the persons, and is the network's "
            "normalisation right? Or lower --min-score or --min-frames",
        )
    for leaf, why in report.skipped.items():
        logger.warning("%s: not written: %s", leaf, why)
    for leaf, why in report.doubtful.items():
        logger.warning("%s: are %s the boxes of %s? %s", leaf, boxes, video, why)


def _clips(source: Source, tracks: dict[int, Track], settings: ExtractSettings, report: ExtractReport) -> list[Clip]:
    """The clips of the tracks that are wanted; the others go into the report."""
    place = source.place
    which = settings.tracks or ("all" if place is None else "longest")
    wanted = list(tracks.values())
    if which == "longest" and len(tracks) > 1:
        kept, others = longest(tracks)
        wanted = [kept]
        for track in others:
            report.left_out[f"{source.name} track {track.id}"] = len(track.frames)
    return plan_clips(wanted, source.path, settings, place)


def _remaining(
    clips: Sequence[Clip],
    source: Source,
    pixel_aspect: Fraction,
    found_by: Entry | None,
    estimator: PoseEstimator,
    settings: ExtractSettings,
    out: Path,
    records: Records,
    report: ExtractReport,
    resume: bool,
    correction: Correction | None,
) -> list[Assembly]:
    """The clips that are still to be done; what stands already goes into the report."""
    video, scale = source.path, settings.crop_scale or _SCALE["full" if source.boxes == "full" else "person"]
    # Boxes and crops are in stored pixels; the estimator sees what is shown.
    aspect = estimator.input_size[1] / estimator.input_size[0] / float(pixel_aspect)
    recognised = digest(video)
    todo = []
    for clip in clips:
        made_with = {
            "video_digest": recognised,
            "track": clip.track,
            "boxes_digest": hashlib.sha256(clip.frames.tobytes() + clip.boxes.tobytes()).hexdigest(),
            "detector": found_by,
            "estimator": estimator.settings,
            "crop_scale": scale,
            "min_score": settings.min_score,
            "min_frames": settings.min_frames,
            "form": settings.form,
            "merge": settings.merge,
        }
        if correction is not None:  # so that records without one stay as they are
            made_with["corrector"] = correction.settings
        if pixel_aspect != 1:
            made_with["pixel_aspect"] = str(pixel_aspect)
        made_with = json.loads(json.dumps(made_with))  # as it reads back: lists, not tuples
        known = records.get(clip.leaf)
        folder = out / "sequences" / clip.leaf
        same = known is not None and recorded(known) == made_with
        if resume and known is not None and same and (known["skipped"] or folder.is_dir()):
            if known["skipped"]:
                report.skipped[clip.leaf] = known["skipped"]
            else:
                report.standing.append(clip.leaf)
            continue
        if known is None and folder.exists() and not records.folder.exists():
            raise DataError("is there already, and not of this command's making", where=folder, how=_ELSEWHERE)
        if known is not None and not _same_origin(known, video, made_with):
            owner = known["made_with"]["track"]
            raise DataError(f"was made from track {owner} of {known['video']}", where=folder, how=_ELSEWHERE)
        clear_staging(out / "sequences", clip.leaf)
        records.clear(clip.leaf)
        entry: Entry = {
            "video": os.path.abspath(video),
            "sha256": recognised,
            "clip": clip.number,
            "gaitext": gaitext.__version__,
            "made_with": made_with,
        }
        crops = crop_boxes(clip.boxes, scale=scale, aspect=aspect)
        todo.append(Assembly(clip, crops, entry, settings, out))
    return todo


def _same_origin(known: Entry, video: Path, made_with: Entry) -> bool:
    """Whether a recorded leaf may be replaced: it is of the same track of the same video.

    The same file, or a file of the same name and place with new content. A detector numbers tracks
    anew, so its tracks of one video are taken for the same.
    """
    same = video_digest(known) == made_with["video_digest"] or known["video"] == os.path.abspath(video)
    detected = made_with["detector"] is not None or known["made_with"].get("detector") is not None
    return same and (detected or bool(known["made_with"]["track"] == made_with["track"]))


def _check_reach(todo: Sequence[Assembly], frames: int | None, video: Path, boxes: str) -> None:
    """Raise where a box lies beyond the last frame, before any work is done."""
    for assembly in todo:
        last = int(assembly.clip.frames[-1])
        if frames is not None and last > frames:
            raise DataError(
                f"track {assembly.clip.track} has a box in frame {last}, but {video} has {frames} frames",
                where=boxes,
                how=OTHER_VIDEO,
            )


def _check_space(todo: Sequence[Assembly], estimator: PoseEstimator, settings: ExtractSettings, out: Path) -> None:
    """Raise where the sequences cannot fit on the disk, before any work is done."""
    size = getattr(estimator, "heatmap_size", HEATMAP_SHAPE[1:])
    # What a compact form takes depends on the heatmaps; a tenth is less than it ever did.
    share = 1.0 if settings.form == "plain" else 0.1
    each = int(np.prod(size)) * 2 * (17 if settings.merge is None else 1) * share
    needed = each * sum(assembly.left for assembly in todo)
    out.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(out).free
    if needed > free:
        raise DataError(
            f"its sequences need {needed / 1e6:.0f} MB and {free / 1e6:.0f} MB are free",
            where=out,
            how="make room, or take a smaller form (--form compact, --merge) and run the same command again",
        )
