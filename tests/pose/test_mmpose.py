"""mmpose's networks, against its own ``inference_topdown``, with random weights.

mmpose wants numpy 1 and an old setuptools, so that it seldom shares an environment with the rest;
.ci/run makes one of its own for this file.
"""

import logging
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gaitext.errors import CheckpointError, ConfigError, MissingDependencyError
from gaitext.geometry import apply, crop_boxes, crop_matrices
from gaitext.pose import PoseEstimator, load_estimator

pytest.importorskip("mmengine", reason="mmpose is tested in an environment of its own (docs/estimators.md)")
pytest.importorskip("xtcocotools", reason="mmpose is tested in an environment of its own (docs/estimators.md)")
from gaitext.pose import openmmlab

openmmlab.prepare("mmpose", "mmpose", "the test")
from mmengine.config import Config  # noqa: E402
from mmpose.apis import inference_topdown, init_model  # noqa: E402

HRNET = "td-hm_hrnet-w32_8xb64-210e_coco-256x192"
VITPOSE = "td-hm_ViTPose-base-simple_8xb64-210e_coco-256x192"


def shipped(name: str) -> Any:
    return Config.fromfile(openmmlab.find_config(name, "mmpose"))


def small_hrnet(path: Path, name: str = HRNET, **model: Any) -> Path:
    """A shipped HRNet config with a quarter of the channels and fewer modules, as a file."""
    config = shipped(name)
    for stage, (modules, channels) in {"stage2": (1, (8, 16)), "stage3": (1, (8, 16, 32))}.items():
        config.model.backbone.extra[stage].update(num_modules=modules, num_channels=channels)
    config.model.backbone.extra.stage4.update(num_modules=1, num_channels=(8, 16, 32, 64))
    config.model.head.in_channels = 8
    config.merge_from_dict({"model": model})
    config.dump(str(path))
    return path


def small_vitpose(path: Path, **model: Any) -> Path:
    config = shipped(VITPOSE)
    config.model.backbone.arch = {
        "embed_dims": 48,
        "num_layers": 2,
        "num_heads": 4,
        "feedforward_channels": 96,
    }
    config.model.head.in_channels = 48
    config.merge_from_dict({"model": model})
    config.dump(str(path))
    return path


def checkpoint(config: Path | str, path: Path, **more: Any) -> Path:
    """Random weights of a config, in which BatchNorms do something, as mmengine saves them."""
    torch.manual_seed(0)
    settings = Config.fromfile(str(config)) if Path(config).is_file() else shipped(str(config))
    network = init_model(settings, device="cpu")
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
            module.running_mean.normal_(0, 0.2)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    torch.save({"state_dict": network.state_dict(), "meta": {"epoch": 210}} | more, path)
    return path


