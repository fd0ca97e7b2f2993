"""The shipped configs of RG-Gait: hosts accept them, they say what is published, and the stages fit each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gaitext.config import load_yaml
from gaitext.models.rg_gait_settings import MimicGaitSettings, RGGaitOEMSettings, RGGaitSettings
from gaitext.standalone.settings import HostConfig
from gaitext.toolboxes import parts
from gaitext.toolboxes.toolbox import TOOLBOXES
from gaitext.toolboxes.validate import validate_config
from gaitext.walkers import WalkerSettings, write_dataset

CONFIGS = Path(__file__).parent.parent / "configs"
ROOT = CONFIGS / "rg-gait"
BACKBONES = {"gaitbase": "Baseline", "deepgaitv2": "DeepGaitV2", "swingait": "SwinGait", "gaitgl": "GaitGL"}
SYSTEMS = [f"{dataset}_{backbone}" for dataset in ("gait3d", "grew") for backbone in BACKBONES]
OWN = ["casia-b_gaitheat", "casia-b_gaitpt"]
#: Configs of what RG-Gait is compared with -> the config of RG-Gait that they are made of.
MIMICS = {f"{name}_mimicgait": name for name in ("gait3d_gaitbase", "grew_gaitbase", "casia-b_gaitheat")}
AWARE = {f"{name}_occaware": name for name in ("gait3d_gaitbase", "grew_gaitbase")}
COMPARED = {**MIMICS, **AWARE, "tiny_mimicgait": "tiny", "tiny_occaware": "tiny"}
EVALUATORS = ["gait3d_oem", "gait3d_oem_uncut", "grew_oem", "casia-b_gaitheat_oem", "casia-b_gaitpt_oem"]


def settings(config: dict[str, Any]) -> Any:
    kinds = {"RGGaitOEM": RGGaitOEMSettings, "RGGait": RGGaitSettings, "MimicGait": MimicGaitSettings}
    kind = kinds[config["model_cfg"]["model"]]
    return kind.parse({k: v for k, v in config["model_cfg"].items() if k != "model"}, where="model_cfg")


def steps(section: dict[str, Any]) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = section["transform"]
    return listed[0].get("trf_cfg", listed)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two walkers, whom any config can be pointed at."""
    out = tmp_path_factory.mktemp("walkers")
    values = {"identities": 2, "train_identities": 1, "protocol": "own", "types": ["nm-01"], "views": ["000"]}
    write_dataset(WalkerSettings.parse({**values, "frames": 3, "content": ["silhouettes"]}, where=""), out, quiet=True)
    return out


@pytest.mark.parametrize("name", [*SYSTEMS, *OWN, *COMPARED, *EVALUATORS, "tiny_oem", "tiny_gse", "tiny"])
@pytest.mark.parametrize("toolbox", [*TOOLBOXES, None], ids=lambda t: t.name if t else "embedded")
def test_every_host_accepts_them(name: str, toolbox: Any, people: Path) -> None:
    config = yaml.safe_load((ROOT / f"{name}.yaml").read_text())
    config["data_cfg"].update(dataset_root=str(people / "sequences"), dataset_partition=str(people / "partition.json"))
    for training in (True, False):
        validate_config(config, training, toolbox=toolbox, world_size=1)
    HostConfig.of(config)


@pytest.mark.parametrize("name", SYSTEMS)
def test_published_values_of_the_system(name: str) -> None:
    config = load_yaml(ROOT / f"{name}.yaml")
    assert config["optimizer_cfg"] == {"solver": "SGD", "lr": 0.01, "momentum": 0.9, "weight_decay": 0.0005}
    grew = name.startswith("grew")
    assert config["trainer_cfg"]["total_iter"] == (180_000 if grew else 60_000)
    if grew:
        assert config["scheduler_cfg"]["milestones"] == [80_000, 120_000, 150_000]
    assert config["scheduler_cfg"]["gamma"] == 0.1
    model = settings(config)
    assert all((model.residual, model.adaptive, model.occlusion_aware, model.init_from_gse))
    assert (model.occlusion.train.types, model.occlusion.train.rows) == ({"top": 0.25, "bottom": 0.25}, (0.1, 0.6))
    assert model.occlusion.train.resize_visible
    assert model.gse.model_cfg["model"] == BACKBONES[name.partition("_")[2]]
    assert model.class_num == (20_000 if grew else 3_000)


