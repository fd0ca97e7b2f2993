"""From a video and boxes to sequences of heatmaps and poses."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import gaitext
from gaitext.errors import DataError, VideoError
from gaitext.extraction.boxes import Track, read_boxes
from gaitext.extraction.manifest import Entry, Manifest, video_digest
from gaitext.extraction.plan import Clip, ExtractSettings, plan_clips
from gaitext.extraction.report import ExtractReport
from gaitext.extraction.run import OTHER_VIDEO, Part, Run
from gaitext.geometry import crop_boxes
from gaitext.pose import PoseEstimator, load_estimator
from gaitext.store import clear_staging
from gaitext.video import probe

__all__ = ["extract_video"]

logger = logging.getLogger(__name__)

_ELSEWHERE = "give this video other names (--id '{video}-{track}', say) or another --out"


def extract_video(
    video: str | Path,
    boxes: str | Path | dict[int, Track],
    estimator: str | PoseEstimator,
    out: str | Path,
    settings: ExtractSettings | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> ExtractReport:
    """Turn the tracked persons of a video into sequences that the toolboxes read (GaitHeat §3.2).

    Every box grows to a 3:4 crop, is cut from the frame in RGB with black outside, is resized to
    192×256, and becomes 17 heatmaps. Frames with a low mean keypoint score are dropped. Each clip
    becomes ``out/sequences/<id>/<type>/<view>/`` with four files of equal length:

    - ``0_heatmaps.pkl`` float16 [T, 17, 64, 48], as the estimator gave them,
    - ``1_poses.pkl`` float32 [T, 17, 3], x, y in heatmap pixels and score,
    - ``2_poses_frame.pkl`` float32 [T, 17, 3], x, y in frame pixels and score,
    - ``3_boxes.pkl`` float32 [T, 4], the crops as x, y, w, h in frame pixels.

    ``out/manifest.json`` records where each comes from. Sequences appear whole or not at all and
    are recorded one by one: run again after a kill, and what is finished is not done again.

    Args:
        video: the video file.
        boxes: a MOT-challenge file, or what :func:`~gaitext.extraction.read_boxes` returns.
        estimator: a specification for :func:`gaitext.pose.load_estimator`, or an estimator.
        out: output folder; several videos may share it.
        settings: names, cutting and filtering.
        progress: called with (crops done, crops to do) after every batch.

    Returns:
        What was written, found finished, and left out, with the reasons.

    Raises:
        VideoError: the video cannot be read as far as the boxes go; sequences that end before the
            damage are written.
        DataError: malformed boxes, boxes beyond the video, a leaf that another video's extraction
            made, or no sequence at all with enough usable frames.
        ConfigError: wrong settings or estimator.
        ShapeError: an estimator with other shapes.
        MissingDependencyError: PyAV or the estimator's library is not installed.
    """
    started = time.perf_counter()
    video, out = Path(video), Path(out)
    settings = settings or ExtractSettings()
    if not video.is_file():
        raise VideoError("no such file", where=video, how="check the path of the video")
    source = "boxes" if isinstance(boxes, dict) else str(boxes)
    tracks = boxes if isinstance(boxes, dict) else read_boxes(boxes)
    clips = plan_clips(tracks.values(), video, settings)
    if isinstance(estimator, str):
        estimator = load_estimator(estimator)
    manifest = Manifest(out / "manifest.json")
    report = ExtractReport()
    parts = _remaining(clips, video, estimator, settings, out, manifest, report)
    if parts:
        info = probe(video)
        _check_reach(parts, info.frames, video, source)
        # With a manifest there, a leaf that it does not name is one whose recording was cut off.
        manifest.create()
        run = Run(parts, estimator, settings, out, manifest, report, progress)
        run.over(video, source)
    report.seconds = time.perf_counter() - started
    if not report.written and not report.standing:
        listed = "; ".join(f"{leaf}: {why}" for leaf, why in report.skipped.items())
        raise DataError(
            f"no sequence could be made from it: {listed}",
            where=video,
            how="look at the crops: are the boxes on the persons, and is the network's normalisation right? "
            "Or lower --min-score or --min-frames",
        )
    for leaf, why in report.skipped.items():
        logger.warning("%s: not written: %s", leaf, why)
    return report


def _remaining(
    clips: Sequence[Clip],
    video: Path,
    estimator: PoseEstimator,
    settings: ExtractSettings,
    out: Path,
    manifest: Manifest,
    report: ExtractReport,
) -> list[Part]:
    """The clips that are still to be done; what stands already goes into the report."""
    digest = video_digest(video)
    parts = []
    for clip in clips:
        made_with = {
            "video_digest": digest,
            "track": clip.track,
            "boxes_digest": hashlib.sha256(clip.frames.tobytes() + clip.boxes.tobytes()).hexdigest(),
            "estimator": estimator.settings,
            "crop_scale": settings.crop_scale,
            "min_score": settings.min_score,
            "min_frames": settings.min_frames,
        }
        made_with = json.loads(json.dumps(made_with))  # as it reads back: lists, not tuples
        known = manifest.leaves.get(clip.leaf)
        folder = out / "sequences" / clip.leaf
        if known is not None and known["made_with"] == made_with and (known["skipped"] or folder.is_dir()):
            if known["skipped"]:
                report.skipped[clip.leaf] = known["skipped"]
            else:
                report.standing.append(clip.leaf)
            continue
        if known is None and folder.exists() and not manifest.path.exists():
            raise DataError("is there already, and not of this command's making", where=folder, how=_ELSEWHERE)
        if known is not None and not _same_origin(known, video, made_with):
            owner = known["made_with"]["track"]
            raise DataError(f"was made from track {owner} of {known['video']}", where=folder, how=_ELSEWHERE)
        clear_staging(out / "sequences", clip.leaf)
        entry: Entry = {
            "video": str(video),
            "clip": clip.number,
            "gaitext": gaitext.__version__,
            "made_with": made_with,
        }
        parts.append(Part(clip, crop_boxes(clip.boxes, scale=settings.crop_scale), entry, len(clip.frames)))
    mine = {clip.leaf for clip in clips}
    numbers = {clip.track for clip in clips}
    report.stale = [
        leaf
        for leaf, entry in manifest.leaves.items()
        if leaf not in mine
        and not entry["skipped"]
        and entry["made_with"]["video_digest"] == digest
        and entry["made_with"]["track"] in numbers
    ]
    for leaf in report.stale:
        logger.warning("%s holds frames of the same track, cut or named by other settings", leaf)
    return parts


def _same_origin(known: Entry, video: Path, made_with: Entry) -> bool:
    """Whether a recorded leaf may be replaced: it is of the same track of the same video.

    The same file, or a file of the same name and place with new content.
    """
    same = known["made_with"]["video_digest"] == made_with["video_digest"] or known["video"] == str(video)
    return same and bool(known["made_with"]["track"] == made_with["track"])


def _check_reach(parts: Sequence[Part], frames: int | None, video: Path, source: str) -> None:
    """Raise where a box lies beyond the last frame, before any work is done."""
    for part in parts:
        last = int(part.clip.frames[-1])
        if frames is not None and last > frames:
            raise DataError(
                f"track {part.clip.track} has a box in frame {last}, but {video} has {frames} frames",
                where=source,
                how=OTHER_VIDEO,
            )
