"""Person boxes from COCO-style json: of one video, or of all videos of a tree."""

from __future__ import annotations

import json
import logging
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from gaitext.errors import DataError
from gaitext.extraction.track import Track
from gaitext.frames import natural_key
from gaitext.video import VIDEO_SUFFIXES

__all__ = ["read_all_boxes", "read_coco"]

logger = logging.getLogger(__name__)

_FORMAT = 'expected {"images": [{"id", "file_name"}, …], "annotations": [{"image_id", "bbox", "track_id"}, …]}'
_PERSONS = {"person", "pedestrian"}


def read_coco(path: str | Path, frames: Sequence[str] | None = None) -> dict[int, Track]:
    """Read a COCO-style json with the boxes of one video.

    - ``images``: ``id`` and ``file_name``; ``frame_id`` if the number of the frame is known.
    - ``annotations``: ``image_id``, ``bbox`` [x, y, w, h] in pixels from the frame's left and top
      edge, and the track as ``track_id``, ``instance_id`` or ``attributes.track_id``; without any,
      a frame may hold one box. ``score`` is kept, boxes with ``iscrowd`` are passed over.
    - ``categories``: if there, only those named person or pedestrian count.

    Which frame an image is: the file of this name, where ``frames`` has one; else its ``frame_id``,
    counted from 0 if the file has a 0, and from 1 if not; else its place among all images, by name
    (2 before 10), so that images without a person must be listed, too.

    Args:
        frames: of a frame folder, the names of its files in frame order; None for a video.

    Returns:
        Track id -> :class:`Track`, in ascending order of ids.

    Raises:
        DataError: not such a json, images of several videos, no boxes, or an entry that is not a
            box; names the entry.
    """
    content = _Content(Path(path))
    videos = sorted({image.video for image in content.images})
    if len(videos) > 1:
        raise DataError(
            f"holds images of {len(videos)} videos ({videos[0] or '.'}, {videos[1]}, …)",
            where=path,
            how="give the tree that holds them, or a json of one video",
        )
    tracks = content.tracks(content.images, frames)
    if not tracks:
        raise DataError("holds no boxes of persons", where=path, how=_FORMAT)
    return tracks


def read_all_boxes(path: str | Path, sources: Mapping[str, Sequence[str] | None]) -> dict[str, dict[int, Track]]:
    """Read a COCO-style json with the boxes of many videos.

    Each image must say which video it is of: by ``video_id`` into ``videos`` (``id``, ``name``), or
    by the folders in its ``file_name`` (``001/nm-01/000/0001.jpg``). Further folders in front, and
    a video's suffix, do not matter. The rest is as :func:`read_coco` has it.

    Args:
        sources: name (``id/type/view``) of each video -> the names of its files in frame order if
            it is a frame folder, else None.

    Returns:
        Name -> tracks, for the videos that the file has boxes of. Videos of the file that are not
        among ``sources`` are passed over with a warning.

    Raises:
        DataError: as :func:`read_coco`; or the file has boxes for none of ``sources``.
    """
    content = _Content(Path(path))
    groups: dict[str, list[_Image]] = defaultdict(list)
    strangers: dict[str, None] = {}
    for image in content.images:
        name = next((name for name in image.names() if name in sources), None)
        if name is None:
            strangers[image.video or image.file_name] = None
        else:
            groups[name].append(image)
    if not groups:
        raise DataError(
            f"holds boxes for none of the videos: it names {next(iter(strangers), 'no images')}, they are called "
            f"{next(iter(sources))} and so on",
            where=path,
            how="file_name has to hold <id>/<type>/<view>, or videos[].name to be it",
        )
    if strangers:
        logger.warning(
            "%s: %d videos are not among the sources, such as %s", path, len(strangers), next(iter(strangers))
        )
    found = {name: content.tracks(images, sources[name]) for name, images in sorted(groups.items())}
    return {name: tracks for name, tracks in found.items() if tracks}


