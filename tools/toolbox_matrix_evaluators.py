"""A toolbox's evaluation functions over walkers laid out as each dataset, against gaitext's on the same embeddings."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from toolbox_matrix_checkouts import Checkout
from toolbox_matrix_configs import MODELS, Place, checkpoint, evaluation_config
from toolbox_matrix_launch import last_error, launch

from gaitext import evaluation

__all__ = ["EVALUATED", "compared", "run_evaluation"]

#: Dataset -> the model that is tested on it.
EVALUATED = {"CASIA-B": "GaitHeat", "CCPG": "GaitHeat", "SUSTech1K": "GaitHeat", "PsyMo": "GaitHeat"}
#: The toolboxes round each pair of views to two digits before they average.
TOLERANCE = 0.011
#: Where a toolbox writes a condition's name otherwise.
_NAMES = {"Umberalla": "Umbrella"}

#: Leaves what an evaluation function is given, and what it returns, in files. Not part of the toolbox, nor of gaitext.
_CAPTURE = """
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


def run_evaluation(place: Place, checkout: Checkout, dataset: str, stem: Path, limit: float) -> dict[str, Any]:
    """Test a training's checkpoint on a dataset in the toolbox, and evaluate the same embeddings with gaitext.

    Returns:
        ``state``, ``reason``, ``function``, ``whose`` and, name by name, ``numbers``: [the toolbox's, gaitext's].
    """
    model = EVALUATED[dataset]
    function = MODELS[model].protocol[dataset][0]
    if not _has(checkout, function):
        return {"state": "not applicable", "reason": f"{checkout.toolbox.name} has no {function}"}
    if not checkpoint(place, model).exists():
        return {"state": "failed", "reason": f"needs a trained {model}"}
    capture = checkout.root / checkout.toolbox.package / "modeling/models/zz_capture.py"
    capture.write_text(_CAPTURE, encoding="utf-8")
    try:
        cfgs = evaluation_config(place, model, dataset)
        status, log = launch(place, cfgs, "test", stem, limit, GAITEXT_CAPTURE=str(stem))
    finally:
        capture.unlink()
    if status != 0:
        return {"state": "failed", "reason": last_error(log), "function": function}
    with np.load(stem.with_name(stem.name + ".npz")) as found:
        data = dict(found)
    theirs = json.loads(stem.with_name(stem.name + ".result.json").read_text(encoding="utf-8"))
    whose = "gaitext" if function in ("evaluate_PsyMo",) else checkout.toolbox.name
    numbers = compared(theirs, getattr(evaluation, function)(data, dataset).scalars)
    apart = [name for name, (one, other) in numbers.items() if not abs(one - other) <= TOLERANCE]
    reason = f"{apart[0]} is {numbers[apart[0]][0]:.2f}, gaitext's {numbers[apart[0]][1]:.2f}" if apart else ""
    if not numbers:
        reason = "no number to compare"
    about = {"function": function, "whose": whose, "model": model, "sequences": len(data["labels"])}
    return {"state": "failed" if reason else "ok", "reason": reason, **about, "numbers": numbers}


def _has(checkout: Checkout, function: str) -> bool:
    source = (checkout.root / checkout.toolbox.package / "evaluation/evaluator.py").read_text(encoding="utf-8")
    return hasattr(evaluation, function) and (
        function == "evaluate_PsyMo" or re.search(rf"^def {function}\b", source, re.MULTILINE) is not None
    )


def compared(theirs: dict[str, Any], ours: dict[str, float]) -> dict[str, tuple[float, float]]:
    """Rank-1 of each condition: the toolbox's, then gaitext's."""
    found: dict[str, tuple[float, float]] = {}
    for key, value in theirs.items():
        name = key.rpartition("/")[2]
        condition, _, kind = name.partition("@")
        condition = _NAMES.get(condition, condition)
        if kind not in ("", "R1"):
            continue
        mine = ours.get(f"scalar/test_accuracy/{condition}@R1")
        if mine is not None:
            found[condition] = (_number(value), float(mine))
    return found


def _number(value: Any) -> float:
    """A condition's number; of CCPG's cells [V, V] the mean without identical views."""
    cells = np.asarray(value, float)
    if cells.ndim < 2:
        return float(cells)
    return float(cells[~np.eye(len(cells), dtype=bool)].mean())
