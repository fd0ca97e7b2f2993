"""Studies of artifact correction: what stands on what, what is done once, numbers against numbers by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gaitext import store
from gaitext.config import load_yaml
from gaitext.errors import ConfigError, DataError
from gaitext.pose import load_estimator
from gaitext.restoration.crop_data import CropData, read_split
from gaitext.restoration.settings import AugmentSettings, CorrectionConfig
from gaitext.studies import Cell, Running, parse_study, training
from gaitext.studies.cells import WeightedSum, add_cells
from gaitext.studies.compression import CompressionStudy
from gaitext.studies.compression_data import read_crops
from gaitext.studies.compression_poses import Found, PoseTest, Search, examples, frame_poses, measure, search
from gaitext.studies.tasks import Task, waves
from gaitext.walkers import write_dataset

CONFIGS = Path(__file__).parents[2] / "configs" / "correction"
WALKERS = load_yaml(CONFIGS / "walkers.yaml")
BARE = {key: value for key, value in WALKERS.items() if key not in ("tables", "claims")}


def study(**changes: Any) -> CompressionStudy:
    return CompressionStudy({**BARE, **changes}, CONFIGS / "walkers.yaml")


def tasks(tmp_path: Path, **changes: Any) -> dict[str, Task]:
    return {task.name: task for task in study(**changes).tasks(Running(tmp_path, device="cpu"))}


def depth(found: dict[str, Task]) -> dict[str, int]:
    return {task.name: level for level, wave in enumerate(waves(list(found.values()))) for task in wave}


@pytest.mark.parametrize("name", ["walkers", "paper_study"])
def test_those_that_ship_are_studies(name: str) -> None:
    read = parse_study(CONFIGS / f"{name}.yaml")
    assert isinstance(read, CompressionStudy)
    assert [table.name for table in read.settings.tables] == ["table1", "distances", "table2", "table3"]
    # A margin is in its claim's name.
    assert all(("less than" in claim.name) == (claim.by != 0) for claim in read.settings.claims)


def test_cells(tmp_path: Path) -> None:
    """Every system and seed under every condition; recognition of the seeds asked for."""
    given = study(recognition={**BARE["recognition"], "seeds": [1]}, seeds=[0, 1])
    found = [task for task in given.tasks(Running(tmp_path, device="cpu")) if given.is_cell(task)]
    names = {task.name.removeprefix("test ") for task in found}
    methods = ("base", "fine-tuned", "corrected")
    assert names == {f"{m}@{v}, seed {s}" for m in methods for v in ("degraded", "original") for s in (0, 1)} | {
        f"{m}@gait-{v}, seed 1" for m in methods for v in ("degraded", "original")
    }
    assert len({task.done for task in found}) == len(found)


def test_what_stands_on_what(tmp_path: Path) -> None:
    found = tasks(tmp_path, seeds=[0, 1])
    deep = depth(found)
    chain = ("data videos", "data crops", "train corrected, seed 0", "poses corrected, seed 0, original")
    levels = [deep[name] for name in (*chain, "test corrected@gait-original, seed 0")]
    assert levels == sorted(set(levels))
    # Nothing is trained for the base; its poses are found once.
    assert deep["poses base, degraded"] == deep["train corrected, seed 1"]
    assert isinstance(found["test base@degraded, seed 0"].argument, PoseTest)
    assert isinstance(found["test base@degraded, seed 1"].argument, WeightedSum)
    assert found["test base@degraded, seed 1"].argument.parts == ((1.0, found["test base@degraded, seed 0"].done),)
    testing = found["test corrected@gait-degraded, seed 1"].argument
    assert isinstance(testing, training.Testing)
    assert (testing.cell_seed, testing.training.seed) == (1, 0)
    searched = found["poses corrected, seed 1, degraded"].argument
    assert testing.config["data_cfg"]["dataset_root"] == str(searched.folder / "sequences")
    assert searched.weights == found["train corrected, seed 1"].argument.weights
    # Data take all cores, trainings stand side by side.
    assert {name for name, task in found.items() if task.alone} == {"data videos", "data crops", "data clean poses"}


def test_several_gpus_go_to_one_training_at_a_time(tmp_path: Path) -> None:
    found = tasks(tmp_path, nproc=2)
    assert all(task.alone for name, task in found.items() if name.startswith(("train c", "train f")))
    assert not found["train GaitPT"].alone
    assert found["train corrected, seed 0"].argument.nproc == 2


SMALL = {
    "identities": 4,
    "train_identities": 3,
    "protocol": "psymo",
    "types": ["nm-01"],
    "views": ["045"],
    "frames": 3,
    "content": ["poses_frame", "keypoints", "video"],
    "camera": {"width": 160, "height": 120, "distance": 8.0},
    "seed": 2,
}


def test_recognition_is_trained_on_the_label_sources_poses_of_the_training_identities(tmp_path: Path) -> None:
    """Of walkers: the renderer's joints in frame pixels, none but those who train; tested on those for the result."""
    found = tasks(tmp_path, walkers=SMALL)
    data = found["data clean poses"].argument
    write_dataset(data.walkers, data.config.data.truth, quiet=True)  # in this process, as the task does in others
    split = {"train": ["001", "002"], "val": ["003"], "test": ["004"]}
    store.write_json(data.config.data.split, split)
    found["data clean poses"].function(data)
    assert found["data clean poses"].is_done()
    config = found["train GaitPT"].argument.config["data_cfg"]
    assert json.loads(Path(config["dataset_partition"]).read_text()) == {
        "TRAIN_SET": split["train"],
        "TEST_SET": split["test"],
    }
    root, (walkers,) = Path(config["dataset_root"]), (tmp_path / "data").glob("walkers-*")
    assert sorted(path.name for path in root.iterdir()) == sorted(split["train"])
    assert config["data_in_use"] == [True]
    for leaf in root.glob("*/*/*"):
        (file,) = leaf.glob("*.pkl")
        ours = np.asarray(store.read_sequence(file))
        (source,) = (walkers / "sequences" / leaf.relative_to(root)).glob("*_keypoints.pkl")
        true = np.asarray(store.read_sequence(source))
        x, y = true[..., 0], true[..., 1]
        outside = (x <= -0.5) | (x >= 159.5) | (y <= -0.5) | (y >= 119.5)
        assert ours[~outside, :2] == pytest.approx(true[~outside, :2])
        assert np.array_equal(ours[~outside, 2], np.where(true[~outside, 2] >= 0.5, 1, 0.5))  # hidden ones count less
        assert not ours[outside].any()
    # What the estimator finds has no part in it.
    other = tasks(tmp_path, walkers=SMALL, correction={**BARE["correction"], "estimator": "onnx:x.onnx"})
    assert other["data clean poses"].about == found["data clean poses"].about


