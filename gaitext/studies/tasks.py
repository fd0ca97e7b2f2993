"""What a study has to do: tasks that stand on each other, each with a file that says it is done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaitext.errors import ConfigError
from gaitext.pose.onnx import onnx_sha256
from gaitext.store import write_json
from gaitext.video.digests import content_sha256

__all__ = ["Task", "digest_of", "estimator_about", "finish", "seedless", "to_do", "waves"]


@dataclass(frozen=True)
class Task:
    """One piece of work: data, a training, a test.

    Args:
        name: for people, and for ``needs``.
        function: called with ``argument`` in some process; picklable. It must write ``done`` last, with :func:`finish`
            or as a cell, and bear being killed and called again.
        argument: picklable.
        done: a JSON file whose ``about`` says what it was made of.
        about: what this task would make it of; a file that says something else is made anew.
        needs: names of the tasks before it.
        alone: it uses all cores by itself, and runs in this process.
        passing: of use only to tasks that need it: done where one of those is still to be done, and only there.
    """

    name: str
    function: Callable[[Any], None]
    argument: Any
    done: Path
    about: Mapping[str, Any]
    needs: tuple[str, ...] = ()
    alone: bool = False
    passing: bool = False

    def is_done(self) -> bool:
        try:
            read = json.loads(self.done.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(read, dict) and read.get("about") == plain(self.about)

    def __str__(self) -> str:
        return self.name


def plain(about: Any) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(about, sort_keys=True, default=str))


def estimator_about(specification: str) -> str | dict[str, Any]:
    """What an estimator is: its specification, and the contents of the files that it names."""
    kind, _, rest = specification.partition("?")[0].partition(":")
    files: dict[str, str] = {}
    for name in (rest, *rest.split(":")):
        path = Path(name).expanduser()
        if name and path.exists():
            files[name] = onnx_sha256(path) if kind == "onnx" else content_sha256(path)
    return {"specification": specification, "files": files} if files else specification


def digest_of(about: Any) -> str:
    """Eight hexadecimal digits that tell settings apart, for names of folders."""
    return hashlib.sha256(json.dumps(plain(about), sort_keys=True).encode()).hexdigest()[:8]


def seedless(about: Mapping[str, Any]) -> dict[str, Any]:
    """What all seeds of it are made of; for names of folders that hold them all."""
    return {**about, "seed": None}


def finish(task_done: Path, about: Mapping[str, Any], **found: Any) -> None:
    """Say that a task is done, and what it found."""
    write_json(task_done, {**found, "about": plain(about)})


def waves(tasks: Sequence[Task]) -> list[list[Task]]:
    """Tasks in the order given, each in the first wave after all that it needs.

    Raises:
        ConfigError: a task needs one that is not there, or itself; or two have one name.
    """
    known = {task.name: task for task in tasks}
    if len(known) != len(tasks):
        twice = sorted({task.name for task in tasks if [t.name for t in tasks].count(task.name) > 1})
        raise ConfigError(f"{', '.join(twice)}: there are several", where="systems", how="give each its own name")
    depth: dict[str, int] = {}

    def of(name: str, above: tuple[str, ...]) -> int:
        if name in above:
            raise ConfigError(f"needs itself: {' ← '.join((*above, name))}", where=name)
        if name not in known:
            raise ConfigError(f"needs '{name}', which is not there", where=above[-1])
        if name not in depth:
            depth[name] = 1 + max((of(need, (*above, name)) for need in known[name].needs), default=-1)
        return depth[name]

    for task in tasks:
        of(task.name, ())
    return [[t for t in tasks if depth[t.name] == level] for level in range(max(depth.values(), default=-1) + 1)]


def to_do(tasks: Sequence[Task]) -> set[str]:
    """Names of the tasks that are to be done, those before in the order of :func:`waves`."""
    left: set[str] = set()
    wanted: set[str] = set()
    for task in (task for wave in reversed(waves(tasks)) for task in wave):
        if (task.name in wanted or not task.passing) and not task.is_done():
            left.add(task.name)
            wanted.update(task.needs)
    return left
