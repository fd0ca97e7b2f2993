"""BlazePose's network, against what the published graph says by TensorFlow.js, and the segmenter that holds it."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from gaitext.errors import CheckpointError, ConfigError, ShapeError
from gaitext.segmentation import Segmenter, blazepose, load_segmenter
from tests.segmentation.people import draw_person


def drawn(shift: float = 0.0) -> tuple[torch.Tensor, np.ndarray]:
    image, mask = draw_person(shift=shift)
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255, mask


def test_the_network_is_the_published_graph() -> None:
    """``tools/blazepose_reference.py`` ran the graph itself, in an independent runtime."""
    expected = np.load(Path(__file__).parent / "blazepose-full.npy")
    image, _ = drawn()
    with torch.no_grad():
        mask = blazepose.load_blazepose()(image)[0].numpy()
    assert expected.max() > 0.99
    assert 0.05 < (expected > 0.5).mean() < 0.3
    np.testing.assert_allclose(mask[::4, ::4], expected, atol=1e-4)


def test_it_masks_a_person() -> None:
    segmenter = load_segmenter("bundled?device=cpu")
    assert isinstance(segmenter, Segmenter)
    pairs = [drawn(), drawn(0.05), drawn(-0.05)]
    masks = segmenter.masks(torch.cat([image for image, _ in pairs]), torch.zeros(3, 4)).numpy() > 0.5
    for mask, (_, truth) in zip(masks, pairs):
        assert (mask & truth).sum() / (mask | truth).sum() > 0.95
    assert segmenter.masks(torch.zeros(0, 3, 256, 256), torch.zeros(0, 4)).shape == (0, 256, 256)


def test_a_crop_is_masked_alike_whatever_is_beside_it_in_the_batch() -> None:
    segmenter = load_segmenter("bundled?device=cpu")
    images = torch.cat([drawn(shift)[0] for shift in (0, 0.04, -0.08)])
    alone = torch.cat([segmenter.masks(image[None], torch.zeros(1, 4)) for image in images])
    torch.testing.assert_close(segmenter.masks(images, torch.zeros(3, 4)), alone, atol=1e-5, rtol=0)


def test_what_cannot_be_masked_is_refused() -> None:
    with pytest.raises(ShapeError, match="multiples of 32"):
        blazepose.BlazePoseMask()(torch.zeros(1, 3, 100, 64))
    with pytest.raises(ShapeError, match="256"):
        load_segmenter("bundled").masks(torch.zeros(1, 3, 128, 128), torch.zeros(1, 4))
    for wrong, what in (
        ("sam", "known ones: bundled, hf:…"),
        ("hf:", "names no model"),
        ("bundled:x", "write bundled"),
        ("bundled?divice=cpu", "did you mean 'device'"),
    ):
        with pytest.raises(ConfigError, match=what):
            load_segmenter(wrong)


def test_the_record_beside_the_weights_is_true_and_other_weights_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = json.loads((blazepose.DATA / blazepose.RECORD).read_text())
    weights = (blazepose.DATA / blazepose.WEIGHTS).read_bytes()
    assert record["weights"][blazepose.WEIGHTS]["sha256"] == hashlib.sha256(weights).hexdigest()
    assert record["licence"] == "Apache-2.0"
    assert (blazepose.DATA / "NOTICE").is_file()
    shutil.copytree(blazepose.DATA, tmp_path / "data")
    (tmp_path / "data" / blazepose.WEIGHTS).write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    monkeypatch.setattr(blazepose, "DATA", tmp_path / "data")
    with pytest.raises(CheckpointError, match="other weights"):
        blazepose.load_blazepose()
    (tmp_path / "data" / blazepose.WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        blazepose.load_blazepose()