def test_recognition_is_trained_on_an_extractions_poses_of_the_training_identities(tmp_path: Path) -> None:
    people = [f"{k:03d}" for k in range(10)]
    for name in people:
        (tmp_path / "truth" / "sequences" / name).mkdir(parents=True)
    (tmp_path / "degraded").mkdir()
    data = {name: str(tmp_path / name) for name in ("truth", "degraded", "cache")}
    found = tasks(tmp_path / "out", walkers=None, correction={**BARE["correction"], "data": data})
    found["data clean poses"].function(found["data clean poses"].argument)
    config = found["train GaitPT"].argument.config["data_cfg"]
    split = read_split(None, people, 0)
    assert config["dataset_root"] == str(tmp_path / "truth" / "sequences")
    assert config["data_in_use"] == [False, False, True, False]
    partition = json.loads(Path(config["dataset_partition"]).read_text())
    assert partition == {"TRAIN_SET": list(split.train), "TEST_SET": list(split.test)}
    assert (len(split.train), len(split.val)) == (8, 1)


@pytest.mark.parametrize("name", ["walkers", "paper_study"])
def test_tables_have_the_papers_angles(name: str) -> None:
    """Seven variations and their mean, for each method: six angles and the mean."""
    for table in parse_study(CONFIGS / f"{name}.yaml").settings.tables[2:]:
        assert table.headers() == ["0°", "45°", "90°", "180°", "225°", "270°", "mean"]
        rows = dict(table.lines())
        assert len(rows) == 8 * 4
        line = rows["WSS: fine-tuned"]
        assert line[4] == ("fine-tuned", table.columns[0].condition, "WSS-225")
        assert line[6][2] == "WSS"
        # Printed means are those of the printed angles.
        for line in table.published[1:8]:
            for numbers in line.partition(": ")[2].split("; "):
                *angles, mean = map(float, numbers.split(", "))
                assert len(angles) == 6
                assert np.mean(angles) == pytest.approx(mean, abs=0.011)


