"""RG-Gait's three stages through OpenGait's own, unchanged main.py, over several of its backbones.

Needs a checkout: ``OPENGAIT_ROOT=… pytest -m toolbox``. It is copied; the original is not touched.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gaitext import checkpoints, store
from gaitext.evaluation import evaluate_OEM
from gaitext.models import GaitBase, OcclusionEvaluator
from gaitext.toolboxes.toolbox import TOOLBOXES
from gaitext.transforms import SilhouetteInput

from . import data
from .checkout import add_capture, launch, needs

pytestmark = [pytest.mark.toolbox, pytest.mark.slow, needs(TOOLBOXES[0])]

EVALUATOR = {"channels": [2, 4, 4], "feature_size": 6}
#: Backbone -> its model_cfg, as small as it gets, and what its trainer_cfg needs beside.
BACKBONES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "Baseline": (
        {
            "backbone_cfg": {
                **{"type": "ResNet9", "block": "BasicBlock", "maxpool": False},
                **{"channels": [4, 4, 8, 8], "layers": [1, 1, 1, 1], "strides": [1, 2, 2, 1]},
            },
            "SeparateFCs": {"in_channels": 8, "out_channels": 6, "parts_num": 16},
            "SeparateBNNecks": {"class_num": 3, "in_channels": 6, "parts_num": 16},
            "bin_num": [16],
        },
        {},
    ),
    "DeepGaitV2": (
        {
            "Backbone": {"in_channels": 1, "mode": "p3d", "layers": [1, 1, 1, 1], "channels": [4, 4, 8, 8]},
            "SeparateBNNecks": {"class_num": 3},
            # Its embedding at test is then the one behind the BNNeck; ours is the one before.
            "use_emb2": False,
        },
        {},
    ),
    "SwinGait": (
        {
            "Backbone": {"in_channels": 1, "mode": "p3d", "layers": [1, 1, 1, 1], "channels": [4, 8]},
            "SeparateBNNecks": {"class_num": 3, "in_channels": 256, "parts_num": 16},
            "bin_num": [15],
        },
        {"T_max_iter": 100},
    ),
    "GaitGL": ({"channels": [2, 4, 4], "class_num": 3}, {}),
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ellipses as 8-bit silhouettes [T, 64, 64]."""
    root = tmp_path_factory.mktemp("silhouettes")
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    for number, identity in enumerate(data.TRAIN + data.TEST):
        for kind in ("nm-01", "nm-05"):
            for view in data.VIEWS:
                wide = 6 + 2 * number + generator.normal(0, 1, (int(generator.integers(6, 10)), 1, 1))
                frames = ((x - 32) / wide) ** 2 + ((y - 32) / 30) ** 2 < 1
                store.write_leaf(root / "data", identity, kind, view, {"0_sils": frames.astype(np.uint8) * 255})
    store.write_json(root / "partition.json", {"TRAIN_SET": data.TRAIN, "TEST_SET": data.TEST})
    return root


def config(dataset: Path, model: dict[str, Any], processes: int = 1, **trainer: Any) -> dict[str, Any]:
    name = model["model"].lower()
    cfgs = data.config(dataset, processes, save_name=name, total_iter=4, save_iter=4, fix_BN=False, **trainer)
    cfgs["model_cfg"] = model
    for section in ("trainer_cfg", "evaluator_cfg"):
        cfgs[section]["transform"] = [{"type": "BaseSilCuttingTransform"}]
    cfgs["trainer_cfg"]["sampler"].update(sample_type="fixed_ordered", frames_skip_num=0)
    cfgs["evaluator_cfg"].update(save_name=name, restore_hint=4, eval_func="capture")
    del cfgs["evaluator_cfg"]["metric"]
    cfgs["optimizer_cfg"]["lr"] = 0.01
    cfgs["loss_cfg"] = [
        {"type": "TripletLoss", "log_prefix": "triplet", "margin": 0.2, "loss_term_weight": 1.0},
        {"type": "CrossEntropyLoss", "log_prefix": "softmax", "scale": 16, "loss_term_weight": 1.0},
    ]
    return cfgs


def captured(root: Path) -> dict[str, np.ndarray]:
    with np.load(root / "captured.npz") as found:
        return dict(found)


