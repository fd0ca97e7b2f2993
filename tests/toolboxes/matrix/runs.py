"""The toolbox matrix's runs: ``gaitext run`` of a cell or an evaluation, and what its log says."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from gaitext import evaluation
from gaitext.cli import main as gaitext_main
from gaitext.toolboxes import run as running  # here, not by the command line in each fork anew
from tests.toolboxes.matrix.configs import CASES, MODELS, Config, Place, checkpoint, config, evaluation_config

#: Seconds that a run may take.
LIMIT = 300
#: The toolboxes round each pair of views to two digits before they average.
_TOLERANCE = 0.011
#: Where a toolbox writes a condition's name otherwise.
_NAMES = {"Umberalla": "Umbrella"}
_NOT_A_NUMBER = re.compile(r"(?<!\w)(?:\w*loss\w*|\w+_num)=\s*(?:nan|inf)\b")
#: A line of the log that says why a run ended.
_ERROR = re.compile(r"^\s*(?:\[rank\d+\]: *)?(?:[\w.]*(?:Error|Exception|Warning)\b.*|.*\bError: .*)$")

#: Leaves what an evaluation function is given, and what it returns, in files. Not part of the toolbox, nor of gaitext.
CAPTURE = """
import functools, inspect, json, os
import numpy as np
from evaluation import evaluator


def watched(function):
    def call(data, dataset, **given):
        found = {k: np.asarray(v) for k, v in data.items()}
        np.savez(os.environ["GAITEXT_CAPTURE"] + ".npz", **found)
        result = function(data, dataset, **given)
        plain = {k: np.asarray(v).tolist() for k, v in (result or {}).items()}
        with open(os.environ["GAITEXT_CAPTURE"] + ".result.json", "w") as stream:
            json.dump(plain, stream)
        return result

    call.__name__ = function.__name__
    call.__signature__ = inspect.signature(function)
    return call


if "GAITEXT_CAPTURE" in os.environ:
    for name in ("evaluate_indoor_dataset", "evaluate_CCPG", "evaluate_PsyMo"):
        if hasattr(evaluator, name):
            setattr(evaluator, name, watched(getattr(evaluator, name)))
"""


@dataclass(frozen=True)
class Cell:
    """One run: a toolbox and a number of processes, a model and a case of :mod:`.configs`."""

    place: Place
    model: str
    case: str

    @property
    def name(self) -> str:
        place = self.place
        return f"{place.toolbox.name}-{self.model}-{self.case}-{place.processes}-{place.device}"


@dataclass(frozen=True)
class Outcome:
    """What a cell or an evaluation came to.

    Args:
        state: ok, failed, not applicable or not run.
        reason: of a failure, the log's last error line; of what is not applicable, why.
        seconds: of the run.
        found: of an evaluation: its function, whose it is, how many sequences, and name by name the numbers.
    """

    state: str
    reason: str = ""
    seconds: float = 0.0
    found: dict[str, Any] = field(default_factory=dict)


def run_cell(cell: Cell, folder: Path) -> Outcome:
    """Run a cell whose needed checkpoints are there; its config and log stay below ``folder``."""
    case, cfgs = CASES[cell.case], config(cell.place, cell.model, cell.case)
    if case.phase == "train":
        _left(cell, cfgs).unlink(missing_ok=True)  # an earlier run's, which would pass for this one's
    begun = time.monotonic()
    status, log = launch(cell.place, cfgs, case.phase, folder / cell.name)
    wrong = what_is_wrong(cell, cfgs, log) if status == 0 else last_error(log)
    return Outcome("failed" if wrong else "ok", wrong or "", round(time.monotonic() - begun, 1))


def _left(cell: Cell, cfgs: Config) -> Path:
    """The checkpoint that a training has to leave."""
    case = "train" if cell.case == "resume" else cell.case
    return checkpoint(cell.place, cell.model, case, int(cfgs["trainer_cfg"]["total_iter"]))


def what_is_wrong(cell: Cell, cfgs: Config, log: str) -> str | None:
    """What is wrong with a run that ended well."""
    case, kind = CASES[cell.case], MODELS[cell.model]
    found = _NOT_A_NUMBER.search(log)
    if found:
        return f"the log says {found.group()}"
    says = [*case.says, *(case.says_on_cpu if cell.place.device == "cpu" else ())]
    if case.phase == "test" or cell.case == "with_test":
        says.append(kind.protocol[cfgs["data_cfg"]["dataset_name"]][1])
    for text in says:
        if text not in log:
            return f"the log does not say {text!r}"
    if case.phase == "test":
        return None
    left = _left(cell, cfgs)
    if not left.exists():
        return f"left no checkpoint {left.name}"
    weights = torch.load(left, weights_only=True, map_location="cpu")
    if not all(bool(torch.isfinite(value).all()) for value in weights["model"].values()):
        return f"{left.name} holds weights that are no numbers"
    if cell.case == "fix_BN":
        start = torch.load(checkpoint(cell.place, cell.model), weights_only=True, map_location="cpu")["model"]
        moved = [n for n in start if "running_" in n and not torch.equal(start[n], weights["model"][n])]
        return f"statistics moved: {moved[0]}" if moved else None
    return None


def run_evaluation(place: Place, model: str, dataset: str, stem: Path) -> Outcome:
    """Test a training's checkpoint on a dataset in the toolbox, and evaluate the same embeddings with gaitext."""
    function = MODELS[model].protocol[dataset][0]
    package = place.root / place.toolbox.package
    own = function == "evaluate_PsyMo"
    source = (package / "evaluation/evaluator.py").read_text(encoding="utf-8")
    if not own and re.search(rf"^def {function}\b", source, re.MULTILINE) is None:
        return Outcome("not applicable", f"{place.toolbox.name} has no {function}")
    capture = package / "modeling/models/zz_capture.py"
    capture.write_text(CAPTURE, encoding="utf-8")
    try:
        cfgs = evaluation_config(place, model, dataset)
        status, log = launch(place, cfgs, "test", stem, GAITEXT_CAPTURE=str(stem))
    finally:
        capture.unlink()
    if status != 0:
        return Outcome("failed", last_error(log), found={"function": function})
    with np.load(stem.with_name(stem.name + ".npz")) as arrays:
        data = dict(arrays)
    theirs = json.loads(stem.with_name(stem.name + ".result.json").read_text(encoding="utf-8"))
    numbers = compared(theirs, getattr(evaluation, function)(data, dataset).scalars)
    apart = [name for name, (one, other) in numbers.items() if not abs(one - other) <= _TOLERANCE]
    reason = f"{apart[0]} is {numbers[apart[0]][0]:.2f}, gaitext's {numbers[apart[0]][1]:.2f}" if apart else ""
    reason = reason if numbers else "no number to compare"
    about = {"function": function, "whose": "gaitext" if own else place.toolbox.name, "sequences": len(data["labels"])}
    return Outcome("failed" if reason else "ok", reason, found={**about, "numbers": numbers})