def test_angles_that_are_not_walked_are_refused() -> None:
    table = WALKERS["tables"][2]
    with pytest.raises(ConfigError, match="will have no 'NM-090'"):
        study(walkers={**BARE["walkers"], "views": ["000", "045"]}, tables=[table])


def test_paper_config_is_hrnets_recipe() -> None:
    config = CorrectionConfig.read(CONFIGS / "paper.yaml")
    steps = config.finetune_trainer
    assert steps is not None
    assert (steps.batch_size, steps.lr, steps.weight_decay, steps.mirror) == (240, 5e-4, 0, 0.5)
    assert steps.augment == AugmentSettings(rotation=45, scale=0.35, half_body=0.3)
    length = steps.length(787_626)
    shares = [step / length for step in range(1, length) if steps.rate(step, length) != steps.rate(step - 1, length)]
    assert shares == pytest.approx([170 / 210, 200 / 210], abs=1e-4)
    assert steps.epochs == config.trainer.epochs  # both arms see the data equally often


def test_examples_show_each_methods_poses(crops: Path, tmp_path: Path) -> None:
    """Fig. 3: a row for the true poses, one for each method."""
    data = read_crops(crops)
    true = np.concatenate([np.asarray(store.read_sequence(p)) for p in sorted(crops.parent.rglob("2_poses.pkl"))])
    nothing = np.zeros_like(true)
    names = np.array(["a"] * 7)
    shown = {
        name: Found(poses, true, np.zeros((7, 4)), names, np.arange(7)) for name, poses in (("b", nothing), ("c", true))
    }
    path = examples(tmp_path / "examples.png", data, np.arange(7), shown, count=3)
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert picture.shape == (3 * 256, 3 * 192, 3)
    rows = [picture[k * 256 + 40 : (k + 1) * 256] for k in range(3)]  # below the rows' names
    assert np.abs(rows[0] - rows[2]).max() == 0  # the same poses in the same crops
    assert np.abs(rows[0] - rows[1]).mean() > 5  # where none are found, none are drawn


def test_without_recognition(tmp_path: Path) -> None:
    found = tasks(tmp_path, recognition=None)
    assert not [name for name in found if "gait" in name.lower() or "clean" in name]
    assert found["poses corrected, seed 0, degraded"].argument.stride == BARE["test_stride"]
    with pytest.raises(ConfigError, match="gait-degraded"):
        study(recognition=None, claims=[{"name": "a", "better": "corrected@gait-degraded", "than": "base@degraded"}])


def test_made_anew_is_what_has_changed(tmp_path: Path) -> None:
    """A setting of one training leaves the other's and the data as they are."""
    before = tasks(tmp_path)
    correction = {**BARE["correction"], "finetune_trainer": {**BARE["correction"]["finetune_trainer"], "lr": 1e-5}}
    after = tasks(tmp_path, correction=correction)
    other = {n for n in before if before[n].done != after[n].done or before[n].about != after[n].about}
    assert other == {name for name in before if "fine-tuned" in name}
    degraded = tasks(tmp_path, degrade={"crf": 40})
    # Clean poses are of original videos.
    assert {n for n in before if before[n].done == degraded[n].done} == {"data clean poses", "train GaitPT"}


