"""ONNX estimators: shapes, batches, normalisation, and what is said when they do not fit."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gaitext.errors import ConfigError, MissingDependencyError, ShapeError
from gaitext.pose import PoseEstimator, decode_heatmaps, load_estimator

pytest.importorskip("onnxruntime")
from tests.pose.networks import COLOURS, dot_network, helper, onnx, save


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
    path = tmp_path / "grey.onnx"
    pool = helper.make_node("AveragePool", ["crops"], ["maps"], kernel_shape=[4, 4], strides=[4, 4])
    save(path, [pool], {}, ["N", 1, 256, 192], ["N", 1, 64, 48])
    with pytest.raises(ShapeError, match=r"crops \['N', 1, 256, 192\]"):
        load_estimator(f"onnx:{path}")
    with pytest.raises(ShapeError, match=r"maps \['N', 14, 64, 48\]"):
        load_estimator(f"onnx:{dot_network(tmp_path / 'joints.onnx', joints=14)}")
    with pytest.raises(ShapeError, match=r"\[N, 3, 256, 192\]"):
        load_estimator(f"onnx:{dot_network(tmp_path / 'dots.onnx')}").heatmaps(torch.zeros(1, 3, 192, 256))


def test_a_file_that_does_not_say_is_checked_when_run(tmp_path: Path) -> None:
    path = tmp_path / "vague.onnx"
    nodes = [helper.make_node("AveragePool", ["crops"], ["maps"], kernel_shape=[4, 4], strides=[4, 4])]
    save(path, nodes, {}, ["N", "C", "H", "W"], ["N", "K", "h", "w"])
    with pytest.raises(ShapeError, match=r"maps is \[1, 3, 64, 48\]"):
        load_estimator(f"onnx:{path}")


def test_other_sizes_come_from_the_file(tmp_path: Path) -> None:
    estimator = load_estimator(f"onnx:{dot_network(tmp_path / 'large.onnx', height=384, width=288)}")
    assert (estimator.input_size, estimator.heatmap_size) == ((384, 288), (96, 72))
    assert estimator.settings["input_size"] == [384, 288]
    assert estimator.heatmaps(torch.rand(2, 3, 384, 288)).shape == (2, 17, 96, 72)
    with pytest.raises(ConfigError, match="384×288, not 256×192"):
        load_estimator(f"onnx:{tmp_path / 'large.onnx'}", input_size=(256, 192))


def test_sizes_that_the_file_leaves_open(tmp_path: Path) -> None:
    dot_network(tmp_path / "dots.onnx")
    network = onnx.load(str(tmp_path / "dots.onnx"))
    for value in (*network.graph.input, *network.graph.output):
        for axis, name in enumerate(("h", "w"), start=2):
            value.type.tensor_type.shape.dim[axis].dim_param = f"{value.name}_{name}"
    onnx.save(network, str(tmp_path / "open.onnx"))
    estimator = load_estimator(f"onnx:{tmp_path / 'open.onnx'}")
    assert (estimator.input_size, estimator.heatmap_size) == ((256, 192), (64, 48))
    assert "input_size" not in estimator.settings
    estimator = load_estimator(f"onnx:{tmp_path / 'open.onnx'}?input_size=[128,96]")
    assert (estimator.input_size, estimator.heatmap_size) == ((128, 96), (32, 24))


@pytest.mark.parametrize("shift", [False, True])
def test_flip_test_is_the_mean_with_the_mirrored_image(tmp_path: Path, shift: bool) -> None:
    path = dot_network(tmp_path / "dots.onnx", batch=2)
    images = torch.rand(3, 3, 256, 192)
    plain = load_estimator(f"onnx:{path}")
    swapped = [0, *(i + 1 if i % 2 else i - 1 for i in range(1, 17))]
    back = plain.heatmaps(images.flip(-1))[:, swapped].flip(-1)
    if shift:
        back[..., 1:] = back[..., :-1].clone()
    flipped = load_estimator(f"onnx:{path}?flip_test=true&shift_mirrored={'true' if shift else 'false'}")
    torch.testing.assert_close(flipped.heatmaps(images), (plain.heatmaps(images) + back) / 2)
    assert flipped.settings != plain.settings


def test_options_in_the_specification(tmp_path: Path) -> None:
    path = dot_network(tmp_path / "dots.onnx")
    estimator = load_estimator(f"onnx:{path}?normalise=[[0.5,0.5,0.5],[0.5,0.5,0.5]]&threads=1")
    assert estimator.settings["normalise"] == [[0.5] * 3, [0.5] * 3]
    assert load_estimator(f"onnx:{path}?normalise=none").settings["normalise"] == "none"
    with pytest.raises(ConfigError, match=r"option 'threads' cannot be 'two' \(.*integer"):
        load_estimator(f"onnx:{path}?threads=two")
    with pytest.raises(ConfigError, match="did you mean 'threads'"):
        load_estimator(f"onnx:{path}?thread=2")
    with pytest.raises(ConfigError, match="'threads' is given twice"):
        load_estimator(f"onnx:{path}?threads=1&threads=2")
    with pytest.raises(ConfigError, match="'threads' is given twice"):
        load_estimator(f"onnx:{path}?threads=1", threads=2)
    with pytest.raises(ConfigError, match="'threads' is no option"):
        load_estimator(f"onnx:{path}?threads")


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
