"""Many videos: the same extraction over a pool of processes or machines."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from gaitext.errors import DataError, GaitextError, import_extra
from gaitext.execution import Outcome, map_sequences, parse_engine, worker_index
from gaitext.execution.memory import keep_freed_memory
from gaitext.extraction.detect import Detector, load_detector
from gaitext.extraction.detected import find_tracks
from gaitext.extraction.extract import Correction, extract_source
from gaitext.extraction.plan import ExtractSettings, leaf_name
from gaitext.extraction.report import ExtractReport, Records
from gaitext.extraction.sources import Source
from gaitext.making import claim
from gaitext.pose import PoseEstimator, load_estimator
from gaitext.store import locked_item

__all__ = ["extract_dataset"]

logger = logging.getLogger(__name__)


@dataclass
class _Tools:
    """What a worker loads once and uses for all its videos."""

    estimator: PoseEstimator
    detector: Detector | None
    correction: Correction | None


#: This process's tools, none or one: a process works for one extraction at a time.
_tools: list[_Tools] = []


def extract_dataset(
    sources: Sequence[Source],
    estimator: str | PoseEstimator,
    out: str | Path,
    settings: ExtractSettings | None = None,
    *,
    detector: str | Detector | None = None,
    correction: Callable[[], Correction] | None = None,
    resume: bool = True,
    workers: int = 0,
    engine: str = "local",
    shard: str | None = None,
    quiet: bool = False,
    progress: Callable[[int, int], None] | None = None,
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
            :func:`~gaitext.extraction.detect.load_detector`, or a detector. Its boxes are kept in
            ``out/boxes``.
        correction: called once in each worker; gives what is done to crops before the estimator sees them.
            Picklable.
        resume: keep what stands with the same settings; False makes everything again.
        workers, engine, shard: see :func:`gaitext.execution.map_sequences`.
        quiet: no progress bar.
        progress: of a single source, as for :func:`~gaitext.extraction.extract_video`.

    Returns:
        The report of all sources; ``failed`` names those that could not be used. It is also in
        ``out/manifest.json``, unless this is one shard of several.

    Raises:
        ConfigError: wrong settings, estimator, detector or engine.
        DataError: two sources for one sequence.
        MissingDependencyError: PyAV, or what the estimator, detector or engine needs, is missing.
    """
    started = time.perf_counter()
    out, settings = Path(out), settings or ExtractSettings()
    import_extra("av", "video", "reading a video")  # once, and not as a failure of every video
    names = Counter(source.name for source in sources)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise DataError(f"{names[twice[0]]} sources are called {twice[0]}", how="give each a name of its own")
    _refuse_twins(sources, settings)
    claim(out)
    here = workers == 0 and parse_engine(engine).kind == "local"
    work = partial(_extract_one, out, settings, resume, progress if here and len(sources) == 1 else None)
    outcomes = map_sequences(
        work,
        list(sources),
        workers=workers,
        engine=engine,
        shard=shard,
        initialise=_load,
        initialise_arguments=(estimator, detector, correction, workers > 0),
        label="videos",
        quiet=quiet or len(sources) == 1,
    )
    _tools.clear()
    report = ExtractReport.together(_reported(outcome) for outcome in outcomes)
    report.seconds = time.perf_counter() - started
    if shard is None:
        Records(out).conclude(report)
    return report


def _reported(outcome: Outcome[Source, ExtractReport]) -> ExtractReport:
    """A source's report; one that was lost with its worker, or met an error of no kind of ours, failed."""
    if outcome.result is not None:
        return outcome.result
    return ExtractReport(failed={outcome.item.name: f"{type(outcome.error).__name__}: {outcome.error}"})


def _refuse_twins(sources: Sequence[Source], settings: ExtractSettings) -> None:
    """Raise where two sources' sequences would be the same: whichever came last would win."""
    owners: dict[str, Source] = {}
    for source in sources:
        leaf = leaf_name(settings, source.path, source.place, track=1, clip=1)
        other = owners.setdefault(leaf, source)
        if other is not source:
            raise DataError(
                f"{other.path} and {source.path} would both be written to {leaf}",
                how="put {id}, {type}, {view} or {video} into --id, --type or --view",
            )


def _load(
    estimator: str | PoseEstimator,
    detector: str | Detector | None,
    correction: Callable[[], Correction] | None,
    own_gpu: bool,
) -> None:
    """Load what this process works with, on a GPU of its own where there are several."""
    keep_freed_memory()
    if own_gpu:
        # Before CUDA starts in this process, and for every library in it. Ray has done so already.
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        devices = visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
        if len(devices) > 1:
            os.environ["CUDA_VISIBLE_DEVICES"] = devices[worker_index() % len(devices)]
    loaded = _Tools(
        load_estimator(estimator) if isinstance(estimator, str) else estimator,
        load_detector(detector) if isinstance(detector, str) else detector,
        None if correction is None else correction(),
    )
    _tools[:] = [loaded]


def _extract_one(
    out: Path,
    settings: ExtractSettings,
    resume: bool,
    progress: Callable[[int, int], None] | None,
    source: Source,
) -> ExtractReport:
    (tools,) = _tools
    log = logging.getLogger("gaitext.extraction")
    level = log.level
    log.setLevel(logging.ERROR)  # the report says the same
    report = ExtractReport()
    try:
        with locked_item(out, source.name):
            tracks = found_by = None
            if source.boxes is None and tools.detector is not None:
                tracks, found_by = find_tracks(source, tools.detector, out)
            extract_source(
                source,
                tools.estimator,
                out,
                settings,
                report=report,
                resume=resume,
                tracks=tracks,
                found_by=found_by,
                correction=tools.correction,
                progress=progress,
            )
    except GaitextError as error:
        report.failed[source.name] = str(error)
    finally:
        log.setLevel(level)
    return report
