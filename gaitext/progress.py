"""Progress bars, to stderr, for whoever runs a long job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["progress"]


@contextmanager
def progress(label: str, total: int | None, *, done: int = 0, quiet: bool = False) -> Iterator[Callable[..., None]]:
    """Yield ``update(done, total=None, note="")``, which moves a bar.

    Args:
        label: shown before the bar.
        total: steps in all, if known.
        done: steps already done.
        quiet: show nothing.
    """
    if quiet:
        yield lambda done, total=None, note="": None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total, completed=done, note="")

        def update(done: int, total: int | None = None, note: str = "") -> None:
            fields: dict[str, Any] = {"note": note} if note else {}
            bar.update(task, completed=done, total=total, **fields)

        yield update
