"""Which videos there are to extract, and where their boxes come from: files, the whole frame, or a detector."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Union

import numpy as np

from gaitext.errors import DataError, VideoError
from gaitext.extraction.coco import read_all_boxes, read_coco
from gaitext.extraction.detect import Detector, detect_video
from gaitext.extraction.mot import read_mot
from gaitext.extraction.tracker import Track, TrackerSettings, track, tracker_entry
from gaitext.making import Entry, as_read_back
from gaitext.store import atomic_path, clear_temporaries, write_json
from gaitext.video import digest, sizes
from gaitext.video.frames import frame_files
from gaitext.video.sources import VideoSource, find_videos

#: A file for this one video, "full" for the whole frame, boxes already read, or none known.
Boxes = Union[Path, Literal["full"], dict[int, Track], None]

_BOX_SUFFIXES = (".csv", ".txt", ".json")


@dataclass(frozen=True)
class Source(VideoSource):
    """A video to extract, and its boxes.

    Attributes:
        boxes: where its boxes come from; None when there are none, and a detector has to find them.
    """

    boxes: Boxes = field(default=None, hash=False)

    def tracks(self) -> dict[int, Track] | None:
        """The boxes, read; None where there are none.

        Raises:
            DataError: malformed boxes.
            VideoError: the whole frame is wanted, and the video cannot be read.
        """
        if self.boxes is None or isinstance(self.boxes, dict):
            return self.boxes
        if self.boxes == "full":
            return {1: full_frame(self.path)}
        names = [file.name for file in frame_files(self.path)] if self.path.is_dir() else None
        return read_boxes(self.boxes, frames=names)


def find_sources(root: str | Path, boxes: str | Path | None = None, out: str | Path | None = None) -> list[Source]:
    """Find the videos and frame folders of a tree ``<id>/<type>/<view>``, or the one given.

    ``root`` and ``out`` are what :func:`gaitext.video.sources.find_videos` takes.

    ``boxes`` may be

    - None: ``<view>.csv``, ``.txt`` or ``.json`` beside the video or the frame folder, if there;
    - a folder that mirrors the tree: ``<id>/<type>/<view>.csv``, ``.txt`` or ``.json``
      (``<name>.csv`` for a single source);
    - a file: for a single source of either format :func:`read_boxes` reads, for a tree a COCO-style
      json of all (:func:`~gaitext.extraction.coco.read_all_boxes`);
    - ``"full"``: the person fills the frame (a folder of this name is ``"./full"``).

    A source for which none are found has ``boxes=None``.

    Returns:
        Sources sorted by identity, type, view.

    Raises:
        DataError: nothing there; a tree of another depth (an example is named); several videos for
            one view; boxes of which none belongs to a source, or that could be either of two files.
    """
    found = [Source(video.path, video.identity, video.type, video.view) for video in find_videos(root, out)]
    return _with_boxes(found, Path(root), boxes)


def _with_boxes(sources: list[Source], root: Path, boxes: str | Path | None) -> list[Source]:
    if boxes == "full":
        return [replace(source, boxes="full") for source in sources]
    if boxes is None:
        return [replace(source, boxes=_box_file(source.path.parent / _stem(source))) for source in sources]
    where = Path(boxes)
    single = sources[0].identity is None
    if where.is_dir():
        found = [replace(source, boxes=_box_file(where / box_name(source))) for source in sources]
        if all(source.boxes is None for source in found):
            example = f"{box_name(sources[0])}.csv"
            raise DataError(
                "holds boxes for none of the videos", where=where, how=f"expected {example} (or .txt, .json) and so on"
            )
        return found
    if not where.is_file():
        raise DataError("no such file or folder", where=where, how="check the path after --boxes")
    if single:
        return [replace(source, boxes=where) for source in sources]
    if not is_json(where):
        raise DataError(
            f"is the boxes of one video, but {root} holds {len(sources)}",
            where=where,
            how="give a folder that mirrors the tree (<id>/<type>/<view>.csv), or a COCO-style json for all",
        )
    frames: dict[str, list[str] | None] = {}
    for source in sources:
        try:
            frames[source.name] = [f.name for f in frame_files(source.path)] if source.path.is_dir() else None
        except VideoError:  # without pictures, or ambiguous: reading it will say so
            frames[source.name] = []
    tracks = read_all_boxes(where, frames)
    return [replace(source, boxes=tracks.get(source.name)) for source in sources]


def box_name(source: Source) -> str:
    """Where a source's boxes lie in a folder of boxes, without suffix."""
    return _stem(source) if source.place is None else source.name


