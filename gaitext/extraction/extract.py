"""From videos and boxes to sequences of heatmaps and poses: of one video, or of many, on any number of machines."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch

import gaitext
from gaitext.errors import DataError, GaitextError, VideoError, import_extra
from gaitext.execution import worker_index
from gaitext.execution.memory import keep_freed_memory
from gaitext.extraction.boxes import Boxes, Source, find_tracks
from gaitext.extraction.clips import CONTENT, Clip, Content, ExtractReport, ExtractSettings, leaf_name, plan_clips
from gaitext.extraction.detect import Detector, load_detector
from gaitext.extraction.pipeline import OTHER_VIDEO, ClipWriter, Pipeline
from gaitext.extraction.tracker import Track, TrackerSettings, longest
from gaitext.geometry import crop_boxes
from gaitext.making import (
    Entry,
    Progress,
    Recipe,
    Records,
    as_read_back,
    made_with,
    make_all,
    refuse_twins,
    video_digest,
)
from gaitext.pose import HEATMAP_SHAPE, PoseEstimator, load_estimator
from gaitext.segmentation import SCALE, Segmenter, load_segmenter
from gaitext.store import clear_staging
from gaitext.store.contract import CONTENTS
from gaitext.video import digest, probe

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from gaitext.making import Work

log = logging.getLogger(__name__)

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


def extract_dataset(
    sources: Sequence[Source],
    estimator: str | PoseEstimator,
    out: str | Path,
    settings: ExtractSettings | None = None,
    *,
    detector: str | Detector | None = None,
    tracker: TrackerSettings | None = None,
    segmenter: str | Segmenter = "bundled",
    correction: Callable[[], Correction] | None = None,
    **work: Unpack[Work],
) -> ExtractReport:
    """Extract every source, each whole in one process, and say what became of all of them.

    A source that cannot be used is reported and stops nobody else. A worker that is lost has its
    sources done again. Finished sequences are not done again, now or in a later run.

    Args:
        sources: what :func:`~gaitext.extraction.find_sources` found.
        estimator: its specification; an estimator itself only with ``workers=0``, engine ``local``.
        out: output folder, on a file system that all workers see.
        settings: names, cutting, filtering and form.
        detector: finds the boxes of sources that have none: a specification for
            :func:`~gaitext.extraction.detect.load_detector`, or a detector; None: the one in the package. Its
            boxes are kept in ``out/boxes``.
        tracker: how its boxes are joined to tracks.
        segmenter: makes the masks where ``settings.content`` asks for silhouettes: a specification for
            :func:`gaitext.segmentation.load_segmenter`, or a segmenter.
        correction: called once in each worker; gives what is done to crops before the estimator sees them.
            Picklable.
        work: ``resume``, ``workers``, ``engine``, ``shard``, ``quiet``, ``progress``, see
            :class:`gaitext.making.Work`.

    Returns:
        The report of all sources; ``failed`` names those that could not be used. It is also in
        ``out/manifest.json``, unless this is one shard of several.

    Raises:
        ConfigError: wrong settings, estimator, detector or engine.
        DataError: two sources for one sequence.
        MissingDependencyError: PyAV, or what the estimator, detector or engine needs, is missing.
    """
    settings = settings or ExtractSettings()
    import_extra("av", "video", "reading a video")  # once, and not as a failure of every video
    names = Counter(source.name for source in sources)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise DataError(f"{names[twice[0]]} sources are called {twice[0]}", how="give each a name of its own")
    refuse_twins(
        ((leaf_name(settings, source.path, source.place, track=1, clip=1), source.path) for source in sources),
        become="be written to",
        how="put {id}, {type}, {view} or {video} into --id, --type or --view",
    )
    recipe = Extraction(Path(out), settings, estimator, detector, correction, tracker, segmenter)
    return make_all(recipe, sources, **work)


def extract_video(
    video: str | Path,
    boxes: str | Path | dict[int, Track],
    estimator: str | PoseEstimator,
    out: str | Path,
    settings: ExtractSettings | None = None,
    *,
    segmenter: str | Segmenter = "bundled",
    correction: Correction | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> ExtractReport:
    """Turn the tracked persons of a video into sequences that the toolboxes read (GaitHeat §3.2).

    Every box grows to a crop of the estimator's shape (3:4), is cut from the frame in RGB with
    black outside, is resized to 192×256, and becomes 17 heatmaps. Frames with a low mean keypoint
    score are dropped. Each clip becomes ``out/sequences/<id>/<type>/<view>/`` with four files of
    equal length: heatmaps as the estimator gave them (or in another form, or merged, see
    :class:`~gaitext.extraction.ExtractSettings`), poses in heatmap and in frame pixels, and boxes, as
    :data:`gaitext.store.contract.CONTENTS` names them and says what they hold.

    ``out/records/<id>/<type>/<view>.json`` records where each comes from. Sequences appear whole or
    not at all and are recorded one by one: run again after a kill, and what is finished is not done
    again. Memory does not grow with the video's length.

    Args:
        video: a video file, or a folder of pictures.
        boxes: a file that :func:`~gaitext.extraction.read_boxes` reads, what it returned, or ``"full"``:
            the person fills the frame.
        estimator: a specification for :func:`gaitext.pose.load_estimator`, or an estimator.
        out: output folder; several videos may share it.
        settings: names, cutting, filtering, contents and form.
        segmenter: as of :func:`extract_dataset`.
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
    started, report = time.perf_counter(), ExtractReport()
    given: Boxes = boxes if isinstance(boxes, dict) else ("full" if boxes == "full" else Path(boxes))
    recipe = Extraction(Path(out), settings or ExtractSettings(), estimator, segmenter=segmenter)
    recipe.correction = None if correction is None else lambda: correction
    try:
        recipe.extract(Source(Path(video), boxes=given), report, True, progress)
    finally:
        report.seconds = time.perf_counter() - started
        if report.written or report.standing or report.skipped:
            recipe.conclude(report)
    for leaf, why in report.skipped.items():
        log.warning("%s: not written: %s", leaf, why)
    for leaf, why in report.doubtful.items():
        log.warning("%s: are %s the boxes of %s? %s", leaf, _named(given), video, why)
    return report


