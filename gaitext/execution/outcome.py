"""What became of the items, and one error for all that failed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from gaitext.errors import DataError, GaitextError

__all__ = ["Outcome", "RemoteError", "raise_failures"]

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Outcome(Generic[Item, Result]):
    """What became of one item: its result, or the error that stopped it.

    An error of another process carries that process's traceback as its ``__cause__``.
    """

    item: Item
    result: Result | None = None
    error: Exception | None = None


class RemoteError(RuntimeError):
    """Stands for an error that could not itself cross the process boundary; says its type and message."""


def raise_failures(outcomes: Iterable[Outcome[Item, Result]], what: str) -> list[Result]:
    """Return all results, or raise one error that names every item that failed.

    Raises:
        GaitextError: the only failure, where there is one and it is gaitext's own.
        DataError: several failures, listed (the first twenty in full).
    """
    outcomes = list(outcomes)
    failed = [o for o in outcomes if o.error is not None]
    if not failed:
        return [o.result for o in outcomes]  # type: ignore[misc]
    first = failed[0].error
    if len(failed) == 1 and isinstance(first, GaitextError):
        raise first
    listed = "\n".join(f"  {o.item}: {type(o.error).__name__}: {o.error}" for o in failed[:20])
    more = f"\n  … and {len(failed) - 20} more" if len(failed) > 20 else ""
    raise DataError(
        f"{len(failed)} of {len(outcomes)} {what} failed:\n{listed}{more}",
        how="mend the inputs and run the same command again: what is finished is not done again",
    ) from first
