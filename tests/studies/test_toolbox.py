"""What a toolbox's log says of a protocol: samples in the toolboxes' format, and the toolboxes' own functions."""

from __future__ import annotations

import importlib.util
import json
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from gaitext.errors import DataError
from gaitext.evaluation import evaluate_CCPG, evaluate_indoor_dataset, evaluate_PsyMo
from gaitext.evaluation.short_numbers import short_numbers
from gaitext.studies import toolbox
from gaitext.studies.toolbox import logged_numbers
from gaitext.toolboxes.registered import log_lines

NAN = float("nan")

CCPG = """[2025-01-02 03:04:05] [INFO]: ('gallery length', 30, ['U1_D1'], 'probe length', 20, ['U1_D0'])
[2025-01-02 03:04:05] [INFO]: ===Rank-1 (Exclude identical-view cases for Person Re-Identification)===
[2025-01-02 03:04:05] [INFO]: CL: 10.000,\tUP: 20.500,\tDN: 30.000,\tBG: nan
[2025-01-02 03:04:05] [INFO]: ===mAP (Exclude identical-view cases for Person Re-Identification)===
[2025-01-02 03:04:05] [INFO]: CL: 1.000,\tUP: 2.000,\tDN: 3.000,\tBG: 4.000
[2025-01-02 03:04:05] [INFO]: ===mINP (Exclude identical-view cases for Person Re-Identification)===
[2025-01-02 03:04:05] [INFO]: CL: 0.100,\tUP: 0.200,\tDN: 0.300,\tBG: 0.400
[2025-01-02 03:04:05] [INFO]: ===Rank-1 (Include identical-view cases)===
[2025-01-02 03:04:05] [INFO]: CL: 91.000,\tUP: 92.000,\tDN: 93.000,\tBG: 94.000
[2025-01-02 03:04:05] [INFO]: ===Rank-1 (Exclude identical-view cases)===
[2025-01-02 03:04:05] [INFO]: CL: 50.000,\tUP: 60.000,\tDN: 70.000,\tBG: 80.000
[2025-01-02 03:04:05] [INFO]: ===Rank-1 of each angle (Exclude identical-view cases)===
[2025-01-02 03:04:05] [INFO]: CL: [50.00 50.00]
[2025-01-02 03:04:05] [INFO]: UP: [60.00 60.00]
"""


@pytest.mark.parametrize(
    ("log", "numbers"),
    [
        (
            "{'scalar/test_accuracy/Rank-1': np.float32(51.5), 'scalar/test_accuracy/Rank-5': np.float64(70.0), "
            "'scalar/test_accuracy/Rank-10': 80.0, 'scalar/test_accuracy/mAP': 40.25, "
            "'scalar/test_accuracy/mINP': nan}",
            {"mean": 51.5, "mean@R5": 70, "mean@R10": 80, "mean@mAP": 40.25, "mean@mINP": NAN},
        ),
        (
            "[2025-01-02 03:04:05] [INFO]: ===Rank-1 (Exclude identical-view cases)===\n"
            "[2025-01-02 03:04:05] [INFO]: NM@R1: [30.  50.\n 40.]\n"
            "[2025-01-02 03:04:05] [INFO]: BG@R1: [nan nan 20.]\n"
            "[2025-01-02 03:04:05] [INFO]: NM@R1: 40.00%\tBG@R1: nan%\t\n"
            "[2025-01-02 03:04:05] [INFO]: NM@R5: 60.00%\tBG@R5: 1e+02%\t\n",
            {"NM": 40, "BG": NAN, "mean": 40, "NM@R5": 60, "BG@R5": 100, "mean@R5": 80},
        ),
        ("Umberalla@R1: 7.00%\tOverall@R1: 3.00%", {"Umbrella": 7, "Overall": 3, "mean": 7}),
        (
            "[2025 1.5] ==Rank-1==\n[2025 1.5] 48.250\n[2025 1.5] ==Rank-5==\n[2025 1.5] 61.000\n"
            "[2025 1.5] ==Rank-20==\n[2025 1.5] nan\n",
            {"mean": 48.25, "mean@R5": 61, "mean@R20": NAN},
        ),
        (
            "[2025] [INFO]: ========= Rank@1 Acc =========\nNM:\t[10. 20.\n 30.], mean: 20.00%\n"
            "CL:\t[1. 2. 3.], mean: 2.00%\n\n[2025] [INFO]: ============= mAP ============\n"
            "NM:\t[5. 5. 5.], mean: 5.00%\nCL:\t[7. 7. 7.], mean: 7.00%\n\n",
            {"NM": 20, "CL": 2, "mean": 11, "NM@mAP": 5, "CL@mAP": 7, "mean@mAP": 6},
        ),
        (
            CCPG,
            {
                **{"CL": 50, "UP": 60, "DN": 70, "BG": 80, "mean": 65},
                **{"CL-ReID": 10, "UP-ReID": 20.5, "DN-ReID": 30, "BG-ReID": NAN, "mean-ReID": 60.5 / 3},
                **{"CL-ReID@mAP": 1, "UP-ReID@mAP": 2, "DN-ReID@mAP": 3, "BG-ReID@mAP": 4, "mean-ReID@mAP": 2.5},
                **{"CL-ReID@mINP": 0.1, "UP-ReID@mINP": 0.2, "DN-ReID@mINP": 0.3, "BG-ReID@mINP": 0.4},
                "mean-ReID@mINP": 0.25,
            },
        ),
        (
            "Total Accuracy: 50.00%\nMacro-avg Precision: 1.00%\nMacro-avg Recall: 2.00%\nMacro-avg F1 Score: 3.00%",
            {"accuracy": 50, "precision": 1, "recall": 2, "F1": 3},
        ),
        ("mIOU: 0.912", {"mIOU": 0.912}),
        ("Iteration 00010, Cost 1.00s, triplet_loss=0.5000\nuser@R2D2: ok", {}),
    ],
    ids=["Gait3D", "indoor", "SUSTech1K", "real scene", "cross view", "CCPG", "scoliosis", "segmentation", "none"],
)
def test_numbers_are_read_from_a_toolboxs_log(log: str, numbers: dict[str, float]) -> None:
    assert logged_numbers(log) == pytest.approx(numbers, nan_ok=True)


