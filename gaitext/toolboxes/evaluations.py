"""Gives gaitext's evaluation functions the form in which a toolbox calls them.

A toolbox expects its log to be written to, and numbers by name for TensorBoard; gaitext's
protocols return an :class:`~gaitext.evaluation.EvaluationResult`. The one becomes the other here,
for every function that is registered.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from gaitext.evaluation import EvaluationResult
from gaitext.toolboxes import parts
from gaitext.toolboxes.arguments import check_arguments

__all__ = ["check_evaluation", "log_lines", "reporting"]

#: What ``evaluator_cfg`` holds beside a function's arguments. ``metric`` and
#: ``cross_view_gallery`` stand in a toolbox's default.yaml, whatever the function.
_HOST_KEYS = frozenset(
    {
        *("enable_float16", "restore_ckpt_strict", "restore_hint", "save_name", "eval_func", "sampler"),
        *("transform", "metric", "cross_view_gallery"),
    }
)


def reporting(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` for a toolbox: its result is logged, and comes back as the dict of its scalars.

    What is no :class:`EvaluationResult` comes back as it is.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if not isinstance(result, EvaluationResult):
            return result
        # The toolbox's own module, which has a message manager once the processes are connected.
        messages = importlib.import_module("utils").get_msg_mgr()
        for line in log_lines(result):
            messages.log_info(line)
        for note in result.notes:
            messages.log_warning(note)
        return dict(result.scalars)

    return call


def log_lines(result: EvaluationResult) -> list[str]:
    """A result as OpenGait's evaluation functions write theirs: titles, then ``NM: …``, then ``NM@R1: …``."""
    lines = [f"==={result.protocol}==="]
    for table in result.tables:
        lines.append(f"==={table.title}===")
        for name, values in table.rows:
            lines.append(f"{name}: " + ", ".join(f"{c} {cell}" for c, cell in zip(table.columns, table.cells(values))))
    kinds: dict[str, list[str]] = {}
    for name, value in result.scalars.items():
        short = name.rpartition("/")[2]
        kinds.setdefault(short.partition("@")[2], []).append(f"{short}: {value:.2f}{result.units.get(name, '%')}")
    return lines + ["\t".join(same) for same in kinds.values()]


def check_evaluation(evaluator_cfg: Mapping[str, Any], data_cfg: Any) -> None:
    """Check the arguments of a registered evaluation function, before anything is embedded.

    Raises:
        ConfigError: one that it does not take, or will refuse.
    """
    name = str(evaluator_cfg.get("eval_func"))
    function = parts.EVALUATIONS.get(name)
    if function is None:
        return
    check_arguments(function, evaluator_cfg, "evaluator_cfg", _HOST_KEYS, complete=False)
    check = parts.EVALUATION_CHECKS.get(name)
    if check is not None:
        taken = {key: evaluator_cfg[key] for key in inspect.signature(check).parameters if key in evaluator_cfg}
        if isinstance(data_cfg, Mapping):
            taken["dataset"] = data_cfg.get("test_dataset_name") or data_cfg.get("dataset_name")
        check(**taken)
