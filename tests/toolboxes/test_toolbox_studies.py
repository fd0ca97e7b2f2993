"""A study's baselines: the toolboxes' own main.py train and test their own models on the CPU, from the study's YAML.

Needs checkouts: ``OPENGAIT_ROOT=… FASTPOSEGAIT_ROOT=… pytest -m toolbox``. They are copied.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import yaml

from gaitext.evaluation import evaluate_file, read_saved
from gaitext.studies import Running, parse_study, run_study
from gaitext.studies.scoring import short_numbers
from gaitext.toolboxes.toolbox import TOOLBOXES
from gaitext.walkers import WalkerSettings, write_dataset

pytestmark = [pytest.mark.toolbox, pytest.mark.slow]

WALKERS = {
    "identities": 5,
    "train_identities": 3,
    "types": ["nm-01", "nm-05", "bg-01", "cl-01"],
    "views": ["000", "090"],
    "frames": 12,
    "content": ["poses_frame", "silhouettes"],
}
TINY = {
    "data_cfg": {"num_workers": 0},
    "evaluator_cfg": {"eval_func": "evaluate_indoor_dataset"},
    "trainer_cfg": {
        "total_iter": 2,
        "save_iter": 2,
        "log_iter": 1,
        "with_test": False,
        "sampler": {"batch_size": [2, 2], "frames_num_fixed": 6, "frames_num_min": 6, "frames_num_max": 6},
    },
}


def test_gaitset_and_gaittr_from_a_studys_yaml(opengait: Path, fastposegait: Path, tmp_path: Path) -> None:
    """Silhouettes for one, poses for the other; each in its toolbox, with its own model, losses and transforms."""
    written = write_dataset(WalkerSettings.parse(WALKERS, where="test"), tmp_path / "walkers", quiet=True)
    place = {"dataset_root": str(written.sequences), "dataset_partition": str(written.partition)}
    study = {
        "kind": "recognition",
        "title": "Baselines on walkers",
        "seeds": [0],
        "save_embeddings": True,
        "data": {
            "silhouettes": {"data_cfg": {**place, "data_in_use": [False, True]}},
            "poses": {"data_cfg": {**place, "data_in_use": [True, False]}},
        },
        "configs": {
            "gaitset": {"toolbox": "OpenGait", "file": "configs/gaitset/gaitset.yaml", "set": TINY},
            "gaittr": {"toolbox": "FastPoseGait", "file": "configs/gaittr/gaittr.yaml", "set": TINY},
        },
        "systems": {
            "gaitset": {"config": "gaitset", "data": "silhouettes"},
            "gaittr": {"config": "gaittr", "data": "poses"},
        },
        "tables": [{"name": "t", "title": "T", "rows": ["gaitset@silhouettes", "gaittr@poses"], "columns": [{}]}],
        "claims": [{"name": "poses are better", "better": "gaittr@poses", "than": "gaitset@silhouettes"}],
    }
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study))
    running = Running(tmp_path / "out", device="cpu", toolbox=opengait, quiet=True, more_toolboxes=(fastposegait,))
    result = run_study(parse_study(path), running)
    cells = {(cell.system, cell.condition): cell for cell in result.cells}
    assert set(cells) == {("gaitset", "silhouettes"), ("gaittr", "poses")}
    for (system, _), cell in cells.items():
        assert 0 <= cell.scalars["mean"] <= 100, system
        (log,) = (tmp_path / "out" / "runs").glob(f"{system}-*/seed-0/train.log")
        # FastPoseGait's GaitTR trains on the hard triplets.
        assert {"gaitset": "triplet_loss", "gaittr": "triplet_hard_loss"}[system] in log.read_text()
    assert (opengait / "output/CASIA-B/GaitSet").is_dir()
    assert (fastposegait / "output/CASIA-B/GaitTR").is_dir()
    # The toolboxes' own models leave what their tests found, and so does the toolbox's own evaluation of it.
    hosts = {("gaitset", "silhouettes"): "OpenGait", ("gaittr", "poses"): "FastPoseGait"}
    for (system, condition), name in hosts.items():
        (file,) = (tmp_path / "out" / "cells").glob(f"{system}@{condition}-*/seed-0.npz")
        found = read_saved(file)
        assert (found.about["host"], found.about["protocol"]["dataset"]) == (name, "CASIA-B")
        weights = Path(found.about["checkpoint"]["path"])
        assert found.about["checkpoint"]["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
        assert found.about["config"]["model_cfg"]["model"] == {"gaitset": "GaitSet", "gaittr": "GaitTR"}[system]
        assert found.paths is not None
        leaves = [tuple(Path(each).relative_to(written.sequences).parts) for each in found.paths.tolist()]
        assert leaves == list(zip(found.labels.tolist(), found.types.tolist(), found.views.tolist()))
        ours = short_numbers(evaluate_file(file).scalars)
        assert ours["mean"] == pytest.approx(cells[system, condition].scalars["mean"], abs=0.01)
    assert "one seed" in result.text  # and so nothing is decided
    assert "undecided: 1" in result.text
    # Again, it is done.
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "out").rglob("*.json") if "cells" in file.parts}
    assert run_study(parse_study(path), running).cells.of("gaitset", "silhouettes")
    assert before == {file: file.stat().st_mtime_ns for file in before}


def test_there_are_two_toolboxes() -> None:
    assert [toolbox.name for toolbox in TOOLBOXES] == ["OpenGait", "FastPoseGait"]
