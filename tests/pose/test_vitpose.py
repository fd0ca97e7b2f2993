"""ViTPose of transformers, against its own processor and model, with random weights."""

import json
import logging
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gaitext.errors import CheckpointError, ConfigError, MissingDependencyError
from gaitext.pose import load_estimator
from gaitext.skeleton import MIRROR_PAIRS

# Nothing here may reach for the network.
os.environ["HF_HUB_OFFLINE"] = "1"
transformers = pytest.importorskip("transformers")

SMALL = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "mlp_ratio": 2}


def save(folder: Path, *, simple: bool = True, experts: int = 1, safe: bool = True, **processor: Any) -> Path:
    """A ViTPose folder as the hub has them, the network being small and its weights random."""
    torch.manual_seed(0)
    backbone = transformers.VitPoseBackboneConfig(
        **SMALL, num_experts=experts, part_features=12 if experts > 1 else 0, out_indices=[2]
    )
    config = transformers.VitPoseConfig(backbone_config=backbone, num_labels=17, use_simple_decoder=simple)
    network = transformers.VitPoseForPoseEstimation(config)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    network.save_pretrained(folder)
    if not safe:
        torch.save(network.state_dict(), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    written = {
        "image_processor_type": "VitPoseImageProcessor",
        "do_affine_transform": True,
        "do_normalize": True,
        "do_rescale": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "rescale_factor": 1 / 255,
        "size": {"height": 256, "width": 192},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(written | processor))
    return folder


def crops(count: int = 2) -> np.ndarray:
    """uint8 [N, 256, 192, 3]."""
    return np.random.default_rng(0).integers(0, 256, (count, 256, 192, 3), dtype=np.uint8)


def as_images(pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


def theirs(folder: Path, pictures: np.ndarray, **inputs: Any) -> torch.Tensor:
    processor = transformers.VitPoseImageProcessor.from_pretrained(folder)
    # A crop is a picture of its own: no box, no affine map.
    pixels = processor(
        list(pictures), boxes=[[[0, 0, 192, 256]]] * len(pictures), do_affine_transform=False, return_tensors="pt"
    )["pixel_values"]
    network = transformers.VitPoseForPoseEstimation.from_pretrained(folder).eval()
    with torch.no_grad():
        maps: torch.Tensor = network(pixels, **inputs).heatmaps
    return maps


@pytest.mark.parametrize("simple", [True, False])
def test_heatmaps_of_transformers_own(tmp_path: Path, simple: bool) -> None:
    folder = save(tmp_path / "model", simple=simple, image_mean=[0.4, 0.5, 0.6])
    estimator = load_estimator(f"vitpose:{folder}")
    assert (estimator.input_size, estimator.heatmap_size) == ((256, 192), (64, 48))
    expected = theirs(folder, crops())
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(estimator.heatmaps(as_images(crops())), expected, rtol=0, atol=1e-4)
    pairs = torch.tensor(MIRROR_PAIRS)
    mirrored = theirs(folder, crops()[:, :, ::-1].copy(), flip_pairs=pairs)
    both = load_estimator(f"vitpose:{folder}?flip_test=true").heatmaps(as_images(crops()))
    torch.testing.assert_close(both, (expected + mirrored) / 2, rtol=0, atol=1e-4)


def test_an_expert_of_a_network_with_several(tmp_path: Path) -> None:
    folder = save(tmp_path / "plus", experts=3)
    for index in (0, 2):
        expected = theirs(folder, crops(), dataset_index=torch.tensor([index, index]))
        estimator = load_estimator(f"vitpose:{folder}?dataset_index={index}")
        torch.testing.assert_close(estimator.heatmaps(as_images(crops())), expected, rtol=0, atol=1e-4)
        assert estimator.settings["dataset_index"] == index
    with pytest.raises(ConfigError, match=r"no expert 3[\s\S]*has 3"):
        load_estimator(f"vitpose:{folder}", dataset_index=3)


def test_gradients_reach_the_images(tmp_path: Path) -> None:
    estimator = load_estimator(f"vitpose:{save(tmp_path / 'model')}")
    images = as_images(crops(1)).requires_grad_()
    direction = torch.randn(images.shape, generator=torch.Generator().manual_seed(2))
    (gradient,) = torch.autograd.grad(estimator.heatmaps(images).square().mean(), images)
    with torch.no_grad():
        ahead, behind = (estimator.heatmaps(images + s * 1e-4 * direction).double().square().mean() for s in (1, -1))
    assert float((gradient * direction).sum()) == pytest.approx(float((ahead - behind) / 2e-4), rel=2e-2)


def test_either_file_of_weights_and_what_is_recorded(tmp_path: Path) -> None:
    safe, pickled = save(tmp_path / "safe"), save(tmp_path / "pickled", safe=False)
    one, other = load_estimator(f"vitpose:{safe}"), load_estimator(f"vitpose:{pickled}")
    assert one.settings["sha256"] == other.settings["sha256"]
    assert one.settings["model"] == "safe"
    torch.testing.assert_close(one.heatmaps(as_images(crops(1))), other.heatmaps(as_images(crops(1))))


class Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("it-ran"),)


def test_what_cannot_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="no such folder"):
        load_estimator("vitpose:./none")
    with pytest.raises(ConfigError, match=r"config\.json cannot be had[\s\S]*folder that holds it"):
        load_estimator("vitpose:nobody/no-such-model")
    folder = save(tmp_path / "model", safe=False)
    weights = folder / "pytorch_model.bin"
    state = torch.load(weights, weights_only=True)
    logging.getLogger("transformers").setLevel(logging.CRITICAL)
    torch.save(state | {"more": torch.zeros(1)}, weights)
    with pytest.raises(CheckpointError, match="unexpected keys: more"):
        load_estimator(f"vitpose:{folder}")
    gone = dict(list(state.items())[3:])
    torch.save(gone, weights)
    with pytest.raises(CheckpointError, match="missing keys"):
        load_estimator(f"vitpose:{folder}")
    weights.write_bytes(pickle.dumps({"weights": Runs()}, protocol=2))
    with pytest.raises(CheckpointError):
        load_estimator(f"vitpose:{folder}")
    assert not (tmp_path / "it-ran").exists()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "vit"}))
    with pytest.raises(ConfigError, match="of the type 'vit'"):
        load_estimator(f"vitpose:{folder}")
    (folder / "config.json").write_text("{")
    with pytest.raises(ConfigError, match="not JSON"):
        load_estimator(f"vitpose:{folder}")


def test_without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(MissingDependencyError, match=r"gaitext\[vitpose\]"):
        load_estimator("vitpose:anything")
