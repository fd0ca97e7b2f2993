"""ONNX estimators: shapes, batches, normalisation, and what is said when they do not fit."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gaitext.errors import ConfigError, MissingDependencyError, ShapeError
from gaitext.pose import PoseEstimator, decode_heatmaps, load_estimator

pytest.importorskip("onnxruntime")
from tests.pose.networks import COLOURS, dot_network, helper, save


def dots(places: np.ndarray) -> torch.Tensor:
    """Grey images [N, 3, 256, 192] with a 12×12 square of colour v centred on places[n, v] (x, y)."""
    images = torch.full((len(places), 3, 256, 192), 0.5)
    for image, joints in zip(images, places):
        for (x, y), colour in zip(joints, COLOURS):
            image[:, y - 6 : y + 6, x - 6 : x + 6] = torch.from_numpy(colour)[:, None, None]
    return images


def places(count: int) -> np.ndarray:
    grid = np.array([(22 + 28 * (i % 6), 30 + 60 * (i // 6)) for i in range(17)])
    return grid + 4 * np.random.default_rng(0).integers(-1, 2, (count, 1, 2))


@pytest.mark.parametrize("batch", ["N", 1, 4])
def test_dynamic_and_fixed_batches_agree(tmp_path: Path, batch: int | str) -> None:
    estimator = load_estimator(f"onnx:{dot_network(tmp_path / 'dots.onnx', batch)}", threads=1)
    assert isinstance(estimator, PoseEstimator)
    assert not estimator.differentiable
    assert estimator.input_size == (256, 192)
    where = places(6)
    heatmaps = estimator.heatmaps(dots(where))
    assert heatmaps.shape == (6, 17, 64, 48)
    assert heatmaps.dtype == torch.float32
    keypoints = decode_heatmaps(heatmaps.numpy())
    # A square around the pixel edge at x is centred there: heatmap coordinate x / 4 − 1/2.
    assert np.abs(keypoints[..., :2] - (where / 4 - 0.5)).max() <= 0.5
    assert keypoints[..., 2].min() > 0.95
    assert estimator.heatmaps(torch.zeros(0, 3, 256, 192)).shape == (0, 17, 64, 48)


def test_normalisation_is_imagenet_unless_told_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "first.onnx"
    nodes = [
        helper.make_node("AveragePool", ["crops"], ["small"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Conv", ["small", "copy"], ["maps"]),
    ]
    copy = np.zeros((17, 3, 1, 1))
    copy[:3, :, 0, 0] = np.eye(3)
    save(path, nodes, {"copy": copy}, ["N", 3, 256, 192], ["N", 17, 64, 48])
    images = torch.rand(1, 3, 256, 192)
    plain = load_estimator(f"onnx:{path}", normalise="none").heatmaps(images)[0, :3]
    expected = torch.nn.functional.avg_pool2d(images, 4)[0]
    torch.testing.assert_close(plain, expected)
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    torch.testing.assert_close(load_estimator(f"onnx:{path}").heatmaps(images)[0, :3], (expected - mean) / std)
    own = load_estimator(f"onnx:{path}", normalise=((0.5,) * 3, (0.5,) * 3))
    torch.testing.assert_close(own.heatmaps(images)[0, :3], (expected - 0.5) / 0.5)
    assert own.settings != load_estimator(f"onnx:{path}").settings
    for wrong in ("imagnet", ((0.5,) * 3,), ((0.5,) * 3, (0.0,) * 3)):
        with pytest.raises(ConfigError, match="normalis"):
            load_estimator(f"onnx:{path}", normalise=wrong)


def test_wrong_shapes_are_refused_when_loading(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match=r"crops \['N', 3, 384, 288\]"):
        load_estimator(f"onnx:{dot_network(tmp_path / 'large.onnx', height=384, width=288)}")
    with pytest.raises(ShapeError, match=r"maps \['N', 14, 64, 48\]"):
        load_estimator(f"onnx:{dot_network(tmp_path / 'joints.onnx', joints=14)}")
    with pytest.raises(ShapeError, match=r"\[N, 3, 256, 192\]"):
        load_estimator(f"onnx:{dot_network(tmp_path / 'dots.onnx')}").heatmaps(torch.zeros(1, 3, 192, 256))


def test_a_file_that_does_not_say_is_checked_when_run(tmp_path: Path) -> None:
    path = tmp_path / "vague.onnx"
    nodes = [helper.make_node("AveragePool", ["crops"], ["maps"], kernel_shape=[4, 4], strides=[4, 4])]
    save(path, nodes, {}, ["N", "C", "H", "W"], ["N", "K", "h", "w"])
    with pytest.raises(ShapeError, match=r"\[2, 3, 64, 48\]"):
        load_estimator(f"onnx:{path}").heatmaps(torch.zeros(2, 3, 256, 192))


def test_specifications_that_cannot_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"unknown estimator 'onx:a'[\s\S]*onnx:…"):
        load_estimator("onx:a")
    with pytest.raises(ConfigError, match="names no model"):
        load_estimator("onnx:")
    with pytest.raises(ConfigError, match="no such file"):
        load_estimator(f"onnx:{tmp_path / 'none.onnx'}")
    (tmp_path / "bad.onnx").write_bytes(b"not a network")
    with pytest.raises(ConfigError, match=r"bad\.onnx.*cannot load it"):
        load_estimator(f"onnx:{tmp_path / 'bad.onnx'}")
    with pytest.raises(ConfigError, match="did you mean 'normalise'"):
        load_estimator("onnx:a", normalize="none")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match=r"gaitext\[onnx\]"):
        load_estimator("onnx:a.onnx")
