"""The shipped configs of GaitPT: they are read and checked, they build, and they say what the paper says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from gaitext.config import load_yaml
from gaitext.models.gaitpt import GaitPTSettings
from gaitext.standalone.building import build_scheduler
from gaitext.standalone.settings import HostConfig
from gaitext.toolboxes import parts
from gaitext.toolboxes.toolbox import TOOLBOXES
from gaitext.toolboxes.validate import validate_config
from gaitext.walkers import WalkerSettings, write_dataset

ROOT = Path(__file__).parent.parent / "configs" / "gaitpt"
PUBLISHED = ["casia-b", "casia-b_triplet", "psymo", "grew", "gait3d"]
#: Walks of the training set, each as often as the sampler counts it, and walks of a batch.
EPOCHS = {
    "casia-b": (74 * (66 + 3 * 22 + 3 * 22), 444),
    "casia-b_triplet": (74 * (66 + 3 * 22 + 3 * 22), 444),
    "psymo": (250 * 48, 444),
    "grew": (102_887, 800),
    "gait3d": (18_940, 800),
}


def settings(config: dict[str, Any]) -> GaitPTSettings:
    return GaitPTSettings.parse({k: v for k, v in config["model_cfg"].items() if k != "model"}, where="model_cfg")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two walkers, whom any config can be pointed at."""
    out = tmp_path_factory.mktemp("walkers")
    values = {"identities": 2, "train_identities": 1, "protocol": "own", "types": ["nm-01"], "views": ["000"]}
    write_dataset(WalkerSettings.parse({**values, "frames": 3, "content": ["poses_frame"]}, where=""), out, quiet=True)
    return out


@pytest.mark.parametrize("name", [*PUBLISHED, "tiny"])
@pytest.mark.parametrize("toolbox", [*TOOLBOXES, None], ids=lambda t: t.name if t else "embedded")
def test_every_host_accepts_them(name: str, toolbox: Any, people: Path) -> None:
    config = yaml.safe_load((ROOT / f"{name}.yaml").read_text())
    config["data_cfg"].update(dataset_root=str(people / "sequences"), dataset_partition=str(people / "partition.json"))
    if config["evaluator_cfg"]["eval_func"] not in ("evaluate_Gait3D", "GREW_submission"):  # OpenGait's own
        validate_config(config, False, toolbox=toolbox, world_size=1)
    validate_config(config, True, toolbox=toolbox, world_size=1)
    HostConfig.of(config)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_values(name: str) -> None:
    config = load_yaml(ROOT / f"{name}.yaml")
    small = name in ("grew", "gait3d")
    model = settings(config)
    assert model.model_dump(exclude={"augmentation", "frames"}) == GaitPTSettings().model_dump(
        exclude={"augmentation", "frames"}
    )
    assert model.frames == (30 if small else 60)
    assert config["trainer_cfg"]["sampler"]["batch_size"] == ([200, 4] if small else [74, 6])
    assert config["loss_cfg"][0]["margin"] == 0.01
    assert config["optimizer_cfg"]["solver"] == "AdamW"
    for section in ("trainer_cfg", "evaluator_cfg"):
        steps = config[section]["transform"][0]["trf_cfg"]
        divided = next(step for step in steps if step["type"] == "PoseNormalize")
        assert divided["by"] == ("height" if small else "width")
        assert steps[-1]["type"] == "PoseOrder"
    noise = config["trainer_cfg"]["transform"][0]["trf_cfg"][1]
    assert noise == {"type": "PosePointNoise", "std": 0.05}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_schedule_stepped_every_iteration_is_the_published_one_stepped_every_epoch(name: str) -> None:
    config = load_yaml(ROOT / f"{name}.yaml")
    walks, batch = EPOCHS[name]
    epoch = round(walks / batch)
    assert config["trainer_cfg"]["total_iter"] == 200 * epoch
    weight = torch.nn.Parameter(torch.zeros(1))
    ours = torch.optim.AdamW([weight], lr=1e-3)
    schedule = build_scheduler(ours, config["scheduler_cfg"])
    theirs = torch.optim.AdamW([weight], lr=1e-3)
    published = torch.optim.lr_scheduler.CyclicLR(
        theirs, base_lr=1e-4, max_lr=1e-2, step_size_up=15, mode="exp_range", gamma=0.995, cycle_momentum=False
    )
    for _ in range(60):
        for _ in range(epoch):
            ours.step()
            schedule.step()
        theirs.step()
        published.step()
        assert ours.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-4)


def test_bags_and_coats_count_three_times_on_casia_b() -> None:
    sampler = load_yaml(ROOT / "casia-b.yaml")["trainer_cfg"]["sampler"]
    assert sampler["type"] in parts.SAMPLERS
    assert sampler["repeats"] == {"bg": 3, "cl": 3}


def test_the_two_casia_b_configs_differ_in_the_loss_alone() -> None:
    one, other = (load_yaml(ROOT / f"{name}.yaml") for name in ("casia-b", "casia-b_triplet"))
    assert [c["loss_cfg"][0]["type"] for c in (one, other)] == ["AllTripletsLoss", "TripletLoss"]
    for config in (one, other):
        config["loss_cfg"][0].pop("type")
        config["trainer_cfg"].pop("save_name")
        config["evaluator_cfg"].pop("save_name")
    assert json.dumps(one) == json.dumps(other)


def test_tiny_walkers_hold_psymos_variations_and_enough_unseen_people() -> None:
    people = WalkerSettings.parse(load_yaml(ROOT / "tiny_walkers.yaml"), where="tiny_walkers")
    assert people.identities - people.training >= 20
    assert set(people.types) == {"nm-01", "nm-02", "bg", "cl", "wss", "wsf", "ph", "txt"}
    assert set(people.views) == {"000", "045", "090", "180", "225", "270"}
    config = load_yaml(ROOT / "tiny.yaml")
    assert config["scheduler_cfg"]["total_steps"] == config["trainer_cfg"]["total_iter"]
