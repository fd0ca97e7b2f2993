"""The bundled estimator: its files, and walkers it has never seen."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch

from gaitext.errors import CheckpointError, ConfigError, ShapeError
from gaitext.extraction.crops import crop_images
from gaitext.geometry import apply, crop_boxes, crop_matrices
from gaitext.pose import PoseEstimator, bundled, decode_heatmaps, load_estimator
from gaitext.pose.bundled import PROVENANCE, WEIGHTS, BundledEstimator, PoseNet
from gaitext.video import read_frames, write_video
from gaitext.walkers import CameraSettings, Scene, WalkerSettings, make_walk

#: Neither of the two that tools/train_estimator.py draws walkers from.
SEED = 90_210


@pytest.fixture(scope="module")
def estimator() -> BundledEstimator:
    return BundledEstimator(device="cpu")


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(5, 3, 256, 192, generator=torch.Generator().manual_seed(0))


def test_files_are_small_and_plain() -> None:
    assert WEIGHTS.stat().st_size < 2_000_000
    state = torch.load(WEIGHTS, weights_only=True)
    network = PoseNet()
    network.load_state_dict(state)
    assert {value.dtype for value in state.values()} == {torch.float16, torch.int64}
    assert all(torch.isfinite(value).all() for value in state.values())


def test_provenance_describes_the_weights() -> None:
    provenance = json.loads(PROVENANCE.read_text())
    assert provenance["sha256"] == hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    assert provenance["parameters"] == sum(p.numel() for p in PoseNet().parameters())
    assert provenance["command"].startswith("python tools/train_estimator.py ")
    assert SEED not in (provenance["walkers"]["train_seed"], provenance["walkers"]["test_seed"])
    assert provenance["results"]["all"]["AP"] > 0.6


def test_other_weights_are_refused(tmp_path, monkeypatch) -> None:
    other, record = tmp_path / "walkers.pt", tmp_path / "walkers.json"
    torch.save(PoseNet().state_dict(), other)
    record.write_text(PROVENANCE.read_text())
    monkeypatch.setattr(bundled, "WEIGHTS", other)
    monkeypatch.setattr(bundled, "PROVENANCE", record)
    with pytest.raises(CheckpointError, match="other weights"):
        BundledEstimator()
    other.unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        BundledEstimator()


def test_loads_by_name_and_says_what_it_is() -> None:
    loaded = load_estimator("bundled", device="cpu")
    assert isinstance(loaded, PoseEstimator)
    assert loaded.differentiable
    assert loaded.input_size == (256, 192)
    assert loaded.settings["estimator"] == "bundled"
    assert loaded.settings["sha256"] == json.loads(PROVENANCE.read_text())["sha256"]
    assert json.loads(json.dumps(loaded.settings)) == loaded.settings
    with pytest.raises(ConfigError, match="names a model"):
        load_estimator("bundled:hrnet")


@pytest.mark.parametrize(
    ("kind", "view", "roll"),
    [("nm-01", "090", 0.0), ("bg-01", "000", 0.0), ("cl-01", "144", 0.0), ("txt", "225", 12.0)],
)
def test_finds_the_joints_of_walkers_never_seen(estimator, tmp_path, kind, view, roll) -> None:
    settings = WalkerSettings(frames=12, fps=12, seed=SEED, camera=CameraSettings(roll=roll))
    walk = make_walk(settings, 3, kind, view)
    scene = Scene(walk, SEED)
    write_video(tmp_path / "walk.mp4", (scene.frame(t)[0] for t in range(len(walk))), crf=26, preset="veryfast")
    crops = crop_boxes(walk.boxes)
    frames = read_frames(tmp_path / "walk.mp4")
    images = torch.cat([crop_images(frame, crop[None]) for (_, frame), crop in zip(frames, crops)])
    poses = decode_heatmaps(estimator.heatmaps(images).numpy())
    error = np.linalg.norm(poses[..., :2] - apply(crop_matrices(crops, 64, 48), walk.keypoints), axis=-1)
    seen = walk.visibility > 0.5
    assert error[seen].mean() < 1.5
    assert poses[..., 2][seen].mean() > 0.6
    assert poses[..., 2].mean(1).min() > 0.4  # extraction keeps every frame
    hidden = walk.visibility < 0.1
    assert not hidden.any() or poses[..., 2][hidden].mean() < poses[..., 2][seen].mean() - 0.1


def test_gradients_reach_the_images_and_no_weight(estimator, images) -> None:
    images.requires_grad_(True)
    estimator.heatmaps(images).square().sum().backward()
    assert images.grad is not None
    assert (images.grad.abs().amax((1, 2, 3)) > 0).all()
    assert all(p.grad is None for p in estimator.network.parameters())


def test_gradients_are_those_of_finite_differences() -> None:
    network = BundledEstimator(device="cpu").network.double()
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 256, 192, generator=generator, dtype=torch.float64).requires_grad_(True)
    direction = torch.randn(image.shape, generator=generator, dtype=torch.float64)
    network(image).square().sum().backward()
    with torch.no_grad():  # so short a step meets hardly any ReLU's corner
        ahead, behind = (network(image + step * direction).square().sum() for step in (1e-8, -1e-8))
    assert image.grad is not None
    torch.testing.assert_close((image.grad * direction).sum(), (ahead - behind) / 2e-8, rtol=1e-3, atol=1e-6)


def test_neither_batch_nor_gradients_change_the_heatmaps(estimator, images) -> None:
    whole = estimator.heatmaps(images)
    assert whole.shape == (5, 17, 64, 48)
    assert whole.dtype == torch.float32
    single = torch.cat([estimator.heatmaps(image[None]) for image in images])
    torch.testing.assert_close(single, whole, rtol=0, atol=1e-5)
    tracked = estimator.heatmaps(images.clone().requires_grad_(True)).detach()
    torch.testing.assert_close(tracked, whole, rtol=0, atol=1e-5)
    many = images.repeat(7, 1, 1, 1)  # more than one pass
    torch.testing.assert_close(estimator.heatmaps(many), whole.repeat(7, 1, 1, 1), rtol=0, atol=1e-5)
    assert estimator.heatmaps(images[:0]).shape == (0, 17, 64, 48)
    with pytest.raises(ShapeError, match=r"\[5, 3, 256, 128\]"):
        estimator.heatmaps(images[..., :128])


def test_estimator_computes_what_the_trained_network_does(estimator, images) -> None:
    network = PoseNet()
    network.load_state_dict(torch.load(WEIGHTS, weights_only=True))
    with torch.no_grad():
        expected = network.eval()(images)  # BatchNorm not folded, channels first
    torch.testing.assert_close(estimator.heatmaps(images), expected, rtol=0, atol=1e-4)


def test_network_halves_twice_whatever_the_size() -> None:
    torch.manual_seed(0)
    network = PoseNet(widths=(4, 4, 4, 4, 4), down=(0, 0, 0), up=(0, 0), joints=3)
    assert network(torch.rand(2, 3, 64, 96)).shape == (2, 3, 16, 24)
    # Untrained it finds nothing: what is an empty heatmap is right nearly everywhere from the first.
    assert network(torch.rand(2, 3, 64, 96)).abs().max() < 0.1


def test_network_sees_the_whole_crop(estimator) -> None:
    """A joint's heatmap may depend on every part of the crop: which side it is shows at the head."""
    images = torch.rand(1, 3, 256, 192, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    estimator.heatmaps(images)[0, :, 32, 24].sum().backward()
    assert images.grad is not None
    reached = images.grad[0].abs().amax(0) > 0
    assert reached.any(1).all()
    assert reached.any(0).all()
