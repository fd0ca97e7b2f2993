"""mmdet's detectors, against mmdet's own way of running them. Needs mmdet (docs/datasets.md)."""

import importlib
import importlib.util
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
import torch

from gaitext.errors import CheckpointError, ConfigError, MissingDependencyError
from gaitext.extraction.detect import load_detector
from gaitext.extraction.detect.onnx import LAYOUTS

CONFIG = "yolox_tiny_8xb8-300e_coco"


def test_without_mmdet_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mmengine", "mmdet", "mmdet.models"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match="the detector 'mmdet:' needs"):
        load_detector(f"mmdet:{CONFIG}")


@pytest.fixture(scope="module")
def mmdet() -> types.ModuleType:
    """mmdet; where mmcv came without compiled operators, its NMS is torchvision's."""
    for name in ("mmcv", "mmdet"):
        if importlib.util.find_spec(name) is None:
            pytest.skip("mmdet is not installed")
    if importlib.util.find_spec("mmcv._ext") is None:
        import torchvision

        class Operators(types.ModuleType):
            def __getattr__(self, name: str) -> object:
                if name.startswith("__"):
                    raise AttributeError(name)
                return lambda *args, **kwargs: pytest.fail(f"mmcv's operator {name} is not there")

        operators = Operators("mmcv._ext")
        operators.__spec__ = ModuleSpec("mmcv._ext", None)
        operators.nms = lambda boxes, scores, iou_threshold, offset: torchvision.ops.nms(boxes, scores, iou_threshold)
        sys.modules["mmcv._ext"] = operators
        sys.modules.pop("mmcv.ops", None)
    openmmlab = importlib.import_module("gaitext.pose.openmmlab")
    openmmlab.prepare("mmdet", "mmpose", "this test")
    return pytest.importorskip("mmdet")


