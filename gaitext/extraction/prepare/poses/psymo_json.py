"""A walk of PsyMo: one json, AlphaPose's list of people."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gaitext.extraction.prepare.found import Clip
from gaitext.extraction.prepare.poses.frames import (
    JOINTS,
    Array,
    FrameError,
    Poses,
    Unusable,
    joints,
    read_source,
    seen,
)
from gaitext.extraction.prepare.poses.people import Label, follow_tracks
from gaitext.frames import natural_key

__all__ = ["read_psymo"]

#: What an entry calls its frame.
_FRAME_KEYS = ("image_id", "frame_id", "frame", "image")
#: What an entry calls the number that a tracker gave its person.
_TRACK_KEYS = ("idx", "track_id", "person_id")


def read_psymo(clip: Clip) -> Poses:
    """A walk's frames.

    The file is a list of entries with ``keypoints``: 51 numbers (x, y, score), or 17 triples; what
    else AlphaPose says is passed over. Entries of one image are people of one frame; so are the
    entries of a list in the list, and the lists in ``keypoints``. Frames are put in the order of
    their images' numbers where all entries say theirs. Of several people, one is followed, by AlphaPose's
    ``idx`` where it tells them apart (:func:`~gaitext.extraction.prepare.poses.people.follow_tracks`).

    Raises:
        DataError: it cannot be read.
        Unusable: no json, or no list of frames.
    """
    loaded = _load(clip.source)
    poses = Poses(np.zeros((0, JOINTS, 3), np.float32))
    frames: list[Array] = []
    labels: list[list[Label]] = []
    for place, entries in _frames(loaded, poses):
        people: list[tuple[Array, Label]] = []
        try:
            for entry in entries:
                people += _people(entry)
        except FrameError as error:
            poses.note("malformed frames", f"{clip.source} frame {place}: {error}")
            continue
        shown = [(person, label) for person, label in people if seen(person).any()]
        if not shown:
            poses.counts["empty frames"] += 1
            continue
        if len(shown) > 1:
            poses.counts["frames with several people"] += 1
        frames.append(np.stack([person for person, _ in shown]))
        labels.append([label for _, label in shown])
    if frames:
        poses.frames, without = follow_tracks(frames, labels)
        if without:
            poses.counts["frames without the person followed"] += without
    return poses


def _load(path: Path) -> list[Any]:
    content = read_source(path)
    if not content.strip():
        raise Unusable("is empty", where=path)
    try:
        loaded = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Unusable(f"is no json, or cut short ({error})", where=path) from error
    if not isinstance(loaded, list):
        raise Unusable(f"holds a {type(loaded).__name__}, not a list of frames", where=path)
    if not loaded:
        raise Unusable("holds no frames", where=path)
    return loaded


def _frames(loaded: list[Any], poses: Poses) -> Iterator[tuple[object, list[Any]]]:
    """Each frame's name or place in the file, from 0, and its entries."""
    images = [_image(entry) for entry in loaded]
    if any(image is None for image in images):
        for place, entry in enumerate(loaded):
            yield place, entry if isinstance(entry, list) else [entry]
        return
    names = [str(image) for image in images]
    groups: dict[str, list[Any]] = defaultdict(list)
    for name, entry in zip(names, loaded):
        groups[name].append(entry)
    order = sorted(groups, key=natural_key)
    moved = sum(one != other for one, other in zip(order, groups))
    poses.counts["frames put in order"] += moved
    for name in order:
        yield name, groups[name]


def _image(entry: Any) -> str | int | None:
    """What an entry calls its frame, or None."""
    if not isinstance(entry, dict):
        return None
    found = next((entry[key] for key in _FRAME_KEYS if key in entry), None)
    return found if type(found) in (str, int) else None


def _people(entry: Any) -> list[tuple[Array, Label]]:
    """The people of an entry, none, one or several, and their numbers."""
    if entry is None or entry == []:
        return []
    if not isinstance(entry, dict):
        raise FrameError(f"is a {type(entry).__name__}, not an object with keypoints")
    numbers = entry.get("keypoints")
    if numbers is None or numbers == []:
        return []
    if not isinstance(numbers, list):
        raise FrameError(f"its keypoints are a {type(numbers).__name__}, not a list")
    if all(isinstance(person, list) for person in numbers) and not _is_triples(numbers):
        tracks = _tracks(entry, len(numbers))
        return [(joints(person), track) for person, track in zip(numbers, tracks) if person]
    return [(joints(numbers), _tracks(entry, 1)[0])]


def _tracks(entry: dict[str, Any], count: int) -> list[Label]:
    """The numbers that a tracker gave an entry's people; None where there is none."""
    found = next((entry[key] for key in _TRACK_KEYS if key in entry), None)
    listed = found if isinstance(found, list) and len(found) == count else [found] * count if count == 1 else []
    return [_track(one) for one in listed] or [None] * count


def _track(value: Any) -> Label:
    for _ in range(3):  # some versions write [7] or [[7]]
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:18])
    if type(value) is float and abs(value) < 1e15 and value == int(value):
        value = int(value)
    return value if type(value) is int else None


def _is_triples(numbers: list[Any]) -> bool:
    return len(numbers) == JOINTS and all(len(triple) == 3 for triple in numbers)
