"""Which videos there are to extract, and where their boxes come from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Union

from gaitext.errors import DataError, VideoError
from gaitext.extraction.coco import Track, full_frame, is_json, read_all_boxes, read_boxes
from gaitext.video.frames import frame_files
from gaitext.video.sources import VideoSource, find_videos

__all__ = ["Boxes", "Source", "box_name", "find_sources"]

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