def _stem(source: Source) -> str:
    if source.view is not None and source.path.parent.name == source.view:
        return source.path.stem  # a video within its view's folder
    return source.view or (source.path.name if source.path.is_dir() else source.path.stem)


def _box_file(place: Path) -> Path | None:
    """The only boxes file at ``place``, which has no suffix yet."""
    found = [path for suffix in _BOX_SUFFIXES if (path := place.parent / (place.name + suffix)).is_file()]
    if len(found) > 1:
        raise DataError(f"{found[0]} and {found[1]}: which holds the boxes?", how="keep one of them, or give --boxes")
    return found[0] if found else None


def full_frame(path: str | Path) -> Track:
    """One box a frame that is the whole frame: for pictures and videos that a person fills.

    It is treated like any box: ``crop_scale`` makes it grow, and what lies outside the frame is
    black. With 1, which `gaitext extract --boxes full` takes unless told otherwise, the frame is
    only padded to 3:4. Pose networks are trained with a margin (1.25): where the person touches the
    frame's edges, ``crop_scale=1.25`` gives it one, as mmpose's ``inference_topdown`` does where it
    is given no boxes.

    Args:
        path: a video file, which is decoded for it (a container may miscount), or a frame folder, of which
            only the files' headers are read; frames of either may differ in size.

    Returns:
        Track 1, with a box in every frame.

    Raises:
        VideoError: it cannot be read.
    """
    each = list(sizes(path))
    boxes = np.zeros((len(each), 4))
    boxes[:, 2:] = each
    return Track(1, np.arange(1, len(each) + 1), boxes)


def is_json(path: str | Path) -> bool:
    """Whether a boxes file is json, judged by its first character.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with Path(path).open("rb") as stream:
            while block := stream.read(4096):
                text = block.removeprefix(b"\xef\xbb\xbf").lstrip()
                if text:
                    return text[:1] in (b"{", b"[")
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=path, how="check the path after --boxes") from error
    return False


def read_boxes(path: str | Path, frames: Sequence[str] | None = None) -> dict[int, Track]:
    """Read the boxes of one video; the format is told by the content.

    MOT-challenge text, ``frame,id,x,y,w,h[,conf,…]`` per line, or a table with a header: see
    :func:`gaitext.extraction.mot.read_mot`. COCO-style json: see :func:`gaitext.extraction.coco.read_coco`.

    Args:
        frames: of a frame folder, the names of its files in frame order, by which a json's
            ``file_name`` finds its frame; None for a video.

    Returns:
        Track id -> :class:`Track`, in ascending order of ids.

    Raises:
        DataError: no such file, no boxes, or an entry that is not a box; names the file and the
            line or entry.
    """
    return read_coco(path, frames) if is_json(path) else read_mot(Path(path))


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
    found_by: Entry = {"detector": detector.settings, "tracker": tracker_entry(settings)}
    made_with = as_read_back({"video_digest": digest(source.path), **found_by})
    known = _read_note(note)
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
            how="look at the video, let the detector see it larger (--detector 'bundled?size=1536') or be content with "
            "less (?score=…), lower the tracker's min_length, or give --boxes",
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


def _read_note(note: Path) -> Entry | None:
    try:
        loaded = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return loaded if isinstance(loaded, dict) else None
