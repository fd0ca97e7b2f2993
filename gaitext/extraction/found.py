"""Boxes that a detector and the tracker find, kept so that they are found once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from gaitext.errors import DataError
from gaitext.extraction.boxes import Track, read_boxes
from gaitext.extraction.detect import Detector, detect_video
from gaitext.extraction.records import Entry
from gaitext.extraction.sources import Source
from gaitext.extraction.tracker import TrackerSettings, track
from gaitext.store import atomic_path, write_json
from gaitext.video import digest

__all__ = ["find_tracks"]


def find_tracks(
    source: Source, detector: Detector, out: Path, settings: TrackerSettings | None = None
) -> tuple[dict[int, Track], Entry]:
    """The persons in a video, from an earlier run's file or by looking.

    They are kept as ``out/boxes/<id>/<type>/<view>.csv``, a MOT-challenge file that
    :func:`~gaitext.extraction.read_boxes` and others read, beside a json that says what found
    them. A file made from this video by this detector and tracker is used again.

    Returns:
        Track id -> track, and what found them (for the records).

    Raises:
        VideoError: the video cannot be read to its end.
        DataError: nobody is in it.
    """
    settings = settings or TrackerSettings()
    boxes = out / "boxes" / f"{source.name}.csv"
    note = boxes.with_suffix(".found.json")
    found_by: Entry = {"detector": detector.settings, "tracker": settings.model_dump(mode="json")}
    made_with = json.loads(json.dumps({"video_digest": digest(source.path), **found_by}))
    if _read(note) == made_with and boxes.is_file():
        return read_boxes(boxes), found_by
    detections = list(detect_video(source.path, detector))
    tracks = track(detections, settings)
    if not tracks:
        seen = sum(bool(len(found)) for found in detections)
        raise DataError(
            f"no person could be followed: detections in {seen} of {len(detections)} frames",
            where=source.path,
            how="look at the video, lower the detector's score threshold or the tracker's min_length, or give --boxes",
        )
    # The note goes first and comes back last: a kill between leaves boxes without one.
    note.unlink(missing_ok=True)
    with atomic_path(boxes) as temporary:
        temporary.write_text("".join(_lines(tracks)), encoding="utf-8")
    write_json(note, made_with)
    return read_boxes(boxes), found_by


def _lines(tracks: dict[int, Track]) -> Iterator[str]:
    rows = [
        (frame, number, *box)
        for number, found in tracks.items()
        for frame, box in zip(found.frames.tolist(), found.boxes.tolist())
    ]
    for frame, number, *box in sorted(rows):
        yield f"{frame},{number}," + ",".join(f"{value:.2f}" for value in box) + ",1\n"


def _read(note: Path) -> Entry | None:
    try:
        loaded = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return loaded if isinstance(loaded, dict) else None
