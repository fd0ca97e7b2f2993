"""What RG-Gait's refusal of a skeleton model names: OcclusionPoses first in the transforms of a toolbox's GaitTR.

Needs checkouts: ``OPENGAIT_ROOT=… FASTPOSEGAIT_ROOT=… pytest -m toolbox``. They are copied.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from gaitext.toolboxes.toolbox import TOOLBOXES, Toolbox

from . import data
from .checkout import add_capture, launch, needs
from .test_rg_gait_toolbox import captured

pytestmark = [pytest.mark.toolbox, pytest.mark.slow]

CONFIGS = {"OpenGait": "configs/gaittr/gaittr_Gait3D.yaml", "FastPoseGait": "configs/gaittr/gaittr.yaml"}


def _config(theirs: dict[str, Any], dataset: Path, test: dict[str, float]) -> dict[str, Any]:
    """The toolbox's own model, losses and transforms, on a few poses, occluded before anything is made of them."""
    cfgs = data.config(dataset, 1)
    for section in ("model_cfg", "loss_cfg", "optimizer_cfg", "scheduler_cfg"):
        cfgs[section] = theirs[section]
    hide: dict[str, dict[str, Any]] = {
        "trainer_cfg": {"types": {"top": 0.5, "bottom": 0.5}},
        "evaluator_cfg": {"types": test, "seed": 0},
    }
    for section, settings in hide.items():
        first = {"type": "OcclusionPoses", "box": "joints", **settings}
        steps = theirs[section]["transform"][0]["trf_cfg"]
        cfgs[section]["transform"] = [{"type": "Compose", "trf_cfg": [first, *steps]}]
    cfgs["evaluator_cfg"]["eval_func"] = "capture"
    cfgs["evaluator_cfg"].pop("metric", None)
    return cfgs


@pytest.mark.parametrize("toolbox", [pytest.param(each, id=each.name, marks=needs(each)) for each in TOOLBOXES])
def test_a_skeleton_model_trains_and_is_tested_on_occluded_poses(
    toolbox: Toolbox, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    root: Path = request.getfixturevalue(toolbox.name.lower())
    theirs = yaml.safe_load((root / CONFIGS[toolbox.name]).read_text(encoding="utf-8"))
    dataset = data.make_poses(tmp_path / "set")
    add_capture(root)
    assert launch(root, _config(theirs, dataset, {}), "train") == 0
    found = []
    for types in ({}, {"top": 1.0}, {"top": 1.0}):
        assert launch(root, _config(theirs, dataset, types), "test") == 0
        found.append(captured(root)["embeddings"])
    whole, hidden, again = found
    assert np.isfinite(hidden).all()
    assert np.abs(hidden - whole).max() > 1e-3 * np.abs(whole).max()
    assert np.array_equal(hidden, again)
