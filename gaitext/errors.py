"""Errors that say what is wrong, where, and how to mend it."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

#: Names of one kind of failure that are listed, beside the first.
_NAMED = 4


class GaitextError(Exception):
    """Base of every error gaitext raises on purpose.

    Args:
        what: one sentence: what is wrong.
        where: the file, key or tensor it was found in.
        how: how to mend it.

    Attributes:
        origin: where in the code it was raised; see :func:`kind_of`.
    """

    def __init__(self, what: str, *, where: object = None, how: str | None = None) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.how = how
        lines = [what if self.where is None else f"{self.where}: {what}"]
        if how:
            lines.append(f"To mend it: {how}")
        super().__init__("\n".join(lines))
        raised = sys._getframe(1)
        self.origin = f"{raised.f_code.co_filename}:{raised.f_lineno}"

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments need help to cross a process boundary.
        return (_rebuild, (type(self), self.what, self.where, self.how, self.origin))


def _rebuild(kind: type[GaitextError], what: str, where: str | None, how: str | None, origin: str) -> GaitextError:
    error = kind(what, where=where, how=how)
    error.origin = origin
    return error


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


def kind_of(error: BaseException) -> Hashable:
    """What kind of failure an error is: of one kind are those that one line of gaitext raised, whatever they name.

    Errors of others are of one kind where type and text are the same.
    """
    return type(error), error.origin if isinstance(error, GaitextError) else str(error)


def describe_failures(
    failed: Mapping[str, BaseException], what: str, *, title: str = "", all_in: object = None
) -> list[str]:
    """Say each kind of failure once, in lines: how often, the first in full with how to mend it, the others' names.

    Args:
        failed: name -> the error that stopped it.
        what: what failed, in the plural.
        title: stands before each kind.
        all_in: the file that holds all of them; without one every name is listed.
    """
    kinds: dict[Hashable, list[str]] = {}
    for name, error in failed.items():
        kinds.setdefault(kind_of(error), []).append(name)
    lines = []
    for names in kinds.values():
        error = failed[names[0]]
        where = error.where if isinstance(error, GaitextError) else None
        why = str(error) if isinstance(error, GaitextError) else f"{type(error).__name__}: {error}"
        if where is None or Path(where).name != names[0]:  # a lone file says its name itself
            why = f"{names[0]}: {why}"
        count = "" if len(names) == 1 else f"{len(names)} {what}, such as "
        lines.append(f"{title}{count}{why}")
        lines += also(names[1:], all_in)
    return lines


def also(names: Sequence[str], all_in: object = None) -> list[str]:
    """A line of further names; a few, where a file holds all of them.

    >>> also(["b", "c"]), also([])
    (['  also b, c'], [])
    >>> also(["b", "c", "d", "e", "f", "g"], "all.json")
    ['  also b, c, d, e and 2 more; all are in all.json']
    """
    if not names:
        return []
    if all_in is None or len(names) <= _NAMED:
        return [f"  also {', '.join(names)}"]
    return [f"  also {', '.join(names[:_NAMED])} and {len(names) - _NAMED} more; all are in {all_in}"]


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
