"""A study from its YAML: what is trained and tested, added rows, kills, and what is refused before anything runs."""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from filelock import FileLock

from gaitext import standalone
from gaitext.config import load_yaml
from gaitext.errors import CheckpointError, ConfigError, DataError
from gaitext.evaluation import evaluate_file, evaluate_indoor_dataset, read_saved
from gaitext.evaluation.short_numbers import short_numbers
from gaitext.studies import Cell, Running, parse_study, run_study
from gaitext.studies.configs import metrics_of
from gaitext.studies.training import _mended_by_deleting as mended_by_deleting
from gaitext.studies.training import _read as read_embeddings
from tests.studies.undisturbed import do_undisturbed

REPOSITORY = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from gaitext.cli import main; main()", "study"]
PEOPLE = {
    "identities": 6,
    "train_identities": 3,
    "types": ["nm-01", "nm-05", "bg-01", "cl-01"],
    "views": ["000", "090"],
    "frames": 4,
    "diversity": 3.0,
}
MODEL = {"channels": [4, 4, 4, 4], "bins": 2, "embedding_size": 4, "class_num": 3}
SHORT = {
    "evaluator_cfg": {"restore_hint": 4},
    "model_cfg": MODEL,
    "trainer_cfg": {
        "total_iter": 4,
        "save_iter": 2,
        "log_iter": 2,
        "sampler": {"batch_size": [2, 2], "frames_num_fixed": 2},
    },
    "fabric_cfg": {"tensorboard": False},
}
STUDY: dict[str, Any] = {
    "kind": "recognition",
    "title": "Small",
    "seeds": [0, 1],
    "data": {"level": {"walkers": PEOPLE}, "tilted": {"walkers": {**PEOPLE, "camera": {"roll": 20}}}},
    "configs": {"gaitheat": {"file": str(REPOSITORY / "configs/gaitheat/tiny.yaml"), "set": SHORT}},
    "systems": {
        "with": {"config": "gaitheat", "data": "level", "test_on": ["level", "tilted"]},
        "global": {
            "config": "gaitheat",
            "data": "level",
            "set": {"model_cfg": {"branches": ["global"]}},
            "keep_losses": ["global"],
            "swap_losses": {"TripletLoss": "BatchHardTripletLoss"},
        },
    },
    "tables": [{"name": "t", "title": "T", "rows": ["with", "global"], "columns": [{"condition": "level"}]}],
    "claims": [{"name": "more is better", "better": "with@level", "than": "global@level"}],
}


def written(folder: Path, study: dict[str, Any]) -> Path:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    return path


def run(path: Path, out: Path) -> Any:
    """With one job: each further worker takes seconds to import torch. The study that is killed has one a core."""
    return run_study(parse_study(path), Running(out, jobs=1, device="cpu", quiet=True))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the study, undisturbed, and its YAML: run once for all of pytest-xdist's workers."""
    above = tmp_path_factory.getbasetemp()
    folder = (above.parent if "PYTEST_XDIST_WORKER" in os.environ else above) / "recognition-study"
    with FileLock(f"{folder}.lock"):
        if not (folder / "out" / "study_results.json").exists():
            folder.mkdir(exist_ok=True)
            do_undisturbed(written(folder, STUDY), folder / "out")
    return folder


def test_cells_are_what_the_host_finds_by_hand(done: Path, tmp_path: Path) -> None:
    cells = [Cell(**cell) for cell in json.loads((done / "out" / "study_results.json").read_text())["cells"]]
    assert [(c.system, c.condition, c.seed) for c in cells] == [
        *(("with", "level", s) for s in (0, 1)),
        *(("with", "tilted", s) for s in (0, 1)),
        *(("global", "level", s) for s in (0, 1)),
    ]
    study = parse_study(done / "study.yaml")
    running = Running(done / "out", device="cpu")
    testing = next(t for t in study.tasks(running) if t.name == "test with@tilted, seed 1").argument
    assert "roll" not in str(testing.training.config["data_cfg"])
    saved = tmp_path / "by-hand.npz"
    tested = standalone.test(
        testing.config, checkpoint=testing.training.checkpoint, output=tmp_path, save_embeddings=saved, quiet=True
    )
    (cell,) = [c for c in cells if (c.system, c.condition, c.seed) == ("with", "tilted", 1)]
    for name in ("NM", "BG", "CL"):
        assert cell.scalars[name] == tested.evaluation.scalars[f"scalar/test_accuracy/{name}@R1"]
        assert np.mean(list(cell.people[name].values())) == pytest.approx(cell.scalars[name])
    assert cell.scalars["mean"] == pytest.approx(np.mean([cell.scalars[n] for n in ("NM", "BG", "CL")]))
    with np.load(saved) as data:
        again = evaluate_indoor_dataset(dict(data), "CASIA-B").scalars
    assert short_numbers(again) == pytest.approx(cell.scalars)


