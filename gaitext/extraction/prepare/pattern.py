"""Own clips: who, what and from where is in the names of the files."""

from __future__ import annotations

import re
import string
from pathlib import Path

from gaitext.errors import ConfigError, DataError, suggest
from gaitext.extraction.prepare.found import Clip, Found, refuse_twins, videos_and_frame_folders

__all__ = ["find_own"]

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
    return Found(refuse_twins(clips), [], left_out)


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
