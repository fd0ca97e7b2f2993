"""How well occlusion is recognised and measured: the occlusion evaluator's test (RG-Gait, stage 1)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gaitext.errors import DataError, ShapeError
from gaitext.evaluation.result import EvaluationResult, Table
from gaitext.occlusion import OCCLUSION_TYPES

_NEEDED = ("logits", "classes", "amount", "true_type", "true_amount")


def evaluate_OEM(data: dict[str, Any], dataset: str = "") -> EvaluationResult:
    """Type accuracy, with its confusion matrix, and mean absolute error of the amount, per type.

    Args:
        data: what ``RGGaitOEM`` hands over for n sequences: ``logits`` [n, k]; ``classes`` [n, k],
            each class's position in ``OCCLUSION_TYPES`` (the same rows); ``amount`` [n];
            ``true_type`` [n], a position there too; ``true_amount`` [n].
        dataset: its name, for the report.

    Returns:
        Accuracies and errors in percent. A type that the evaluator has no class for has no
        accuracy, and does not count in the overall one; its amount does.

    Raises:
        DataError: one of the arrays is missing, empty, or holds NaN.
        ShapeError: they do not fit together.
    """
    missing = [name for name in _NEEDED if name not in data]
    if missing:
        raise DataError(
            f"no {', '.join(missing)} to evaluate; there are {', '.join(sorted(map(str, data))) or 'none'}",
            where="evaluate_OEM",
            how="evaluate_OEM is for the model RGGaitOEM; recognition has other evaluation functions",
        )
    logits, classes, amount, kinds, shares = (np.asarray(data[name], float) for name in _NEEDED)
    amount, shares, kinds = amount.reshape(-1), shares.reshape(-1), kinds.reshape(-1).astype(int)
    if logits.ndim != 2 or classes.shape != logits.shape or not len(logits) == len(amount) == len(kinds) == len(shares):
        shapes = ", ".join(f"{name} {np.shape(data[name])}" for name in _NEEDED)
        raise ShapeError(f"the shapes do not fit together: {shapes}", where="evaluate_OEM")
    if not len(logits):
        raise DataError("there is no sequence to evaluate", where="evaluate_OEM", how="check the test set's partition")
    broken = ~(np.isfinite(logits).all(1) & np.isfinite(amount))
    if broken.any():
        raise DataError(
            f"{broken.sum()} of {len(logits)} predictions hold NaN or infinity, the first in place {broken.argmax()}",
            where="evaluate_OEM",
            how="the model has diverged, or its input is damaged (`gaitext doctor --data CONFIG`)",
        )
    columns = classes[0].astype(int)
    predicted = columns[logits.argmax(1)]
    present = [kind for kind in range(len(OCCLUSION_TYPES)) if (kinds == kind).any()]
    error = 100 * np.abs(amount - shares)

    rows: list[tuple[str, list[float]]] = []
    confusion: list[tuple[str, list[float]]] = []
    scalars: dict[str, float] = {}
    notes: list[str] = []
    for kind in present:
        name, chosen = OCCLUSION_TYPES[kind], kinds == kind
        known = kind in columns
        accuracy = 100 * float((predicted[chosen] == kind).mean()) if known else float("nan")
        rows.append((name, _row(chosen, accuracy, error, amount, shares)))
        confusion.append((name, [100 * float((predicted[chosen] == column).mean()) for column in columns]))
        scalars[f"scalar/test_accuracy/{name}@type"] = accuracy
        scalars[f"scalar/test_error/{name}@amount"] = float(error[chosen].mean())
        if not known:
            notes.append(f"{name}: the evaluator has no such class; it has no accuracy")
    judged = np.isin(kinds, columns)
    overall = 100 * float((predicted == kinds)[judged].mean()) if judged.any() else float("nan")
    everything = np.ones(len(kinds), bool)
    rows.append(("all", _row(everything, overall, error, amount, shares)))
    scalars["scalar/test_accuracy/all@type"] = overall
    scalars["scalar/test_error/all@amount"] = float(error.mean())
    heads = ["sequences", "type accuracy", "amount error", "predicted amount", "true amount"]
    tables = [
        Table(
            "Occlusion: type accuracy, mean absolute error of the amount, mean amounts (%)", heads, rows, ("sequences",)
        ),
        Table(
            "Confusion: share of each true type's sequences that is taken for a type (%)",
            [OCCLUSION_TYPES[column] for column in columns],
            confusion,
        ),
    ]
    chance = {"all": 100 / len(columns)}
    return EvaluationResult(f"Occlusion evaluation {dataset}".strip(), tables, scalars, chance, notes)


def _row(chosen: Any, accuracy: float, error: Any, amount: Any, shares: Any) -> list[float]:
    means = (error[chosen].mean(), 100 * amount[chosen].mean(), 100 * shares[chosen].mean())
    return [float(chosen.sum()), accuracy, *map(float, means)]
