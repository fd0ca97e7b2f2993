"""What systems find in test crops: numbers against numbers by hand, and the pictures."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gaitext import store
from gaitext.errors import DataError
from gaitext.models import FBCNN
from gaitext.pose import load_estimator
from gaitext.restoration.objective import CorrectionObjective
from gaitext.restoration.settings import CorrectionConfig
from gaitext.studies import Cell
from gaitext.studies.cells import WeightedSum, add_cells
from gaitext.studies.compression_domains import read_crops
from gaitext.studies.compression_pictures import Curve, curves_figure, curves_table, examples, panels
from gaitext.studies.compression_poses import Found, PoseTest, measure
from gaitext.studies.compression_search import Finder, Search, frame_poses, psnr_of, search

ESTIMATOR = "movenet:lightning"
FRAMES = {"007": [0, 1, 2], "009": [0, 1, 2, 3]}


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    """Test crops of two people, of noise, and the file that names them."""
    generator = np.random.default_rng(0)
    for identity, frames in FRAMES.items():
        original = generator.integers(0, 256, (len(frames), 3, 256, 192), dtype=np.uint8)
        leaf = {
            "0_degraded": generator.integers(0, 256, (len(frames), 3, 256, 192), dtype=np.uint8),
            "1_original": original,
            "2_poses": (generator.random((len(frames), 17, 3)) * [191, 255, 1]).astype(np.float32),
            "3_boxes": np.tile(np.float32([40, 20, 110, 220]), (len(frames), 1)),
            "4_crops": np.float32([[10 * k, 5, 96, 128] for k in frames]),
        }
        store.write_leaf(tmp_path / "test-crops" / "sequences", identity, "nm-01", "000", leaf)
    done = tmp_path / "test-crops.json"
    leaves = {f"{identity}/nm-01/000": len(frames) for identity, frames in FRAMES.items()}
    store.write_json(done, {"leaves": leaves, "frames": {"007/nm-01/000": "1-3", "009/nm-01/000": "1-4"}})
    return done


def config(tmp_path: Path) -> CorrectionConfig:
    data = {name: str(tmp_path) for name in ("truth", "degraded", "cache")}
    return CorrectionConfig.parse({"estimator": ESTIMATOR, "data": data}, where="test")


def searching(crops: Path, **changes: Any) -> Search:
    finder = Finder(config(crops.parent), None, False, "cpu")
    job = Search("base", finder, False, crops, 0.0, 1, (), crops.parent / "found", {"trained": {"seed": None}})
    return replace(job, **changes)


def test_search(crops: Path) -> None:
    """Poses are those the estimator finds in the crops; leaves have them in the frame, and its heatmaps."""
    job = searching(crops, leaves=("heatmaps", "poses"))
    search(job)
    found, (data, frames) = Found.read(job.poses), read_crops(crops, 0.0)
    assert found.frames.tolist() == frames.tolist() == [0, 1, 2, 0, 1, 2, 3]
    assert found.identities.tolist() == ["007"] * 3 + ["009"] * 4
    images = data.frames([3]).images.float() / 255
    heatmaps = load_estimator(ESTIMATOR).heatmaps(images).numpy()
    assert np.allclose(found.found[3, :, 2], heatmaps.max((-1, -2))[0], atol=1e-4)
    maps = np.asarray(store.read_sequence(job.folder / "heatmaps/009/nm-01/000/0_heatmaps.pkl"))
    assert maps.shape == (4, 17, 64, 48)
    assert np.abs(maps[0] - heatmaps[0]).max() < 0.01
    leaf = np.asarray(store.read_sequence(job.folder / "poses/009/nm-01/000/2_poses_frame.pkl"))
    known = leaf[2, :, 2] > 0
    assert known.any()
    # Its third crop shows 96×128 pixels from (20, 5) on, twice as large: edges are half a pixel from centres.
    expected = (found.found[5, known, :2] + 0.5) / 2 + (20, 5) - 0.5
    assert np.allclose(leaf[2, known, :2], expected, atol=1e-4)
    assert json.loads((job.folder / "partition.json").read_text())["TEST_SET"] == ["007", "009"]
    assert json.loads(job.done.read_text())["frames"] == 7
    # PSNR by hand.
    worse, better = (data.frames([3], np.array([original])).images[0].numpy() for original in (False, True))
    error = np.square(worse.astype(float) / 255 - better.astype(float) / 255).mean()
    assert found.psnr[3] == pytest.approx(-10 * np.log10(error), abs=1e-6)


def test_search_of_every_other_frame(crops: Path) -> None:
    job = searching(crops, stride=2, original=True)
    search(job)
    found = Found.read(job.poses)
    assert found.frames.tolist() == [0, 2, 0, 2]
    assert np.isnan(found.psnr).all()  # the base sees original crops as they are
    assert not (job.folder / "poses").exists()


def test_a_corrector_for_use_is_the_one_that_was_trained(crops: Path) -> None:
    """Its weights are folded, in batches: the poses are those of training's network, one crop at a time."""
    torch.manual_seed(3)
    network = FBCNN(channels=(4, 6), blocks=1, embedding_size=4)
    path = crops.parent / "corrector.pt"
    torch.save({"model": network.state_dict()}, path)
    finder = Finder(config(crops.parent), path, False, "cpu")
    job = searching(crops, system="corrected", finder=finder, original=True)
    search(job)
    found, (data, _) = Found.read(job.poses), read_crops(crops, 0.0)
    estimator = load_estimator(ESTIMATOR, device="cpu", precision="float32")
    objective = CorrectionObjective(network.eval(), estimator, quality=0.5).eval()
    for k in (0, 6):
        batch = data.frames([k], np.array([True]))
        with torch.no_grad():
            output = objective(batch.images)
        assert np.allclose(found.found[k, :, 2], output.heatmaps.amax((-1, -2))[0].numpy(), atol=1e-3)
        error = (output.corrected.clamp(0, 1) - batch.images / 255).square().mean()
        assert found.psnr[k] == pytest.approx(-10 * np.log10(float(error)), abs=0.01)