@dataclass(frozen=True)
class _Image:
    where: str
    id: Any
    file_name: str
    video: str
    frame_id: int | None

    def names(self) -> list[str]:
        """What the source might be called, likeliest first."""
        names = []
        for place in (self.video, self.file_name):
            parts = list(PurePosixPath(place).parts)
            if parts and PurePosixPath(parts[-1]).suffix.lower() in VIDEO_SUFFIXES:
                parts[-1] = PurePosixPath(parts[-1]).stem
            names += ["/".join(parts[-3:]), "/".join(parts[-4:-1])]
        return names


class _Content:
    """The file, read once: its images, and each image's boxes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            loaded = json.loads(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise DataError(
                f"cannot be read ({error.strerror})", where=path, how="check the path after --boxes"
            ) from error
        except ValueError as error:
            raise DataError(f"is not valid json ({error})", where=path, how=_FORMAT) from error
        if isinstance(loaded, list):
            raise DataError("is a bare list, as of detection results, without the images", where=path, how=_FORMAT)
        for key in ("images", "annotations"):
            if not isinstance(loaded.get(key), list):
                raise DataError(f'has no list "{key}"', where=path, how=_FORMAT)
        videos = {v.get("id"): str(v.get("name", v.get("id"))) for v in _dicts(path, loaded, "videos")}
        self.images = [self._image(entry, i, videos) for i, entry in enumerate(_dicts(path, loaded, "images"))]
        frame_ids = [image.frame_id for image in self.images if image.frame_id is not None]
        self.first = 0 if 0 in frame_ids else 1
        known: dict[Any, str] = {}
        for image in self.images:
            if image.id in known:
                raise self._wrong(image.where, f"has the id {image.id!r} of {known[image.id]}")
            known[image.id] = image.where
        self.boxes: dict[Any, list[tuple[str, int | None, list[float], float | None]]] = {i: [] for i in known}
        persons = self._persons(loaded)
        for index, entry in enumerate(_dicts(path, loaded, "annotations")):
            where = f"annotations[{index}]"
            if entry.get("image_id") not in self.boxes:
                raise self._wrong(where, f"image_id is {entry.get('image_id')!r}, which is no image's id")
            if not entry.get("iscrowd") and (persons is None or entry.get("category_id") in persons):
                self.boxes[entry["image_id"]].append(self._box(entry, where))

    def _image(self, entry: dict[str, Any], index: int, videos: dict[Any, str]) -> _Image:
        where = f"images[{index}]"
        if not isinstance(entry.get("id"), (int, str)):
            raise self._wrong(where, f"id is {entry.get('id')!r}")
        file_name = str(entry.get("file_name", "")).replace("\\", "/")
        number = entry.get("frame_id")
        if number is not None and (not isinstance(number, int) or number < 0):
            raise self._wrong(where, f"frame_id is {number!r}, not a number from 0 or 1")
        if "video_id" in entry:
            video = videos.get(entry["video_id"], str(entry["video_id"]))
        else:
            parent = str(PurePosixPath(file_name).parent)
            video = "" if parent == "." else parent
        return _Image(where, entry["id"], file_name, video, number)

    def _persons(self, loaded: dict[str, Any]) -> set[Any] | None:
        if not loaded.get("categories"):
            return None
        categories = {entry.get("id"): str(entry.get("name")) for entry in _dicts(self.path, loaded, "categories")}
        persons = {key for key, name in categories.items() if name.lower() in _PERSONS}
        if not persons:
            listed = ", ".join(list(categories.values())[:5])
            raise DataError(
                f"has no category named person: {listed}", where=self.path, how="name it so, or leave out categories"
            )
        return persons

    def _box(self, entry: dict[str, Any], where: str) -> tuple[str, int | None, list[float], float | None]:
        box = entry.get("bbox")
        if not isinstance(box, list) or len(box) != 4 or not all(_is_number(value) for value in box):
            raise self._wrong(where, f"bbox is {box!r}, not four numbers x, y, width, height")
        if box[2] <= 0 or box[3] <= 0:
            raise self._wrong(where, f"the box is {box[2]} wide and {box[3]} high; both must be positive")
        attributes = entry.get("attributes")
        places = (entry, entry, attributes if isinstance(attributes, dict) else {})
        for key, place in zip(("track_id", "instance_id", "track_id"), places):
            track = place.get(key)
            if track is not None:
                break
        if track is not None and (not _is_number(track) or track != int(track)):
            raise self._wrong(where, f"{key} is {track!r}, not a whole number")
        score = entry.get("score")
        if score is not None and not _is_number(score):
            raise self._wrong(where, f"score is {score!r}, not a number")
        return where, None if track is None else int(track), [float(value) for value in box], score

    def tracks(self, images: Sequence[_Image], frames: Sequence[str] | None) -> dict[int, Track]:
        """The tracks in ``images``, which are of one video."""
        numbers = self._numbers(images, frames)
        rows: dict[int, dict[int, tuple[str, list[float], float | None]]] = defaultdict(dict)
        for image, number in zip(images, numbers):
            boxes = self.boxes[image.id]
            for where, track, box, score in boxes:
                if track is None and len(boxes) > 1:
                    raise self._wrong(
                        where,
                        f"has no track_id, and {image.file_name or image.where} holds {len(boxes)} boxes",
                        "detections have to go through a tracker first; one box a frame needs none",
                    )
                track = 1 if track is None else track
                if number in rows[track]:
                    raise self._wrong(
                        where,
                        f"is a second box of track {track} in frame {number} (the first is {rows[track][number][0]})",
                    )
                rows[track][number] = where, box, score
        return {track: _track(track, rows[track]) for track in sorted(rows)}

    def _numbers(self, images: Sequence[_Image], frames: Sequence[str] | None) -> list[int]:
        """The number, from 1, of the frame that each image is."""
        if frames is None and not any(image.frame_id is not None for image in images):
            order = sorted(images, key=lambda image: natural_key(image.file_name))
            places = {image.id: place for place, image in enumerate(order, 1)}
            for one, two in pairwise(order):
                if one.file_name == two.file_name:
                    raise self._wrong(two.where, f"has no frame_id, and the same file_name as {one.where}")
            return [places[image.id] for image in images]
        known = {name: place for place, name in enumerate(frames or (), 1)}
        numbers = []
        owners: dict[int, str] = {}
        for image in images:
            number = known.get(PurePosixPath(image.file_name).name)
            if number is None and image.frame_id is not None:
                number = image.frame_id + 1 - self.first
            if number is None:
                what = "no frame_id, unlike others" if frames is None else "a file_name that is no frame of the folder"
                raise self._wrong(image.where, f"({image.file_name!r}) has {what}")
            if number in owners:
                raise self._wrong(image.where, f"is frame {number}, as {owners[number]} is")
            owners[number] = image.where
            numbers.append(number)
        return numbers

    def _wrong(self, where: str, what: str, how: str | None = None) -> DataError:
        return DataError(f"{where} {what}", where=self.path, how=how or _FORMAT)


def _dicts(path: Path, loaded: dict[str, Any], key: str) -> list[dict[str, Any]]:
    entries = loaded.get(key) or []
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise DataError(f"{key}[{index}] is {entry!r}", where=path, how=_FORMAT)
    return list(entries)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _track(track: int, rows: dict[int, tuple[str, list[float], float | None]]) -> Track:
    frames = sorted(rows)
    boxes = np.array([rows[frame][1] for frame in frames], np.float64)
    given = [rows[frame][2] for frame in frames]
    scores = None if any(score is None for score in given) else np.array(given, np.float64)
    return Track(track, np.array(frames, np.int64), boxes, scores)
