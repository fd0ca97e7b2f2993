"""What a dataset's folder holds, before anything is made of it; of own clips the names of the files tell it."""

from __future__ import annotations

import logging
import os
import re
import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gaitext.errors import ConfigError, DataError, suggest
from gaitext.making import refuse_twins
from gaitext.video import is_video
from gaitext.video.frames import is_image
from gaitext.video.sources import expected, is_named_as_video

log = logging.getLogger(__name__)


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


def views(root: Path) -> Iterator[Clip]:
    """The folders ``<id>/<type>/<view>`` below ``root``, sorted."""
    for identity in folders(root):
        for kind in folders(identity):
            for view in folders(kind):
                yield Clip(identity.name, kind.name, view.name, view)


def videos_and_frame_folders(root: Path) -> tuple[list[Path], dict[str, str]]:
    """All videos below ``root`` and the folders that hold pictures, however deep, sorted; path -> why of other files.

    Files whose suffix is unknown are tried (:func:`gaitext.video.is_video`), but not beside pictures;
    those that do not belong beside videos are named.
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
            log.warning("%s links to a folder above it and is left out", entry)
        else:
            yield from _below(entry, above | {real})


def in_order(clips: Iterable[Clip]) -> list[Clip]:
    """The clips sorted by name; raises DataError where two have the same."""
    ordered = sorted(clips, key=lambda clip: (clip.identity, clip.type, clip.view, str(clip.source)))
    how = "remove one of them, or give the folder that holds only one"
    refuse_twins(((clip.name, clip.source) for clip in ordered), how=how)
    return ordered


#: What stands in for a part that the names do not tell.
_DEFAULTS = {"type": "nm-01", "view": "000"}
_PARTS = ("id", *_DEFAULTS)


def find_own(root: Path, pattern: str = "{id}_{type}_{view}.*") -> Found:
    """Videos and frame folders below ``root`` whose path fits ``pattern``.

    Args:
        pattern: the path below ``root``: text with ``{id}``, ``{type}`` and ``{view}`` in it, each
            once, and ``*`` for whatever does not matter; none of them spans a slash. Without
            ``{type}`` all are ``nm-01``, without ``{view}`` all are ``000``. A frame folder is a
            path without suffix; a suffix ``.*`` takes those, too.

    Returns:
        The clips; videos and frame folders that do not fit are ``left_out``.

    Raises:
        ConfigError: a pattern without ``{id}``, or with other fields.
        DataError: nothing fits; a name that can be read in two ways; two clips of the same name.
    """
    parts = _parse(pattern)
    clips = []
    found, left_out = videos_and_frame_folders(root)
    for path in found:
        place = path.relative_to(root).as_posix()
        lazy, greedy = (_expression(parts, path.is_dir(), sign).fullmatch(place) for sign in ("?", ""))
        if lazy is None or greedy is None:
            left_out[str(path)] = f"does not fit {pattern}"
            continue
        one, two = lazy.groupdict(), greedy.groupdict()
        if one != two:
            key = next(key for key in one if one[key] != two[key])
            raise DataError(
                f"fits {pattern} with {key} '{one[key]}' and with '{two[key]}'",
                where=path,
                how="use a pattern with other text between the parts, or rename the file",
            )
        names = {**_DEFAULTS, **one}
        bad = next((part for part in _PARTS if names[part].startswith(".") or names[part] != names[part].strip()), None)
        if bad is not None:
            raise DataError(f"its {bad} would be '{names[bad]}', which cannot name a folder", where=path)
        clips.append(Clip(names["id"], names["type"], names["view"], path))
    if not clips:
        example = next(iter(left_out), None)
        raise DataError(
            "holds no videos and no folders of pictures" if example is None else f"holds nothing that fits {pattern}",
            where=root,
            how=None if example is None else f"there is {Path(example).relative_to(root).as_posix()}; give --pattern",
        )
    return Found(in_order(clips), left_out=left_out)


def _parse(pattern: str) -> list[tuple[str, str | None]]:
    """The pattern as (text, part's name after it)."""
    try:
        fields = [(text, name) for text, name, _, _ in string.Formatter().parse(pattern)]
    except ValueError as error:
        raise ConfigError(f"'{pattern}' is no pattern ({error})", where="--pattern") from error
    named = [name for _, name in fields if name is not None]
    for name in named:
        if name not in _PARTS:
            raise ConfigError(f"'{{{name}}}' in '{pattern}' is unknown", where="--pattern", how=suggest(name, _PARTS))
        if named.count(name) > 1:
            raise ConfigError(f"'{pattern}' holds {{{name}}} twice", where="--pattern")
    if "id" not in named:
        raise ConfigError(f"'{pattern}' has no {{id}}", where="--pattern", how="such as '{id}_{type}_{view}.mp4'")
    return fields


def _expression(parts: list[tuple[str, str | None]], is_folder: bool, sign: str) -> re.Pattern[str]:
    """The regular expression; ``sign`` "?" gives each part as little as possible, "" as much."""
    expression = ""
    for text, name in parts:
        if is_folder and name is None and text.endswith(".*"):
            text = text.removesuffix(".*")
        expression += "[^/]*".join(re.escape(piece) for piece in text.split("*"))
        expression += "" if name is None else f"(?P<{name}>[^/]+{sign})"
    return re.compile(expression, re.IGNORECASE)
