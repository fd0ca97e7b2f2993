"""Which videos there are to extract, whose they are, and where their boxes come from."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal, Union

from gaitext.errors import DataError, VideoError
from gaitext.extraction.boxes import Track, full_frame, is_json, read_boxes
from gaitext.extraction.coco import read_all_boxes
from gaitext.frames import frame_files, is_image
from gaitext.video import VIDEO_SUFFIXES

__all__ = ["Boxes", "Source", "box_name", "find_sources"]

logger = logging.getLogger(__name__)

#: A file for this one video, "full" for the whole frame, boxes already read, or none known.
Boxes = Union[Path, Literal["full"], dict[int, Track], None]

_EXPECTED = "<id>/<type>/<view>.mp4 or <id>/<type>/<view>/ with pictures in it"
_BOX_SUFFIXES = (".csv", ".txt", ".json")


@dataclass(frozen=True)
class Source:
    """One video, or one folder of frames, and whose walk it shows.

    Attributes:
        path: the video file or the frame folder.
        identity, type, view: names of the sequence's folders; all None where the source was given
            by itself and nothing names it.
        boxes: where its boxes come from; None when there are none, and a detector has to find them.
    """

    path: Path
    identity: str | None = None
    type: str | None = None
    view: str | None = None
    boxes: Boxes = field(default=None, hash=False)

    @property
    def name(self) -> str:
        """``id/type/view``, or the file's name where the source has none."""
        if self.identity is None:
            return self.path.name
        return f"{self.identity}/{self.type}/{self.view}"

    @property
    def place(self) -> tuple[str, str, str] | None:
        """Identity, type and view of a source in a tree; None for one given by itself."""
        if self.identity is None or self.type is None or self.view is None:
            return None
        return self.identity, self.type, self.view

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


def find_sources(root: str | Path, boxes: str | Path | None = None) -> list[Source]:
    """Find the videos and frame folders of a tree ``<id>/<type>/<view>``, or the one given.

    ``root`` may be a video file; a folder with pictures in it, which is one source; or a tree that
    holds, mixed at will, ``<id>/<type>/<view>.<suffix>``, ``<id>/<type>/<view>/`` with pictures, or
    ``<id>/<type>/<view>/`` with one video in it. Hidden files, and files that are neither videos
    nor pictures, are passed over. An empty view folder and a link to nowhere are sources like any
    other: reading them fails and is reported.

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
    given, root = str(root), Path(root)
    if not root.exists():
        raise DataError("no such file or folder", where=given, how=f"give a video, or a folder with {_EXPECTED}")
    top = None if root.is_file() else _Listing.of(root)
    sources = [Source(root)] if top is None or _single(root, top) else sorted(_walk(root, top), key=_order)
    if not sources or all(source.path.is_dir() and not _has_images(source.path) for source in sources):
        raise DataError("holds no videos and no pictures", where=root, how=f"expected {_EXPECTED}")
    _refuse_twins(sources)
    return _with_boxes(sources, root, boxes)


@dataclass
class _Listing:
    """What is in a folder, by kind, each sorted."""

    folders: list[Path]
    videos: list[Path]
    images: list[Path]

    @classmethod
    def of(cls, folder: Path) -> _Listing:
        listing = cls([], [], [])
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            raise DataError(f"cannot be listed ({error.strerror})", where=folder) from error
        for entry in entries:
            path, link = Path(entry.path), entry.is_symlink()
            # Only links cost a look at what they lead to. What one to nowhere would be is told by
            # its name; reading it will say the rest.
            is_folder = path.is_dir() if link else entry.is_dir()
            if entry.name.startswith("."):
                continue
            if path.suffix.lower() in VIDEO_SUFFIXES and not is_folder:
                listing.videos.append(path)
            elif is_image(entry.name) and not is_folder:
                listing.images.append(path)
            elif (link and not path.exists()) or (is_folder and not (link and _climbs(path))):
                listing.folders.append(path)
        return listing


def _climbs(link: Path) -> bool:
    """Whether a link leads to a folder above it, where walking would not end."""
    target, place = os.path.realpath(link), os.path.realpath(link.parent)
    climbs = os.path.commonpath([target, place]) == target
    if climbs:
        logger.warning("%s links to a folder above it and is left out", link)
    return climbs


def _single(root: Path, listing: _Listing) -> bool:
    if listing.images and listing.videos:
        raise DataError(
            f"holds videos ({listing.videos[0].name}) and pictures ({listing.images[0].name})",
            where=root,
            how=f"give one of the videos; a tree of them is {_EXPECTED}",
        )
    return bool(listing.images)


def _order(source: Source) -> tuple[str, ...]:
    return str(source.identity), str(source.type), str(source.view), str(source.path)


def _walk(root: Path, top: _Listing) -> Iterator[Source]:
    _refuse(root, top, 1)
    for identity in top.folders:
        middle = _listed(identity)
        _refuse(root, middle, 2)
        for kind in middle.folders:
            bottom = _listed(kind)
            _refuse(root, _Listing([], [], bottom.images), 3)
            for video in bottom.videos:
                yield Source(video, identity.name, kind.name, video.stem)
            for view in bottom.folders:
                yield Source(_view(root, view), identity.name, kind.name, view.name)


def _listed(folder: Path) -> _Listing:
    if not folder.exists():
        raise DataError("is a link to nowhere", where=folder, how="mend or remove it")
    return _Listing.of(folder)


def _refuse(root: Path, listing: _Listing, depth: int) -> None:
    """Raise where videos or pictures lie less deep than a view does."""
    found = (listing.videos + listing.images)[:1]
    if found:
        raise DataError(
            f"holds {found[0].relative_to(root)}, {depth} level{'s' * (depth > 1)} deep; expected {_EXPECTED}",
            where=root,
            how="`gaitext prepare own` makes such a tree of links from the names of your files",
        )


def _view(root: Path, folder: Path) -> Path:
    """The video in a view's folder, or the folder itself where it holds pictures or nothing."""
    if not folder.exists():
        return folder
    listing = _Listing.of(folder)
    if listing.folders:
        raise DataError(
            f"holds the folder {listing.folders[0].relative_to(root)}, which is a level too deep; expected {_EXPECTED}",
            where=root,
            how="give the folder that holds the <id> folders; `gaitext prepare` knows some datasets' own trees",
        )
    if listing.videos and listing.images:
        raise DataError(
            f"holds a video ({listing.videos[0].name}) and pictures ({listing.images[0].name})",
            where=folder,
            how="a view is one sequence: keep one of them",
        )
    if len(listing.videos) > 1:
        # Views named after the files would be views of their own to every cross-view protocol.
        raise DataError(
            f"holds {len(listing.videos)} videos ({listing.videos[0].name}, {listing.videos[1].name}, …)",
            where=folder,
            how="a view is one sequence: give each video a type of its own, such as "
            f"{folder.parent.name}-01/{folder.name}.mp4 and {folder.parent.name}-02/{folder.name}.mp4",
        )
    return listing.videos[0] if listing.videos else folder


def _has_images(folder: Path) -> bool:
    return any(is_image(name) for name in os.listdir(folder))


def _refuse_twins(sources: list[Source]) -> None:
    for one, two in pairwise(sources):
        if one.name == two.name:
            raise DataError(
                f"{one.path} and {two.path} would both be {one.name}", how="a view is one sequence: keep one of them"
            )


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
