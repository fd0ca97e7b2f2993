"""RG-Gait's three stages in the embedded host, as small as they get."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from gaitext import checkpoints, standalone
from gaitext.errors import CheckpointError, ConfigError
from gaitext.models import GaitBase, MimicGait, OcclusionEvaluator
from gaitext.store import leaves as leaves_of
from gaitext.store import read_leaf, write_leaf
from gaitext.transforms import SilhouetteInput

BASE = {"model": "GaitBase", "class_num": 2, "channels": [2, 2, 4, 4], "embedding_size": 4, "bins": 4}
EVALUATOR = {"channels": [2, 4, 4], "feature_size": 5}


@pytest.fixture
def silhouettes(tmp_path: Path) -> Path:
    """Blobs in 8-bit silhouettes: two identities to train on and two to test, 4 to 6 frames each."""
    generator = np.random.default_rng(0)
    root = tmp_path / "silhouettes"
    y, x = np.mgrid[:64, :64]
    for number, identity in enumerate(("001", "002", "003", "004")):
        for kind in ("nm-01", "nm-05"):
            for view in ("000", "090"):
                length = int(generator.integers(4, 7))
                wide = 8 + 3 * number + generator.normal(0, 1, (length, 1, 1))
                frames = ((x - 32) / wide) ** 2 + ((y - 32) / 30) ** 2 < 1
                write_leaf(root / "data", identity, kind, view, {"0_sils": frames.astype(np.uint8) * 255})
    (root / "partition.json").write_text(json.dumps({"TRAIN_SET": ["001", "002"], "TEST_SET": ["003", "004"]}))
    return root


def _config(root: Path, model: dict[str, Any]) -> dict[str, Any]:
    config = tiny.config(root, total_iter=2, log_iter=1, save_iter=2)
    config["model_cfg"] = model
    config["loss_cfg"] = [
        {"type": "TripletLoss", "log_prefix": "triplet"},
        {"type": "CrossEntropyLoss", "log_prefix": "softmax"},
    ]
    if model["model"] == "RGGaitOEM":
        config["loss_cfg"] = [{"type": "OcclusionLoss", "log_prefix": "occlusion"}]
        config["evaluator_cfg"] = {**config["evaluator_cfg"], "eval_func": "evaluate_OEM"}
        del config["evaluator_cfg"]["metric"]
    config["trainer_cfg"]["sampler"].update(batch_size=[2, 2], frames_num_fixed=4)
    for section in ("trainer_cfg", "evaluator_cfg"):
        config[section]["transform"] = [{"type": "SilhouetteInput", "cut": 10}]
    return config


def _stages(root: Path, output: Path, **settings: Any) -> tuple[Path, Path, dict[str, Any]]:
    """Train stages 1 and 2; returns their checkpoints and the config of stage 3."""
    first = standalone.train(_config(root, {"model": "RGGaitOEM", **EVALUATOR}), output=output, quiet=True)
    second = standalone.train(_config(root, BASE), output=output, quiet=True)
    model = {
        "model": "RGGait",
        "class_num": 2,
        "gse": {"model_cfg": BASE, "checkpoint": str(second.checkpoint)},
        "oem": {"checkpoint": str(first.checkpoint), **EVALUATOR},
        **settings,
    }
    return first.checkpoint, second.checkpoint, _config(root, model)


def _embeddings(config: dict[str, Any], output: Path, pack: int, test: dict[str, Any] | None = None) -> np.ndarray:
    config = {**config, "model_cfg": {**config["model_cfg"]}}
    if test is not None:
        config["model_cfg"]["occlusion"] = {"test": test}
    config["evaluator_cfg"]["sampler"]["batch_size"] = pack
    file = output / "embeddings.npz"
    standalone.test(config, output=output, save_embeddings=file, quiet=True)
    return np.asarray(np.load(file)["embeddings"])


def test_three_stages(silhouettes: Path, tmp_path: Path) -> None:
    first, second, config = _stages(silhouettes, tmp_path)
    result = standalone.train(config, output=tmp_path, quiet=True)
    assert all(np.isfinite(list(row.values())).all() for row in result.rows)
    system = torch.load(result.checkpoint, weights_only=True)["model"]
    for stage, prefix, checkpoint in (("gse", "gse.network.", second), ("oem", "occlusion_evaluator.", first)):
        before = torch.load(checkpoint, weights_only=True)["model"]
        for key, value in before.items():
            kept = system["network." + prefix + key.removeprefix("network.")]
            assert torch.equal(kept, value), (stage, key)
    moved = {
        key
        for key, value in torch.load(second, weights_only=True)["model"].items()
        if "neck" not in key and not torch.equal(system["network.frn.network." + key.removeprefix("network.")], value)
    }
    assert {"network.stem.conv.weight", "network.head.fc.weight", "network.stem.norm.running_mean"} <= moved
    # The checkpoint holds everything: it is tested, and gone on from, without the stages' files.
    first.unlink()
    second.unlink()
    alone = _embeddings(config, tmp_path, 1)
    assert np.ptp(alone, axis=0).max() > 1e-3
    np.testing.assert_allclose(_embeddings(config, tmp_path, 5), alone, rtol=0, atol=1e-5 * np.abs(alone).max())
    # Occluded at test as a function of the sequence, whatever it is packed with.
    hidden = {"types": {"top": 0.5, "dynamic": 0.5}, "seed": 3}
    occluded = _embeddings(config, tmp_path, 1, hidden)
    assert np.abs(occluded - alone).max() > 1e-4
    np.testing.assert_allclose(
        _embeddings(config, tmp_path, 3, hidden), occluded, rtol=0, atol=1e-5 * np.abs(alone).max()
    )
    assert np.abs(_embeddings(config, tmp_path, 1, {**hidden, "seed": 4}) - occluded).max() > 1e-4
    longer = {**config, "trainer_cfg": {**config["trainer_cfg"], "total_iter": 3}}
    assert standalone.train(longer, output=tmp_path, resume=True, quiet=True).iteration == 3
    with pytest.raises(CheckpointError, match="no such file"):
        standalone.train(longer, output=tmp_path, overwrite=True, quiet=True)


def _mimicgait(silhouettes: Path, output: Path, **settings: Any) -> tuple[Path, dict[str, Any]]:
    """The teacher's checkpoint, and the config of MimicGait."""
    _, second, config = _stages(silhouettes, output)
    model = {key: value for key, value in config["model_cfg"].items() if key != "class_num"}
    config["model_cfg"] = {**model, "model": "MimicGait", **settings}
    config["loss_cfg"] = [{"type": "AllTripletsLoss", "log_prefix": "triplet", "margin": 0.2}]
    return second, config


