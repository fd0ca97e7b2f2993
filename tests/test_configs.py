"""The shipped configs: they are read, they build, and they say what the papers say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gaitext.config import load_yaml
from gaitext.models.gaitheat_settings import GaitHeatSettings
from gaitext.standalone.settings import HostConfig
from gaitext.toolboxes import parts
from gaitext.toolboxes.models import GaitHeatAdapter
from gaitext.walkers import WalkerSettings

ROOT = Path(__file__).parent.parent / "configs" / "gaitheat"
IN_DOMAIN = sorted(path for path in ROOT.glob("*.yaml") if path.name != "tiny_walkers.yaml")
CROSS = sorted((ROOT / "cross").glob("*.yaml"))
GAMMA = {"CASIA-B": 5, "SUSTech1K": 5, "CCPG": 20}


def settings(config: dict[str, Any]) -> GaitHeatSettings:
    model = {key: value for key, value in config["model_cfg"].items() if key != "model"}
    return GaitHeatSettings.parse(model, where="model_cfg")


@pytest.mark.parametrize("path", IN_DOMAIN, ids=lambda p: p.stem)
def test_in_domain_configs_are_read_by_the_embedded_host_and_feed_every_loss(path: Path) -> None:
    config = load_yaml(path)
    host = HostConfig.read(path)
    assert host.trainer.total_iter == host.evaluator.restore_hint
    assert host.trainer.save_name == host.evaluator.save_name
    assert max(config["scheduler_cfg"]["milestones"]) < host.trainer.total_iter
    fed = {f"{b}_{loss}" for b in settings(config).branches for loss in ("triplet", "softmax")}
    assert {loss["log_prefix"] for loss in config["loss_cfg"]} == fed
    assert GaitHeatAdapter(config["model_cfg"]).class_count == config["model_cfg"]["class_num"]


@pytest.mark.parametrize("path", [*IN_DOMAIN, *CROSS], ids=lambda p: p.stem)
def test_numbers_are_numbers_inputs_are_matched_and_parts_are_known(path: Path) -> None:
    config = load_yaml(path)

    def texts(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [t for v in value.values() for t in texts(v)]
        if isinstance(value, list):
            return [t for v in value for t in texts(v)]
        return [value] if isinstance(value, str) else []

    # YAML 1.1 reads 1e-3 as text, and the toolboxes pass it on.
    assert not [t for t in texts(config) if t.replace("e-", "").replace(".", "").isdigit()]
    used = sum(config["data_cfg"]["data_in_use"])
    for section in ("trainer_cfg", "evaluator_cfg"):
        if section in config:
            transforms = config[section]["transform"]
            assert len(transforms) == used
            assert all(entry["type"] in parts.TRANSFORMS for entry in transforms)


def test_published_values() -> None:
    for name, gamma in GAMMA.items():
        alignment = settings(load_yaml(ROOT / f"{name.lower()}.yaml")).alignment
        assert (alignment.threshold, alignment.probability, alignment.anchor) == (gamma, 0.2, (24, 16))
    casia = load_yaml(ROOT / "casia-b.yaml")
    assert casia["trainer_cfg"]["sampler"]["batch_size"] == [8, 8]
    assert casia["trainer_cfg"]["sampler"]["frames_num_fixed"] == 30
    assert casia["trainer_cfg"]["total_iter"] == 60000
    assert casia["scheduler_cfg"]["milestones"] == [20000, 40000, 50000]
    assert casia["optimizer_cfg"] == {"solver": "SGD", "lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}
    assert settings(casia) == GaitHeatSettings(class_num=74, alignment={"threshold": 5})  # type: ignore[arg-type]


def test_cross_dataset_configs_load_the_sources_checkpoint_and_use_the_targets_gamma() -> None:
    assert len(CROSS) == 6
    names = {name.lower(): name for name in GAMMA}
    for path in CROSS:
        source, target = (names[part] for part in path.stem.split("_to_"))
        config, origin = load_yaml(path), load_yaml(ROOT / f"{source.lower()}.yaml")
        assert config["model_cfg"]["class_num"] == origin["model_cfg"]["class_num"]
        assert config["model_cfg"]["alignment"]["threshold"] == GAMMA[target]
        assert config["data_cfg"]["test_dataset_name"] == target
        assert f"output/{source}/" in config["evaluator_cfg"]["restore_hint"]
        assert str(origin["trainer_cfg"]["total_iter"]) in config["evaluator_cfg"]["restore_hint"]


def test_the_demos_walkers_hold_enough_unseen_people_for_its_model() -> None:
    people = WalkerSettings.parse(load_yaml(ROOT / "tiny_walkers.yaml"), where="tiny_walkers")
    assert people.training == yaml.safe_load((ROOT / "tiny.yaml").read_text())["model_cfg"]["class_num"]
    assert people.identities - people.training >= 20
