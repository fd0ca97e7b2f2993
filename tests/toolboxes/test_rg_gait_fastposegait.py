"""RG-Gait's three stages over GaitHeat through FastPoseGait's own, unchanged main.py, tested in packs.

Needs a checkout: ``FASTPOSEGAIT_ROOT=… pytest -m toolbox``. It is copied; the original is not touched.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gaitext import checkpoints, store
from gaitext.models import GaitHeat, MimicGait, OcclusionEvaluator
from gaitext.toolboxes.toolbox import TOOLBOXES

from . import data
from .checkout import add_capture, launch, needs

pytestmark = [pytest.mark.toolbox, pytest.mark.slow, needs(TOOLBOXES[1])]

EVALUATOR = {"channels": [2, 4, 4], "feature_size": 6}


def _stage(root: Path, cfgs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Train; returns the checkpoint and the weights in it."""
    assert launch(root, cfgs, "train") == 0
    path = root / f"output/CASIA-B/{cfgs['model_cfg']['model']}/tiny/checkpoints/tiny-00002.pt"
    return str(path), torch.load(path, weights_only=True)["model"]


def _embeddings(root: Path, cfgs: dict[str, Any], pack: int, occluded: dict[str, float]) -> np.ndarray:
    cfgs["evaluator_cfg"]["sampler"]["batch_size"] = pack
    cfgs["model_cfg"]["occlusion"] = {"test": {"types": occluded, "seed": 1}}
    assert launch(root, cfgs, "test") == 0
    with np.load(root / "captured.npz") as found:
        return np.asarray(found["embeddings"])


def test_three_stages(fastposegait: Path, tmp_path: Path) -> None:
    dataset = data.make_dataset(tmp_path)
    add_capture(fastposegait)
    first, second, third = (data.config(dataset) for _ in range(3))
    first["model_cfg"] = {"model": "RGGaitOEM", **EVALUATOR}
    first["loss_cfg"] = [{"type": "OcclusionLoss", "log_prefix": "occlusion", "loss_term_weight": 1.0}]
    oem_path, oem = _stage(fastposegait, first)
    gse_path, gse = _stage(fastposegait, second)
    third["model_cfg"] = {
        "model": "RGGait",
        "class_num": len(data.TRAIN),
        "gse": {"model_cfg": second["model_cfg"], "checkpoint": gse_path},
        "oem": {"checkpoint": oem_path, **EVALUATOR},
    }
    third["loss_cfg"] = [
        {**loss, "log_prefix": loss["log_prefix"].removeprefix("fusion_")} for loss in second["loss_cfg"][-2:]
    ]
    third["evaluator_cfg"]["eval_func"] = "capture"
    path, system = _stage(fastposegait, third)
    for prefix, before in (("gse.network.", gse), ("occlusion_evaluator.", oem)):
        for key, value in before.items():
            assert torch.equal(system["network." + prefix + key.removeprefix("network.")], value), key
    name = "stem.conv.weight"
    assert not torch.equal(system[f"network.frn.network.{name}"], gse[f"network.{name}"])

    # The system's own checkpoint is enough, and a pack of four gives what its sequences give alone.
    Path(oem_path).unlink()
    Path(gse_path).unlink()
    for occluded in ({}, {"top": 0.5, "dynamic": 0.5}):
        alone = _embeddings(fastposegait, third, 1, occluded)
        data.assert_alike(_embeddings(fastposegait, third, 4, occluded), alone)
    # Without a residual it is the extractor, to the last bit.
    whole = torch.load(path, weights_only=True)
    whole["model"]["network.mix.weight"].zero_()
    torch.save(whole, path)
    settings = {key: value for key, value in second["model_cfg"].items() if key != "model"}
    network: Any = checkpoints.load(GaitHeat(**settings), gse).eval()
    leaves = [leaf for leaf in store.leaves(dataset / "data") if leaf.identity in data.TEST]
    with torch.no_grad():
        read = (torch.from_numpy(store.read_leaf(leaf)[0].astype(np.float32)) for leaf in leaves)
        wanted = torch.cat([network.signature(heatmaps[None]) for heatmaps in read])
    assert np.array_equal(_embeddings(fastposegait, third, 1, {}), wanted.numpy())


def test_mimicgait(fastposegait: Path, tmp_path: Path) -> None:
    dataset = data.make_dataset(tmp_path)
    add_capture(fastposegait)
    first, second, third = (data.config(dataset) for _ in range(3))
    first["model_cfg"] = {"model": "RGGaitOEM", **EVALUATOR}
    first["loss_cfg"] = [{"type": "OcclusionLoss", "log_prefix": "occlusion", "loss_term_weight": 1.0}]
    oem_path, _ = _stage(fastposegait, first)
    gse_path, gse = _stage(fastposegait, second)
    third["model_cfg"] = {
        "model": "MimicGait",
        "gse": {"model_cfg": second["model_cfg"], "checkpoint": gse_path},
        "oem": {"checkpoint": oem_path, **EVALUATOR},
    }
    third["loss_cfg"] = [{"type": "AllTripletsLoss", "log_prefix": "triplet", "margin": 0.2, "loss_term_weight": 1.0}]
    third["evaluator_cfg"]["eval_func"] = "capture"
    path, system = _stage(fastposegait, third)
    for key, value in gse.items():
        assert torch.equal(system["network.gse.network." + key.removeprefix("network.")], value), key
    assert not torch.equal(system["network.frn.network.stem.conv.weight"], gse["network.stem.conv.weight"])
    # The plain class takes the toolbox's checkpoint, and says the same of whole and of packed sequences.
    settings = {key: value for key, value in second["model_cfg"].items() if key != "model"}
    network: Any = MimicGait(GaitHeat(**settings), OcclusionEvaluator(**EVALUATOR))
    network = checkpoints.load(network, path).eval()
    leaves = [leaf for leaf in store.leaves(dataset / "data") if leaf.identity in data.TEST]
    with torch.no_grad():
        read = (torch.from_numpy(store.read_leaf(leaf)[0].astype(np.float32)) for leaf in leaves)
        wanted = torch.cat([network(heatmaps[None]) for heatmaps in read])
    for pack in (1, 4):
        data.assert_alike(_embeddings(fastposegait, third, pack, {}), wanted)