@pytest.mark.parametrize("name", COMPARED)
def test_what_it_is_compared_with_is_trained_alike(name: str) -> None:
    """MimicGait: the published loss, no classifier. Occ Aware: no residual, and so a random start."""
    config, like = load_yaml(ROOT / f"{name}.yaml"), load_yaml(ROOT / f"{COMPARED[name]}.yaml")
    ours, theirs = settings(config), settings(like)
    for section in ("data_cfg", "optimizer_cfg", "scheduler_cfg"):
        assert config[section] == like[section]
    for section in ("trainer_cfg", "evaluator_cfg"):
        changed = {key for key, value in config[section].items() if like[section][key] != value}
        assert changed <= {"save_name"}
    assert (ours.gse, ours.oem, ours.occlusion, ours.init_from_gse) == (
        theirs.gse,
        theirs.oem,
        theirs.occlusion,
        theirs.init_from_gse,
    )
    folder = [
        (c["data_cfg"]["dataset_name"], c["model_cfg"]["model"], c["trainer_cfg"]["save_name"]) for c in (config, like)
    ]
    assert folder[0] != folder[1]
    if name.endswith("mimicgait"):
        (loss,) = config["loss_cfg"]
        assert (loss["type"], loss["log_prefix"], loss["margin"]) == ("AllTripletsLoss", "triplet", 0.2)
        assert (ours.labels, config["model_cfg"]["model"]) == ("identity", "MimicGait")
    else:
        assert config["loss_cfg"] == like["loss_cfg"]
        assert (ours.residual, ours.adaptive, ours.occlusion_aware, ours.mix_init) == (False, False, True, "xavier")


@pytest.mark.parametrize("name", EVALUATORS)
def test_published_values_of_the_evaluator(name: str) -> None:
    config = load_yaml(ROOT / f"{name}.yaml")
    assert config["optimizer_cfg"] == {"solver": "Adam", "lr": 1e-4, "weight_decay": 0.0}
    assert config["loss_cfg"][0]["type"] == "OcclusionLoss"
    assert config["loss_cfg"][0]["amount_weight"] == 10
    model = settings(config)
    assert model.sizes == RGGaitOEMSettings().sizes
    assert model.train_occlusion.rows == (0.4, 0.6)
    assert config["evaluator_cfg"]["eval_func"] == "evaluate_OEM"


def _fits(config: dict[str, Any], evaluator: dict[str, Any]) -> None:
    """Stage 1's checkpoint is where stage 3 looks for it, of its sizes, on the same inputs."""
    trainer, oem = evaluator["trainer_cfg"], settings(config).oem
    folder = f"output/{evaluator['data_cfg']['dataset_name']}/RGGaitOEM/{trainer['save_name']}/checkpoints"
    assert oem.checkpoint == f"{folder}/{trainer['save_name']}-{trainer['total_iter']:05}.pt"
    assert oem.sizes == settings(evaluator).sizes
    assert evaluator["data_cfg"] == config["data_cfg"]
    assert evaluator["evaluator_cfg"]["restore_hint"] == trainer["total_iter"]
    assert config["evaluator_cfg"]["restore_hint"] == config["trainer_cfg"]["total_iter"]
    # The toolbox's transforms and ours cut alike.
    seen = {step["type"]: step for step in (*steps(config["trainer_cfg"]), *steps(evaluator["trainer_cfg"]))}
    if "BaseSilCuttingTransform" in seen:
        assert seen["SilhouetteInput"]["cut"] == 10
    if "BaseSilTransform" in seen:
        assert seen["SilhouetteInput"]["cut"] == 0


@pytest.mark.parametrize("name", [*SYSTEMS, *OWN, *MIMICS, *AWARE])
def test_stages_1_and_3_fit(name: str) -> None:
    text = (ROOT / f"{name}.yaml").read_text()
    named = text.partition("# Stage 1: ")[2].partition(",")[0]
    assert named.removesuffix(".yaml") in EVALUATORS
    _fits(load_yaml(ROOT / f"{name}.yaml"), load_yaml(ROOT / named))


@pytest.mark.parametrize("name", ["gaitheat", "gaitpt"])
def test_stages_2_and_3_of_our_own_networks_fit(name: str) -> None:
    third, second = load_yaml(ROOT / f"casia-b_{name}.yaml"), load_yaml(CONFIGS / name / "casia-b.yaml")
    model = settings(third)
    kind = parts.MODELS[second["model_cfg"]["model"]]
    built = [kind(cfg).build().state_dict() for cfg in (model.gse.model_cfg, second["model_cfg"])]
    assert {k: v.shape for k, v in built[0].items()} == {k: v.shape for k, v in built[1].items()}
    trainer = second["trainer_cfg"]
    folder = f"output/CASIA-B/{second['model_cfg']['model']}/{trainer['save_name']}/checkpoints"
    assert model.gse.checkpoint == f"{folder}/{trainer['save_name']}-{trainer['total_iter']:05}.pt"
    assert third["trainer_cfg"]["sampler"] == trainer["sampler"]
    assert "PoseOrder" not in str(third)


def test_the_tiny_stages_fit() -> None:
    first, second, third = (load_yaml(ROOT / f"{name}.yaml") for name in ("tiny_oem", "tiny_gse", "tiny"))
    _fits(third, first)
    model = settings(third)
    assert model.gse.model_cfg == second["model_cfg"]
    assert (
        model.gse.checkpoint
        == f"output/CASIA-B/GaitBase/tiny/checkpoints/tiny-{second['trainer_cfg']['total_iter']:05}.pt"
    )
    people = WalkerSettings.parse(load_yaml(ROOT / "tiny_walkers.yaml"), where="tiny_walkers")
    assert people.training == model.class_num == second["model_cfg"]["class_num"]
    assert people.identities - people.training >= 20