@pytest.mark.parametrize(("sample", "labels"), [("fixed_unordered", "identity"), ("unfixed_unordered", "instance")])
def test_mimicgait(silhouettes: Path, tmp_path: Path, sample: str, labels: str) -> None:
    second, config = _mimicgait(silhouettes, tmp_path, labels=labels)
    sampler = config["trainer_cfg"]["sampler"]
    sampler["sample_type"] = sample
    if sample.startswith("unfixed"):
        sampler.update(frames_num_min=3, frames_num_max=5)
    result = standalone.train(config, output=tmp_path, quiet=True)
    assert all(np.isfinite(list(row.values())).all() for row in result.rows)
    system = torch.load(result.checkpoint, weights_only=True)["model"]
    before = torch.load(second, weights_only=True)["model"]
    for key, value in before.items():
        assert torch.equal(system["network.gse.network." + key.removeprefix("network.")], value), key
    assert not torch.equal(system["network.frn.network.stem.conv.weight"], before["network.stem.conv.weight"])
    second.unlink()
    alone = _embeddings(config, tmp_path, 1)
    np.testing.assert_allclose(_embeddings(config, tmp_path, 5), alone, rtol=0, atol=1e-5 * np.abs(alone).max())
    # The plain class takes the checkpoint.
    base = {key: value for key, value in BASE.items() if key != "model"}
    network = checkpoints.load(MimicGait(GaitBase(**base), OcclusionEvaluator(**EVALUATOR)), result.checkpoint).eval()
    leaves = [leaf for leaf in leaves_of(silhouettes / "data") if leaf.identity in ("003", "004")]
    with torch.no_grad():
        frames = (torch.from_numpy(SilhouetteInput(cut=10)(read_leaf(leaf)[0])) for leaf in leaves)
        wanted = torch.cat([network(each[None]) for each in frames]).numpy()
    np.testing.assert_allclose(alone, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    longer = {**config, "trainer_cfg": {**config["trainer_cfg"], "total_iter": 3}}
    assert standalone.train(longer, output=tmp_path, resume=True, quiet=True).iteration == 3


def test_mimicgaits_settings_are_checked(silhouettes: Path, tmp_path: Path) -> None:
    for change, named in (
        ({"class_num": 2}, "unknown key 'model_cfg.class_num'"),
        ({"label": "identity"}, "did you mean 'labels'"),
        ({"gse": {"model_cfg": BASE}}, "gse.checkpoint is not set"),
    ):
        model = {"model": "MimicGait", "gse": {"model_cfg": BASE, "checkpoint": "x"}, **change}
        config = _config(silhouettes, model)
        config["loss_cfg"] = [{"type": "AllTripletsLoss", "log_prefix": "triplet"}]
        with pytest.raises(ConfigError, match=named):
            standalone.train(config, output=tmp_path, quiet=True)
    config["loss_cfg"] = [{"type": "CrossEntropyLoss", "log_prefix": "triplet"}]
    with pytest.raises(ConfigError, match="AllTripletsLoss"):
        standalone.train(config, output=tmp_path, quiet=True)


def test_short_and_long_sequences(silhouettes: Path, tmp_path: Path) -> None:
    """16 to 65 frames, packed beyond the frames that go through a network at once."""
    generator = np.random.default_rng(1)
    for identity in ("003", "004"):
        for kind, length in (("nm-01", 16), ("nm-05", 65)):
            for view in ("000", "090"):
                frames = generator.random((length, 64, 64)) < 0.5
                write_leaf(silhouettes / "data", identity, kind, view, {"0_sils": frames.astype(np.uint8) * 255})
    _, _, config = _stages(silhouettes, tmp_path)
    standalone.train(config, output=tmp_path, quiet=True)
    hidden = {"types": {"top": 0.3, "dynamic": 0.3, "pole": 0.3}, "seed": 0}
    alone = _embeddings(config, tmp_path, 1, hidden)
    assert np.isfinite(alone).all()
    np.testing.assert_allclose(_embeddings(config, tmp_path, 8, hidden), alone, rtol=0, atol=1e-5 * np.abs(alone).max())


def test_the_evaluators_test_reports_types_and_amounts(silhouettes: Path, tmp_path: Path) -> None:
    model = {"model": "RGGaitOEM", **EVALUATOR, "occlusion": {"test": {"types": {"top": 0.4, "pole": 0.4}}}}
    config = _config(silhouettes, model)
    standalone.train(config, output=tmp_path, quiet=True)
    texts = []
    for pack in (1, 3):
        config["evaluator_cfg"]["sampler"]["batch_size"] = pack
        result = standalone.test(config, output=tmp_path, quiet=True)
        texts.append(str(result.evaluation))
        assert np.isfinite(result.evaluation.scalars["scalar/test_error/all@amount"])
    assert texts[0] == texts[1]
    assert "pole: the evaluator has no such class" in texts[0]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"gse": {"model_cfg": {**BASE, "chanels": [1]}}}, "did you mean 'channels'"),
        ({"gse": {"model_cfg": {**BASE, "model": "Baseline"}}}, "'Baseline' here"),
        ({"gse": {"model_cfg": BASE}}, "gse.checkpoint is not set"),
        ({"occlusion": {"train": {"types": {"tops": 1}}}}, "top"),
        ({"residul": False}, "did you mean 'residual'"),
        ({"gse": {"model_cfg": {"model": "RGGaitOEM"}}}, "could correct"),
    ],
)
def test_wrong_settings_are_named(silhouettes: Path, tmp_path: Path, change: dict[str, Any], named: str) -> None:
    model = {"model": "RGGait", "class_num": 2, "gse": {"model_cfg": BASE, "checkpoint": "x"}, **change}
    with pytest.raises(ConfigError, match=named):
        standalone.train(_config(silhouettes, model), output=tmp_path, quiet=True)


def test_switches_and_a_new_number_of_identities(silhouettes: Path, tmp_path: Path) -> None:
    _, _, config = _stages(silhouettes, tmp_path)
    for index, change in enumerate(
        (
            {"adaptive": False, "occlusion_aware": False},
            {"residual": False},
            {"neck": "new", "class_num": 3},
            {"class_num": 3, "init_from_gse": False, "inference": "bnneck"},
        )
    ):
        one = {**config, "model_cfg": {**config["model_cfg"], **change}}
        one["trainer_cfg"] = {**config["trainer_cfg"], "save_name": f"v{index}"}
        result = standalone.train(one, output=tmp_path, quiet=True)
        keys = torch.load(result.checkpoint, weights_only=True)["model"]
        assert any("occlusion_evaluator" in key for key in keys) == (index != 0)
        assert keys["network.mix.weight"].shape[1] == (4 if index == 0 else 9)
        assert keys["network.neck.classifier"].shape[-1] == one["model_cfg"]["class_num"]
