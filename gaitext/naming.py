"""Names that become folders: what they may be, and filling in templates of them."""

from __future__ import annotations

import re
import string
from collections.abc import Collection

__all__ = ["check_template", "folder_name", "folder_path"]

#: Bytes of a name, in nearly all file systems.
_LONGEST = 255
#: Digits of a format's width: {track:03d}.
_WIDTH = re.compile(r"\d+")


def folder_name(name: str) -> str:
    """The name, if it can be that of one folder inside the folder that is meant.

    Raises:
        ValueError: it is empty, begins with a dot or with white space or ends with it, holds a slash, or is
            longer than a file system allows.

    >>> folder_name("nm-01")
    'nm-01'
    """
    if not name or name != name.strip() or name.startswith(".") or any(c in name for c in "/\\\0"):
        raise ValueError(f"'{name}' cannot name a folder: give a name without slashes that does not begin with a dot")
    if len(name.encode(errors="surrogateescape")) > _LONGEST:
        raise ValueError(f"'{name[:30]}…' is longer than the {_LONGEST} bytes that a folder's name may have")
    return name


def folder_path(path: str) -> str:
    """The path, if it leads from a folder to one below it, as ``tiny`` and ``series/tiny`` do.

    Raises:
        ValueError: it is empty or absolute, or a part of it is none for :func:`folder_name` (such as ``..``).

    >>> folder_path("series/tiny")
    'series/tiny'
    """
    parts = path.split("/")
    if not path or not parts[0] or re.match("[A-Za-z]:", path):
        raise ValueError(f"'{path}' names no folder below the output's: give a name such as 'tiny'")
    for part in parts:
        folder_name(part)
    return path


def check_template(template: str, fields: Collection[str]) -> str:
    """The template, if it can be filled in with small effort.

    Raises:
        ValueError: it is none, holds another field, or a format that is not a small width.
    """
    try:
        parsed = [found for found in string.Formatter().parse(template) if found[1] is not None]
    except ValueError as error:
        raise ValueError(f"is no template ({error})") from error
    for _, name, form, conversion in parsed:
        if name not in fields:
            raise ValueError(f"'{{{name}}}' is unknown; there are {', '.join(f'{{{f}}}' for f in fields)}")
        if (
            conversion
            or "{" in (form or "")
            or any(len(width) > 3 or int(width) > _LONGEST for width in _WIDTH.findall(form or ""))
        ):
            raise ValueError(f"'{{{name}:{form}}}' is no format for a name: give a width such as {{{name}:03d}}")
    return template
