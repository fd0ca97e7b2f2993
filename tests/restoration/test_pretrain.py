"""Training a restorer: its losses and measures recomputed, going on after a kill, and its use."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from gaitext.cli import app
from gaitext.errors import CheckpointError, ConfigError
from gaitext.models import FBCNN
from gaitext.restoration import CorrectionConfig, correct_dataset, load_corrector, train_restorer
from gaitext.restoration.learner import build_corrector
from gaitext.restoration.patches import jpeg
from gaitext.restoration.restored import compare
from gaitext.restoration.restorer import RestorerObjective, RestorerTraining
from gaitext.store import read_sequence
from gaitext.video import count_frames
from gaitext.video.sources import find_videos
from tests.restoration.conftest import World

SIZES: dict[str, Any] = {"channels": [5, 6], "blocks": 1, "embedding_size": 4}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("footage")


def config(world: World, cache: Path, **trainer: Any) -> dict[str, Any]:
    return {
        "data": {"videos": [str(world.walkers)], "cache": str(cache), "frames": 2, "held_out_share": 0.34},
        "model": SIZES,
        "trainer": {
            "iterations": 6,
            "batch_size": 4,
            "patch": 24,
            "lr": 3e-3,
            "average": 0.5,
            "log_every": 2,
            "save_every": 2,
            "validate_every": 2,
            "validation_size": 48,
            **trainer,
        },
    }


@pytest.fixture(scope="module")
def run(world: World, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return train_restorer(config(world, cache), output=tmp_path_factory.mktemp("run"), quiet=True, seed=1)


@pytest.mark.parametrize(("name", "power"), [("l1", 1), ("l2", 2)])
def test_the_losses_are_those_of_the_paper(name: Any, power: int) -> None:
    torch.manual_seed(0)
    network = FBCNN(**SIZES)
    images, originals = torch.randint(0, 256, (2, 3, 16, 16)).byte(), torch.randint(0, 256, (2, 3, 16, 16)).byte()
    label = torch.tensor([[0.9], [0.3]])
    losses = RestorerObjective(network, 0.1, name)(images, originals, label)
    said = network.predict_quality(images / 255).detach()
    restored = [network(images[k : k + 1] / 255, quality=float(said[k])) for k in range(2)]
    apart = [np.abs(restored[k][0].detach().numpy() - originals[k].numpy() / 255) for k in range(2)]
    pixels = np.mean([(each**power).mean() for each in apart])
    error = (abs(float(said[0]) - 0.9) + abs(float(said[1]) - 0.3)) / 2
    assert losses["pixels"].item() == pytest.approx(pixels, rel=1e-5)
    assert losses["quality"].item() == pytest.approx(error, rel=1e-5)
    assert losses["loss"].item() == pytest.approx(pixels + 0.1 * error, rel=1e-5)
    losses["loss"].backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())


def test_a_fresh_restorer_changes_nothing_at_any_quality() -> None:
    torch.manual_seed(0)
    network, images = FBCNN(**SIZES).start_as_identity(), torch.rand(2, 3, 10, 16)
    assert torch.allclose(network(images), images, atol=1e-6)
    for quality in (0.0, 0.37, 1.0):
        assert torch.allclose(network(images, quality=quality), images, atol=1e-6)


def slow_ssim(one: np.ndarray, other: np.ndarray) -> float:
    """Wang et al., 2004, window by window: [H, W] in 0..1, reflected at the edges, which the library's mean counts."""
    one, other = (np.pad(each, 5, mode="reflect") for each in (one, other))
    place = np.arange(11) - 5
    weights = np.exp(-(place[:, None] ** 2 + place**2) / (2 * 1.5**2))
    weights /= weights.sum()
    values = []
    for y in range(one.shape[0] - 10):
        for x in range(one.shape[1] - 10):
            a, b = one[y : y + 11, x : x + 11], other[y : y + 11, x : x + 11]
            ma, mb = (weights * a).sum(), (weights * b).sum()
            va, vb = (weights * a * a).sum() - ma**2, (weights * b * b).sum() - mb**2
            both = (weights * a * b).sum() - ma * mb
            values.append(
                (2 * ma * mb + 0.01**2) * (2 * both + 0.03**2) / ((ma**2 + mb**2 + 0.01**2) * (va + vb + 0.03**2))
            )
    return float(np.mean(values))


