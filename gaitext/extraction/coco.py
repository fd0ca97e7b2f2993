"""Person boxes from COCO-style json: of one video, or of all videos of a tree."""

from __future__ import annotations

import json
import logging
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from gaitext.errors import DataError
from gaitext.extraction.tracker import Track, box_fault, check_pixels, is_number
from gaitext.video import VIDEO_SUFFIXES

log = logging.getLogger(__name__)

_FORMAT = 'expected {"images": [{"id", "file_name"}, …], "annotations": [{"image_id", "bbox", "track_id"}, …]}'
_PERSONS = {"person", "pedestrian"}
#: No video has more frames.
_MOST = 10**8
_DIGITS = re.compile(r"[0-9]+")
#: What CVAT calls a video's frames; it counts them from 0.
_CVAT = re.compile(r"frame_[0-9]{6}\.PNG")


def read_coco(path: str | Path, frames: Sequence[str] | None = None) -> dict[int, Track]:
    """Read a COCO-style json with the boxes of one video.

    - ``images``: ``id`` and ``file_name``; ``frame_id`` if the number of the frame is known.
    - ``annotations``: ``image_id``, ``bbox`` [x, y, w, h] in pixels from the frame's left and top
      edge, and the track as ``track_id``, ``instance_id`` or ``attributes.track_id``; without any,
      a frame may hold one box. ``score`` is kept, boxes with ``iscrowd`` are passed over.
    - ``categories``: if there, only those named person or pedestrian count.

    Which frame an image is: the file of this name, where ``frames`` has one; else its ``frame_id``,
    counted from 0 if the file has a 0, and from 1 if not; else the number in its file name
    (:func:`~gaitext.extraction.coco.numbers_in`), counted from 0 if the file has a 0, from 1 if it has
    a 1 and no 0. Where that is not sure, the file is refused.

    Args:
        frames: of a frame folder, the names of its files in frame order; None for a video.

    Returns:
        Track id -> :class:`Track`, in ascending order of ids.

    Raises:
        DataError: not such a json, images of several videos, no boxes, an entry that is not a box, or images
            of which it is not sure what frames they are; names the entry.
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
        log.warning("%s: %d videos are not among the sources, such as %s", path, len(strangers), next(iter(strangers)))
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
            loaded = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_object)
        except OSError as error:
            raise DataError(
                f"cannot be read ({error.strerror})", where=path, how="check the path after --boxes"
            ) from error
        except (ValueError, RecursionError) as error:
            raise DataError(f"is not valid json ({str(error)[:120]})", where=path, how=_FORMAT) from error
        if isinstance(loaded, list):
            raise DataError("is a bare list, as of detection results, without the images", where=path, how=_FORMAT)
        if not isinstance(loaded, dict):
            raise DataError(f"holds {_shown(loaded)}", where=path, how=_FORMAT)
        for key in ("images", "annotations"):
            if not isinstance(loaded.get(key), list):
                raise DataError(f'has no list "{key}"', where=path, how=_FORMAT)
        videos = self._names(loaded, "videos")
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
            of_image, category, crowd = (entry.get(key) for key in ("image_id", "category_id", "iscrowd"))
            if not _is_id(of_image) or of_image not in self.boxes:
                raise self._wrong(where, f"image_id is {_shown(of_image)}, which is no image's id")
            if category is not None and not _is_id(category):
                raise self._wrong(where, f"category_id is {_shown(category)}, not a number")
            if crowd not in (None, 0, 1) or isinstance(crowd, float):
                raise self._wrong(where, f"iscrowd is {_shown(crowd)}, neither 0 nor 1")
            if not crowd and (persons is None or category in persons):
                self.boxes[entry["image_id"]].append(self._box(entry, where))

    def _image(self, entry: dict[str, Any], index: int, videos: dict[Any, str]) -> _Image:
        where = f"images[{index}]"
        if not _is_id(entry.get("id")):
            raise self._wrong(where, f"id is {_shown(entry.get('id'))}")
        name = entry.get("file_name")
        if name is not None and not (isinstance(name, str) and len(name) <= 1000):
            raise self._wrong(where, f"file_name is {_shown(name)}, not a path")
        file_name = (name or "").replace("\\", "/")
        number = entry.get("frame_id")
        if number is not None and (type(number) is not int or not 0 <= number <= _MOST):
            raise self._wrong(where, f"frame_id is {_shown(number)}, not a number from 0 or 1")
        video_id = entry.get("video_id")
        if video_id is not None:
            if not _is_id(video_id):
                raise self._wrong(where, f"video_id is {_shown(video_id)}, no video's id")
            video = videos.get(video_id, str(video_id))
        else:
            parent = str(PurePosixPath(file_name).parent)
            video = "" if parent == "." else parent
        return _Image(where, entry["id"], file_name, video, number)

    def _persons(self, loaded: dict[str, Any]) -> set[Any] | None:
        if not loaded.get("categories"):
            return None
        categories = self._names(loaded, "categories")
        persons = {key for key, name in categories.items() if name.lower() in _PERSONS}
        if not persons:
            listed = ", ".join(list(categories.values())[:5])
            raise DataError(
                f"has no category named person: {listed}", where=self.path, how="name it so, or leave out categories"
            )
        return persons

    def _box(self, entry: dict[str, Any], where: str) -> tuple[str, int | None, list[float], float | None]:
        box = entry.get("bbox")
        if not isinstance(box, list) or len(box) != 4 or not all(is_number(value) for value in box):
            raise self._wrong(where, f"bbox is {_shown(box)}, not four numbers x, y, width, height")
        fault = box_fault(box)
        if fault is not None:
            raise self._wrong(where, fault)
        attributes = entry.get("attributes")
        places = (entry, entry, attributes if isinstance(attributes, dict) else {})
        for key, place in zip(("track_id", "instance_id", "track_id"), places):
            track = place.get(key)
            if track is not None:
                break
        if track is not None and (not is_number(track, 10**15) or track != int(track)):
            raise self._wrong(where, f"{key} is {_shown(track)}, not a whole number")
        score = entry.get("score")
        if score is not None and not is_number(score):
            raise self._wrong(where, f"score is {_shown(score)}, not a number")
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
        check_pixels((box for track in rows.values() for _, box, _ in track.values()), self.path)
        return {
            track: Track.of(track, {frame: (box, score) for frame, (_, box, score) in rows[track].items()})
            for track in sorted(rows)
        }

    def _numbers(self, images: Sequence[_Image], frames: Sequence[str] | None) -> list[int]:
        """The number, from 1, of the frame that each image is."""
        if frames is None and images and all(image.frame_id is None for image in images):
            return self._numbered(images)
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

    def _numbered(self, images: Sequence[_Image]) -> list[int]:
        """The frames' numbers by the images' file names."""
        how = "give each image a frame_id, counted from 0 or 1"
        owners: dict[str, str] = {}
        for image in images:
            if not image.file_name:
                raise self._wrong(image.where, "has neither frame_id nor file_name", how)
            if image.file_name in owners:
                same = f"has no frame_id, and the same file_name as {owners[image.file_name]}"
                raise self._wrong(image.where, same, how)
            owners[image.file_name] = image.where
        names = [image.file_name for image in images]
        numbers = numbers_in(names)
        if isinstance(numbers, str):
            raise DataError(f"has no frame_id, and {numbers}", where=self.path, how=how)
        first = self._first_in_names
        if first is None:
            counted = _first_number(numbers, names)
            if isinstance(counted, str):
                raise DataError(f"has no frame_id, and {counted}", where=self.path, how=how)
            first = counted
        frames = [number + 1 - first for number in numbers]
        places: dict[int, str] = {}
        for image, frame in zip(images, frames):
            if frame in places:
                raise self._wrong(image.where, f"has no frame_id, and the number of {places[frame]}", how)
            places[frame] = image.where
        return frames

    @cached_property
    def _first_in_names(self) -> int | None:
        """0 where any video's file names hold a 0: one program has named them all."""
        groups: dict[str, list[str]] = defaultdict(list)
        for image in self.images:
            groups[image.video].append(image.file_name)
        found = (numbers_in(names) for names in groups.values())
        return 0 if any(isinstance(numbers, list) and 0 in numbers for numbers in found) else None

    def _names(self, loaded: dict[str, Any], key: str) -> dict[Any, str]:
        """id -> name of a list of videos or categories."""
        names: dict[Any, str] = {}
        for index, entry in enumerate(_dicts(self.path, loaded, key)):
            number, name = entry.get("id"), entry.get("name", entry.get("id"))
            if not _is_id(number) or not _is_id(name) or number in names:
                twice = _is_id(number) and number in names
                what = f"has the id {number!r} of another" if twice else f"is {_shown(entry)}, not an id and a name"
                raise self._wrong(f"{key}[{index}]", what)
            names[number] = str(name)
        return names

    def _wrong(self, where: str, what: str, how: str | None = None) -> DataError:
        return DataError(f"{where} {what}", where=self.path, how=how or _FORMAT)


