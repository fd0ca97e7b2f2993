"""Boxes that a detector and the tracker find, kept so that they are found once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from gaitext.errors import DataError
from gaitext.extraction.coco import Track, read_boxes
from gaitext.extraction.detect import Detector, detect_video
from gaitext.extraction.report import Entry
from gaitext.extraction.sources import Source, box_name
from gaitext.extraction.tracker import TrackerSettings, track
from gaitext.store import atomic_path, clear_temporaries, write_json
from gaitext.video.reading import digest

__all__ = ["find_tracks"]


def find_tracks(
    source: Source, detector: Detector, out: Path, settings: TrackerSettings | None = None
) -> tuple[dict[int, Track], Entry]:
    """The persons in a video, from an earlier run's file or by looking.

    They are kept as ``out/boxes/<id>/<type>/<view>.csv``, a MOT-challenge file that
    :func:`~gaitext.extraction.read_boxes` and others read, beside a json that says what found
    them. A file made from this video by this detector and tracker is used again; one that was
    changed by hand since is used whatever the detector, and never replaced.

    Returns:
        Track id -> track, and what found them (for the records).

    Raises:
        VideoError: the video cannot be read to its end.
        DataError: nobody is in it, or a file that was changed by hand belongs to another video.
    """
    settings = settings or TrackerSettings()
    boxes = out / "boxes" / f"{box_name(source)}.csv"
    note = boxes.with_suffix(".found.json")
    found_by: Entry = {"detector": detector.settings, "tracker": settings.model_dump(mode="json")}
    made_with = json.loads(json.dumps({"video_digest": digest(source.path), **found_by}))
    known = _read(note)
    if known is not None and boxes.is_file():
        if known.get("boxes_sha256") != _sha256(boxes):
            if known.get("made_with", {}).get("video_digest") == made_with["video_digest"]:
                return _tracks(boxes), {**found_by, "mended_by_hand": _sha256(boxes)}
            raise DataError(
                f"was found in another video than {source.path}, and changed by hand",
                where=boxes,
                how="move it away, or give it with --boxes",
            )
        if known.get("made_with") == made_with:
            return _tracks(boxes), found_by
    detections = list(detect_video(source.path, detector))
    tracks = track(detections, settings)
    if not tracks:
        seen = sum(bool(len(found)) for found in detections)
        raise DataError(
            f"no person could be followed: detections in {seen} of {len(detections)} frames",
            where=source.path,
            how="look at the video, lower the detector's score threshold or the tracker's min_length, or give --boxes",
        )
    clear_temporaries(boxes)
    clear_temporaries(note)
    # The note goes first and comes back last: a kill between leaves boxes without one.
    note.unlink(missing_ok=True)
    with atomic_path(boxes) as temporary:
        temporary.write_text("".join(_lines(tracks)), encoding="utf-8")
    write_json(note, {"made_with": made_with, "boxes_sha256": _sha256(boxes)})
    return _tracks(boxes), found_by


def _lines(tracks: dict[int, Track]) -> Iterator[str]:
    """MOT lines; the confidence is 1 where a box was detected, 0 where the tracker filled a gap."""
    rows = []
    for number, found in tracks.items():
        filled = np.zeros(len(found.frames), bool) if found.filled is None else found.filled
        rows += list(zip(found.frames.tolist(), [number] * len(filled), found.boxes.tolist(), (~filled).tolist()))
    for frame, number, box, detected in sorted(rows):
        yield f"{frame},{number}," + ",".join(f"{value:.2f}" for value in box) + f",{int(detected)}\n"


def _tracks(boxes: Path) -> dict[int, Track]:
    """The tracks of a file of ours, with what was filled; boxes that a hand has put there count as detected."""
    filled = set()
    for line in boxes.read_text(encoding="utf-8").splitlines():
        fields = line.split(",")
        if len(fields) > 6 and fields[6].strip() == "0":
            filled.add((float(fields[1]), float(fields[0])))
    return {
        number: replace(found, filled=np.array([(number, frame) in filled for frame in found.frames.tolist()]))
        for number, found in read_boxes(boxes).items()
    }


def _sha256(boxes: Path) -> str:
    return hashlib.sha256(boxes.read_bytes()).hexdigest()


def _read(note: Path) -> Entry | None:
    try:
        loaded = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return loaded if isinstance(loaded, dict) else None
