"""Errors that say what is wrong, where, and how to mend it."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class GaitextError(Exception):
    """Base of every error gaitext raises on purpose.

    Args:
        what: one sentence: what is wrong.
        where: the file, key or tensor it was found in.
        how: how to mend it.
    """

    def __init__(self, what: str, *, where: object = None, how: str | None = None) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.how = how
        lines = [what if self.where is None else f"{self.where}: {what}"]
        if how:
            lines.append(f"To mend it: {how}")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments need help to cross a process boundary.
        return (_rebuild, (type(self), self.what, self.where, self.how))


def _rebuild(kind: type[GaitextError], what: str, where: str | None, how: str | None) -> GaitextError:
    return kind(what, where=where, how=how)


class ConfigError(GaitextError, ValueError):
    """A setting is unknown, missing or out of range."""


class DataError(GaitextError, ValueError):
    """A data file or sequence cannot be used."""


class ShapeError(GaitextError, ValueError):
    """A tensor does not have the shape the callee documents."""


class CheckpointError(GaitextError, RuntimeError):
    """A checkpoint does not fit the model it is loaded into."""


class ToolboxError(GaitextError, RuntimeError):
    """A toolbox is missing, not linked, or not what it was taken for."""


class VideoError(GaitextError, RuntimeError):
    """A video cannot be opened, decoded or written."""


class MissingDependencyError(GaitextError, ImportError):
    """An optional dependency is not installed."""


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that ``name`` is most likely a misspelling of, or None.

    >>> nearest("treshold", ["threshold", "padding"])
    'threshold'
    """
    folded = {candidate.casefold(): candidate for candidate in candidates}
    found = difflib.get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.5)
    return folded[found[0]] if found else None


def suggest(name: str, candidates: Iterable[str]) -> str:
    """How to mend an unknown name: the nearest candidate, or all of them.

    >>> suggest("treshold", ["threshold", "padding"])
    "did you mean 'threshold'?"
    >>> suggest("x", ["threshold", "padding"])
    'choose one of threshold, padding'
    """
    known = list(candidates)
    guess = nearest(name, known)
    return f"did you mean '{guess}'?" if guess else f"choose one of {', '.join(known) or 'none'}"


def import_extra(module: str, extra: str, purpose: str) -> ModuleType:
    """Import an optional dependency, or say which ``pip install`` brings it.

    Args:
        module: dotted name of the module, for example ``"onnxruntime"``.
        extra: the extra of gaitext that installs it.
        purpose: what it is needed for, completing "... needs it".

    Raises:
        MissingDependencyError: the module cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"{purpose} needs {module}, which cannot be imported ({error})",
            how=f"pip install 'gaitext[{extra}]'",
        ) from error