def compared(theirs: dict[str, Any], ours: dict[str, float]) -> dict[str, tuple[float, float]]:
    """Rank-1 of each condition: the toolbox's, then gaitext's."""
    found: dict[str, tuple[float, float]] = {}
    for key, value in theirs.items():
        name = key.rpartition("/")[2]
        condition, _, kind = name.partition("@")
        condition = _NAMES.get(condition, condition)
        mine = ours.get(f"scalar/test_accuracy/{condition}@R1")
        if kind not in ("", "R1") or mine is None:
            continue
        cells = np.asarray(value, float)
        if cells.ndim == 2:  # CCPG's [V, V], of which identical views do not count
            cells = cells[~np.eye(len(cells), dtype=bool)].mean()
        found[condition] = (float(cells), float(mine))
    return found


def launch(place: Place, cfgs: Config, phase: str, stem: Path, **more: str) -> tuple[int, str]:
    """``gaitext run`` of a config: its exit status and what it wrote."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    written, log = (stem.with_name(stem.name + suffix) for suffix in (".yaml", ".log"))
    written.write_text(yaml.safe_dump(cfgs, sort_keys=False), encoding="utf-8")
    command = ["run", str(place.root), "--device", place.device, "--nproc", str(place.processes)]
    command += ["--time-limit", str(LIMIT), "--", "--cfgs", str(written), "--phase", phase]
    # A fork, which has imported all that the command line needs: one that imports it again takes half as long again.
    process = multiprocessing.get_context("fork").Process(target=_gaitext, args=(command, log, more))
    process.start()
    process.join()
    return process.exitcode or 0, log.read_text(encoding="utf-8", errors="replace")


def _gaitext(command: list[str], log: Path, more: dict[str, str]) -> None:
    """``gaitext`` with a command line, writing to ``log``."""
    with log.open("w") as stream:
        for there in (1, 2):
            os.dup2(stream.fileno(), there)
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    os.environ.update(more, PYTHONDONTWRITEBYTECODE="1")
    sys.argv = ["gaitext", *command]
    assert running
    gaitext_main()


def last_error(log: str) -> str:
    """The last line that looks like a Python error other than torchrun's own."""
    lines = [line.strip() for line in log.splitlines() if _ERROR.match(line) and "Warning" not in line]
    own = [line for line in lines if "ChildFailedError" not in line and "elastic" not in line]
    return (own or lines or log.splitlines()[-1:] or ["nothing was logged"])[-1][:300]
