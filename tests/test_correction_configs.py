"""The shipped configs of the artifact corrector: every host accepts them, and they say what the paper says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from gaitext import standalone, store
from gaitext.config import load_yaml
from gaitext.models.fbcnn import FBCNNSettings
from gaitext.standalone.settings import HostConfig
from gaitext.toolboxes.models.artifact_corrector import ArtifactCorrectorSettings
from gaitext.toolboxes.toolbox import TOOLBOXES
from gaitext.toolboxes.validate import compare_with_data, validate_config

ROOT = Path(__file__).parent.parent / "configs" / "correction"
NAMES = ["opengait", "tiny"]


def settings(config: dict[str, Any]) -> ArtifactCorrectorSettings:
    return ArtifactCorrectorSettings.parse({k: v for k, v in config["model_cfg"].items() if k != "model"}, where="")


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four people's crops of noise, whom any config can be pointed at."""
    out = tmp_path_factory.mktemp("crops")
    generator = np.random.default_rng(0)
    for identity in ("001", "002", "003", "004"):
        for kind in ("nm-01", "nm-02"):
            leaf = {
                "0_degraded": generator.integers(0, 256, (2, 3, 256, 192), dtype=np.uint8),
                "1_original": generator.integers(0, 256, (2, 3, 256, 192), dtype=np.uint8),
                "2_poses": (generator.random((2, 17, 3)) * [191, 255, 1]).astype(np.float32),
                "3_boxes": np.tile(np.float32([40, 20, 110, 220]), (2, 1)),
            }
            store.write_leaf(out / "sequences", identity, kind, "000", leaf)
    store.write_json(out / "partition.json", {"TRAIN_SET": ["001", "002", "003"], "TEST_SET": ["004"]})
    return out


def pointed(name: str, crops: Path) -> dict[str, Any]:
    config = yaml.safe_load((ROOT / f"{name}.yaml").read_text())
    config["data_cfg"].update(dataset_root=str(crops / "sequences"), dataset_partition=str(crops / "partition.json"))
    return config


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("toolbox", [*TOOLBOXES, None], ids=lambda t: t.name if t else "embedded")
def test_every_host_accepts_them(name: str, toolbox: Any, crops: Path) -> None:
    config = pointed(name, crops)
    processes = config["evaluator_cfg"]["sampler"]["batch_size"]
    for training in (False, True):
        assert validate_config(config, training, toolbox=toolbox, world_size=processes) == []
    HostConfig.of(config)


@pytest.mark.parametrize("name", NAMES)
def test_their_numbers_fit_together(name: str) -> None:
    config = load_yaml(ROOT / f"{name}.yaml")
    trainer, evaluator = config["trainer_cfg"], config["evaluator_cfg"]
    assert evaluator["restore_hint"] == trainer["total_iter"]
    assert trainer["total_iter"] % trainer["save_iter"] == 0
    assert max(config["scheduler_cfg"]["milestones"]) < trainer["total_iter"]
    assert settings(config).test_frames == evaluator["sampler"]["frames_all_limit"]
    assert trainer["transform"] == evaluator["transform"]


def test_published_values() -> None:
    config = load_yaml(ROOT / "opengait.yaml")
    model, sampler = settings(config), config["trainer_cfg"]["sampler"]
    assert model.corrector == FBCNNSettings()
    assert model.quality == 0.5
    assert model.heatmap_weight == 0
    assert model.estimator.startswith("mmpose:td-hm_hrnet-w32")
    assert np.prod(sampler["batch_size"]) * sampler["frames_num_fixed"] == 240
    assert config["loss_cfg"][0]["reduction"] == "sum"
    assert config["evaluator_cfg"]["sampler"]["batch_size"] == 3


def test_the_tiny_one_trains_and_tests(crops: Path, tmp_path: Path) -> None:
    config = pointed("tiny", crops)
    config["trainer_cfg"].update(total_iter=1, save_iter=1, log_iter=1, with_test=False)
    config["trainer_cfg"]["sampler"]["batch_size"] = [2, 2]
    run = standalone.train(config, output=tmp_path, quiet=True)
    assert np.isfinite(run.rows[0]["loss"])
    result = standalone.test(config, checkpoint=run.checkpoint, quiet=True)
    assert result.evaluation.about["frames"] == 4


def test_batches_of_more_people_than_there_are_matter_to_triplets_alone(crops: Path) -> None:
    config = pointed("tiny", crops)
    config["trainer_cfg"]["sampler"]["batch_size"] = [50, 2]
    processes = config["evaluator_cfg"]["sampler"]["batch_size"]
    assert validate_config(config, True, world_size=processes) == []
    config["loss_cfg"] = [*config["loss_cfg"], {"type": "TripletLoss", "log_prefix": "triplet"}]
    remarks = compare_with_data(config, True, None, crops)
    assert any("asks for 50 identities" in remark for remark in remarks)