def crops(count: int, height: int = 256, width: int = 192) -> np.ndarray:
    """RGB uint8 [N, height, width, 3], smooth enough to look like something."""
    rough = torch.rand(count, 3, height // 16, width // 16, generator=torch.Generator().manual_seed(0))
    fine = nn.functional.interpolate(rough, size=(height, width), mode="bicubic").clamp(0, 1)
    return (fine * 255).round().byte().permute(0, 2, 3, 1).numpy()


def as_images(pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


def theirs(config: str | Path, weights: Path, pictures: np.ndarray, flip: bool) -> torch.Tensor:
    """Heatmaps of ``inference_topdown``, one picture at a time, whose crop is the whole picture.

    Its box grows by 1.25, so that the whole picture is the crop of a box 1.25 times smaller. UDP's
    way of cropping has no box for it: there the sides of the crop, less one pixel each, would have
    to be as 3 to 4. So the crop is cut without UDP; the network and the rest are as configured.
    """
    settings = Config.fromfile(str(config)) if Path(config).is_file() else shipped(str(config))
    for step in settings.test_dataloader.dataset.pipeline:
        if step.type == "TopdownAffine":
            step.use_udp = False
    settings.model.test_cfg.update(flip_test=flip, output_heatmaps=True)
    network = init_model(settings, str(weights), device="cpu")
    found = []
    height, width = pictures.shape[1:3]
    size = np.array([width, height])
    box = np.concatenate((size / 2 - size / 2.5, size / 2 + size / 2.5))[None]
    for picture in pictures:
        (result,) = inference_topdown(network, np.ascontiguousarray(picture[..., ::-1]), box)
        found.append(result.pred_fields.heatmaps)
    return torch.stack(found)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("make", [small_hrnet, small_vitpose])
def test_small_networks_like_inference_topdown(tmp_path: Path, make: Any, flip: bool) -> None:
    config = make(tmp_path / "small.py")
    weights = checkpoint(config, tmp_path / "weights.pth")
    estimator = load_estimator(f"mmpose:{config}:{weights}?flip_test={str(flip).lower()}")
    assert isinstance(estimator, PoseEstimator)
    assert (estimator.input_size, estimator.heatmap_size) == ((256, 192), (64, 48))
    expected = theirs(config, weights, crops(3), flip)
    assert expected.std() > 0.01
    torch.testing.assert_close(estimator.heatmaps(as_images(crops(3))), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", [HRNET, VITPOSE])
def test_shipped_configs_like_inference_topdown(tmp_path: Path, name: str) -> None:
    weights = checkpoint(name, tmp_path / "weights.pth")
    estimator = load_estimator(f"mmpose:{name}:{weights}")
    heatmaps = estimator.heatmaps(as_images(crops(2)))
    expected = theirs(name, weights, crops(2), flip=False)
    assert expected.std() > 0.01
    torch.testing.assert_close(heatmaps, expected, rtol=0, atol=1e-3)


def test_other_sizes_and_channel_orders_come_from_the_config(tmp_path: Path) -> None:
    config = small_hrnet(
        tmp_path / "large.py",
        "td-hm_hrnet-w32_8xb64-210e_coco-384x288",
        data_preprocessor={"mean": [90, 110, 130], "std": [50, 60, 70], "bgr_to_rgb": False},
    )
    weights = checkpoint(config, tmp_path / "weights.pth")
    estimator = load_estimator(f"mmpose:{config}:{weights}")
    assert (estimator.input_size, estimator.heatmap_size) == ((384, 288), (96, 72))
    assert estimator.settings["channels"] == "bgr"
    pictures = crops(1, 384, 288)
    expected = theirs(config, weights, pictures, flip=False)
    torch.testing.assert_close(estimator.heatmaps(as_images(pictures)), expected, rtol=0, atol=1e-3)


def test_how_far_its_cropping_is_from_ours() -> None:
    """mmpose maps a box's centre to pixel (w/2, h/2); ours, counting from pixel centres, to half a pixel before."""
    from mmpose.structures.bbox import get_udp_warp_matrix, get_warp_matrix

    x, y, w, h = 100.0, 50.0, 120.0, 280.0
    (crop,) = crop_boxes(np.array([[x, y, w, h]]))
    (ours,) = crop_matrices(crop[None], 256, 192)
    centre, size = np.array([x + w / 2, y + h / 2], np.float32), crop[2:].astype(np.float32)
    points = np.array([[crop[0], crop[1]], [x + 10, y + 20], [crop[0] + crop[2], crop[1] + crop[3]]])
    scale = 256 / crop[3]
    plain = apply(get_warp_matrix(centre, size, 0.0, (192, 256)), points) - apply(ours, points)
    # Half an output pixel, less half a frame pixel: the same everywhere.
    np.testing.assert_allclose(plain, np.full_like(plain, 0.5 - scale / 2), atol=1e-3)
    udp = apply(get_udp_warp_matrix(centre, size, 0.0, (192, 256)), points) - apply(ours, points)
    # From that at the first pixel to half a pixel less than nothing at the last one.
    assert np.abs(udp).max() <= 0.5 + scale / 2 + 1e-3


@pytest.mark.parametrize("make", [small_hrnet, small_vitpose])
def test_gradients_reach_the_images(tmp_path: Path, make: Any) -> None:
    estimator = load_estimator(f"mmpose:{make(tmp_path / 'small.py')}")
    images = as_images(crops(1)).requires_grad_()
    direction = torch.randn(images.shape, generator=torch.Generator().manual_seed(2))
    (gradient,) = torch.autograd.grad(estimator.heatmaps(images).square().mean(), images)
    with torch.no_grad():
        ahead, behind = (estimator.heatmaps(images + s * 1e-4 * direction).double().square().mean() for s in (1, -1))
    assert float((gradient * direction).sum()) == pytest.approx(float((ahead - behind) / 2e-4), rel=2e-2)


def test_random_weights_are_said_and_seeded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = small_hrnet(tmp_path / "small.py")
    with caplog.at_level(logging.WARNING):
        first = load_estimator(f"mmpose:{config}")
    assert "weights are random" in caplog.text
    again, other = load_estimator(f"mmpose:{config}"), load_estimator(f"mmpose:{config}?seed=1")
    images = as_images(crops(1))
    assert torch.equal(first.heatmaps(images), again.heatmaps(images))
    assert not torch.allclose(first.heatmaps(images), other.heatmaps(images))
    assert first.settings == again.settings != other.settings


def test_what_trainers_leave_in_checkpoints_is_skipped(tmp_path: Path) -> None:
    from mmengine.logging import HistoryBuffer

    config = small_hrnet(tmp_path / "small.py")
    plain = checkpoint(config, tmp_path / "plain.pth")
    history = HistoryBuffer([1.0, 2.0], [1, 1])
    meta = {"dataset_meta": {"sigmas": np.ones(17, np.float32), "n": np.int64(3), "loss": np.float64(0.5)}}
    full = checkpoint(config, tmp_path / "full.pth", meta=meta, message_hub={"log_scalars": {"loss": history}})
    assert b"getattr" in full.read_bytes()
    images = as_images(crops(1))
    expected = load_estimator(f"mmpose:{config}:{plain}").heatmaps(images)
    before = set(torch.serialization.get_safe_globals())
    assert torch.equal(load_estimator(f"mmpose:{config}:{full}").heatmaps(images), expected)
    assert set(torch.serialization.get_safe_globals()) == before
    state = torch.load(plain, weights_only=True)["state_dict"]
    torch.save({f"module.{key}": value for key, value in state.items()}, tmp_path / "parallel.pth")
    assert torch.equal(load_estimator(f"mmpose:{config}:{tmp_path / 'parallel.pth'}").heatmaps(images), expected)


class Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("it-ran"),)


def test_wrong_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = small_hrnet(tmp_path / "small.py")
    weights = checkpoint(config, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="no such file"):
        load_estimator(f"mmpose:{config}:none.pth")
    with pytest.raises(ConfigError, match="download it"):
        load_estimator(f"mmpose:{config}:https://example.com/weights.pth")
    state = torch.load(weights, weights_only=True)["state_dict"]
    torch.save({"state_dict": state | {"more": torch.zeros(1)}}, "more.pth")
    with pytest.raises(CheckpointError, match="has beside it more"):
        load_estimator(f"mmpose:{config}:more.pth")
    torch.save({"state_dict": {k: v for k, v in state.items() if "final_layer" not in k}}, "less.pth")
    with pytest.raises(CheckpointError, match=r"lacks head\.final_layer\.weight, head\.final_layer\.bias"):
        load_estimator(f"mmpose:{config}:less.pth")
    other = checkpoint(small_vitpose(tmp_path / "other.py"), tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"(?s)does not fit the network.*belongs to the config"):
        load_estimator(f"mmpose:{config}:{other}")
    Path("runs.pth").write_bytes(pickle.dumps({"state_dict": state, "meta": Runs()}, protocol=2))
    with pytest.raises(CheckpointError, match="can run code"):
        load_estimator(f"mmpose:{config}:runs.pth")
    assert not Path("it-ran").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("td-hm_hrnet-w32_8xb64-210e_coco-256x129", f"did you mean {HRNET}"),
        ("simcc_res50_8xb64-210e_coco-256x192", "encoded as SimCCLabel"),
        ("td-reg_res50_8xb64-210e_coco-256x192", "encoded as RegressionLabel"),
        ("td-hm_hrnet-w32_8xb64-210e_coco-wholebody-256x192", "133 joints"),
        ("td-hm_hrnet-w32_8xb64-20e_posetrack18-256x192", "nose, head_bottom"),
        ("td-hm_hrnet-w32_udp-regress-8xb64-210e_coco-256x192", "type 'combined'"),
        ("td-hm_mspn50_8xb32-210e_coco-256x192", "encoded as MegviiHeatmap"),
        ("dekr_hrnet-w32_8xb10-140e_coco-512x512", "no top-down network"),
        ("td-hm_res50_8xb64-210e_deepfashion_full-256x192", "joints of its dataset cannot be read"),
    ],
)
def test_configs_that_do_not_fit_are_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_estimator(f"mmpose:{name}")


