"""Systems whose config is a toolbox's own: whose main.py runs them, with which keys, and what is refused."""

from __future__ import annotations

import copy
import math
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from gaitext import store
from gaitext.errors import ConfigError, ToolboxError
from gaitext.studies import Cell, Running, parse_study, run_study
from gaitext.studies import toolbox as toolbox_host
from gaitext.studies.recognition import RecognitionStudy
from gaitext.toolboxes.link import link
from gaitext.toolboxes.toolbox import TOOLBOXES
from tests.toolboxes.checkout import needs
from tests.toolboxes.fake import make_toolbox

REPOSITORY = Path(__file__).parents[2]
SHIPPED = sorted((REPOSITORY / "configs" / "studies").glob("baselines_*.yaml"))
GAITSET = {
    "data_cfg": {"dataset_name": "CASIA-B", "dataset_root": "your_path", "test_dataset_name": "CASIA-B"},
    "model_cfg": {"model": "GaitSet", "in_channels": [1, 32], "class_num": 74},
    "loss_cfg": {"type": "TripletLoss", "margin": 0.2, "log_prefix": "triplet"},
    "trainer_cfg": {"total_iter": 3, "save_iter": 3},
    "evaluator_cfg": {"sampler": {"batch_size": 16}, "metric": "euc"},
}
LOG = "{'scalar/test_accuracy/Rank-1': 51.5, 'scalar/test_accuracy/Rank-5': 70.0}"


@pytest.fixture
def roots(tmp_path: Path) -> dict[str, Path]:
    """Miniatures of both toolboxes, each with a config of its own."""
    opengait = make_toolbox(tmp_path / "OpenGait")
    fastposegait = make_toolbox(tmp_path / "FastPoseGait")
    shutil.move(fastposegait / "opengait", fastposegait / "fastposegait")
    for root, name in ((opengait, "gaitset"), (fastposegait, "gaittr")):
        config = copy.deepcopy(GAITSET)
        config["model_cfg"]["model"] = name
        file = root / "configs" / name / f"{name}.yaml"
        file.parent.mkdir()
        file.write_text(yaml.safe_dump(config))
    return {"OpenGait": opengait, "FastPoseGait": fastposegait}


@pytest.fixture
def study(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "silhouettes").mkdir()
    (tmp_path / "poses").mkdir()
    store.write_json(tmp_path / "own.json", {"TRAIN_SET": ["1"], "TEST_SET": ["2"]})
    return {
        "kind": "recognition",
        "title": "Baselines",
        "seeds": [0],
        "data": {
            "silhouettes": {"data_cfg": {"dataset_root": "silhouettes"}},
            "poses": {"data_cfg": {"dataset_root": "poses", "dataset_partition": "own.json", "data_in_use": [True]}},
        },
        "configs": {
            "gaitset": {"toolbox": "OpenGait", "file": "configs/gaitset/gaitset.yaml"},
            "gaittr": {
                "toolbox": "FastPoseGait",
                "file": "configs/gaittr/gaittr.yaml",
                "set": {"model_cfg": {"a": 1}, "evaluator_cfg": {"sampler": {"sample_type": "fixed_ordered"}}},
            },
        },
        "systems": {
            "gaitset": {"config": "gaitset", "data": "silhouettes"},
            "gaittr": {"config": "gaittr", "data": "poses", "set": {"trainer_cfg": {"total_iter": 2}}},
        },
        "tables": [
            {
                "name": "t",
                "title": "T",
                "rows": ["gaitset@silhouettes", "gaittr@poses"],
                "columns": [{"metrics": ["mean", "NM"]}],
            }
        ],
    }


def written(folder: Path, study: dict[str, Any]) -> Path:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    return path


def running(folder: Path, *roots: Path) -> Running:
    first, *more = roots or (None,)
    return Running(folder / "out", device="cpu", toolbox=first, quiet=True, more_toolboxes=tuple(more))


