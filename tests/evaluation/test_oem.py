"""evaluate_OEM on a case worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from gaitext.errors import DataError, ShapeError
from gaitext.evaluation import evaluate_OEM


def case() -> dict[str, Any]:
    """Classes top, none, bottom (1, 0, 2); two top, one none, one pole (5)."""
    return {
        "logits": np.array([[9.0, 1, 2], [0, 1, 3], [0, 1, 0], [5, 0, 0]]),
        "classes": np.tile([1.0, 0, 2], (4, 1)),
        "amount": np.array([0.5, 0.3, 0.1, 0.2]),
        "true_type": np.array([1.0, 1, 0, 5]),
        "true_amount": np.array([0.4, 0.5, 0.0, 0.25]),
    }


def test_accuracies_errors_and_confusion() -> None:
    result = evaluate_OEM(case(), "Walkers")
    scalars = result.scalars
    assert scalars["scalar/test_accuracy/top@type"] == 50
    assert scalars["scalar/test_accuracy/none@type"] == 100
    assert math.isnan(scalars["scalar/test_accuracy/pole@type"])
    assert scalars["scalar/test_accuracy/all@type"] == pytest.approx(200 / 3)
    assert scalars["scalar/test_error/top@amount"] == pytest.approx(15)
    assert scalars["scalar/test_error/pole@amount"] == pytest.approx(5)
    assert scalars["scalar/test_error/all@amount"] == pytest.approx((10 + 20 + 10 + 5) / 4)
    errors, confusion = result.tables
    assert dict(errors.rows)["top"] == pytest.approx([2, 50, 15, 40, 45])
    assert confusion.columns == ["top", "none", "bottom"]
    assert dict(confusion.rows) == {"none": [0, 100, 0], "top": [50, 0, 50], "pole": [100, 0, 0]}
    assert result.notes == ["pole: the evaluator has no such class; it has no accuracy"]
    assert result.chance == {"all": pytest.approx(100 / 3)}
    assert "Walkers" in str(result)


def test_only_unknown_types() -> None:
    data = {key: value[3:] for key, value in case().items()}
    assert math.isnan(evaluate_OEM(data).scalars["scalar/test_accuracy/all@type"])


def test_what_cannot_be_evaluated_is_named() -> None:
    with pytest.raises(DataError, match=r"logits, classes.*(?s:.)*RGGaitOEM"):
        evaluate_OEM({"embeddings": np.zeros((2, 3, 1))}, "CASIA-B")
    with pytest.raises(ShapeError, match="amount"):
        evaluate_OEM({**case(), "amount": np.zeros(3)})
    with pytest.raises(DataError, match="NaN"):
        evaluate_OEM({**case(), "amount": np.full(4, np.nan)})
