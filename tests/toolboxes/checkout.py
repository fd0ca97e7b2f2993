"""Copies of a toolbox's checkout, linked, whose own main.py is run on the CPU."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gaitext.toolboxes.link import link, unlink
from gaitext.toolboxes.run import run
from gaitext.toolboxes.toolbox import Toolbox, detect

from . import data

#: Leaves what the test computes in a file, under a name that evaluator_cfg can ask for.
_CAPTURE = """
import numpy as np
from evaluation import evaluator


def capture(data, dataset):
    np.savez("captured.npz", **{key: np.asarray(value) for key, value in data.items()})
    return {}


evaluator.capture = capture
"""


def _missing(toolbox: Toolbox) -> str | None:
    """Why there is no checkout to test against."""
    given = os.environ.get(toolbox.environment)
    return None if given else f"set {toolbox.environment} to a checkout of {toolbox.name}"


def needs(toolbox: Toolbox) -> pytest.MarkDecorator:
    """Skips a test where there is no checkout."""
    reason = _missing(toolbox)
    return pytest.mark.skipif(reason is not None, reason=reason or "")


def hashes(root: Path) -> dict[str, str]:
    """Of every file below a folder."""
    files = [f for f in sorted(root.rglob("*")) if f.is_file()]
    return {str(f.relative_to(root)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def git_status(root: Path) -> str:
    """What git says has been added or changed, ignored files too."""
    # Without optional locks, or it would rewrite the index, whose hash is compared.
    command = ["git", "--no-optional-locks", "-C", str(root), "status", "--porcelain", "--ignored"]
    return subprocess.run(command, capture_output=True, text=True).stdout


def _capture_file(toolbox: Toolbox) -> str:
    return f"{toolbox.package}/modeling/models/zz_capture.py"


@contextmanager
def linked_copy(toolbox: Toolbox, parent: Path) -> Iterator[Path]:
    """A linked copy of the checkout; at the end it must be what it was, but for what runs write."""
    if reason := _missing(toolbox):
        pytest.skip(reason)
    original = Path(os.environ[toolbox.environment])
    copy = parent / toolbox.name
    shutil.copytree(original, copy, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    before, status = hashes(copy), git_status(copy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        link(copy)
        yield copy
        unlink(copy)
    for made in ("output", "captured.npz", _capture_file(toolbox)):
        path = copy / made
        if path.is_dir():
            shutil.rmtree(path)
            if (original / made).is_dir():
                shutil.copytree(original / made, path, symlinks=True)
        else:
            path.unlink(missing_ok=True)
    assert hashes(copy) == before
    assert git_status(copy) == status


def launch(root: Path, cfgs: dict[str, Any], phase: str, processes: int = 1) -> int:
    config = data.write_config(root.parent / "config.yaml", cfgs)
    return run(root, ["--cfgs", str(config), "--phase", phase], device="cpu", nproc=processes, time_limit=300)


def add_capture(root: Path) -> None:
    """Let ``eval_func: capture`` write the test's features, labels, types and views to captured.npz."""
    (root / _capture_file(detect(root))).write_text(_CAPTURE)