def _dicts(path: Path, loaded: dict[str, Any], key: str) -> list[dict[str, Any]]:
    entries = loaded.get(key)
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise DataError(f"{key} is {_shown(entries)}, not a list", where=path, how=_FORMAT)
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise DataError(f"{key}[{index}] is {_shown(entry)}", where=path, how=_FORMAT)
    return list(entries)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A json's object, in which no key stands twice."""
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"an object has the key '{twice[:40]}' twice")
    return made


def _is_id(value: Any) -> bool:
    return (type(value) is str and len(value) <= 255) or (type(value) is int and abs(value) <= 10**18)


def _shown(value: Any) -> str:
    """A value for an error, in a few words however large it is."""
    if isinstance(value, (list, dict)) and len(value) > 8:
        return f"a {'list' if isinstance(value, list) else 'object'} of {len(value)}"
    if isinstance(value, int) and abs(value) > 10**20:
        return "a number of many digits"
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # deeper, or longer, than Python prints
        return "nested deeper than any entry is"
    return text if len(text) <= 80 else f"{text[:80]}…"


def numbers_in(names: Sequence[str]) -> list[int] | str:
    """The number in each file name: the only one in which they differ, and the last of a lone name.

    Folders and suffixes do not count.

    Returns:
        The numbers in the order of the names, or why there are none.

    >>> numbers_in(["cam2/frame_000000.PNG", "cam2/frame_000002.PNG"])
    [0, 2]
    >>> numbers_in(["left.jpg", "right.jpg"])
    "'left.jpg' and 'right.jpg' differ in more than a number"
    """
    stems = [PurePosixPath(name).stem for name in names]
    texts = [_DIGITS.sub("#", stem) for stem in stems]
    for name, text in zip(names, texts):
        if text != texts[0]:
            return f"'{names[0]}' and '{name}' differ in more than a number"
    if names and "#" not in texts[0]:
        return f"'{names[0]}' holds no number"
    found = [_DIGITS.findall(stem) for stem in stems]
    differ = [place for place, digits in enumerate(zip(*found)) if len({int(d[-18:]) for d in digits}) > 1]
    if len(differ) > 1:
        return f"the file names, such as '{names[0]}', differ in {len(differ)} numbers"
    place = differ[0] if differ else -1
    if any(len(digits[place].lstrip("0")) > len(str(_MOST)) for digits in found):
        return f"the file names' numbers, such as in '{names[0]}', are too large for a frame's"
    return [int(digits[place]) for digits in found]


def _first_number(numbers: Sequence[int], names: Sequence[str]) -> int | str:
    """From what file names' numbers are counted: from 0 where there is a 0, from 1 where there is a 1 and no 0.

    CVAT's names (``frame_000001.PNG``) count from 0; without a 0 among them nothing tells whether they are
    CVAT's, or some that count from 1.

    Returns:
        0 or 1, or why neither is sure.
    """
    if 0 in numbers:
        return 0
    if 1 not in numbers:
        return f"the file names' numbers begin with {min(numbers)}, so that nothing says whether they count from 0 or 1"
    if any(_CVAT.fullmatch(PurePosixPath(name).name) for name in names):
        return "the file names are like CVAT's, which count from 0, and there is no 0 among them"
    return 1
