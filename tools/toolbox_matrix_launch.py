"""One run of the toolbox matrix: ``gaitext run`` in a process of its own, and what its log says."""

from __future__ import annotations

import multiprocessing
import os
import re
import sys
from pathlib import Path
from typing import Any

import yaml
from toolbox_matrix_configs import Place

from gaitext.cli import main as gaitext_main
from gaitext.toolboxes import run as running  # here, not by the command line in each fork anew

__all__ = ["last_error", "launch"]

#: A line of the log that says why a run ended.
_ERROR = re.compile(r"^\s*(?:\[rank\d+\]: *)?(?:[\w.]*(?:Error|Exception|Warning)\b.*|.*\bError: .*)$")


def launch(place: Place, cfgs: dict[str, Any], phase: str, stem: Path, limit: float, **more: str) -> tuple[int, str]:
    """``gaitext run`` of a config: its exit status and what it wrote."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    written = stem.with_suffix(".yaml")
    written.write_text(yaml.safe_dump(cfgs, sort_keys=False), encoding="utf-8")
    command = ["run", str(place.root), "--device", place.device, "--nproc", str(place.processes)]
    command += ["--time-limit", str(limit), "--", "--cfgs", str(written), "--phase", phase]
    # A fork, which has imported all that the command line needs: one that imports it again takes half as long again.
    process = multiprocessing.get_context("fork").Process(
        target=_gaitext, args=(command, stem.with_suffix(".log"), more)
    )
    process.start()
    process.join()
    return process.exitcode or 0, stem.with_suffix(".log").read_text(encoding="utf-8", errors="replace")


def _gaitext(command: list[str], log: Path, more: dict[str, str]) -> None:
    """``gaitext`` with a command line, writing to ``log``."""
    with log.open("w") as stream:
        for there in (1, 2):
            os.dup2(stream.fileno(), there)
    os.environ.update(more, PYTHONDONTWRITEBYTECODE="1")
    sys.argv = ["gaitext", *command]
    assert running
    gaitext_main()


def last_error(log: str) -> str:
    """The last line that looks like a Python error other than torchrun's own."""
    lines = [line.strip() for line in log.splitlines() if _ERROR.match(line) and "Warning" not in line]
    own = [line for line in lines if "ChildFailedError" not in line and "elastic" not in line]
    return (own or lines or log.splitlines()[-1:] or ["nothing was logged"])[-1][:300]