def test_psnr() -> None:
    """What is brighter than white is white to who looks at it."""
    clean = torch.ones(3, 3, 4, 4)
    seen = clean.clone()
    seen[0] = 0.9
    seen[1] = 1.5
    assert psnr_of(seen, clean) == pytest.approx([20, np.nan, np.nan], abs=1e-4, nan_ok=True)


def test_what_is_not_found_has_no_place() -> None:
    poses = np.ones((1, 17, 3))
    poses[0, 2, 2] = 0
    placed = frame_poses(poses, np.array([[10.0, 20, 96, 128]]), (256, 192))
    assert placed[0, 2].tolist() == [0, 0, 0]
    assert placed[0, 0].tolist() == [1.5 / 2 + 10 - 0.5, 1.5 / 2 + 20 - 0.5, 1]


def poses(offsets: list[float], scores: list[float] | None = None) -> Found:
    """Two people, three frames each, every joint so many pixels off; the last of three is not measured."""
    true = np.concatenate((np.random.default_rng(1).random((6, 17, 2)) * 100, np.ones((6, 17, 1))), -1)
    found = true.copy()
    found[..., 0] += np.array(offsets)[:, None]
    found[..., 2] = np.array(scores or [1.0] * 6)[:, None]
    leaves = np.array(["007/nm-01/000"] * 3 + ["009/nm-01/000"] * 3)
    boxes = np.tile([0.0, 0, 100, 200], (6, 1))
    return Found(found, true, boxes, np.array([20.0, 30, 1, 30, np.nan, 1]), leaves, np.array([0, 2, 3] * 2))


def written(crops: Path, name: str, found: Found) -> Path:
    path = crops.parent / f"{name}.npz"
    found.write(path)
    return path


def test_cell_of_poses(crops: Path) -> None:
    """By hand: joints of one person are 5 pixels off in one frame and 12 in the other, of the other person right."""
    job = written(crops, "some", poses([5, 12, 1000, 0, 0, 1000]))
    cell = crops.parent / "cell.json"
    measure(PoseTest(job, "some", "original", 4, 2, None, cell, {"a": 1}))
    read, about = Cell.read(cell)
    assert (read.system, read.condition, read.seed, about) == ("some", "original", 4, {"a": 1})
    assert read.people["L2"] == pytest.approx({"007": 8.5, "009": 0.0})
    assert read.people["L2-norm"] == pytest.approx({"007": 8.5 * 17**0.5, "009": 0.0})
    assert read.scalars["L2"] == pytest.approx(4.25)
    assert read.people["within10"] == pytest.approx({"007": 50.0, "009": 100.0})
    assert read.scalars["within10"] == pytest.approx(75.0)
    assert read.people["PSNR"] == pytest.approx({"007": 25.0, "009": 30.0})
    assert read.scalars["PSNR"] == pytest.approx(80 / 3)
    assert read.people["frames"] == {"007": 2, "009": 2}
    assert read.people["AP"]["009"] == pytest.approx(100)
    assert "recovered" not in read.scalars
    other = crops.parent / "other.json"
    add_cells(WeightedSum("some", "original", 5, ((1.0, cell),), other, {"b": 2}))
    again, about = Cell.read(other)
    assert about == {"b": 2}
    assert again == replace(read, seed=5)