def test_the_last_test_of_a_log_counts() -> None:
    assert logged_numbers("NM@R1: 1.00%\nNM@R1: 2.00%") == {"NM": 2, "mean": 2}
    assert logged_numbers(CCPG + CCPG.replace("10.000", "12.000"))["CL-ReID"] == 12


def test_a_protocol_without_numbers_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"evaluator_cfg": {"eval_func": "GREW_submission"}, "trainer_cfg": {}}
    folder = tmp_path / "out" / "cells" / "a@b-0" / "seed-0"
    said = "GREW result saved to /there/GREW_result/1.csv"
    monkeypatch.setattr(toolbox, "_run", lambda *_: said)
    with pytest.raises(DataError, match=r"(?s)server keeps the labels.*1\.csv"):
        toolbox.toolbox_test(tmp_path, config, tmp_path / "c.pt", folder, "cpu")
    said = "nothing"
    with pytest.raises(DataError, match="no number of a protocol"):
        toolbox.toolbox_test(tmp_path, config, tmp_path / "c.pt", folder, "cpu")


def _data(types: list[str], views: list[str], people: int = 12) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    rows = [(f"{i:03d}", t, v) for i in range(people) for t in types for v in views]
    centre = generator.normal(size=(people, 8, 2))
    embeddings = np.stack([centre[int(i)] + 1.5 * generator.normal(size=(8, 2)) for i, _, _ in rows])
    labels, kinds, angles = (list(each) for each in zip(*rows))
    return {"embeddings": embeddings.astype(np.float32), "labels": labels, "types": kinds, "views": angles}


def test_what_gaitext_logs_in_a_toolbox_is_read_back() -> None:
    result = evaluate_PsyMo(_data(["nm-01", "nm-02", "bg", "cl", "wss", "wsf", "ph", "txt"], ["000", "045", "090"]))
    expected = short_numbers(result.scalars)
    assert logged_numbers("\n".join(log_lines(result))) == pytest.approx(expected, abs=0.0051)


@pytest.fixture(params=["OpenGait", "FastPoseGait"])
def evaluator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A toolbox's evaluator on the CPU; ``log()`` is what it has logged, as its message manager writes it."""
    root = os.environ.get(f"{request.param.upper()}_ROOT")
    if not root:
        pytest.skip(f"{request.param.upper()}_ROOT is not set")
    folder = Path(root) / request.param.lower() / "evaluation"
    lines: list[str] = []
    formatter = logging.Formatter("[%(asctime)s] [%(levelname)s]: %(message)s", datefmt="%Y-%m-%d %H:%M:%S")

    def log_info(text: Any) -> None:
        lines.append(formatter.format(logging.LogRecord("toolbox", logging.INFO, "", 0, text, None, None)))

    utils = ModuleType("utils")
    vars(utils).update(get_msg_mgr=lambda: SimpleNamespace(log_info=log_info), mkdir=os.makedirs)
    vars(utils).update(is_tensor=torch.is_tensor)
    monkeypatch.setitem(sys.modules, "utils", utils)
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self, *a, **k: self)
    package = ModuleType("tb_evaluation")
    package.__path__ = [str(folder)]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tb_evaluation", package)
    for name in ("metric", "re_rank", "evaluator"):
        if not (folder / f"{name}.py").exists():
            continue
        spec = importlib.util.spec_from_file_location(f"tb_evaluation.{name}", folder / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, f"tb_evaluation.{name}", module)
        spec.loader.exec_module(module)
    options = np.get_printoptions()
    yield SimpleNamespace(functions=sys.modules["tb_evaluation.evaluator"], log=lambda: "\n".join(lines))
    np.set_printoptions(**{k: v for k, v in options.items() if k != "override_repr"})


