"""Every model of gaitext in every case, through the toolboxes' own main.py.

    OPENGAIT_ROOT=… FASTPOSEGAIT_ROOT=… python tools/toolbox_matrix.py --work matrix --markdown docs/toolbox-matrix.md

A cell is a toolbox, a model, a case (training, resuming, testing, …) and a number of processes; it is one
``gaitext run`` on tiny walkers that this program makes. The checkouts are copied to ``--work`` first, and stay as they
are. Beside the runs' exit status it is checked that losses are numbers, that the log says what it must, and that the
checkpoint is there. Then the toolboxes' evaluation functions look at walkers laid out as each dataset, and their
numbers are compared with gaitext's on the same embeddings. At the end the copies are unlinked, and must be what they
were, to the byte, but for ``output/``.

Finished cells are not run again (``--again`` runs those that failed), so a matrix that was killed goes on. After
``--budget`` seconds no further cell is begun; the table says of each that it was not run, and calling again goes on.
Each cell's config, log and outcome lie in ``--work/cells``; the whole in ``--work/matrix.json``.
"""

# ruff: noqa: T201 (what it prints is what it is for)
from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from toolbox_matrix_checkouts import Checkout, copied
from toolbox_matrix_configs import CASES, ITERATIONS, MODELS, Place, checkpoint, config, not_applicable
from toolbox_matrix_data import make_data
from toolbox_matrix_evaluators import EVALUATED, run_evaluation
from toolbox_matrix_launch import last_error, launch
from toolbox_matrix_report import markdown

from gaitext.store import write_json
from gaitext.toolboxes.hosts import TOOLBOXES

__all__ = ["Cell", "Outcome", "main"]

State = Literal["ok", "failed", "not applicable", "not run"]
_NOT_A_NUMBER = re.compile(r"(?<!\w)(?:\w*loss\w*|\w+_num)=\s*(?:nan|inf)\b")


@dataclass(frozen=True)
class Cell:
    """One run.

    Args:
        place: toolbox, processes, device.
        model, case: names in :data:`MODELS` and :data:`CASES`.
    """

    place: Place
    model: str
    case: str

    @property
    def name(self) -> str:
        place = self.place
        return f"{place.toolbox.name}-{self.model}-{self.case}-{place.processes}-{place.device}"


@dataclass(frozen=True)
class Outcome:
    """What a cell came to.

    Args:
        state: ok, failed or not applicable; not run where the budget was spent.
        reason: of a failure, the log's last error line; of what is not applicable, why.
        notes: what gaitext said of it, such as that mixed precision is off on the CPU.
        seconds: of the run.
    """

    state: State
    reason: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


def run_cell(cell: Cell, folder: Path, limit: float) -> Outcome:
    """Run a cell; its config and log stay below ``folder``."""
    why = not_applicable(cell.place, cell.case)
    if why is not None:
        return Outcome("not applicable", why)
    case = CASES[cell.case]
    needed = [checkpoint(cell.place, model) for model in MODELS[cell.model].needs]
    needed += [checkpoint(cell.place, cell.model)] if case.after_train else []
    missing = [path for path in needed if not path.exists()]
    if missing:
        return Outcome("failed", f"needs {missing[0].name} of {missing[0].parts[-4]}, which is not there")
    cfgs = config(cell.place, cell.model, cell.case)
    if case.phase == "train":
        _left(cell, cfgs).unlink(missing_ok=True)  # an earlier run's, which would pass for this one's
    begun = time.monotonic()
    status, log = launch(cell.place, cfgs, case.phase, folder / cell.name, limit)
    seconds = round(time.monotonic() - begun, 1)
    notes = tuple(dict.fromkeys(re.findall(r"gaitext, on CPU: (\w+ is off)", log)))
    if status != 0:
        return Outcome("failed", last_error(log), notes, seconds)
    wrong = _wrong(cell, cfgs, log)
    return Outcome("failed" if wrong else "ok", wrong or "", notes, seconds)


def _left(cell: Cell, cfgs: dict[str, Any]) -> Path:
    """The checkpoint that a training has to leave."""
    case = "train" if cell.case == "resume" else cell.case
    return checkpoint(cell.place, cell.model, case, int(cfgs["trainer_cfg"]["total_iter"]))


def _wrong(cell: Cell, cfgs: dict[str, Any], log: str) -> str | None:
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


