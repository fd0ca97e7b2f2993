"""SkeletonGaitPP, which joins heatmaps and silhouettes itself, under RG-Gait through OpenGait's own main.py.

Needs a checkout: ``OPENGAIT_ROOT=… pytest -m toolbox``. It is copied; the original is not touched.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gaitext import store
from gaitext.models import OcclusionEvaluator
from gaitext.toolboxes.toolbox import TOOLBOXES

from . import data
from .checkout import add_capture, launch, needs
from .test_rg_gait_toolbox import EVALUATOR, captured, config, weights

pytestmark = [pytest.mark.toolbox, pytest.mark.slow, needs(TOOLBOXES[0])]

MODEL: dict[str, Any] = {
    "model": "SkeletonGaitPP",
    "Backbone": {"in_channels": 3, "blocks": [1, 1, 1, 1], "C": 1},
    "SeparateBNNecks": {"class_num": 3},
}


def _dataset(root: Path, silhouettes: bool = True) -> Path:
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    for number, identity in enumerate(data.TRAIN + data.TEST):
        for kind in ("nm-01", "nm-05"):
            frames = 5 + number % 3
            wide = 6 + 2 * number + generator.normal(0, 1, (frames, 1, 1))
            body = (((x - 32) / wide) ** 2 + ((y - 32) / 30) ** 2 < 1).astype(np.uint8) * 255
            maps = generator.integers(0, 255, (frames, 2, 64, 64)).astype(np.uint8)
            leaf = {"0_heatmap": maps, "1_sil": body if silhouettes else np.zeros_like(body)}
            store.write_leaf(root / "data", identity, kind, "000", leaf)
    store.write_json(root / "partition.json", {"TRAIN_SET": data.TRAIN, "TEST_SET": data.TEST})
    return root


def test_both_inputs_count_however_transforms_are_listed(opengait: Path, tmp_path: Path) -> None:
    dataset, blank = _dataset(tmp_path / "set"), _dataset(tmp_path / "blank", silhouettes=False)
    add_capture(opengait)
    evaluator = tmp_path / "oem.pt"
    torch.save(OcclusionEvaluator(channels=(2, 4, 4), feature_size=6).state_dict(), evaluator)

    def cfgs(model: dict[str, Any], lists: int, where: Path = dataset) -> dict[str, Any]:
        made = config(where, model)
        made["data_cfg"]["data_in_use"] = [True, True]
        for section in ("trainer_cfg", "evaluator_cfg"):
            made[section]["transform"] = [{"type": "BaseSilCuttingTransform"}] * lists
        return made

    assert launch(opengait, cfgs(MODEL, 1), "train") == 0
    assert launch(opengait, cfgs(MODEL, 1), "test") == 0
    native = captured(opengait)["embeddings"]
    system = {
        "model": "RGGait",
        "class_num": 3,
        "gse": {"model_cfg": MODEL, "checkpoint": str(weights(opengait, "SkeletonGaitPP")[0])},
        "oem": {"checkpoint": str(evaluator), **EVALUATOR},
    }
    for lists in (1, 2):
        assert launch(opengait, cfgs(system, lists), "train") == 0
        path, third = weights(opengait, "RGGait")
        third["model"]["network.mix.weight"].zero_()
        torch.save(third, path)
        assert launch(opengait, cfgs(system, lists), "test") == 0
        assert np.abs(captured(opengait)["embeddings"] - native).max() <= 1e-6 * np.abs(native).max()
    assert launch(opengait, cfgs(system, 2, blank), "test") == 0
    assert np.abs(captured(opengait)["embeddings"] - native).max() > 1e-3 * np.abs(native).max()
    assert launch(opengait, cfgs(system, 3), "train") != 0