def test_share_of_lost_precision_that_is_recovered(crops: Path) -> None:
    """Of AP 0 in degraded and 100 in original video half comes back; one person's gain is a share of the whole loss."""
    far, near = 500.0, 0.0
    base = written(crops, "base-degraded", poses([far] * 6))
    best = written(crops, "base-original", poses([near] * 6))
    cell = crops.parent / "cell.json"
    for offsets, people in (([near] * 3 + [far] * 3, [100, 0]), ([far] * 6, [0, 0]), ([near] * 6, [100, 100])):
        job = written(crops, f"system-{people}", poses(offsets))
        measure(PoseTest(job, "some", "degraded", 0, 2, (base, best), cell, {}))
        read, _ = Cell.read(cell)
        assert read.people["recovered"] == pytest.approx(dict(zip(("007", "009"), people)))
        assert read.scalars["recovered"] == pytest.approx(read.scalars["AP"])
    # Where nothing is lost, nothing can be recovered.
    measure(PoseTest(best, "some", "degraded", 0, 2, (best, best), cell, {}))
    assert np.isnan(Cell.read(cell)[0].scalars["recovered"])


def test_a_person_without_known_joints_is_left_out(crops: Path) -> None:
    found = poses([0.0] * 6)
    found.true[3:, :, 2] = 0
    cell = crops.parent / "cell.json"
    measure(PoseTest(written(crops, "some", found), "some", "original", 0, 1, None, cell, {}))
    assert set(Cell.read(cell)[0].people["AP"]) == {"007"}


def test_poses_that_are_gone(tmp_path: Path) -> None:
    (tmp_path / "poses.npz").write_bytes(b"")
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 and no more")
    for name in ("poses.npz", "cut.npz", "none.npz"):
        with pytest.raises(DataError, match="holds no poses"):
            Found.read(tmp_path / name)
    with pytest.raises(DataError, match="names no crops"):
        read_crops(tmp_path / "none.json", 0.0)


def test_examples_show_each_methods_poses(crops: Path, tmp_path: Path) -> None:
    """Fig. 3: a row for the true poses, one for each method."""
    data, frames = read_crops(crops, 0.0)
    true = np.concatenate([np.asarray(store.read_sequence(p)) for p in sorted(crops.parent.rglob("2_poses.pkl"))])
    nothing = np.zeros_like(true)
    names = np.array(["a"] * 7)
    shown = {
        name: Found(poses, true, np.zeros((7, 4)), np.zeros(7), names, frames)
        for name, poses in (("b", nothing), ("c", true))
    }
    path = examples(tmp_path / "examples.png", data, np.arange(7), shown, count=3)
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert picture.shape == (3 * 256, 3 * 192, 3)
    rows = [picture[k * 256 + 40 : (k + 1) * 256] for k in range(3)]  # below the rows' names
    assert np.abs(rows[0] - rows[2]).max() == 0  # the same poses in the same crops
    assert np.abs(rows[0] - rows[1]).mean() > 5  # where none are found, none are drawn


def test_panels(crops: Path, tmp_path: Path) -> None:
    """Five crops a frame; what corrects nothing shows the same before and after."""
    data, _ = read_crops(crops, 0.0)
    finder = Finder(config(tmp_path), None, False, "cpu")
    picture = np.asarray(Image.open(panels(tmp_path / "a.png", data, np.arange(7), finder, finder, 2)).convert("RGB"))
    assert picture.shape == (2 * 256, 5 * 192, 3)
    parts = [picture[40:, k * 192 : (k + 1) * 192].astype(int) for k in range(5)]
    assert np.abs(parts[0] - parts[1]).max() == 0
    assert np.abs(parts[2] - parts[3]).max() == 0
    assert np.abs(parts[0] - parts[2]).max() > 0


def test_curves(tmp_path: Path) -> None:
    """Crops seen are iterations times the batch; what was not looked at is a gap."""
    rows = [{"iteration": 0.0, "AP": 30.0}, {"iteration": 5.0, "AP": 31.25, "AP-original": 70.5}]
    curves = [Curve.of("one", 1, rows, 16), Curve.of("two", 0, rows[:1], 8)]
    with curves_table(tmp_path / "curves.csv", curves).open() as stream:
        read = list(csv.DictReader(stream))
    assert [(row["system"], row["seed"], row["crops"]) for row in read] == [
        ("one", "1", "0"),
        ("one", "1", "80"),
        ("two", "0", "0"),
    ]
    assert [(row["AP"], row["AP-original"]) for row in read] == [("30.000", ""), ("31.250", "70.500"), ("30.000", "")]
    assert Image.open(curves_figure(tmp_path / "curves.png", curves, {"AP": 30.0})).width > 500