def main() -> int:
    options = _options()
    work: Path = options.work.resolve()
    make_data(work / "data")
    checkouts = [
        copied(toolbox, options.roots[toolbox.name], work) for toolbox in TOOLBOXES if toolbox.name in options.roots
    ]
    results: dict[str, Any] = {"command": _command(options), "device": options.device, "cells": {}}
    results.update(evaluations={}, checkouts={}, processes=options.processes, iterations=ITERATIONS)
    with ExitStack() as links:
        for checkout in checkouts:
            links.enter_context(checkout.linked())
        book = _Book(work / "cells", options.again, options.budget)
        # With few processes first, lest the budget be spent on half the models.
        for processes in options.processes:
            for checkout in checkouts:
                place = Place(checkout.toolbox, checkout.root, work / "data", processes, options.device)
                results["cells"].update(_cells(place, options, book))
                if processes == options.processes[0]:
                    results["evaluations"].update(_evaluations(place, checkout, options, book))
    # Not before the links are gone.
    results["checkouts"] = {checkout.toolbox.name: checkout.differences() for checkout in checkouts}
    write_json(work / "matrix.json", results)
    if options.markdown:
        options.markdown.write_text(markdown(results), encoding="utf-8")
    states = [cell["state"] for table in ("cells", "evaluations") for cell in results[table].values()]
    changed = [line for found in results["checkouts"].values() for line in found["changed"]]
    print(", ".join(f"{states.count(state)} {state}" for state in get_args(State)))
    print("\n".join(changed) or "the toolboxes' files are what they were")
    return 1 if "failed" in states or changed else 0


class _Book:
    """What is on record, and what there is still time for.

    Args:
        folder: of the records.
        again: whether what failed is made again.
        budget: seconds after which nothing is begun.
    """

    def __init__(self, folder: Path, again: bool, budget: float) -> None:
        self.folder, self.again = folder, again
        self.end = time.monotonic() + budget

    def outcome(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The outcome on record, or the one that is made now."""
        record = self.folder / f"{name}.json"
        found: dict[str, Any] | None = json.loads(record.read_text(encoding="utf-8")) if record.exists() else None
        if found is None or (self.again and found["state"] == "failed"):
            if time.monotonic() > self.end:
                return found or asdict(Outcome("not run"))
            found = make()
            write_json(record, found)
            print(f"{name}: {found['state']} {found['reason']}", flush=True)
        return found


def _cells(place: Place, options: argparse.Namespace, book: _Book) -> dict[str, Any]:
    """All models in all cases, in one place."""
    found = {}
    for model in options.models or MODELS:
        for case in CASES:
            cell = Cell(place, model, case)
            outcome = book.outcome(cell.name, lambda c=cell: asdict(run_cell(c, book.folder, options.limit)))
            about = {"toolbox": place.toolbox.name, "model": model, "case": case, "processes": place.processes}
            found[cell.name] = {**about, **outcome}
    return found


def _evaluations(place: Place, checkout: Checkout, options: argparse.Namespace, book: _Book) -> dict[str, Any]:
    """A toolbox's evaluation functions, dataset by dataset."""
    found = {}
    for dataset, model in EVALUATED.items():
        if model not in (options.models or MODELS):
            continue
        name = f"{checkout.toolbox.name}-on-{dataset}-{options.device}"
        outcome = book.outcome(
            name, lambda d=dataset, n=name: run_evaluation(place, checkout, d, book.folder / n, options.limit)
        )
        found[name] = {"toolbox": checkout.toolbox.name, "dataset": dataset, **outcome}
    return found


def _command(options: argparse.Namespace) -> str:
    """How to do the same elsewhere."""
    roots = [f"{t.environment}=…" for t in TOOLBOXES if t.name in options.roots]
    more = [f"--device {options.device}"] if options.device != "cpu" else []
    more += ["--markdown docs/toolbox-matrix.md"]
    return " ".join([*roots, "python tools/toolbox_matrix.py", *more])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--work", type=Path, default=Path("toolbox-matrix"), help="folder for copies, data, logs, results"
    )
    parser.add_argument("--markdown", type=Path, help="where the table goes")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument(
        "--models", nargs="+", choices=MODELS, help="only these, and what they start from must be there"
    )
    parser.add_argument("--limit", type=float, default=300, help="seconds a cell may take")
    parser.add_argument("--budget", type=float, default=math.inf, help="seconds after which no cell is begun")
    parser.add_argument("--again", action="store_true", help="run cells again that failed")
    options = parser.parse_args()
    options.roots = {t.name: os.environ[t.environment] for t in TOOLBOXES if os.environ.get(t.environment)}
    if not options.roots:
        parser.error("set " + " or ".join(t.environment for t in TOOLBOXES) + " to a checkout")
    return options


if __name__ == "__main__":
    sys.exit(main())
