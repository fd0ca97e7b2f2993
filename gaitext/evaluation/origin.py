"""What made a result: config, weights, protocol, versions, commit."""

from __future__ import annotations

import functools
import inspect
import platform
import subprocess
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch

import gaitext
from gaitext.video.digests import content_sha256


def protocol_of(function: Callable[..., Any], name: str, dataset: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """``about["protocol"]`` of a saved result.

    Args:
        function: the evaluation function.
        name: under which the config names it.
        dataset: the name that it is given.
        arguments: those of the config that it takes; ``table`` is left out, as it decides no number.
    """
    parameters = inspect.signature(function).parameters
    metric = parameters["metric"].default if "metric" in parameters else None
    own = {key: value for key, value in arguments.items() if key != "table"}
    return {"eval_func": name, "dataset": dataset, **({} if metric is None else {"metric": metric}), **own}


def origin(
    host: str,
    config: Mapping[str, Any],
    protocol: Mapping[str, Any],
    *,
    checkpoint: str | Path | None,
    iteration: int | None,
    seed: int | None,
    **versions: str | None,
) -> dict[str, Any]:
    """``about`` of a saved result (:class:`~gaitext.evaluation.Saved`).

    Args:
        host: ``embedded``, or a toolbox's name.
        config: the whole config, as the host read it.
        protocol: see :func:`protocol_of`.
        checkpoint: the file whose weights were tested; None: there is none.
        iteration: how far they were trained, if it is known.
        seed: of the test; None: a toolbox's own.
        versions: of what else had a part in it.
    """
    file = None if checkpoint is None else Path(checkpoint)
    there = file is not None and file.is_file()
    return {
        "host": host,
        "config": config,
        "checkpoint": {
            "path": None if file is None else file.absolute().as_posix(),
            "sha256": content_sha256(file) if file is not None and there else None,
            "iteration": iteration,
        },
        "protocol": dict(protocol),
        "versions": {**own_versions(), **versions},
        "commit": commit_of(Path(gaitext.__file__).parent / "__init__.py"),
        "seed": seed,
        "made": now(),
    }


def own_versions() -> dict[str, str]:
    """Of gaitext, and of what numbers come from."""
    return {
        "gaitext": gaitext.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def now() -> str:
    """The time, by the second, as ISO 8601 writes it."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


@functools.cache
def commit_of(file: Path) -> str | None:
    """The git commit that a file is checked out at, ``-dirty`` behind it where tracked files were changed.

    None: git is not there, or the file is no part of a checkout (an installed package in somebody's repository).
    """

    def git(*arguments: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(file.parent), *arguments]
        return subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", check=True, timeout=30
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", file.name)
        # Not `describe --dirty`, which rewrites the index of a repository that is only looked at.
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None