def test_each_toolbox_runs_its_own(
    tmp_path: Path, roots: dict[str, Path], study: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[Path, dict[str, Any], str]] = []

    def run(root: Path, config: dict[str, Any], folder: Path, phase: str, device: str) -> str:
        ran.append((root, copy.deepcopy(config), phase))
        trainer = config["trainer_cfg"]
        file = root / "output" / "CASIA-B" / config["model_cfg"]["model"] / trainer["save_name"] / "checkpoints"
        file.mkdir(parents=True, exist_ok=True)
        torch.save({}, file / f"{trainer['save_name']}-{trainer['total_iter']:05}.pt")
        return LOG

    monkeypatch.setattr(toolbox_host, "_run", run)
    for root in roots.values():
        link(root)
    made = parse_study(written(tmp_path, study))
    tasks = made.tasks(running(tmp_path, *roots.values()))
    for task in tasks:  # in the order of what they need; in this process, where the main.py are replaced
        task.function(task.argument)
    assert [(root.name, phase) for root, _, phase in ran] == [
        ("OpenGait", "train"),
        ("FastPoseGait", "train"),
        ("OpenGait", "test"),
        ("FastPoseGait", "test"),
    ]
    config = ran[0][1]
    # The toolbox's own, over its default.yaml: but for the data's place, the run's name and what its test insists on.
    assert config["model_cfg"] == GAITSET["model_cfg"] | {"model": "gaitset"}
    assert config["loss_cfg"] == GAITSET["loss_cfg"]
    assert config["data_cfg"]["dataset_root"] == str(tmp_path / "silhouettes")
    assert config["data_cfg"]["dataset_partition"] == "nowhere.json"  # default.yaml's, relative to the toolbox
    assert config["trainer_cfg"]["sampler"]["batch_size"] == [8, 16]
    assert config["evaluator_cfg"]["sampler"]["batch_size"] == 1  # processes
    other = ran[1][1]
    assert other["model_cfg"]["a"] == 1
    assert other["trainer_cfg"]["total_iter"] == 2
    assert other["data_cfg"]["dataset_partition"] == str(tmp_path / "own.json")
    assert other["data_cfg"]["data_in_use"] == [True]
    assert other["evaluator_cfg"]["sampler"]["batch_size"] == 16  # of fixed frames, which are not packed
    cells = [Cell.read(task.done)[0] for task in tasks if made.is_cell(task)]
    assert [(cell.system, cell.condition) for cell in cells] == [("gaitset", "silhouettes"), ("gaittr", "poses")]
    assert all(cell.scalars["mean"] == 51.5 and not cell.people for cell in cells)
    assert all(math.isnan(cell.scalars["NM"]) for cell in cells)  # a table asks, and this log has no such line
    assert len({task.done for task in tasks}) == len(tasks)
    # Another text of the toolbox's config is another system.
    file = roots["OpenGait"] / "configs/gaitset/gaitset.yaml"
    file.write_text(file.read_text().replace("0.2", "0.3"))
    again = {task.name: task for task in parse_study(tmp_path / "study.yaml").tasks(running(tmp_path, *roots.values()))}
    assert not again["train gaitset, seed 0"].is_done()
    assert again["train gaittr, seed 0"].is_done()


def test_without_its_toolbox_it_is_refused_before_anything_is_made(
    tmp_path: Path, roots: dict[str, Path], study: dict[str, Any]
) -> None:
    path = written(tmp_path, study)
    before = sorted(tmp_path.rglob("*"))
    made = parse_study(path)  # which does not need them
    for given, lacking in (
        ((), "OpenGait"),
        ((roots["FastPoseGait"],), "OpenGait"),
        ((roots["OpenGait"],), "FastPoseGait"),
    ):
        with pytest.raises(ConfigError, match=rf"config is {lacking}'s own(.|\n)*give --toolbox PATH/TO/{lacking}"):
            made.tasks(running(tmp_path, *given))
    assert sorted(tmp_path.rglob("*")) == before


def test_toolboxes_are_looked_at_first(tmp_path: Path, roots: dict[str, Path], study: dict[str, Any]) -> None:
    made = parse_study(written(tmp_path, study))
    link(roots["OpenGait"])
    with pytest.raises(ToolboxError, match="gaitext is not linked into this FastPoseGait"):
        run_study(made, running(tmp_path, *roots.values()))
    shutil.copytree(roots["OpenGait"], tmp_path / "another")
    with pytest.raises(ConfigError, match="two are the same toolbox"):
        run_study(made, running(tmp_path, roots["OpenGait"], tmp_path / "another"))


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        ("configs/gaitset/toolbox", "OpenGate", "did you mean 'OpenGait'"),
        ("data/poses/data_cfg", {"dataset_partition": "own.json"}, "give walkers, or data_cfg with dataset_root"),
        ("systems/gaittr/test_on", ["poses", "silhouettes"], "data 'silhouettes' names no dataset_partition"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, study: dict[str, Any], where: str, value: Any, said: str) -> None:
    section, *path, last = [study, *where.split("/")]
    for key in path:
        section = section[key]
    section[last] = value
    with pytest.raises(ConfigError, match=said):
        parse_study(written(tmp_path, study))


def test_a_config_the_toolbox_does_not_have_is_named(
    tmp_path: Path, roots: dict[str, Path], study: dict[str, Any]
) -> None:
    study["configs"]["gaitset"]["file"] = "configs/gaitset/gaitsett.yaml"
    made = parse_study(written(tmp_path, study))
    with pytest.raises(ConfigError, match=r"did you mean 'configs/gaitset/gaitset\.yaml'"):
        made.tasks(running(tmp_path, *roots.values()))


def test_data_without_a_partition_are_for_toolboxes_alone(tmp_path: Path, study: dict[str, Any]) -> None:
    study["configs"]["gaitset"] = str(REPOSITORY / "configs/gaitheat/tiny.yaml")
    with pytest.raises(ConfigError, match="data 'silhouettes' names no dataset_partition"):
        parse_study(written(tmp_path, study))


@pytest.mark.toolbox
@needs(TOOLBOXES[0])
@needs(TOOLBOXES[1])
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_toolboxes_have_what_shipped_studies_name(path: Path) -> None:
    roots = {toolbox.name: Path(os.environ[toolbox.environment]) for toolbox in TOOLBOXES}
    study = parse_study(path)
    assert isinstance(study, RecognitionStudy)
    for name, system in study.settings.systems.items():
        toolbox = study.settings.configs[system.config].toolbox
        if toolbox is not None:
            config = study.config(name, roots[toolbox])
            assert config["trainer_cfg"]["total_iter"] >= 500
            model = config["model_cfg"]["model"]
            assert list(roots[toolbox].rglob(f"*/modeling/models/{model.lower()}*.py")) or model == "Baseline"