def slow_psnr_b(image: np.ndarray, original: np.ndarray) -> float:
    """Yim and Bovik, 2011: [H, W] in 0..1; how steps at blocks' edges exceed the others counts as an error, too."""
    height, width = image.shape
    at, between = [], []
    for y in range(height):
        for x in range(width):
            if x + 1 < width:
                (at if x % 8 == 7 else between).append((image[y, x] - image[y, x + 1]) ** 2)
            if y + 1 < height:
                (at if y % 8 == 7 else between).append((image[y, x] - image[y + 1, x]) ** 2)
    # The numbers of pairs are the paper's, N_H (N_V / B) − 1 and so on, which are not those counted.
    edges = height * width / 8 - 1 + width * height / 8 - 1
    others = height * (width - 1) + width * (height - 1) - edges
    steps, usual = sum(at) / edges, sum(between) / others
    blocks = math.log2(8) / math.log2(min(height, width)) * (steps - usual) if steps > usual else 0.0
    return 10 * math.log10(1 / (((image - original) ** 2).mean() + blocks))


def test_measures_are_those_of_the_papers() -> None:
    generator = np.random.default_rng(0)
    smooth = np.cumsum(generator.normal(0, 3, (3, 18, 16)), 2) + 128
    original = smooth.clip(0, 255).astype(np.uint8)
    image = jpeg(original, 10)
    ours, theirs = (torch.from_numpy(each).float() / 255 for each in (image, original))
    found = compare(ours, theirs)
    a, b = image / 255, original / 255
    grey = [np.tensordot([0.299, 0.587, 0.114], each, 1) for each in (a, b)]
    assert found["PSNR"] == pytest.approx(-10 * math.log10(((a - b) ** 2).mean()), abs=1e-3)
    assert found["SSIM"] == pytest.approx(np.mean([slow_ssim(a[k], b[k]) for k in range(3)]), abs=1e-4)
    assert found["PSNR-B"] == pytest.approx(slow_psnr_b(*grey), abs=1e-3)
    assert found["PSNR-B"] < -10 * math.log10(((grey[0] - grey[1]) ** 2).mean()) - 0.001  # there are blocks
    assert compare(theirs, theirs)["PSNR"] == 100


