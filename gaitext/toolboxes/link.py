"""Links gaitext into a toolbox: one small file, put there and taken away again."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gaitext.errors import DataError, ToolboxError
from gaitext.store import atomic_path
from gaitext.toolboxes import parts
from gaitext.toolboxes.toolbox import EXTENSION_POINTS, Toolbox, detect, static_clashes

#: Raised when the file's text changes in a way that older links should be renewed for.
FORMAT = 2
MARKER = "# gaitext-plugin"

LinkState = Literal["absent", "current", "outdated", "edited", "foreign"]

_BODY = '''\
"""Brings gaitext's parts into this toolbox. Written by `gaitext link`, removed by `gaitext unlink`; do not edit."""


def _unusable(name, error):
    def __init__(self, *args, **kwargs):
        raise RuntimeError(
            f"gaitext's {{name}} cannot be used, because gaitext could not be plugged in ({{type(error).__name__}}: "
            f"{{error}}). To mend it: run `gaitext doctor` on this toolbox"
        ) from error

    return type(name, (), {{"__init__": __init__, "__module__": __name__}})


# This file must never raise: the toolbox imports every file here, and one error would break all its models.
try:
    from gaitext.toolboxes import plugin as _plugin

    globals().update(_plugin.plug_in(__name__))
except Exception as _error:
    import logging as _logging

    _logging.getLogger("gaitext").warning(
        "gaitext could not be plugged in (%s: %s); the toolbox's own models are not affected. "
        "To mend it: run `gaitext doctor` on this toolbox, or `gaitext unlink` it",
        type(_error).__name__,
        _error,
    )
    globals().update({{_name: _unusable(_name, _error) for _name in {models!r}}})
'''


def plugin_text() -> str:
    """The text of the plug-in: a marker line, the call into gaitext, and what to do when that fails.

    The marker line ends in a digest of the rest, by which an edited file is told from one of another version.
    """
    body = _BODY.format(models=tuple(sorted(parts.MODELS)))
    return f"{MARKER} {FORMAT} {_digest(body)}\n{body}"


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:16]


def _is_edited(text: str) -> bool:
    """Whether a plug-in's text is another than what any gaitext has written."""
    marker, _, body = text.partition("\n")
    words = marker.removeprefix(MARKER).split()
    if words == ["1"]:  # without a digest: the text was today's, whatever the models' names
        listed = ("MODEL",)
        before, after = (re.escape(part) for part in _BODY.format(models=listed).split(repr(listed)))
        return re.fullmatch(before + r"\([\w', ]*\)" + after, body) is None
    return len(words) != 2 or words[1] != _digest(body)


@dataclass(frozen=True)
class LinkReport:
    """What :func:`link` or :func:`unlink` did.

    Attributes:
        toolbox: name of the toolbox found.
        root: its root.
        path: the plug-in's file.
        action: what was done.
        clashes: names that both gaitext and the toolbox define, one sentence each.
    """

    toolbox: str
    root: Path
    path: Path
    action: Literal["linked", "updated", "already linked", "unlinked", "was not linked"]
    clashes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """What was done, for people; clashes in a line each."""
        lines = [f"{self.toolbox} at {self.root}: {self.action} ({self.path.relative_to(self.root)})"]
        return "\n".join(lines + [f"warning: {clash}" for clash in self.clashes])


def link_state(root: str | Path, toolbox: Toolbox) -> LinkState:
    """Whether the plug-in is there, up to date, from another gaitext, edited by hand, or somebody else's file."""
    path = Path(root) / toolbox.plugin
    if not path.exists() and not path.is_symlink():
        return "absent"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return "foreign"
    if not text.startswith(MARKER):
        return "foreign"
    if text == plugin_text():
        return "current"
    return "edited" if _is_edited(text) else "outdated"


def clash_lines(root: str | Path, toolbox: Toolbox) -> list[str]:
    """Names that gaitext registers and the toolbox's own files define too, one sentence each."""
    root = Path(root)
    lines = []
    for point in EXTENSION_POINTS:
        names = set(getattr(parts, point.table))
        found = static_clashes(root / toolbox.package, point, names, root / toolbox.plugin)
        for name, files in found.items():
            listed = ", ".join(str(file.relative_to(root)) for file in files)
            lines.append(f"the {point.kind} {name} is also defined in {listed}; gaitext's is used under that name")
    return lines


def _refuse(state: LinkState, root: Path, toolbox: Toolbox) -> None:
    """Refuse a file that is not as gaitext wrote it."""
    if state == "edited":
        raise ToolboxError(
            "was edited since `gaitext link` wrote it, so it is left alone",
            where=root / toolbox.plugin,
            how="keep what you have added in a file of your own beside it, and remove this one",
        )
    if state != "foreign":
        return
    raise ToolboxError(
        "is not gaitext's file, so it is left alone",
        where=root / toolbox.plugin,
        how="rename it, so that gaitext can put its own there",
    )


def link(root: str | Path) -> LinkReport:
    """Plug gaitext into the toolbox at ``root``, by one file at its documented extension point.

    Linking again changes nothing; a link written by another version is renewed.

    Raises:
        ToolboxError: ``root`` is no toolbox, is not writable, or the plug-in's file is another, or was edited.
    """
    root = Path(root)
    toolbox = detect(root)
    state = link_state(root, toolbox)
    path = root / toolbox.plugin
    _refuse(state, root, toolbox)
    if state != "current":
        try:
            with atomic_path(path) as temporary:
                temporary.write_text(plugin_text(), encoding="utf-8")
        except (OSError, DataError) as error:  # a full disk is a DataError
            why = error.what if isinstance(error, DataError) else f"cannot be written ({error.strerror})"
            raise ToolboxError(why, where=path, how="make room in the toolbox's folder, or make it writable") from error
    actions: dict[LinkState, Literal["linked", "updated", "already linked"]]
    actions = {"absent": "linked", "outdated": "updated", "current": "already linked"}
    return LinkReport(toolbox.name, root, path, actions[state], tuple(clash_lines(root, toolbox)))


def unlink(root: str | Path) -> LinkReport:
    """Remove exactly what :func:`link` put there, and its compiled form.

    Raises:
        ToolboxError: ``root`` is no toolbox, is not writable, or the file of that name is another, or was edited.
    """
    root = Path(root)
    toolbox = detect(root)
    path = root / toolbox.plugin
    state = link_state(root, toolbox)
    _refuse(state, root, toolbox)
    if state == "absent":
        return LinkReport(toolbox.name, root, path, "was not linked")
    try:
        path.unlink()
        cache = path.parent / "__pycache__"
        for compiled in cache.glob(f"{path.stem}.*.pyc"):
            compiled.unlink(missing_ok=True)
        if cache.is_dir() and not any(cache.iterdir()):
            cache.rmdir()
    except OSError as error:
        raise ToolboxError(
            f"cannot be removed ({error.strerror})",
            where=error.filename or path,
            how="make the toolbox's folder writable",
        ) from error
    return LinkReport(toolbox.name, root, path, "unlinked")
