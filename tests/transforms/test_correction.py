"""RGB crops as input, and artifact correction in a list of transforms, against the network called directly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gaitext.errors import CheckpointError, ConfigError, DataError
from gaitext.models import FBCNN, load_fbcnn
from gaitext.toolboxes import parts
from gaitext.transforms import ArtifactCorrection, CropInput
from gaitext.transforms import images as correction
from tests.fake_gpu import fake_gpu

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (5, 3, 21, 13), dtype=np.uint8)
TINY = {"channels": (4, 6, 8), "blocks": 1, "embedding_size": 5}


def network(seed: int = 0) -> FBCNN:
    torch.manual_seed(seed)
    made = FBCNN(**TINY).eval()
    with torch.no_grad():  # images of about the range that a trained one has
        made.tail.weight.mul_(5)
        made.tail.bias.fill_(0.4)
    return made


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    correction._networks.clear()
    torch.save(network().state_dict(), tmp_path / "corrector.pt")
    return str(tmp_path / "corrector.pt")


@torch.no_grad()
def corrected(frames: np.ndarray, quality: float = 0.5) -> np.ndarray:
    """Each frame alone through the network as it was made: [3, H, W] in 0..1."""
    images = torch.from_numpy(frames.astype(np.float32) / 255)
    return np.stack([network()(image[None], quality)[0].clamp(0, 1).numpy() for image in images])


def test_crops_become_floats() -> None:
    floats = CropInput()(BYTES)
    assert floats.dtype == np.float32
    assert np.array_equal(floats, BYTES / np.float32(255))
    assert np.array_equal(CropInput()(floats), floats)
    assert CropInput()(floats.astype(np.float64)).dtype == np.float32
    for wrong in (BYTES.astype(np.int32), BYTES.astype(np.float32), floats - 1, BYTES.transpose(0, 2, 3, 1)):
        with pytest.raises(DataError):
            CropInput()(wrong)


@pytest.mark.parametrize("last", [False, True], ids=["T3HW", "THW3"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("white", [1, 255])
def test_layout_dtype_and_range_stay(checkpoint: str, last: bool, dtype: type, white: int) -> None:
    frames = BYTES if dtype is np.uint8 else (BYTES / 255 * white).astype(dtype)
    frames = np.ascontiguousarray(frames.transpose(0, 2, 3, 1)) if last else frames
    before = frames.copy()
    frames.flags.writeable = False  # as a memory map is
    result = ArtifactCorrection(checkpoint, batch_size=2, device="cpu", white=white)(frames)
    assert np.array_equal(frames, before)
    assert (result.dtype, result.shape) == (frames.dtype, frames.shape)
    wanted = corrected(BYTES) * (255 if dtype is np.uint8 else white)
    wanted = wanted.transpose(0, 2, 3, 1) if last else wanted
    # Bytes are rounded, halves have eleven bits.
    tolerance = {np.uint8: 0.5 + 1e-3, np.float16: 1e-3 * white}.get(dtype, 1e-5 * white)
    assert np.abs(result.astype(np.float64) - wanted).max() <= tolerance
    assert (np.abs(result.astype(np.float64) - before) > 0.1 * wanted.max()).mean() > 0.5


@pytest.mark.parametrize("last", [False, True], ids=["T3HW", "THW3"])
def test_tensors_come_back_as_tensors(checkpoint: str, last: bool) -> None:
    correct = ArtifactCorrection(checkpoint, batch_size=2, device="cpu")
    for frames in (BYTES, (BYTES / 255).astype(np.float16)):
        frames = frames.transpose(0, 2, 3, 1) if last else frames
        before = torch.from_numpy(frames.copy())
        result = correct(before.clone())
        assert np.array_equal(result.numpy(), correct(frames))
        assert result.dtype == before.dtype
        # Whoever trains on them may: they are no inference tensors.
        assert not result.is_inference()
        assert np.array_equal(correct(frames[:, ::-1]), correct(before.flip(1)).numpy())
    half = correct(torch.from_numpy(BYTES / np.float32(255)).bfloat16())
    assert half.dtype == torch.bfloat16
    for wrong, said in (
        (torch.full((1, 3, 8, 8), torch.nan), "nan"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.int64), "give uint8"),
        (torch.zeros(3, 8, 8), "was expected"),
        (torch.zeros(0, 3, 8, 8), "was expected"),
    ):
        with pytest.raises(DataError, match=said):
            correct(wrong)


def test_frames_on_a_gpu_are_corrected_there(checkpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def place(name: str, precision: str) -> tuple[torch.device, torch.dtype]:
        asked.append(name)
        return torch.device("cuda:0"), torch.float32

    monkeypatch.setattr(correction, "_place", place)
    fixed = network().fixed(0.5)
    monkeypatch.setattr(correction, "_load", lambda *key: fixed)
    with fake_gpu():
        fixed.to("cuda")
        for shape in ((5, 3, 21, 13), (5, 21, 13, 3)):
            result = ArtifactCorrection(checkpoint, batch_size=2)(torch.empty(shape, dtype=torch.uint8))
            assert (result.device.type, result.dtype, tuple(result.shape)) == ("cuda", torch.uint8, shape)
    assert asked == ["cuda:0", "cuda:0"]


def test_quality_counts(checkpoint: str) -> None:
    strong = ArtifactCorrection(checkpoint, quality=0.9, device="cpu")(BYTES / np.float32(255))
    np.testing.assert_allclose(strong, corrected(BYTES, 0.9), atol=1e-5)
    assert np.abs(strong - corrected(BYTES, 0.1)).max() > 1e-4


def test_half_precision_is_near(checkpoint: str) -> None:
    whole, half = (
        ArtifactCorrection(checkpoint, device="cpu", precision=p)(BYTES / np.float32(255))  # type: ignore[arg-type]
        for p in ("auto", "bfloat16")
    )
    assert 0 < np.abs(whole - half).max() < 0.05


def test_the_network_stays_whoever_builds_the_transform(
    checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []
    real = load_fbcnn
    monkeypatch.setattr(
        "gaitext.models.load_fbcnn", lambda path, **options: loaded.append(path) or real(path, **options)
    )
    first = ArtifactCorrection(checkpoint, device="cpu")(BYTES)
    copy = tmp_path / "copy.pt"
    copy.write_bytes(Path(checkpoint).read_bytes())
    for path in (checkpoint, str(copy), os.path.relpath(copy)):
        assert np.array_equal(ArtifactCorrection(path, device="cpu")(BYTES), first)
    assert len(loaded) == 1
    # Other contents under the same name are other weights.
    torch.save(network(1).state_dict(), checkpoint)
    assert not np.array_equal(ArtifactCorrection(checkpoint, device="cpu")(BYTES), first)
    assert len(loaded) == 2
    for quality in (0.1, 0.2, 0.3):
        ArtifactCorrection(checkpoint, quality, device="cpu")(BYTES)
    assert len(correction._networks) == 2


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        (BYTES[:, :2], "was expected"),
        (BYTES[:0], "without a frame"),
        (BYTES[:, :, :3, :3].transpose(0, 2, 3, 1).repeat(1, 0), "H and W other than 3"),
        (BYTES.astype(np.float32), "white"),
        (BYTES / np.float32(255) - 0.5, "not yet normalised"),
        (BYTES.astype(np.int64), "frames are int64"),
        (BYTES.astype(np.uint16), "give uint8"),
        (np.full((1, 3, 8, 8), np.nan), "NaN"),
    ],
)
def test_bad_frames_are_refused(checkpoint: str, frames: np.ndarray, said: str) -> None:
    with pytest.raises(DataError, match=said):
        ArtifactCorrection(checkpoint, device="cpu")(frames)


def test_bad_arguments_are_refused(checkpoint: str, tmp_path: Path) -> None:
    for wrong in ({"quality": 2}, {"batch_size": 0}, {"white": 100}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            ArtifactCorrection(checkpoint, **wrong)
    for wrong in ({"device": "cup"}, {"precision": "float8"}):
        with pytest.raises(ConfigError, match=next(iter(wrong.values()))):
            ArtifactCorrection(checkpoint, **wrong)(BYTES)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="no such file"):
        ArtifactCorrection(str(tmp_path / "nothing.pt"))(BYTES)
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="holds no FBCNN"):
        ArtifactCorrection(str(tmp_path / "other.pt"))(BYTES)


class _Frames(torch.utils.data.Dataset):
    def __init__(self, transform: ArtifactCorrection) -> None:
        self.transform = transform

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self.transform(BYTES))


def test_not_in_a_loaders_worker(checkpoint: str) -> None:
    transform = ArtifactCorrection(checkpoint, device="cpu")
    next(iter(torch.utils.data.DataLoader(_Frames(transform))))  # in this process
    with pytest.raises(ConfigError, match="num_workers: 0"):
        next(iter(torch.utils.data.DataLoader(_Frames(transform), num_workers=1)))


def test_both_are_registered_and_import_no_networks() -> None:
    assert {"CropInput", "ArtifactCorrection"} <= set(parts.TRANSFORMS)
    code = "import sys, gaitext.transforms; print([n for n in sys.modules if n.startswith('gaitext.models')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