def weights(root: Path, model: str, iteration: int = 4) -> tuple[Path, dict[str, Any]]:
    name = model.lower()
    path = root / f"output/CASIA-B/{model}/{name}/checkpoints/{name}-{iteration:05}.pt"
    return path, torch.load(path, weights_only=True)


@pytest.fixture(scope="module")
def evaluator(opengait: Path, dataset: Path) -> Path:
    """Stage 1: the evaluator's checkpoint."""
    add_capture(opengait)
    cfgs = config(dataset, {"model": "RGGaitOEM", **EVALUATOR})
    cfgs["loss_cfg"] = [{"type": "OcclusionLoss", "log_prefix": "occlusion", "loss_term_weight": 1.0}]
    cfgs["optimizer_cfg"] = {"solver": "Adam", "lr": 1.0e-4}
    assert launch(opengait, cfgs, "train", 1) == 0
    return weights(opengait, "RGGaitOEM")[0]


def test_the_evaluators_test_reports_types_and_amounts(
    opengait: Path,
    dataset: Path,
    evaluator: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    cfgs = config(dataset, {"model": "RGGaitOEM", **EVALUATOR})
    assert launch(opengait, cfgs, "test", 1) == 0
    capfd.readouterr()
    result = evaluate_OEM(captured(opengait), "CASIA-B")
    cfgs["evaluator_cfg"]["eval_func"] = "evaluate_OEM"
    assert launch(opengait, cfgs, "test", 1) == 0
    log = capfd.readouterr()
    accuracy = result.scalars["scalar/test_accuracy/all@type"]
    assert f"all@type: {accuracy:.2f}%" in log.out + log.err
    assert result.tables[0].rows[-1][1][0] == 12
    network = OcclusionEvaluator(channels=(2, 4, 4), feature_size=6)
    saved = torch.load(evaluator, weights_only=True)["model"]
    network.load_state_dict({key.removeprefix("network."): value for key, value in saved.items()})


def _compare_with_gaitbase(path: Path, dataset: Path, theirs: np.ndarray) -> None:
    """GaitBase is OpenGait's Baseline, with its checkpoint and its transform."""
    network = GaitBase(class_num=3, channels=(4, 4, 8, 8), embedding_size=6).eval()
    checkpoints.load(network, path)
    wanted = [leaf for leaf in store.leaves(dataset / "data") if leaf.identity in data.TEST]
    with torch.no_grad():
        ours = [network(torch.from_numpy(SilhouetteInput()(store.read_leaf(leaf)[0]))[None]) for leaf in wanted]
    data.assert_alike(torch.cat(ours), theirs)


@pytest.mark.parametrize(
    ("backbone", "processes"), [("Baseline", 1), ("DeepGaitV2", 2), ("SwinGait", 1), ("GaitGL", 1)]
)
def test_stages_2_and_3(
    opengait: Path,
    dataset: Path,
    evaluator: Path,
    backbone: str,
    processes: int,
    capfd: pytest.CaptureFixture[str],
) -> None:
    model, extra = BACKBONES[backbone]
    native = config(dataset, {"model": backbone, **model}, **extra)
    if backbone == "SwinGait":
        native["optimizer_cfg"] = {"solver": "AdamW", "lr": 3.0e-4, "weight_decay": 2.0e-2}
    assert launch(opengait, native, "train", 1) == 0
    assert launch(opengait, native, "test", 1) == 0
    holistic = captured(opengait)["embeddings"]
    path, second = weights(opengait, backbone)

    if backbone == "Baseline":
        _compare_with_gaitbase(path, dataset, holistic)
    system = {
        "model": "RGGait",
        "class_num": 3,
        "gse": {"model_cfg": {"model": backbone, **model}, "checkpoint": str(path)},
        "oem": {"checkpoint": str(evaluator), **EVALUATOR},
    }
    cfgs = config(dataset, system, processes)
    assert launch(opengait, cfgs, "train", processes) == 0
    log = capfd.readouterr()
    assert "RGGait: gse restored from" in log.out + log.err
    third_path, third = weights(opengait, "RGGait")
    trained = third["model"]
    for key, value in second["model"].items():
        assert torch.equal(trained[f"network.gse.network.{key}"], value), key
    twin = [key for key in second["model"] if f"network.frn.network.{key}" in trained]
    still = [key for key in twin if torch.equal(trained[f"network.frn.network.{key}"], second["model"][key])]

    assert all(key.endswith(("relative_position_index", "num_batches_tracked")) for key in still), still
    assert not [key for key in trained if key.startswith("network.frn.") and ("BNNecks" in key or "Head1" in key)]

    # Without a residual the system is the extractor, to the last bit; the stages' files are not needed.
    trained["network.mix.weight"].zero_()
    torch.save(third, third_path)
    path.rename(path.with_suffix(".away"))
    try:
        for count in {1, processes}:
            assert launch(opengait, config(dataset, system, count), "test", count) == 0
            found = captured(opengait)["embeddings"]
            if backbone != "GaitGL":
                assert np.array_equal(found, holistic)
        # GaitGL compares behind its BatchNorm, RG-Gait before it.
        if backbone == "GaitGL":
            norm = {name: second["model"][f"Bn.{name}"].numpy()[None, :, None] for name in ("weight", "bias")}
            mean, var = (second["model"][f"Bn.running_{n}"].numpy()[None, :, None] for n in ("mean", "var"))
            scale = norm["weight"] / np.sqrt(var + 1e-5)
            # Of what stands before the norm, whose numbers may be hundreds of times as large.
            data.assert_alike(found, (holistic - norm["bias"]) / scale + mean)
        # Occluded at test: the same whatever the number of processes.
        hidden = {**system, "occlusion": {"test": {"types": {"top": 0.5, "dynamic": 0.5}, "seed": 1}}}
        results = []
        for count in sorted({1, processes}):
            assert launch(opengait, config(dataset, hidden, count), "test", count) == 0
            results.append(captured(opengait)["embeddings"])
        assert np.abs(results[0] - found).max() > 1e-4
        assert all(np.array_equal(results[0], other) for other in results)
    finally:
        path.with_suffix(".away").rename(path)


@pytest.mark.parametrize(("labels", "processes"), [("identity", 1), ("instance", 2)])
def test_mimicgait(
    opengait: Path,
    dataset: Path,
    evaluator: Path,
    labels: str,
    processes: int,
    capfd: pytest.CaptureFixture[str],
) -> None:
    model, extra = BACKBONES["Baseline"]
    native = config(dataset, {"model": "Baseline", **model}, **extra)
    assert launch(opengait, native, "train", 1) == 0
    assert launch(opengait, native, "test", 1) == 0
    holistic = captured(opengait)["embeddings"]
    path, second = weights(opengait, "Baseline")
    system = {
        "model": "MimicGait",
        "labels": labels,
        "gse": {"model_cfg": {"model": "Baseline", **model}, "checkpoint": str(path)},
        "oem": {"checkpoint": str(evaluator), **EVALUATOR},
    }
    cfgs = config(dataset, system, processes)
    cfgs["loss_cfg"] = [{"type": "AllTripletsLoss", "log_prefix": "triplet", "margin": 0.2, "loss_term_weight": 1.0}]
    assert launch(opengait, cfgs, "train", processes) == 0
    log = "".join(capfd.readouterr())
    assert "MimicGait: gse restored from" in log
    assert "RGGait:" not in log
    third_path, third = weights(opengait, "MimicGait")
    trained = third["model"]
    for key, value in second["model"].items():
        assert torch.equal(trained[f"network.gse.network.{key}"], value), key
    twin = [key for key in second["model"] if f"network.frn.network.{key}" in trained]
    still = [key for key in twin if torch.equal(trained[f"network.frn.network.{key}"], second["model"][key])]
    assert all(key.endswith("num_batches_tracked") for key in still), still
    assert not [key for key in trained if key.startswith("network.neck")]
    # A student with its teacher's weights, and with W handing them on, is its teacher.
    for key in twin:
        trained[f"network.frn.network.{key}"] = second["model"][key]
    trained["network.mix.weight"].zero_()[:, :6] = torch.eye(6)
    torch.save(third, third_path)
    for count in {1, processes}:
        cfgs = config(dataset, system, count)
        cfgs["loss_cfg"] = []
        assert launch(opengait, cfgs, "test", count) == 0
        data.assert_alike(captured(opengait)["embeddings"], holistic, 1e-6)