def test_a_run_leaves_checkpoints_logs_and_what_its_best_does(run: Any, cache: Path) -> None:
    assert [row["iteration"] for row in run.rows] == [2, 4, 6]
    assert [row["iteration"] for row in run.validations] == [0, 2, 4, 6]
    assert {"loss", "pixels", "quality", "lr"} <= run.rows[0].keys()
    assert abs(run.validations[0]["gain"]) < 0.01  # begins as the identity
    with (run.folder / "restoration.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    ways = [("jpeg", level) for level in (10, 20, 30, 40)] + [("h264", level) for level in (30, 37, 45, 51)]
    assert [(row["codec"], float(row["level"])) for row in rows] == ways
    assert [row["PSNR after"] for row in rows] == [str(each.after["PSNR"]) for each in run.measured]
    best = max(run.validations, key=lambda row: row["gain"])
    assert np.mean([each.gain for each in run.measured]) == pytest.approx(best["gain"])
    # JPEG 20 of the held-out frames' middles, by hand, restored by a network that is loaded anew.
    network = load_corrector(run.best).network
    frames = np.concatenate(
        [read_sequence(path) for path in sorted((cache / "sequences" / "held-videos-0").rglob("original.pkl"))]
    )[:, :, 96:144, 128:176]
    before, after, off = [], [], []
    for frame in frames:
        compressed = jpeg(frame, 20)
        images = torch.from_numpy(compressed)[None] / 255
        restored = (network(images).clamp(0, 1) * 255).round()[0].numpy()
        off.append(abs(float(network.predict_quality(images)) - 0.8))
        for found, image in ((before, compressed), (after, restored)):
            found.append(-10 * math.log10((((image - frame.astype(float)) / 255) ** 2).mean()))
    twenty = run.measured[1]
    assert twenty.frames == len(frames) == 4
    assert twenty.before["PSNR"] == pytest.approx(np.mean(before), abs=1e-3)
    assert twenty.after["PSNR"] == pytest.approx(np.mean(after), abs=1e-3)
    assert twenty.quality_error == pytest.approx(np.mean(off), abs=1e-5)


def test_every_part_trains_and_the_loss_falls(world: World, cache: Path, tmp_path: Path) -> None:
    long = config(world, cache, iterations=40, log_every=10, validate_every=40, save_every=40, warmup=0.0)
    run = train_restorer(long, output=tmp_path, quiet=True)
    assert run.rows[-1]["loss"] < 0.8 * run.rows[0]["loss"]
    torch.manual_seed(0)
    before = FBCNN(**SIZES).start_as_identity().state_dict()
    after = torch.load(run.checkpoint, weights_only=True)["model"]
    assert not [name for name, value in before.items() if torch.equal(value, after[name])]


def test_a_killed_run_goes_on_byte_for_byte(
    run: Any, world: World, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = RestorerTraining.step

    def killed(self: Any, batch: Any) -> None:
        if self.iteration == 3:
            raise KeyboardInterrupt
        step(self, batch)

    monkeypatch.setattr(RestorerTraining, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        train_restorer(config(world, cache), output=tmp_path, quiet=True, seed=1)
    monkeypatch.undo()
    with pytest.raises(ConfigError, match="--resume or --overwrite"):
        train_restorer(config(world, cache), output=tmp_path, quiet=True, seed=1)
    resumed = train_restorer(config(world, cache), output=tmp_path, quiet=True, seed=1, resume=True)
    for name in ("checkpoints/restorer-00006.pt", "best.pt", "log.csv", "validation.csv", "restoration.csv"):
        assert (resumed.folder / name).read_bytes() == (run.folder / name).read_bytes(), name
    other = config(world, cache) | {"model": SIZES | {"embedding_size": 5}}
    with pytest.raises(CheckpointError, match="another model"):
        train_restorer(other, output=tmp_path, quiet=True, resume=True)


def test_the_same_seed_is_the_same_run_and_another_is_not(run: Any, world: World, cache: Path, tmp_path: Path) -> None:
    other = train_restorer(config(world, cache, iterations=2), output=tmp_path, quiet=True, seed=2)
    assert other.rows[0]["loss"] != run.rows[0]["loss"]


def test_correct_train_begins_with_it(run: Any) -> None:
    given = {"estimator": "movenet", "data": {"degraded": "a", "truth": "b", "cache": "c"}}
    model = {"model": SIZES | {"weights": str(run.best)}}
    network = build_corrector(CorrectionConfig.of(given | model))
    kept = torch.load(run.best, weights_only=True)["model"]
    assert all(torch.equal(value, kept[name]) for name, value in network.state_dict().items())
    model["model"] |= {"channels": [6, 6]}
    with pytest.raises(CheckpointError, match="another shape"):
        build_corrector(CorrectionConfig.of(given | model))


def test_it_corrects_video(run: Any, world: World, tmp_path: Path) -> None:
    corrector = load_corrector(run.best)
    assert (corrector.quality, corrector.correct_at) == (0.5, "native")
    video = world.degraded / "videos" / "001" / "nm-01" / "045.mp4"
    report = correct_dataset(find_videos(video), run.best, tmp_path, quiet=True)
    assert not report.failed
    assert count_frames(tmp_path / "videos" / "045.mp4") == count_frames(video)


def test_weights_to_begin_with_are_checked_before_anything_is_unpacked(world: World, tmp_path: Path) -> None:
    settings = config(world, tmp_path / "cache")
    settings["model"] = SIZES | {"weights": str(tmp_path / "nowhere.pth")}
    with pytest.raises(CheckpointError, match=r"nowhere\.pth"):
        train_restorer(settings, output=tmp_path, quiet=True)
    assert not (tmp_path / "cache").exists()


def test_the_command(world: World, cache: Path, tmp_path: Path) -> None:
    import yaml

    path = tmp_path / "restorer.yaml"
    path.write_text(yaml.safe_dump(config(world, cache, iterations=2, validation_frames=2) | {"name": "small"}))
    words = ["correct", "pretrain", str(path), "--device", "cpu", "--output", str(tmp_path), "-q"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert all(name in done.output for name in ("JPEG 10", "JPEG 40", "crf 30", "crf 51", "PSNR-B"))
    assert (tmp_path / "small" / "best.pt").is_file()
    assert CliRunner().invoke(app, [*words, "--resume"]).exit_code == 0
