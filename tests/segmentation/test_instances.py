"""Instance segmentation of transformers, with small random networks; whose mask is taken, by hand."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gaitext.errors import CheckpointError, ConfigError
from gaitext.segmentation import load_segmenter
from gaitext.segmentation.instances import InstanceSegmenter

# Nothing here may reach for the network.
os.environ["HF_HUB_OFFLINE"] = "1"
transformers = pytest.importorskip("transformers")

LABELS = {0: "person", 1: "dog", 2: "bicycle"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Mask2Former as the hub has them, small and random."""
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("mask2former")
    backbone = transformers.SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=2,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=16,
        dim_feedforward=16, encoder_layers=1, decoder_layers=2, num_attention_heads=2, num_queries=7,
        id2label=LABELS, label2id={name: number for number, name in LABELS.items()},
    )  # fmt: skip
    transformers.Mask2FormerForUniversalSegmentation(config).save_pretrained(place)
    processor = transformers.Mask2FormerImageProcessor(
        size={"height": 64, "width": 64}, ignore_index=255, do_reduce_labels=False
    )
    processor.save_pretrained(place)
    return place


def images(count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, 96, 96, generator=torch.Generator().manual_seed(1))


def test_masks_are_those_of_transformers_own_processing(folder: Path) -> None:
    segmenter = InstanceSegmenter(str(folder), score=0.05, size=96, device="cpu")
    boxes = torch.tensor([[10.0, 10, 70, 80], [30, 5, 40, 90]])
    masks = segmenter.masks(images(), boxes)
    assert masks.shape == (2, 96, 96)
    assert set(masks.unique().tolist()) <= {0.0, 1.0}
    model = transformers.Mask2FormerForUniversalSegmentation.from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    for image, mask in zip(images(), masks):
        picture = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        with torch.no_grad():
            outputs = model(**processor(images=[picture], return_tensors="pt"))
        (found,) = processor.post_process_instance_segmentation(
            outputs, threshold=0.05, target_sizes=[(96, 96)], return_binary_maps=True
        )
        people = [m for m, one in zip(found["segmentation"], found["segments_info"]) if one["label_id"] == 0]
        people = [m for m in people if m.ndim == 2]
        assert any(torch.equal(mask, person.float()) for person in people) or not people
    assert segmenter.masks(images(0), torch.zeros(0, 4)).shape == (0, 96, 96)
    assert segmenter.settings["sha256"]
    assert segmenter.settings["person"] == 0


class Told:
    """Stands for the model and its processor: what is found is given."""

    def __init__(self, found: list[dict[str, Any]]) -> None:
        self.found = found

    def __call__(self, images: Any, return_tensors: str) -> dict[str, torch.Tensor]:
        return {"pixel_values": torch.zeros(len(images), 3, 8, 8)}

    def post_process_instance_segmentation(self, outputs: Any, threshold: float, target_sizes: Any) -> Any:
        return self.found


def test_of_several_people_the_one_in_the_box_is_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = InstanceSegmenter(str(folder), size=96, device="cpu")
    numbers = torch.full((96, 96), -1)
    numbers[10:90, 5:35] = 0  # a neighbour
    numbers[12:88, 40:62] = 1  # the person
    numbers[20:80, 36:64][numbers[20:80, 36:64] < 0] = 2  # a dog around them
    segments = [{"id": 0, "label_id": 0}, {"id": 1, "label_id": 0}, {"id": 2, "label_id": 1}]
    nobody = {"segmentation": None, "segments_info": []}
    told = Told([{"segmentation": numbers, "segments_info": segments}] * 2 + [nobody])
    monkeypatch.setattr(segmenter, "_processor", told)
    monkeypatch.setattr(segmenter, "_network", torch.nn.Identity())
    boxes = torch.tensor([[38.0, 10, 26, 80], [70, 0, 20, 20], [38, 10, 26, 80]])
    monkeypatch.setattr(torch.nn.Identity, "forward", lambda self, pixel_values: None)
    masks = segmenter.masks(images(3), boxes)
    assert torch.equal(masks[0].bool(), numbers == 1)
    assert not masks[1].any()  # nobody in that box
    assert not masks[2].any()


def changed(folder: Path, out: Path, **values: Any) -> str:
    out.mkdir()
    for file in folder.iterdir():
        (out / file.name).write_bytes(file.read_bytes())
    config = json.loads((out / "config.json").read_text()) | values
    (out / "config.json").write_text(json.dumps(config))
    return f"hf:{out}"


def test_clear_errors(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be had"):
        load_segmenter("hf:somebody/some-model-that-is-not-here")
    with pytest.raises(ConfigError, match="no such folder"):
        load_segmenter(f"hf:{tmp_path / 'nowhere'}")
    with pytest.raises(ConfigError, match="none of its classes is called person"):
        load_segmenter(changed(folder, tmp_path / "a", id2label={"0": "cat"}))
    with pytest.raises(ConfigError, match="segments no instances"):
        load_segmenter(changed(folder, tmp_path / "b", model_type="vit"))
    spoilt = changed(folder, tmp_path / "c")
    weights = tmp_path / "c" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_segmenter(spoilt)
    for wrong in ("score=2", "size=8"):
        with pytest.raises(ConfigError, match="give"):
            load_segmenter(f"hf:{folder}?{wrong}")
    assert np.isclose(load_segmenter(f"hf:{folder}?score=0.25&person=2").settings["score"], 0.25)
