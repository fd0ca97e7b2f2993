"""What a dataset's folder holds, before anything is made of it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from gaitext.errors import DataError
from gaitext.frames import is_image
from gaitext.sources import expected, is_named_as_video
from gaitext.video import is_video

__all__ = ["Clip", "Found", "folders", "folders_below", "refuse_twins", "videos_and_frame_folders"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clip:
    """One sequence of a dataset, where it lies.

    Attributes:
        source: the video, the folder of frames, or the file or folder of poses.
        frames: names of the files in ``source`` that are its frames, in order, where these are not
            simply all pictures in natural order; None where they are.
    """

    identity: str
    type: str
    view: str
    source: Path
    frames: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        """``id/type/view``."""
        return f"{self.identity}/{self.type}/{self.view}"

    @property
    def leaf(self) -> Path:
        """Where it goes in the tree: a video keeps its suffix."""
        suffix = "" if self.frames is not None or self.source.is_dir() else self.source.suffix
        return Path(self.identity, self.type, self.view + suffix)


@dataclass(frozen=True)
class Found:
    """What was found.

    Attributes:
        clips: by name.
        missing: names (``id/type/view``, or the part that is known) that the dataset has and the
            folder has not.
        left_out: what is there and was not taken -> why.
        notes: what else there is to know.
    """

    clips: list[Clip]
    missing: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def folders(root: Path) -> list[Path]:
    """The folders in a folder, sorted, without hidden ones."""
    try:
        return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"cannot be listed ({error.strerror})", where=root, how="check the path") from error


def videos_and_frame_folders(root: Path) -> tuple[list[Path], dict[str, str]]:
    """All videos below ``root``, and the folders that hold pictures, however deep, sorted; and what is neither.

    Files whose suffix is unknown are tried (:func:`gaitext.video.is_video`), but not beside pictures.

    Returns:
        Videos and folders; path -> why it was not taken, of files that do not belong beside videos.
    """
    found, left_out = [], {}
    for folder, files in folders_below(root):
        pictures = [file for file in files if is_image(file.name)]
        if pictures:
            found.append(folder)
        for file in files:
            if is_named_as_video(file):
                found.append(file)
            elif is_image(file.name) or expected(file):
                continue
            elif not pictures and is_video(file):
                found.append(file)
            else:
                left_out[str(file)] = "is no video that decodes"
    return sorted(found), left_out


def folders_below(root: Path) -> Iterator[tuple[Path, list[Path]]]:
    """``root`` and all folders below it, each with what it holds besides folders; sorted, without hidden ones.

    Links to folders are followed, but not into a folder that is being walked already.
    """
    yield from _below(root, frozenset({os.path.realpath(root)}))


def _below(folder: Path, above: frozenset[str]) -> Iterator[tuple[Path, list[Path]]]:
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"cannot be listed ({error.strerror})", where=folder, how="check the path") from error
    below = [entry for entry in entries if entry.is_dir()]
    yield folder, [entry for entry in entries if not entry.is_dir()]
    for entry in below:
        real = os.path.realpath(entry)
        if real in above:
            logger.warning("%s links to a folder above it and is left out", entry)
        else:
            yield from _below(entry, above | {real})


def refuse_twins(clips: Iterable[Clip]) -> list[Clip]:
    """The clips sorted by name, if no two have the same.

    Raises:
        DataError: two have.
    """
    ordered = sorted(clips, key=lambda clip: (clip.identity, clip.type, clip.view, str(clip.source)))
    for one, two in pairwise(ordered):
        if one.name == two.name:
            raise DataError(
                f"{one.source} and {two.source} would both be {one.name}",
                how="remove one of them, or give the folder that holds only one",
            )
    return ordered