@pytest.fixture(scope="module")
def checkpoint(mmdet: types.ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights that see something everywhere, in the form mmengine writes them."""
    from mmdet.registry import MODELS

    from gaitext.pose import openmmlab

    config = openmmlab.read_config(openmmlab.find_config(CONFIG, "mmdet"))
    model = openmmlab.build(MODELS, config.model, "mmdet", 3, CONFIG)
    # Batch statistics of the pictures keep the features of random layers at unit size.
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        seen = torch.from_numpy(np.stack(frames(3))).permute(0, 3, 1, 2).flip(1).float()
        model.train()(torch.nn.functional.interpolate(seen, (256, 416)), mode="tensor")
    for name, value in model.state_dict().items():
        if "multi_level_conv_obj" in name or "multi_level_conv_cls" in name:
            value.copy_(torch.randn(value.shape, generator=draw) * (0 if name.endswith("bias") else 0.1))
        if "multi_level_conv_reg" in name:  # boxes of one to four cells
            value.copy_(torch.rand(value.shape, generator=draw) * (1.4 if name.endswith("bias") else 0))
        if "multi_level_conv_cls" in name and name.endswith("bias"):
            value[0] = 1  # persons everywhere
    path = tmp_path_factory.mktemp("mmdet") / "random.pth"
    torch.save({"meta": {"epoch": 1}, "state_dict": model.state_dict()}, path)
    return path


def frames(count: int, height: int = 120, width: int = 200) -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    coarse = draw.integers(0, 255, (count, height // 20, width // 20, 3), dtype=np.uint8)
    return list(coarse.repeat(20, 1).repeat(20, 2))


def test_a_batch_equals_mmdets_own_inference(mmdet: types.ModuleType, checkpoint: Path) -> None:
    from mmdet.apis import inference_detector, init_detector

    detector = load_detector(f"mmdet:{CONFIG}:{checkpoint}?score=0.45&device=cpu")
    pictures = frames(3)
    found = detector.detect(pictures)
    # mmdet's own loader unpickles without weights_only unless told otherwise; this file is ours.
    theirs = init_detector(str(detector.path), str(checkpoint), palette="none", device="cpu")
    for picture, boxes in zip(pictures, found):
        instances = inference_detector(theirs, picture[..., ::-1].copy()).pred_instances
        kept = (instances.labels == 0) & (instances.scores >= 0.45)
        corners, scores = instances.bboxes[kept].numpy(), instances.scores[kept].numpy()
        corners = corners.clip(0, (200, 120, 200, 120))
        expected = np.column_stack((corners[:, :2], corners[:, 2:] - corners[:, :2], scores)).astype(np.float64)
        expected = expected[(expected[:, 2:4] > 0).all(1)]  # some of its boxes lie in the padding
        assert len(boxes) == len(expected) > 3
        # Scores that are nearly equal may change places; each box has its equal.
        distances = np.abs(boxes[:, None] - expected[None]).max(-1)
        assert sorted(distances.argmin(1)) == list(range(len(expected)))
        assert distances.min(1).max() < 1e-2
        assert (np.diff(boxes[:, 4]) <= 0).all()
    assert not np.allclose(found[0][:3], found[1][:3])
    assert detector.detect([]) == []
    assert detector.settings["checkpoint"] == "random.pth"
    assert detector.settings["person"] == 0


def test_frames_of_different_sizes_in_a_batch(mmdet: types.ModuleType, checkpoint: Path) -> None:
    detector = load_detector(f"mmdet:{CONFIG}:{checkpoint}?score=0.45&device=cpu")
    for boxes, (height, width) in zip(detector.detect([*frames(1), *frames(1, 200, 100)]), ((120, 200), (200, 100))):
        assert len(boxes) > 3
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:4] > 0).all()
        assert (boxes[:, :2] + boxes[:, 2:4] <= (width, height)).all()


def test_configs_and_weights_that_do_not_fit(mmdet: types.ModuleType, checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"did you mean .*yolox_tiny_8xb8-300e_coco"):
        load_detector("mmdet:yolox_tiny_8xb8_300e_coco")
    with pytest.raises(CheckpointError):
        load_detector(f"mmdet:yolox_s_8xb8-300e_coco:{checkpoint}")
    with pytest.raises(CheckpointError):
        load_detector(f"mmdet:{CONFIG}:{tmp_path / 'none.pth'}")
    with pytest.raises(ConfigError, match=r"unknown key '.*device_'"):
        load_detector(f"mmdet:{CONFIG}?device_=cpu")
    flowers = tmp_path / "flowers.py"
    flowers.write_text(
        f"_base_ = ['mmdet::yolox/{CONFIG}.py']\n"
        "test_dataloader = dict(dataset=dict(metainfo=dict(classes=('rose', 'tulip'))))\n"
    )
    with pytest.raises(ConfigError, match="does not say which class is the person"):
        load_detector(f"mmdet:{flowers}")


def test_the_yolox_layout_decodes_as_mmdets_head_does(mmdet: types.ModuleType, checkpoint: Path) -> None:
    head = load_detector(f"mmdet:{CONFIG}:{checkpoint}?device=cpu")._model.bbox_head
    sizes = [(8, 12), (4, 6), (2, 3)]  # of an input of 64×96
    cells = sum(rows * columns for rows, columns in sizes)
    draw = torch.Generator().manual_seed(0)
    raw = torch.randn(2, cells, 4, generator=draw)
    scores = torch.rand(2, cells, 3, generator=draw)  # object, car, person
    expected = head._bbox_decode(
        torch.cat(head.prior_generator.grid_priors(sizes, device="cpu", with_stride=True)), raw
    )
    ours = LAYOUTS["yolox"].decode([torch.cat((raw, scores), -1).numpy()], 1, 64, 96)
    assert np.allclose(np.stack(ours)[..., :4], expected, atol=1e-4)
    assert np.allclose(np.stack(ours)[..., 4], scores[..., 0] * scores[..., 2])
