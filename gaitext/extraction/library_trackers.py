"""SORT, ByteTrack, OC-SORT and BoT-SORT, from the library trackers (Apache-2.0)."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitext.errors import import_extra

Array = npt.NDArray[np.float64]

#: Method -> (class, names of the option that is the least overlap, of those that are the least score of a new track).
_CLASSES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "sort": ("SORTTracker", "minimum_iou_threshold", ("track_activation_threshold",)),
    "bytetrack": (
        "ByteTrackTracker",
        "minimum_iou_threshold",
        ("track_activation_threshold", "high_conf_det_threshold"),
    ),
    "ocsort": ("OCSORTTracker", "minimum_iou_threshold", ("high_conf_det_threshold",)),
    "botsort": (
        "BoTSORTTracker",
        "minimum_iou_threshold_first_assoc",
        ("track_activation_threshold", "high_conf_det_threshold"),
    ),
}


def library_version() -> str:
    """The installed version of trackers, for the records."""
    _library("the library's trackers")
    return version("trackers")


def follow(
    detections: Iterable[Array], method: str, *, iou: float | None, new_score: float, max_gap: int
) -> list[tuple[list[int], list[Array]]]:
    """Join boxes by one of the library's trackers.

    What is joined are the detector's boxes; the tracker's own estimates of them are not taken. A track counts
    from its first box: which are too short is the caller's matter. BoT-SORT is not shown the pictures: the camera is
    taken to stand still.

    Args:
        detections: for each frame in turn float64 [N, 5]: x, y, w, h, score.
        method: one of the library's.
        iou, new_score, max_gap: see :class:`~gaitext.extraction.tracker.TrackerSettings`.

    Returns:
        For each track the numbers of its frames, from 1, ascending, and its boxes [5] there.

    Raises:
        MissingDependencyError: trackers is not installed.
    """
    library = _library(f"the tracker '{method}'")
    from supervision import Detections

    name, least, scores = _CLASSES[method]
    # At 30 frames/s the library counts its buffer in frames.
    options: dict[str, Any] = {"lost_track_buffer": max_gap + 1, "frame_rate": 30.0}
    options |= {"minimum_consecutive_frames": 1} | dict.fromkeys(scores, new_score)
    if iou is not None:
        options[least] = iou
    if method == "botsort":
        options["enable_cmc"] = False
    tracker = getattr(library, name)(**options)
    tracks: dict[int, tuple[list[int], list[Array]]] = {}
    for frame, boxes in enumerate(detections, 1):
        corners = np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:4]), axis=1).astype(np.float32)
        rows: dict[str, Any] = {"row": np.arange(len(boxes))}
        given = Detections(xyxy=corners, confidence=boxes[:, 4].astype(np.float32), data=rows)
        found = tracker.update(given)
        if found.tracker_id is None or len(found) == 0:
            continue
        for number, row in zip(found.tracker_id.tolist(), found.data["row"].tolist()):
            if number < 0:  # of no track
                continue
            frames, kept = tracks.setdefault(number, ([], []))
            frames.append(frame)
            kept.append(boxes[row])
    return list(tracks.values())


def _library(what: str) -> Any:
    import_extra("supervision", "track", what)
    return import_extra("trackers", "track", what)
