"""gaitext's evaluation functions as a toolbox calls them."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gaitext.errors import ConfigError
from gaitext.evaluation import EvaluationResult, Table, evaluate_gallery_probe, evaluate_PsyMo
from gaitext.toolboxes import parts
from gaitext.toolboxes.link import link
from gaitext.toolboxes.registered import log_lines
from gaitext.toolboxes.toolbox import TOOLBOXES
from gaitext.toolboxes.validate import uses_gaitext, validate_config

from . import data
from .fake import imported, make_toolbox


def walks() -> dict[str, Any]:
    rows = [(i, t, v) for i in "abc" for t in ("nm-01", "nm-02", "bg") for v in ("000", "045", "180")]
    labels, types, views = (list(column) for column in zip(*rows))
    embeddings = np.random.default_rng(0).normal(size=(len(rows), 4, 2))
    return {"embeddings": embeddings, "labels": labels, "types": types, "views": views}


def call(name: str, evaluator_cfg: dict[str, Any], features: dict[str, Any], dataset: str) -> Any:
    """As both toolboxes' run_test does: what its signature names positionally gets through."""
    function = getattr(sys.modules["evaluation.evaluator"], name)
    assert inspect.isfunction(function)
    seen = inspect.getfullargspec(function)[0]
    return function(features, dataset, **{key: value for key, value in evaluator_cfg.items() if key in seen})


@pytest.fixture
def toolbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = make_toolbox(tmp_path / "OpenGait")
    link(root)
    return root


def test_numbers_come_back_and_lines_are_logged(toolbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = {
        "eval_func": "evaluate_PsyMo",
        "metric": "cos",
        "gallery": "same",
        "exclude_same_walk": True,
        "table": str(tmp_path / "table.csv"),
        "sampler": {"batch_size": 1},
        "restore_hint": 3,
    }
    expected = evaluate_PsyMo(walks(), metric="cos", gallery="same", exclude_same_walk=True)
    # Linking and importing must not ask for the message manager: nobody is connected yet.
    with imported(toolbox):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
        returned = call("evaluate_PsyMo", cfg, walks(), "PsyMo")
        lines = list(sys.modules["utils"].LINES)
    assert type(returned) is dict
    assert returned == pytest.approx(expected.scalars, nan_ok=True)
    assert all(type(value) is float for value in returned.values())
    told = [line for kind, line in lines if kind == "info"]
    assert told == log_lines(expected)
    assert [line for kind, line in lines if kind == "warning"] == expected.notes
    assert (tmp_path / "table.csv").is_file()


def test_ones_own_protocol_takes_its_arguments_from_the_yaml(toolbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {"gallery": {"type": "nm-01"}, "probe": {"later": {"type": "nm-02"}, "bag": "type=bg"}, "exclude": "view"}
    expected = evaluate_gallery_probe(walks(), "mine", **chosen)
    with imported(toolbox):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
        cfg = {"eval_func": "evaluate_gallery_probe", "metric": "euc", **chosen}
        returned = call("evaluate_gallery_probe", cfg, walks(), "mine")
    assert returned == pytest.approx(expected.scalars)
    assert {"scalar/test_accuracy/later@mINP", "scalar/test_accuracy/mean@R5"} < returned.keys()


@pytest.mark.parametrize("host", TOOLBOXES)
@pytest.mark.parametrize(
    ("arguments", "hint"),
    [({"gallery": {"typ": "nm"}}, "did you mean 'type'"), ({"probes": {}}, "did you mean 'probe'")],
)
def test_ones_own_protocol_is_checked_first(dataset: Path, host: Any, arguments: dict[str, Any], hint: str) -> None:
    cfgs = data.config(dataset)
    cfgs["evaluator_cfg"].update(eval_func="evaluate_gallery_probe", **arguments)
    with pytest.raises(ConfigError, match=hint):
        validate_config(cfgs, False, toolbox=host, world_size=1)


def test_every_registered_function_is_translated(toolbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table("Title (%)", ["000", "mean"], [("NM", [1.0, 2.0])])
    scalars = {f"scalar/test_accuracy/{name}@{kind}": 3.0 for kind in ("R1", "mAP") for name in ("NM", "BG")}

    def evaluate_other(data: Any, dataset: str, *, share: float = 0.5) -> EvaluationResult:
        return EvaluationResult(f"{dataset} {share}", [table], scalars)

    monkeypatch.setitem(parts.EVALUATIONS, "evaluate_other", evaluate_other)
    monkeypatch.setitem(parts.EVALUATIONS, "evaluate_plain", lambda data, dataset: {"a": 1})
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    with imported(toolbox):
        assert call("evaluate_other", {"share": 0.25, "other": 1}, {}, "X") == scalars
        assert call("evaluate_plain", {}, {}, "X") == {"a": 1}
        lines = [line for _, line in sys.modules["utils"].LINES]
    assert lines == [
        "===X 0.25===",
        "===Title (%)===",
        "NM: 000 1.00, mean 2.00",
        "NM@R1: 3.00%\tBG@R1: 3.00%",
        "NM@mAP: 3.00%\tBG@mAP: 3.00%",
    ]


def psymo(dataset: Path, **evaluator: Any) -> dict[str, Any]:
    cfgs = data.config(dataset)
    cfgs["data_cfg"].update(dataset_name="PsyMo", test_dataset_name="PsyMo")
    cfgs["evaluator_cfg"].update(eval_func="evaluate_PsyMo", cross_view_gallery=False, **evaluator)
    return cfgs


@pytest.mark.parametrize("toolbox", TOOLBOXES)
def test_a_right_config_is_accepted(dataset: Path, toolbox: Any) -> None:
    cfgs = psymo(dataset, gallery="all", exclude_same_walk=True, table="table.md")
    assert validate_config(cfgs, False, toolbox=toolbox, world_size=1) == []
    assert uses_gaitext({"model_cfg": {"model": "Baseline"}, "evaluator_cfg": {"eval_func": "evaluate_PsyMo"}})


@pytest.mark.parametrize(
    ("evaluator", "hint"),
    [
        ({"galery": "all"}, "did you mean 'gallery'"),
        ({"gallery": "everything"}, "choose one of nm, same, all"),
        ({"metric": "l2"}, "euc or cos"),
        ({"table": "table.txt"}, ".md, .csv or .json"),
    ],
)
def test_mistakes_are_named_before_anything_is_embedded(dataset: Path, evaluator: dict[str, Any], hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate_config(psymo(dataset, **evaluator), False, toolbox=TOOLBOXES[0], world_size=1)
    assert hint in str(caught.value)


def test_the_toolboxs_default_dataset_is_noticed(dataset: Path) -> None:
    cfgs = psymo(dataset)
    cfgs["data_cfg"]["test_dataset_name"] = "CASIA-B"  # as default.yaml has it
    with pytest.raises(ConfigError, match="test_dataset_name: PsyMo"):
        validate_config(cfgs, False, toolbox=TOOLBOXES[0], world_size=1)


def test_what_is_no_percentage_is_logged_in_its_unit() -> None:
    scalars = {"scalar/test_accuracy/AP": 78.3, "scalar/test_accuracy/L2": 173.32}
    lines = log_lines(EvaluationResult("poses", [], scalars, units={"scalar/test_accuracy/L2": " pixels"}))
    assert lines == ["===poses===", "AP: 78.30%\tL2: 173.32 pixels"]
