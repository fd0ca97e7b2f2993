"""Which videos there are in a folder, and whose walks they show."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gaitext.errors import DataError
from gaitext.making import refuse_twins
from gaitext.video.frames import is_image
from gaitext.video.reading import VIDEO_SUFFIXES, is_video

log = logging.getLogger(__name__)

#: What belongs beside videos: boxes, and what systems leave in folders.
_BESIDE = {".csv", ".txt", ".json"}
_SYSTEM = {"thumbs.db", "desktop.ini"}
_SHOWN = 5

_EXPECTED = "<id>/<type>/<view>.mp4, or <id>/<type>/<view>/ with pictures in it"


@dataclass(frozen=True)
class VideoSource:
    """One video, or one folder of frames, and whose walk it shows.

    Attributes:
        path: the video file or the frame folder.
        identity, type, view: names of the sequence's folders; all None where the source was given
            by itself and nothing names it.
    """

    path: Path
    identity: str | None = None
    type: str | None = None
    view: str | None = None

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


def find_videos(root: str | Path, out: str | Path | None = None) -> list[VideoSource]:
    """Find the videos and frame folders of a tree ``<id>/<type>/<view>``, or the one given.

    ``root`` may be a video file; a folder with pictures in it, which is one source; or a tree that
    holds, mixed at will, ``<id>/<type>/<view>.<suffix>``, ``<id>/<type>/<view>/`` with pictures, or
    ``<id>/<type>/<view>/`` with one video in it. A file in a video's place whose suffix is unknown is a
    video if it decodes (:func:`gaitext.video.is_video`). Hidden files are passed over, and so are files
    that are neither videos nor pictures, which a warning names. An empty view folder and a link to
    nowhere are sources like any other: reading them fails and is reported.

    Args:
        root: see above.
        out: where results are going to be; not in the tree, where the next look would find them.

    Returns:
        Sources sorted by identity, type, view.

    Raises:
        DataError: nothing there; a tree of another depth (an example is named); several videos for
            one view; ``out`` in the tree.
    """
    given, root = str(root), Path(root)
    if not root.exists():
        raise DataError("no such file or folder", where=given, how=f"give a video, or a folder with {_EXPECTED}")
    top = None if root.is_file() else _Listing.of(root)
    if top is not None and not _single(root, top):
        _refuse_inside(root, out)
    passed: list[Path] = []
    if top is None or _single(root, top):
        sources = [VideoSource(root)]
        passed += [] if top is None else top.others
    else:
        sources = sorted(_walk(root, top, passed), key=_order)
    name_passed_over(root, passed)
    if not sources or all(source.path.is_dir() and not _has_images(source.path) for source in sources):
        raise DataError("holds no videos and no pictures", where=root, how=f"expected {_EXPECTED}")
    refuse_twins(((s.name, s.path) for s in sources), how="a view is one sequence: keep one of them")
    return sources


def find_clips(root: str | Path, out: str | Path | None = None) -> list[VideoSource]:
    """:func:`find_videos`; but of a folder that holds video files themselves, each by itself, which names nobody.

    What else is in such a folder, folders too, is passed over, and named by a warning.

    Raises:
        DataError: as :func:`find_videos`.
    """
    folder = Path(root)
    top = _Listing.of(folder) if folder.is_dir() else None
    if top is None or not top.videos:
        return find_videos(root, out)
    _refuse_inside(folder, out)
    name_passed_over(folder, [*top.folders, *top.images, *top.others])
    return [VideoSource(path) for path in top.videos]


def _refuse_inside(root: Path, out: str | Path | None) -> None:
    if out is not None and Path(os.path.realpath(out)).is_relative_to(os.path.realpath(root)):
        raise DataError(
            "lies in the tree of videos: its files would be taken for more of them",
            where=out,
            how=f"give --out a folder outside {root}",
        )


def is_named_as_video(path: Path) -> bool:
    """Whether a file's suffix is one of videos'."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def expected(path: Path) -> bool:
    """Whether a file that is no video need not be mentioned: boxes, and what systems leave in folders."""
    return path.suffix.lower() in _BESIDE or path.name.lower() in _SYSTEM


def name_passed_over(root: Path, files: Iterable[Path]) -> None:
    """Warn of files that are not used; those that belong beside videos are not mentioned."""
    named = [str(file.relative_to(root)) for file in files if not expected(file)]
    if named:
        more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
        log.warning(
            "%s: passed over, being no video in a video's place, or none that decodes: %s%s",
            root,
            ", ".join(named[:_SHOWN]),
            more,
        )


@dataclass
class _Listing:
    """What is in a folder, by kind, each sorted."""

    folders: list[Path]
    videos: list[Path]
    images: list[Path]
    others: list[Path]

    @classmethod
    def of(cls, folder: Path) -> _Listing:
        listing = cls([], [], [], [])
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
            if is_named_as_video(path) and not is_folder:
                listing.videos.append(path)
            elif is_image(entry.name) and not is_folder:
                listing.images.append(path)
            elif (link and not path.exists()) or (is_folder and not (link and _leads_above(path))):
                listing.folders.append(path)
            elif not is_folder:
                listing.others.append(path)
        return listing

    def try_others(self) -> None:
        """Take what decodes for videos, but for what stands beside one of the same name, or beside pictures."""
        known = {path.stem for path in self.videos} | {path.name for path in self.folders}
        if not self.images:
            found = [path for path in self.others if path.stem not in known and is_video(path)]
            self.videos = sorted(self.videos + found)
            self.others = [path for path in self.others if path not in found]


def _leads_above(link: Path) -> bool:
    """Whether a link leads to a folder above it, where walking would not end."""
    target, place = os.path.realpath(link), os.path.realpath(link.parent)
    climbs = os.path.commonpath([target, place]) == target
    if climbs:
        log.warning("%s links to a folder above it and is left out", link)
    return climbs


def _single(root: Path, listing: _Listing) -> bool:
    if listing.images and listing.videos:
        raise DataError(
            f"holds videos ({listing.videos[0].name}) and pictures ({listing.images[0].name})",
            where=root,
            how=f"give one of the videos; a tree of them is {_EXPECTED}",
        )
    return bool(listing.images)


def _order(source: VideoSource) -> tuple[str, ...]:
    return str(source.identity), str(source.type), str(source.view), str(source.path)


def _walk(root: Path, top: _Listing, passed: list[Path]) -> Iterator[VideoSource]:
    _refuse(root, top, 1)
    passed += top.others
    for identity in top.folders:
        middle = _listed(identity)
        _refuse(root, middle, 2)
        passed += middle.others
        for kind in middle.folders:
            bottom = _listed(kind)
            _refuse(root, _Listing([], [], bottom.images, []), 3)
            bottom.try_others()
            passed += bottom.others
            for video in bottom.videos:
                yield VideoSource(video, identity.name, kind.name, video.stem)
            for view in bottom.folders:
                yield VideoSource(_view(root, view, passed), identity.name, kind.name, view.name)


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


def _view(root: Path, folder: Path, passed: list[Path]) -> Path:
    """The video in a view's folder, or the folder itself where it holds pictures or nothing."""
    if not folder.exists():
        return folder
    listing = _Listing.of(folder)
    if not listing.videos:
        listing.try_others()
    passed += listing.others
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