@dataclass
class Extraction(Recipe[Source, ExtractReport]):
    """How a video becomes sequences; see :func:`extract_dataset` for the fields."""

    out: Path
    settings: ExtractSettings
    estimator: str | PoseEstimator
    detector: str | Detector | None = None
    correction: Callable[[], Correction] | None = None
    tracker: TrackerSettings | None = None
    segmenter: str | Segmenter = "bundled"

    report = ExtractReport
    label, steps = "videos", "crops"

    def name(self, source: Source) -> str:
        return source.name

    def load(self, pool: bool) -> None:
        """Load what this process works with, on a GPU of its own where there are several."""
        keep_freed_memory()
        if pool:
            # Before CUDA starts in this process, and for every library in it. Ray has done so already.
            visible = os.environ.get("CUDA_VISIBLE_DEVICES")
            devices = visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
            if len(devices) > 1:
                os.environ["CUDA_VISIBLE_DEVICES"] = devices[worker_index() % len(devices)]
        _ = self._estimator, self._correction
        if self.detector is not None:
            _ = self._detector
        if self.settings.content is not None and "silhouettes" in self.settings.content:
            _ = self._segmenter

    # What a worker loads once and uses for all its videos.

    @cached_property
    def _estimator(self) -> PoseEstimator:
        return load_estimator(self.estimator) if isinstance(self.estimator, str) else self.estimator

    @cached_property
    def _correction(self) -> Correction | None:
        return None if self.correction is None else self.correction()

    @cached_property
    def _segmenter(self) -> Segmenter:
        return load_segmenter(self.segmenter) if isinstance(self.segmenter, str) else self.segmenter

    @cached_property
    def _detector(self) -> Detector:
        chosen = "bundled" if self.detector is None else self.detector
        return load_detector(chosen) if isinstance(chosen, str) else chosen

    def make(self, source: Source, resume: bool, progress: Progress | None) -> ExtractReport:
        report = ExtractReport()
        ours = logging.getLogger("gaitext.extraction")
        level = ours.level
        ours.setLevel(logging.ERROR)  # the report says the same
        try:
            self.extract(source, report, resume, progress)
        except GaitextError as error:  # what was finished before it stands, and is reported, too
            report.fail(source.name, error)
        finally:
            ours.setLevel(level)
        return report

    def extract(self, source: Source, report: ExtractReport, resume: bool, progress: Progress | None) -> None:
        """Write the sequences of a source; ``report`` is filled in, also when an error ends the work."""
        video, boxes = source.path, _named(source.boxes)
        if not video.exists():
            raise VideoError("no such file or folder", where=video, how="check the path of the video")
        tracks, found_by = source.tracks(), None
        if tracks is None:
            tracks, found_by = find_tracks(source, self._detector, self.out, self.tracker)
        clips = self._clips(source, tracks, report)
        estimator, records, info = self._estimator, Records(self.out), probe(video)
        contents = self._contents(source)
        todo = self._remaining(clips, source, info.pixel_aspect, found_by, contents, report, resume)
        if todo:
            _check_reach(todo, info.frames, video, boxes)
            self._check_space(todo, estimator, contents)
            # With a records folder there, a leaf it does not name is one whose recording was cut off.
            records.folder.mkdir(parents=True, exist_ok=True)
            batch = self.settings.batch_size or getattr(estimator, "batch_size", None) or _BATCH
            correct = None if self._correction is None else self._correction.correct
            segmenter = self._segmenter if "silhouettes" in contents else None
            pipeline = Pipeline(todo, estimator, batch, records, report, progress, correct, segmenter)
            pipeline.over(video, boxes)
        if not report.written and not report.standing:
            listed = "; ".join(f"{leaf}: {why}" for leaf, why in report.skipped.items())
            raise DataError(
                f"no sequence could be made from it: {listed}",
                where=video,
                how=f"look at the video: are its people large, sharp and whole enough? {_doubts(source, boxes)}"
                "Or lower --min-score or --min-frames",
            )

    def _contents(self, source: Source) -> tuple[Content, ...]:
        """Which files the source's leaves get."""
        if self.settings.content is not None:
            return self.settings.content
        if source.boxes is not None:
            return CONTENT
        detector = self.detector.partition("?")[0] if isinstance(self.detector, str) else self.detector
        return get_args(Content) if detector in (None, "bundled") else CONTENT

    def _clips(self, source: Source, tracks: dict[int, Track], report: ExtractReport) -> list[Clip]:
        """The clips of the tracks that are wanted; the others go into the report."""
        which = self.settings.tracks or ("all" if source.place is None else "longest")
        wanted = list(tracks.values())
        if which == "longest" and len(tracks) > 1:
            kept, others = longest(tracks)
            wanted = [kept]
            for track in others:
                report.left_out[f"{source.name} track {track.id}"] = len(track.frames)
        return plan_clips(wanted, source.path, self.settings, source.place)

    def _remaining(
        self,
        clips: Sequence[Clip],
        source: Source,
        pixel_aspect: Fraction,
        found_by: Entry | None,
        contents: tuple[Content, ...],
        report: ExtractReport,
        resume: bool,
    ) -> list[ClipWriter]:
        """The clips that are still to be done; what stands already goes into the report."""
        video, settings, records = source.path, self.settings, Records(self.out)
        scale = settings.crop_scale or _SCALE["full" if source.boxes == "full" else "person"]
        # Boxes and crops are in stored pixels; the estimator sees what is shown.
        height, width = self._estimator.input_size
        aspect = width / height / float(pixel_aspect)
        recognised, todo = digest(video), []
        for clip in clips:
            decided = self._decides(clip, recognised, scale, pixel_aspect, found_by, contents)
            known, folder = records.get(clip.leaf), self.out / "sequences" / clip.leaf
            same = known is not None and made_with(known) == decided
            if resume and known is not None and same and (known["skipped"] or folder.is_dir()):
                if known["skipped"]:
                    report.skipped[clip.leaf] = known["skipped"]
                else:
                    report.standing.append(clip.leaf)
                continue
            if known is None and folder.exists() and not records.folder.exists():
                raise DataError("is there already, and not of this command's making", where=folder, how=_ELSEWHERE)
            if known is not None and not _same_origin(known, video, decided):
                owner = known["made_with"]["track"]
                raise DataError(f"was made from track {owner} of {known['video']}", where=folder, how=_ELSEWHERE)
            clear_staging(self.out / "sequences", clip.leaf)
            records.clear(clip.leaf)
            entry: Entry = {
                "video": os.path.abspath(video),
                "sha256": recognised,
                "clip": clip.number,
                "gaitext": gaitext.__version__,
                "made_with": decided,
            }
            crops = crop_boxes(clip.boxes, scale=scale, aspect=aspect)
            squares = crop_boxes(clip.boxes, scale=SCALE, aspect=1 / float(pixel_aspect))
            todo.append(ClipWriter(clip, crops, squares, entry, settings, contents, self.out))
        return todo

    def _decides(
        self,
        clip: Clip,
        recognised: str,
        scale: float,
        pixel_aspect: Fraction,
        found_by: Entry | None,
        contents: tuple[Content, ...],
    ) -> Entry:
        """All that decides a clip's sequence."""
        settings, correction = self.settings, self._correction
        decided = {
            "video_digest": recognised,
            "track": clip.track,
            "boxes_digest": hashlib.sha256(clip.frames.tobytes() + clip.boxes.tobytes()).hexdigest(),
            "detector": found_by,
            "estimator": self._estimator.settings,
            "crop_scale": scale,
            "min_score": settings.min_score,
            "min_frames": settings.min_frames,
            "form": settings.form,
            "merge": settings.merge,
        }
        if correction is not None:  # so that records without one stay as they are
            decided["corrector"] = correction.settings
        if contents != CONTENT:
            decided["content"] = contents
        if "silhouettes" in contents:
            decided["segmenter"] = self._segmenter.settings
        if pixel_aspect != 1:
            decided["pixel_aspect"] = str(pixel_aspect)
        return as_read_back(decided)

    def _check_space(self, todo: Sequence[ClipWriter], estimator: PoseEstimator, contents: tuple[Content, ...]) -> None:
        """Raise where the sequences cannot fit on the disk, before any work is done."""
        size = getattr(estimator, "heatmap_size", HEATMAP_SHAPE[1:])
        # What a compact form takes depends on the heatmaps; a tenth is less than it ever did.
        share = 1.0 if self.settings.form == "plain" else 0.1
        maps = int(np.prod(size)) * 2 * (17 if self.settings.merge is None else 1) * share
        each = sum(maps if name == "heatmaps" else CONTENTS[name].frame_bytes for name in contents)
        needed = each * sum(writer.left for writer in todo)
        self.out.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.out).free
        if needed > free:
            raise DataError(
                f"its sequences need {needed / 1e6:.0f} MB and {free / 1e6:.0f} MB are free",
                where=self.out,
                how="make room, or take a smaller form (--form compact, --merge) and run the same command again",
            )

    def conclude(self, report: ExtractReport) -> None:
        """Collect the records, and add to ``report`` what is left of other settings."""
        entries = Records(self.out).write_manifest(report.failed, left_out=report.left_out)
        mine = {*report.written, *report.standing, *report.skipped}
        videos = {_origin(entries[leaf]) for leaf in mine if leaf in entries}
        report.stale = [
            leaf
            for leaf, entry in entries.items()
            if leaf not in mine and not entry["skipped"] and _origin(entry) in videos
        ]