def test_without_mmpose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mmengine", None)
    with pytest.raises(MissingDependencyError, match=r"gaitext\[mmpose\]"):
        load_estimator("mmpose:anything")


def test_operators_that_mmcv_lite_lacks_raise_when_built() -> None:
    ops = sys.modules["mmcv.ops"]
    if "stand-in" not in (ops.__doc__ or ""):
        pytest.skip("this mmcv has its operators")
    with pytest.raises(MissingDependencyError, match="instead of mmcv-lite"):
        ops.MultiScaleDeformableAttention(embed_dims=8)


def test_configs_of_mmdets_backbones_need_no_operator() -> None:
    estimator = load_estimator("mmpose:cspnext-tiny_udp_8xb256-210e_coco-256x192")
    assert estimator.heatmaps(as_images(crops(1))).shape == (1, 17, 64, 48)


@pytest.mark.parametrize("flip", [False, True])
def test_networks_with_other_datasets_joints_beside_cocos(tmp_path: Path, flip: bool) -> None:
    config = small_hrnet(tmp_path / "merged.py", "td-hm_hrnet-w32_8xb64-210e_coco-aic-256x192-merge")
    weights = checkpoint(config, tmp_path / "weights.pth")
    expected = theirs(config, weights, crops(2), flip)
    estimator = load_estimator(f"mmpose:{config}:{weights}", flip_test=flip)
    torch.testing.assert_close(estimator.heatmaps(as_images(crops(2))), expected[:, :17], rtol=0, atol=1e-3)
