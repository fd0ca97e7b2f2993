"""Evaluating embeddings that were saved to a file."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gaitext.errors import ConfigError, DataError, ShapeError, suggest
from gaitext.evaluation.ccpg import evaluate_CCPG
from gaitext.evaluation.cross_view import PROTOCOLS, evaluate_indoor_dataset
from gaitext.evaluation.embeddings import read_embeddings
from gaitext.evaluation.psymo import evaluate_PsyMo
from gaitext.evaluation.result import EvaluationResult
from gaitext.evaluation.writing import check_table_path

__all__ = ["evaluate_file"]


_FUNCTIONS: dict[str, Callable[..., EvaluationResult]] = {
    **dict.fromkeys(PROTOCOLS, evaluate_indoor_dataset),
    "CCPG": evaluate_CCPG,
    "PsyMo": evaluate_PsyMo,
}


def evaluate_file(
    path: str | Path,
    dataset: str,
    metric: str = "euc",
    *,
    table: str | Path | None = None,
    **options: Any,
) -> EvaluationResult:
    """Evaluate what ``gaitext test --save-embeddings`` wrote.

    Args:
        path: .npz with ``embeddings`` [n, c, p], ``labels``, ``types``, ``views``.
        dataset: whose protocol.
        metric: ``euc`` or ``cos``.
        table: a .md, .csv or .json to write the result to.
        options: arguments that only this dataset's protocol has: ``gallery`` and
            ``exclude_same_walk`` for PsyMo.

    Raises:
        DataError: the file is missing, damaged, or lacks one of the four arrays.
        ConfigError: no such protocol, or an option that it does not have.
    """
    if dataset not in _FUNCTIONS:
        raise ConfigError(f"no protocol for '{dataset}'", how=suggest(dataset, _FUNCTIONS))
    evaluate = _FUNCTIONS[dataset]
    for option in options:
        if option not in inspect.signature(evaluate).parameters:
            having = [d for d, function in _FUNCTIONS.items() if option in inspect.signature(function).parameters]
            raise ConfigError(
                f"the protocol of {dataset} has no '{option}'",
                where=option,
                how=f"leave it out: it is for {', '.join(having)}" if having else "leave it out",
            )
    check_table_path(table)
    data: dict[str, Any] = dict(read_embeddings(path))
    try:
        return evaluate(data, dataset, metric=metric, table=table, **options)
    except (DataError, ShapeError) as error:
        where = path if error.where is None else f"{path}: {error.where}"
        raise type(error)(error.what, where=where, how=error.how) from error