def _named(boxes: Boxes) -> str:
    """Boxes as people know them, in errors."""
    return str(boxes) if isinstance(boxes, Path) else "its boxes"


def _doubts(source: Source, boxes: str) -> str:
    """What to look at besides, where crops show nobody."""
    if source.boxes is None:
        return "Are the boxes that were found, in OUT/boxes, on them? "
    return f"Is {boxes} of this video, are the boxes on the persons, and is the network's normalisation right? "


def _origin(entry: Entry) -> tuple[str, int]:
    return video_digest(entry), entry["made_with"]["track"]


def _same_origin(known: Entry, video: Path, decided: Entry) -> bool:
    """Whether a recorded leaf may be replaced: it is of the same track of the same video.

    The same file, or a file of the same name and place with new content. A detector numbers tracks
    anew, so its tracks of one video are taken for the same.
    """
    same = video_digest(known) == decided["video_digest"] or known["video"] == os.path.abspath(video)
    detected = decided["detector"] is not None or known["made_with"].get("detector") is not None
    return same and (detected or bool(known["made_with"]["track"] == decided["track"]))


def _check_reach(todo: Sequence[ClipWriter], frames: int | None, video: Path, boxes: str) -> None:
    """Raise where a box lies beyond the last frame, before any work is done."""
    for writer in todo:
        last = int(writer.clip.frames[-1])
        if frames is not None and last > frames:
            raise DataError(
                f"track {writer.clip.track} has a box in frame {last}, but {video} has {frames} frames",
                where=boxes,
                how=OTHER_VIDEO,
            )
