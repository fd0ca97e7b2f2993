"""transformers' detectors: RT-DETR of random weights, against transformers' own pipeline on the same frames."""

import sys
from pathlib import Path

import numpy as np
import pytest

from gaitext.errors import CheckpointError, ConfigError, MissingDependencyError
from gaitext.extraction.detect import Detector, load_detector

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")
LABELS = {0: "cat", 1: "Person", 2: "dog"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny RT-DETR of three classes, in a folder as the hub has them."""
    torch.manual_seed(0)
    backbone = transformers.RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = transformers.RTDetrConfig(
        backbone_config=backbone, use_timm_backbone=False, encoder_hidden_dim=16, encoder_in_channels=[8, 8, 8],
        encoder_ffn_dim=16, encoder_attention_heads=2, d_model=16, decoder_in_channels=[16, 16, 16],
        decoder_ffn_dim=16, decoder_attention_heads=2, decoder_layers=1, decoder_n_points=2, num_queries=20,
        num_denoising=0, id2label=LABELS, label2id={name: number for number, name in LABELS.items()},
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("detr") / "tiny"
    network = transformers.RTDetrForObjectDetection(config)
    for name, value in network.named_parameters():
        if "class_embed" in name and name.endswith("bias"):
            torch.nn.init.normal_(value, 0.0, 2.0)  # so that scores differ
    network.save_pretrained(folder)
    transformers.RTDetrImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def frames() -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    return [draw.integers(0, 256, (48, 80, 3), np.uint8), draw.integers(0, 256, (100, 60, 3), np.uint8)]


def pipeline(model: Path, frame: np.ndarray, least: float, label: str) -> list[list[float]]:
    """What transformers' own pipeline finds: x, y, w, h, score in whole pixels, the highest score first."""
    from PIL import Image

    find = transformers.pipeline("object-detection", model=str(model))
    found = [one for one in find(Image.fromarray(frame), threshold=least) if one["label"] == label]
    rows = [(one["box"], one["score"]) for one in sorted(found, key=lambda one: -one["score"])]
    return [[b["xmin"], b["ymin"], b["xmax"] - b["xmin"], b["ymax"] - b["ymin"], score] for b, score in rows]


def test_it_finds_what_transformers_pipeline_finds(model: Path) -> None:
    detector = load_detector(f"detr:{model}?score=0.1")
    assert isinstance(detector, Detector)
    found = detector.detect(frames())
    for frame, boxes in zip(frames(), found):
        height, width = frame.shape[:2]
        assert (boxes[:, 4] >= 0.1).all()
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 0] + boxes[:, 2] <= width + 1e-6).all()
        assert (boxes[:, 1] + boxes[:, 3] <= height + 1e-6).all()
        wanted = np.array(pipeline(model, frame, 0.1, "Person"))
        assert len(boxes) == len(wanted) > 0
        assert np.allclose(boxes[:, 4], wanted[:, 4], atol=1e-4)
        # The pipeline's boxes are cut to whole pixels, and not to the frame.
        inside = (wanted[:, 0] >= 0) & (wanted[:, 1] >= 0)
        inside &= (wanted[:, 0] + wanted[:, 2] <= width) & (wanted[:, 1] + wanted[:, 3] <= height)
        assert np.abs(boxes[inside, :4] - wanted[inside, :4]).max(initial=0) < 1.01
    # Alone a frame gives what it gives among others.
    alone = [detector.detect([frame])[0] for frame in frames()]
    assert all(np.allclose(one, other, atol=1e-3) for one, other in zip(alone, found))
    assert detector.detect([]) == []


def test_the_class_is_found_by_its_name_or_given(model: Path) -> None:
    assert load_detector(f"detr:{model}").settings["person"] == 1
    dogs = load_detector(f"detr:{model}?person=2&score=0.1").detect(frames()[:1])[0]
    wanted = pipeline(model, frames()[0], 0.1, "dog")
    assert np.allclose(dogs[:, 4], [row[4] for row in wanted], atol=1e-4)


def test_what_decides_is_recorded(model: Path, tmp_path: Path) -> None:
    import shutil

    settings = load_detector(f"detr:{model}").settings
    assert settings["model"] == "tiny"
    assert settings == load_detector(f"detr:{model}").settings
    other = shutil.copytree(model, tmp_path / "tiny")
    network = transformers.RTDetrForObjectDetection.from_pretrained(other)
    with torch.no_grad():
        next(network.parameters()).add_(1e-3)
    network.save_pretrained(other)
    assert load_detector(f"detr:{other}").settings["sha256"] != settings["sha256"]
    processor = transformers.RTDetrImageProcessor(size={"height": 96, "width": 64})
    processor.save_pretrained(other)
    assert load_detector(f"detr:{other}").settings["processor_sha256"] != settings["processor_sha256"]


def test_what_cannot_be_loaded(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import json
    import shutil

    with pytest.raises(ConfigError, match="no such folder"):
        load_detector(f"detr:{tmp_path / 'nowhere'}")
    bare = tmp_path / "bare"
    bare.mkdir()
    with pytest.raises(ConfigError, match=r"config\.json cannot be had"):
        load_detector(f"detr:{bare}")
    # A name, while the hub cannot be reached and nothing is in the cache.
    monkeypatch.setattr("gaitext.pose.hub.is_cut_off", lambda model: True)
    with pytest.raises(ConfigError, match=r"(?s)cannot be had.*while online"):
        load_detector("detr:nobody/nothing-of-this-name")
    nameless = shutil.copytree(model, tmp_path / "nameless")
    config = json.loads((nameless / "config.json").read_text())
    config["id2label"] = {"0": "cat", "1": "LABEL_1", "2": "dog"}
    (nameless / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=r"called person \(cat, dog, label_1\)"):
        load_detector(f"detr:{nameless}")
    broken = shutil.copytree(model, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_detector(f"detr:{broken}")
    with pytest.raises(ConfigError, match="scor"):
        load_detector(f"detr:{model}?scor=1")


def test_without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingDependencyError, match=r"gaitext\[detr\]"):
        load_detector("detr:PekingU/rtdetr_r18vd")
