"""From degraded walkers to a data set that ArtifactCorrector trains on, and that fits what is rendered."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from gaitext import standalone, store
from gaitext.errors import ConfigError
from gaitext.pose import decode_heatmaps, load_estimator
from gaitext.restoration import load_corrector, prepare_crop_dataset
from gaitext.restoration.degrade import DegradeSettings
from gaitext.restoration.videos import degrade_dataset
from gaitext.video.sources import find_videos
from gaitext.walkers import WalkerSettings, write_dataset

CONFIGS = Path(__file__).parents[2] / "configs" / "correction"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("chain")
    people = yaml.safe_load((CONFIGS / "tiny_walkers.yaml").read_text())
    people.update(identities=5, train_identities=3, views=["090"], frames=4)
    settings = WalkerSettings.parse(people, where="")
    write_dataset(settings, root / "walkers", quiet=True)
    degrade_dataset(find_videos(root / "walkers/videos"), root / "degraded", DegradeSettings(crf=30), quiet=True)
    parsed = yaml.safe_load((CONFIGS / "tiny_crops.yaml").read_text())
    for name in ("truth", "degraded", "cache"):
        parsed["data"][name] = str(root / parsed["data"][name])
    return parsed


def test_all_identities_and_their_partition(config: dict[str, Any]) -> None:
    report = prepare_crop_dataset(config, quiet=True)
    assert (len(report.written), report.frames) == (10, 40)
    cache = Path(config["data"]["cache"])
    partition = json.loads((cache / "partition.json").read_text())
    assert sorted(map(len, partition.values())) == [1, 1, 3]
    assert (
        sorted(itertools.chain(*partition.values()))
        == [leaf.identity for leaf in store.leaves(cache / "sequences")][::2]
    )
    estimator, apart = load_estimator("movenet:lightning", device="cpu"), []
    for leaf in store.leaves(cache / "sequences"):
        degraded, original, poses, boxes, *_ = store.read_leaf(leaf)
        assert degraded.shape == original.shape == (4, 3, 256, 192)
        assert degraded.dtype == np.uint8
        assert 1 < np.abs(degraded.astype(float) - original).mean() < 40
        assert (boxes[:, 2:] > 20).all()
        # Poses are pixels of the crops: there an estimator finds them.
        found = decode_heatmaps(estimator.heatmaps(torch.from_numpy(original / np.float32(255))).numpy())
        apart.append(np.linalg.norm(found[..., :2] * 4 + 1.5 - poses[..., :2], axis=-1)[poses[..., 2] > 0])
    assert np.median(np.concatenate(apart)) < 6
    assert prepare_crop_dataset(config, quiet=True).written == []
    native = {**config, "data": {**config["data"], "crops": {"crop": "window", "correct_at": "native"}}}
    with pytest.raises(ConfigError, match=r"data\.crops\.correct_at"):
        prepare_crop_dataset(native, quiet=True)


def test_the_corrector_trains_on_it_and_is_read_for_use(config: dict[str, Any], tmp_path: Path) -> None:
    prepare_crop_dataset(config, quiet=True)
    host = yaml.safe_load((CONFIGS / "tiny.yaml").read_text())
    cache = Path(config["data"]["cache"])
    host["data_cfg"].update(dataset_root=str(cache / "sequences"), dataset_partition=str(cache / "partition.json"))
    host["trainer_cfg"].update(total_iter=1, save_iter=1, log_iter=1, with_test=True)
    host["trainer_cfg"]["sampler"]["batch_size"] = [2, 2]
    run = standalone.train(host, output=tmp_path, quiet=True)
    assert run.evaluations[1].about["frames"] == 8
    corrector = load_corrector(run.checkpoint)
    assert list(corrector.network.settings.channels) == host["model_cfg"]["corrector"]["channels"]
    saved = torch.load(run.checkpoint, weights_only=True)["model"]
    for name, value in corrector.network.state_dict().items():
        assert torch.equal(value, saved[f"network.corrector.{name}"])
