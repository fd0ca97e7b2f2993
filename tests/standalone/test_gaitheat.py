"""The embedded host with gaitext's own network, as small as it gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from gaitext import standalone
from gaitext.errors import DataError
from gaitext.store import write_leaf


@pytest.fixture
def heatmaps(tmp_path: Path) -> Path:
    """Random heatmaps of two identities to train on and two to test, 4 to 6 frames each."""
    generator = np.random.default_rng(0)
    root = tmp_path / "heatmaps"
    for identity in ("001", "002", "003", "004"):
        for kind in ("nm-01", "nm-05"):
            for view in ("000", "090"):
                frames = generator.random((int(generator.integers(4, 7)), 17, 64, 48), np.float32)
                write_leaf(root / "data", identity, kind, view, {"0_heatmaps": frames.astype(np.float16)})
    (root / "partition.json").write_text(json.dumps({"TRAIN_SET": ["001", "002"], "TEST_SET": ["003", "004"]}))
    return root


def _config(root: Path) -> dict[str, Any]:
    config = tiny.config(root, total_iter=2, log_iter=1, save_iter=2)
    config["model_cfg"] = {
        **{"model": "GaitHeat", "class_num": 2, "channels": [2, 2, 4, 4], "bins": 4, "embedding_size": 4},
        **{"partition": "upper_lower", "branches": ["local", "global", "fusion"]},
        "alignment": {"threshold": 5, "probability": 0.5, "merge": "before"},
    }
    config["loss_cfg"] = [
        {"type": kind, "log_prefix": f"{branch}_{name}"}
        for branch in ("local", "global", "fusion")
        for kind, name in (("TripletLoss", "triplet"), ("CrossEntropyLoss", "softmax"))
    ]
    sampler = config["trainer_cfg"]["sampler"]
    sampler.update(batch_size=[2, 2], frames_num_fixed=4)
    for section in ("trainer_cfg", "evaluator_cfg"):
        config[section]["transform"] = [{"type": "HeatmapInput"}]
    return config


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_gaitheat_trains_and_packing_changes_no_embedding(heatmaps: Path, tmp_path: Path, precision: str) -> None:
    config = _config(heatmaps)
    result = standalone.train(config, precision=precision, output=tmp_path, quiet=True)
    assert [row["iteration"] for row in result.rows] == [1, 2]
    assert all(np.isfinite(list(row.values())).all() for row in result.rows)
    weights = torch.load(result.checkpoint, weights_only=True)["model"]
    assert all(value.isfinite().all() for value in weights.values())
    embeddings = []
    for pack in (1, 5):
        config["evaluator_cfg"]["sampler"]["batch_size"] = pack
        file = tmp_path / f"{pack}.npz"
        standalone.test(config, output=tmp_path, save_embeddings=file, precision="32-true", quiet=True)
        embeddings.append(np.load(file)["embeddings"])
    assert embeddings[0].shape[0] == 8
    assert np.ptp(embeddings[0], axis=0).max() > 1e-3  # they are not all the same
    np.testing.assert_allclose(embeddings[0], embeddings[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("damage", ["NaN", "16 channels"])
def test_what_a_transform_refuses_is_named(heatmaps: Path, tmp_path: Path, workers: int, damage: str) -> None:
    frames = np.zeros((5, 17, 64, 48), np.float32)
    if damage == "NaN":
        frames[:] = np.nan
    else:
        frames = frames[:, :16]
    write_leaf(heatmaps / "data", "001", "nm-01", "000", {"0_heatmaps": frames})
    config = _config(heatmaps) | {"fabric_cfg": {"check": "none"}}
    config["trainer_cfg"]["total_iter"] = 20
    config["data_cfg"]["num_workers"] = workers
    with pytest.raises(DataError) as caught:
        standalone.train(config, output=tmp_path, quiet=True)
    message = str(caught.value)
    assert message.startswith(f"{heatmaps}/data/001/nm-01/000/0_heatmaps.pkl: ")
    assert ("NaN" if damage == "NaN" else "(4, 16, 64, 48)") in message
    assert "counted as sampled" in message
    assert "Traceback" not in message
    assert "To mend it" in message
