"""Evaluating embeddings that were saved to a file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from gaitext.errors import ConfigError, DataError, suggest
from gaitext.evaluation.ccpg import evaluate_CCPG
from gaitext.evaluation.cross_view import PROTOCOLS, evaluate_indoor_dataset
from gaitext.evaluation.result import EvaluationResult

__all__ = ["evaluate_file"]


def evaluate_file(path: str | Path, dataset: str, metric: str = "euc") -> EvaluationResult:
    """Evaluate what ``gaitext test --save-embeddings`` wrote.

    Args:
        path: .npz with ``embeddings`` [n, c, p], ``labels``, ``types``, ``views``.
        dataset: whose protocol.
        metric: ``euc`` or ``cos``.

    Raises:
        DataError: the file is missing, damaged, or lacks one of the four arrays.
        ConfigError: no such protocol.
    """
    known = [*PROTOCOLS, "CCPG"]
    if dataset not in known:
        raise ConfigError(f"no protocol for '{dataset}'", how=suggest(dataset, known))
    try:
        with np.load(path, allow_pickle=False) as file:
            data = {name: file[name] for name in ("embeddings", "labels", "types", "views")}
    except FileNotFoundError as error:
        raise DataError("no such file", where=path) from error
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise DataError(f"holds no saved embeddings ({error})", where=path) from error
    evaluate = evaluate_CCPG if dataset == "CCPG" else evaluate_indoor_dataset
    return evaluate(data, dataset, metric=metric)