def test_switches_reach_the_config(tmp_path: Path) -> None:
    config = parse_study(written(tmp_path, STUDY)).config("global")
    assert config["model_cfg"]["branches"] == ["global"]
    assert config["model_cfg"]["partition"] == "upper_lower"  # the rest stays
    assert [(loss["type"], loss["log_prefix"]) for loss in config["loss_cfg"]] == [
        ("BatchHardTripletLoss", "global_triplet"),
        ("CrossEntropyLoss", "global_softmax"),
    ]


def test_a_row_added_later_leaves_the_others_alone(done: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(done / "out", out)  # a study may be moved
    before = {p: p.stat().st_mtime_ns for p in [*out.rglob("*.pt"), *(out / "cells").rglob("*.json")]}
    study = copy.deepcopy(STUDY)
    study["systems"]["without"] = {
        "config": "gaitheat",
        "data": "level",
        "set": {"model_cfg": {"alignment": {"enabled": False}}},
    }
    result = run(written(tmp_path, study), out)
    assert len(result.cells) == 8
    after = {p: p.stat().st_mtime_ns for p in [*out.rglob("*.pt"), *(out / "cells").rglob("*.json")]}
    assert before.items() <= after.items()
    assert len(after) > len(before)


def test_results_are_left_beside_the_cells(done: Path, tmp_path: Path) -> None:
    """Asked for after the study was done: its tests alone are made again."""
    out = tmp_path / "out"
    shutil.copytree(done / "out", out)
    trained = {p: p.stat().st_mtime_ns for p in out.rglob("*.pt")}
    cells = {p: p.read_bytes() for p in (out / "cells").rglob("*.json")}
    path = written(tmp_path, {**STUDY, "save_embeddings": True, "seeds": [1]})
    run(path, out)
    assert trained == {p: p.stat().st_mtime_ns for p in out.rglob("*.pt")}
    assert cells == {p: p.read_bytes() for p in (out / "cells").rglob("*.json")}
    files = sorted((out / "cells").rglob("*.npz"))
    assert [p.name for p in files] == ["seed-1.npz"] * 3
    for file in files:
        cell, _ = Cell.read(file.with_suffix(".json"))
        assert short_numbers(evaluate_file(file).scalars) == pytest.approx(cell.scalars)
        found = read_saved(file)
        assert found.about["study"] == {"system": cell.system, "condition": cell.condition, "seed": 1}
        assert found.about["checkpoint"]["iteration"] == 4
        assert found.paths is not None
        names = [tuple(Path(each).parts[-3:]) for each in found.paths.tolist()]
        assert names == list(zip(found.labels.tolist(), found.types.tolist(), found.views.tolist()))
        assert all(Path(each).is_dir() for each in found.paths.tolist())
    before = {p: p.stat().st_mtime_ns for p in files}
    run(path, out)
    assert before == {p: p.stat().st_mtime_ns for p in files}


def test_killed_at_random_points_it_ends_with_the_same_results(done: Path, tmp_path: Path) -> None:
    """Whole process groups die, workers too."""
    path = written(tmp_path, STUDY)
    command = [*COMMAND, str(path), "--out", str(tmp_path / "out"), "--device", "cpu", "--quiet"]
    draws = random.Random(0)
    kills = 0
    for _ in range(12):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
        try:
            _, said = process.communicate(timeout=draws.uniform(4, 12) if kills < 3 else 300)
            assert process.returncode == 0, said.decode()
            break
        except subprocess.TimeoutExpired:
            kills += 1
            os.killpg(process.pid, signal.SIGKILL)  # the command of that name reads -1234 as -1: everybody
            process.communicate()
            time.sleep(0.5)
    assert (tmp_path / "out" / "study_results.json").read_bytes() == (done / "out" / "study_results.json").read_bytes()


def change(study: dict[str, Any], where: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(study)
    section = changed
    *path, last = where.split("/")
    for key in path:
        section = section[int(key)] if isinstance(section, list) else section[key]
    section[last] = value
    return changed


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        ("kind", "recogniton", "did you mean 'recognition'"),
        ("systems/with/config", "gaitpt", "gaitheat"),
        ("systems/with/data", "levle", "did you mean 'level'"),
        ("systems/with/test_on", ["tiltde"], "did you mean 'tilted'"),
        ("systems/with/sett", {}, "unknown key"),
        ("systems/with/keep_losses", ["fuzion"], "none of the losses is kept"),
        ("systems/with/swap_losses", {"Triplet": "X"}, "there is no loss Triplet"),
        ("systems/with/set", {"model_cfg": {"alignment": {"treshold": 3}}}, "did you mean 'threshold'"),
        ("systems/with/transform", [{"type": "HeatmapImput"}], "HeatmapInput"),
        ("claims/0/better", "with@levle", "did you mean 'with@level'"),
        ("tables/0/rows", ["wiht"], "did you mean 'with'"),
        ("tables/0/columns", [{"condition": "levle"}], "did you mean 'level'"),
        ("tables/0/columns", [{}], "names no condition"),
        ("data/level/walkers", {"identities": 1}, "identities"),
        ("data/level", {"estimator": "movenet:lightning"}, "give walkers, or data_cfg"),
        ("seeds", [0, 0], "seeds: one is there twice"),
        ("seeds", [-1], "seeds.0"),
        ("kind", ["recognition"], "kind: is"),
        ("systems/with/test_on", ["tilted", "tilted"], "one is there twice"),
        ("systems/with/set", {"trainer_cfg": None}, "missing key 'systems.with.trainer_cfg'"),
        ("systems/with/set", {"evaluator_cfg": 3}, "holds 3, not keys and values"),
        ("systems/with/set", {"loss_cfg": 3}, "holds 3, not losses"),
        ("systems/with/set", {"loss_cfg": [{"type": "TripletLoss"}]}, "missing key 'loss_cfg.0..log_prefix'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(tmp_path: Path, where: str, value: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_study(written(tmp_path, change(STUDY, where, value)))
    assert [p.name for p in tmp_path.iterdir()] == ["study.yaml"]


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        ("systems/with/swap_losses", {"TripletLoss": "BatchHardTriplet"}, "did you mean 'BatchHardTripletLoss'"),
        ("systems/with/set", {"model_cfg": {"model": "GaitHet"}}, "did you mean 'GaitHeat'"),
        ("systems/with/set", {"optimizer_cfg": {"solver": "Addam"}}, "did you mean 'Adam'"),
        ("systems/with/set", {"optimizer_cfg": {"lrr": 1}}, "did you mean 'lr'"),
        ("systems/with/set", {"scheduler_cfg": {"scheduler": "MultiStep"}}, "did you mean 'MultiStepLR'"),
        ("systems/with/set", {"trainer_cfg": {"sampler": {"batch_size": [1, 2]}}}, "has a negative"),
        ("systems/with/set", {"evaluator_cfg": {"eval_func": "evaluate_indor_dataset"}}, "evaluate_indoor_dataset"),
        ("systems/with/set", {"evaluator_cfg": {"metric": "eucl"}}, "choose euc or cos"),
        ("data/tilted/evaluator_cfg", {"evalfunc": "a"}, "tested on tilted: evaluator_cfg.evalfunc"),
        ("data/level/estimator", "bundeld", "unknown estimator 'bundeld'"),
        ("tables/0/columns", [{"condition": "level", "metrics": ["NMM"]}], "did you mean 'NM'"),
        ("claims/0/metric", "meen", "did you mean 'mean'"),
    ],
)
def test_what_the_embedded_host_would_refuse_later_is_refused_first(
    tmp_path: Path, where: str, value: Any, said: str
) -> None:
    study = parse_study(written(tmp_path, change(STUDY, where, value)))  # a toolbox may know better
    with pytest.raises(ConfigError, match=said):
        study.tasks(Running(tmp_path / "out", device="cpu"))
    assert [p.name for p in tmp_path.iterdir()] == ["study.yaml"]


def test_damaged_embeddings_say_what_to_delete(tmp_path: Path) -> None:
    (tmp_path / "seed-0.npz").write_bytes(b"PK nothing")
    with pytest.raises(DataError, match=r"holds no saved embeddings(.|\n)*delete .*seed-0\.json"):
        read_embeddings(tmp_path / "seed-0.npz")


def test_what_is_gone_or_damaged_says_what_to_delete(tmp_path: Path) -> None:
    out = tmp_path / "out"
    study = parse_study(written(tmp_path, STUDY))
    task = next(t for t in study.tasks(Running(out, device="cpu")) if t.name == "train with, seed 0")
    with pytest.raises(DataError, match=r"data are gone(.|\n)*delete .*out/data/\*\.json"):
        task.function(task.argument)
    file = out / "runs" / "before-1" / "seed-0" / "a.pt"
    config = {"data_cfg": {"dataset_root": str(tmp_path)}}
    with (
        pytest.raises(CheckpointError, match=r"is damaged(.|\n)*delete .*before-1/seed-0, and it is trained again"),
        mended_by_deleting(task.argument, config),
    ):
        raise CheckpointError("is damaged", where=file, how="download it")
    with (
        pytest.raises(CheckpointError, match="download it"),
        mended_by_deleting(task.argument, config),
    ):
        raise CheckpointError("is damaged", where=tmp_path / "a.pt", how="download it")


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs" / "studies").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_study_that_comes_along_is_one(path: Path) -> None:
    study = parse_study(path)
    assert study.settings.claims
    assert study.settings.tables


def test_short_numbers_of_other_protocols() -> None:
    ccpg = {"CL-ReID@R1": 90.0, "CL-ReID@mAP": 50.0, "CL@R1": 40.0, "BG@R1": 60.0}
    assert short_numbers({f"scalar/test_accuracy/{k}": v for k, v in ccpg.items()}) == {
        "CL-ReID": 90.0,
        "CL-ReID@mAP": 50.0,
        "CL": 40.0,
        "BG": 60.0,
        "mean": 50.0,
        "mean-ReID": 90.0,
        "mean-ReID@mAP": 50.0,
    }


@pytest.mark.parametrize("name", ["gaitheat_ccpg", "gaitheat_cross"])
def test_what_stands_above_ccpgs_published_numbers_is_reidentification(name: str) -> None:
    """Tables 1, 3, 4 and 5 are; rank-1 of each pair of cameras is another protocol."""
    study = parse_study(REPOSITORY / "configs" / "studies" / f"{name}.yaml")
    for table in study.settings.tables:
        for column in table.columns:
            of_ccpg = (column.condition or next(iter(table.rows.values())).partition("@")[2]) in ("ccpg", "hrnet")
            if of_ccpg and table.published:
                assert all("-ReID" in metric for metric in column.metrics), table.name
    for claim in study.settings.claims:
        if name == "gaitheat_ccpg" or claim.better.endswith("@ccpg"):
            assert claim.metric == "mean-ReID", claim.name


def test_metrics_of_ccpg_are_known_before_anything_is_trained() -> None:
    config = load_yaml(REPOSITORY / "configs" / "gaitheat" / "ccpg.yaml")
    found = metrics_of(config)
    assert found is not None
    ends = [f"{condition}{end}" for condition in ("CL", "UP", "DN", "BG", "mean") for end in ("", "-ReID")]
    assert found == {*ends, *(f"{end}@{n}" for end in ends if "-" in end for n in ("mAP", "mINP"))}