INDOOR = {
    "CASIA-B": (["nm-01", "nm-02", "nm-03", "nm-04", "nm-05", "nm-06", "bg-01", "bg-02", "cl-01", "cl-02"], 11),
    "OUMVLP": (["00", "01"], 14),
    "SUSTech1K": (["00-nm", "01-nm", "01-bg", "02-cl-nt", "03-cr", "04-ub", "02-uf", "03-oc"], 3),
}


@pytest.mark.toolbox
@pytest.mark.parametrize("dataset", INDOOR)
def test_indoor_logs(evaluator: Any, dataset: str) -> None:
    types, count = INDOOR[dataset]
    data = _data(types, [f"{15 * i:03d}" for i in range(count)], people=6)
    returned = evaluator.functions.evaluate_indoor_dataset(data, dataset)
    found = logged_numbers(evaluator.log())
    expected = short_numbers(evaluate_indoor_dataset(data, dataset).scalars)
    assert found == pytest.approx(expected, abs=0.011)
    for name, value in returned.items():
        short = name.rpartition("/")[2].replace("Umberalla", "Umbrella").removesuffix("@R1")
        assert found[short] == pytest.approx(float(value), abs=0.0051)


@pytest.mark.toolbox
def test_casia_e_logs(evaluator: Any) -> None:
    scenes = [f"{h}-scene{s}-{t}-1" for h in "HL" for s in ("1", "2") for t in ("nm", "bg", "cl")]
    data = _data(scenes, ["000", "090", "270"], people=5)
    try:
        returned = evaluator.functions.evaluate_indoor_dataset(data, "CASIA-E")
    except KeyError:
        pytest.skip("this toolbox does not know CASIA-E")
    found = logged_numbers(evaluator.log())
    for name in ("NM", "BG", "CL"):
        assert found[name] == pytest.approx(float(returned[f"scalar/test_accuracy/{name}@R1"]), abs=0.0051)


@pytest.mark.toolbox
def test_cross_view_gallery_logs(evaluator: Any) -> None:
    data = _data(["nm-01", "nm-02", "bg-01", "bg-02", "cl-01", "cl-02"], [f"{18 * i:03d}" for i in range(11)], people=5)
    returned = evaluator.functions.evaluate_indoor_dataset(data, "CASIA-B", cross_view_gallery=True)
    found = logged_numbers(evaluator.log())
    for name in ("NM", "BG", "CL"):
        assert found[name] == pytest.approx(float(returned[f"scalar/test_accuracy/{name}-Rank@1"]), abs=0.0051)
        assert found[f"{name}@mAP"] == pytest.approx(float(returned[f"scalar/test_accuracy/{name}-mAP"]), abs=0.0051)


@pytest.mark.toolbox
def test_ccpg_logs(evaluator: Any) -> None:
    def data() -> dict[str, Any]:
        types = ["U0_D0", "U0_D0_BG", "U0_D3", "U1_D0", "U1_D1", "U2_D2", "U3_D3"]
        return _data(types, ["00_a", "01_b", "02_c"], people=7)

    evaluator.functions.evaluate_CCPG(data(), "CCPG")
    expected = short_numbers(evaluate_CCPG(data()).scalars)
    assert len(expected) == 20
    assert logged_numbers(evaluator.log()) == pytest.approx(expected, abs=0.011)


@pytest.mark.toolbox
def test_real_scene_logs(evaluator: Any) -> None:
    returned = evaluator.functions.evaluate_real_scene(_data(["01", "02"], ["0", "1"], people=15), "GREW")
    found = logged_numbers(evaluator.log())
    assert set(found) == {"mean", "mean@R5", "mean@R10", "mean@R20"}
    assert found["mean"] == pytest.approx(float(returned["scalar/test_accuracy/Rank-1"]), abs=0.0005)
    assert found["mean@R5"] == pytest.approx(float(returned["scalar/test_accuracy/Rank-5"]), abs=0.0005)


@pytest.mark.toolbox
@pytest.mark.parametrize(
    ("function", "file", "key"),
    [
        ("evaluate_Gait3D", "Gait3D/Gait3D.json", "PROBE_SET"),
        ("evaluate_FreeGait", "FreeGait/FreeGait.json", "PROBE_SET"),
        ("evaluate_CCGR_MINI", "CCGR-MINI/CCGR-MINI.json", "GALLERY_SET"),
    ],
)
def test_retrieval_logs(
    evaluator: Any, function: str, file: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate: Callable[..., Any] | None = getattr(evaluator.functions, function, None)
    if evaluate is None:
        pytest.skip(f"this toolbox has no {function}")
    data = _data(["camid0", "camid1"], ["seq0", "seq1"])
    path = tmp_path / "datasets" / file
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({key: [f"{i:03d}-camid0-seq0" for i in range(12)]}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    returned = evaluate(data, "any")
    found = logged_numbers(evaluator.log())
    assert set(found) == {"mean", "mean@R5", "mean@R10", "mean@mAP", "mean@mINP"}
    for name, value in returned.items():
        short = "mean@" + name.rpartition("/")[2].replace("Rank-", "R")
        assert found[short.removesuffix("@R1")] == pytest.approx(float(value))
    assert not any(math.isnan(value) for value in found.values())