def test_released_weights(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        tasks(tmp_path, released=str(tmp_path / "fbcnn_color.pth"))
    (tmp_path / "fbcnn_color.pth").write_bytes(b"one")
    one = tasks(tmp_path, released=str(tmp_path / "fbcnn_color.pth"))["test released@degraded, seed 2"]
    assert isinstance(one.argument, WeightedSum)
    (tmp_path / "fbcnn_color.pth").write_bytes(b"two")
    two = tasks(tmp_path, released=str(tmp_path / "fbcnn_color.pth"))["test released@degraded, seed 2"]
    assert one.done != two.done


def test_refuses(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="toolbox"):
        study().tasks(Running(tmp_path, toolbox=tmp_path))
    table = {"name": "panels", "title": "a", "rows": ["base"], "columns": [{"condition": "degraded"}]}
    with pytest.raises(ConfigError, match="panels"):
        study(tables=[table])
    with pytest.raises(ConfigError, match="temprature"):
        study(correction={**BARE["correction"], "objective": {"temprature": 1}})
    table = {"name": "a", "title": "a", "rows": ["base"], "columns": [{"condition": "degraded", "metrics": ["APP"]}]}
    with pytest.raises(ConfigError, match="base@degraded will have no 'APP'"):
        study(tables=[table])
    with pytest.raises(ConfigError, match=r"walkers\.content: name keypoints and video"):
        study(walkers={**BARE["walkers"], "content": ["poses"]})
    gait = {"config": str(CONFIGS.parent / "gaitpt" / "tiny.yaml")}
    for overrides, said in (
        ({"model_cfg": {"layerz": 3}}, "recognition: .*layerz"),
        ({"loss_cfg": [{"type": "Triplet", "log_prefix": "triplet"}]}, "recognition: .*TripletLoss"),
    ):
        with pytest.raises(ConfigError, match=rf"(?s){said}"):
            study(recognition={**gait, "overrides": overrides})


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    """Test crops of two people, of noise, and the file that names them."""
    generator = np.random.default_rng(0)
    leaves = {}
    for identity, frames in (("007", 3), ("009", 4)):
        leaf = {
            "0_degraded": generator.integers(0, 256, (frames, 3, 256, 192), dtype=np.uint8),
            "1_original": generator.integers(0, 256, (frames, 3, 256, 192), dtype=np.uint8),
            "2_poses": (generator.random((frames, 17, 3)) * [191, 255, 1]).astype(np.float32),
            "3_boxes": np.tile(np.float32([40, 20, 110, 220]), (frames, 1)),
            "4_crops": np.float32([[10 * k, 5, 96, 128] for k in range(frames)]),
        }
        store.write_leaf(tmp_path / "test-crops" / "sequences", identity, "nm-01", "000", leaf)
        leaves[f"{identity}/nm-01/000"] = frames
    done = tmp_path / "crops.json"
    store.write_json(done, {"folder": "test-crops", "leaves": leaves, "min_score": 0.0})
    return done


def searching(crops: Path, **changes: Any) -> Search:
    config = study().data(Running(crops.parent)).config
    made = {"trained": {"seed": None}}
    return replace(Search("base", config, None, False, crops, 1, True, crops.parent / "poses", "cpu", made), **changes)


def test_search(crops: Path) -> None:
    """Poses are those the estimator finds in the crops; leaves have them in the frame."""
    job = searching(crops)
    search(job)
    found, data = Found.read(job.poses), read_crops(crops)
    assert found.rows.tolist() == [0, 1, 2, 0, 1, 2, 3]
    assert found.identities.tolist() == ["007"] * 3 + ["009"] * 4
    images = data.frames([3]).images.float() / 255
    heatmaps = load_estimator("movenet:lightning").heatmaps(images).numpy()
    assert np.allclose(found.found[3, :, 2], heatmaps.max((-1, -2))[0], atol=1e-4)
    leaf = np.asarray(store.read_sequence(job.folder / "sequences/009/nm-01/000/2_poses_frame.pkl"))
    known = leaf[2, :, 2] > 0
    assert known.any()
    # Its third crop shows 96×128 pixels from (20, 5) on, twice as large: edges are half a pixel from centres.
    expected = (found.found[5, known, :2] + 0.5) / 2 + (20, 5) - 0.5
    assert np.allclose(leaf[2, known, :2], expected, atol=1e-4)
    assert json.loads((job.folder / "partition.json").read_text())["TEST_SET"] == ["007", "009"]
    assert json.loads(job.done.read_text())["frames"] == 7


def test_search_of_every_other_frame(crops: Path) -> None:
    job = searching(crops, stride=2, leaves=False, original=True)
    search(job)
    assert Found.read(job.poses).rows.tolist() == [0, 2, 0, 2]
    assert not (job.folder / "sequences").exists()


def test_leaves_come_in_the_datas_order(crops: Path) -> None:
    data = read_crops(crops)
    assert isinstance(data, CropData)
    rows = np.array([0, 1, 2, 0, 1, 2, 3])
    poses = np.ones((7, 17, 3), np.float32) * np.arange(7)[:, None, None]
    found = Found(poses, poses, np.zeros((7, 4)), np.repeat(np.array(data.names), [3, 4]), rows)
    frames = frame_poses(found, data)
    assert [len(frames[name]) for name in data.names] == [3, 4]
    assert frames[data.names[1]][0, 0, 2] == 3
    assert (frames[data.names[0]][0] == 0).all()  # not found: no place either


def test_cell_of_poses(crops: Path) -> None:
    """L2 by hand: all joints of one person are 3, 4 pixels off in every frame, of the other right."""
    job = searching(crops)
    true = np.concatenate((np.random.default_rng(1).random((6, 17, 2)) * 100, np.ones((6, 17, 1))), -1)
    found = true.copy()
    found[:2, :, :2] += (3, 4)
    found[1, :, :2] += 1000  # an odd row, which is not measured
    leaves = np.array(["007/nm-01/000"] * 2 + ["009/nm-01/000"] * 4)
    job.folder.mkdir()
    poses = Found(found, true, np.tile([0.0, 0, 100, 200], (6, 1)), leaves, np.array([0, 1, 0, 1, 2, 3]))
    poses.write(job.poses)
    cell = crops.parent / "cell.json"
    measure(PoseTest(job, "degraded", 4, 2, cell, {"a": 1}))
    read, about = Cell.read(cell)
    assert (read.system, read.condition, read.seed, about) == ("base", "degraded", 4, {"a": 1})
    assert read.people["L2"] == pytest.approx({"007": 5.0, "009": 0.0})
    assert read.people["L2-norm"] == pytest.approx({"007": 5 * 17**0.5, "009": 0.0})
    assert read.scalars["L2"] == pytest.approx(5 / 3)
    assert read.people["frames"] == {"007": 1, "009": 2}
    assert read.people["AP"]["009"] == pytest.approx(100)
    other = crops.parent / "other.json"
    add_cells(WeightedSum("base", "degraded", 5, ((1.0, cell),), other, {"b": 2}))
    again, about = Cell.read(other)
    assert about == {"b": 2}
    assert again == replace(read, seed=5)


def test_poses_that_are_gone(tmp_path: Path) -> None:
    (tmp_path / "poses.npz").write_bytes(b"")
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 and no more")
    for name in ("poses.npz", "cut.npz", "none.npz"):
        with pytest.raises(DataError, match="holds no poses"):
            Found.read(tmp_path / name)
    with pytest.raises(DataError, match="names no crops"):
        read_crops(tmp_path / "none.json")
