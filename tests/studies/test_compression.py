"""Studies of artifact correction: what stands on what, what is done once, what is made anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitext import store
from gaitext.config import load_yaml
from gaitext.errors import ConfigError
from gaitext.restoration.crop_data import read_split
from gaitext.restoration.settings import AugmentSettings, CorrectionConfig
from gaitext.studies import Running, parse_study, training
from gaitext.studies.cells import WeightedSum
from gaitext.studies.compression import CompressionStudy
from gaitext.studies.compression_poses import PoseTest
from gaitext.studies.tasks import Task, waves
from gaitext.walkers import write_dataset

CONFIGS = Path(__file__).parents[2] / "configs" / "correction"
WALKERS = load_yaml(CONFIGS / "walkers.yaml")
BARE = {key: value for key, value in WALKERS.items() if key not in ("tables", "claims")}
#: The study's own people alone, by few systems.
PLAIN = {
    **BARE,
    "systems": {"fine-tuned": {"train": "estimator"}, "corrected": {"train": "corrector"}},
    "recognition": {"gait": {"config": str(CONFIGS.parent / "gaitpt" / "tiny.yaml")}},
    "restorer": None,
    "domains": {},
    "tests": {},
    "recognition_stride": 1,
}


def study(**changes: Any) -> CompressionStudy:
    return CompressionStudy({**PLAIN, **changes}, CONFIGS / "walkers.yaml")


def tasks(tmp_path: Path, **changes: Any) -> dict[str, Task]:
    return {task.name: task for task in study(**changes).tasks(Running(tmp_path, device="cpu"))}


def cells(given: CompressionStudy, out: Path) -> set[str]:
    found = [task for task in given.tasks(Running(out, device="cpu")) if given.is_cell(task)]
    assert len({task.done for task in found}) == len(found)
    return {task.name.removeprefix("test ") for task in found}


def depth(found: dict[str, Task]) -> dict[str, int]:
    return {task.name: level for level, wave in enumerate(waves(list(found.values()))) for task in wave}


@pytest.mark.parametrize("name", ["walkers", "paper_study"])
def test_those_that_ship_are_studies(name: str) -> None:
    read = parse_study(CONFIGS / f"{name}.yaml")
    assert isinstance(read, CompressionStudy)
    assert {"table1", "distances", "table2", "table3"} <= {table.name for table in read.settings.tables}
    # A margin is in its claim's name.
    for claim in read.settings.claims:
        assert ("less than" in claim.name or "more than a" in claim.name) == (claim.by != 0), claim.name


def test_the_shipped_study_of_walkers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whom it trains on, what is as large as what, and that real people are not needed to begin."""
    monkeypatch.chdir(tmp_path)
    read = parse_study(CONFIGS / "walkers.yaml")
    assert isinstance(read, CompressionStudy)
    found = {task.name: task for task in read.tasks(Running(tmp_path / "out", device="cpu"))}
    data = found["data videos"].argument
    assert data.training_identities == 31  # and three validate
    steps = {name: task.argument for name, task in found.items() if name.startswith("train") and ", seed 0" in name}
    seen = set()
    for name in ("fine-tuned", "fine-tuned-originals", "eq1"):
        correction = steps[f"train {name}, seed 0"]
        mode = "finetune" if correction.finetune else "correct"
        trainer = correction.config.model_copy(update={"mode": mode}).steps
        seen.add(trainer.iterations * trainer.batch_size)
    assert len(seen) == 1
    # A part that only the other data has is not asked of what is there.
    assert not [name for name in found if "people" in name or "own" in name or "corrected," in name]
    assert found["data elsewhere"].argument.walkers.seed == 500
    # With it, real people teach in one place and are tested in another.
    for folder, clip in (("own", "cam01.mp4"), ("clips", "sports2d.mp4")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / clip).write_bytes(b"a video")
    found = {task.name: task for task in read.tasks(Running(tmp_path / "out", device="cpu"))}
    config = found["train corrected, seed 2"].argument.config
    assert config.data.videos == tmp_path / "own"
    assert config.trainer.iterations * config.trainer.batch_size in seen
    assert found["data people"].argument.videos()[0].path.name == "sports2d.mp4"


def test_cells(tmp_path: Path) -> None:
    """Every system and seed under every condition; recognition of the seeds asked for."""
    gait = {**PLAIN["recognition"]["gait"], "correction_seeds": [1], "seeds": [0, 4], "systems": ["corrected"]}
    names = cells(study(recognition={"gait": gait}, seeds=[0, 1], tests={"crf": [37]}), tmp_path)
    methods = ("base", "fine-tuned", "corrected")
    assert names == {
        f"{m}@{v}, seed {s}" for m in methods for v in ("degraded", "original", "crf37") for s in (0, 1)
    } | {f"{m}@gait-{v}, seed 1" for m in ("base", "corrected") for v in ("degraded", "original")}


def test_seeds_of_a_system(tmp_path: Path) -> None:
    systems = {"fine-tuned": {"train": "estimator", "seeds": [1]}, "corrected": {"train": "corrector"}}
    names = cells(study(systems=systems, recognition={}, seeds=[0, 1]), tmp_path)
    assert "fine-tuned@degraded, seed 1" in names
    assert "fine-tuned@degraded, seed 0" not in names
    assert "base@degraded, seed 0" in names


def test_domains(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Walkers are rendered; videos that are not there leave dashes, and the log says how to get them."""
    videos = tmp_path / "clips"
    domains = {
        "elsewhere": BARE["domains"]["elsewhere"],
        "people": {"videos": str(videos), "obtain": "ask somebody", "crops": {"crop": "box"}, "test_stride": 5},
    }
    column = {"condition": "people-degraded", "metrics": ["AP", "within10"]}
    table = {"name": "a", "title": "a", "rows": ["base"], "columns": [column]}
    changes: dict[str, Any] = {"domains": domains, "recognition": {}, "tables": [table], "seeds": [0]}
    names = cells(study(**changes), tmp_path / "out")
    assert "corrected@elsewhere-degraded, seed 0" in names
    assert not [name for name in names if "people" in name]
    assert "ask somebody" in caplog.text
    videos.mkdir()
    (videos / "one.mp4").write_bytes(b"a video")
    found = tasks(tmp_path / "out", **changes)
    assert isinstance(found["test base@people-degraded, seed 0"].argument, PoseTest)
    crops = found["data test crops of people, crf 45"].argument
    assert (crops.settings.crop, crops.stride, crops.min_score) == ("box", 5, 0.4)
    assert [source.path.name for source in crops.domain.videos()] == ["one.mp4"]
    assert found["poses base, people-original"].argument.crops == crops.done
    # Who is seen anew is another's cell.
    (videos / "one.mp4").write_bytes(b"another")
    again = tasks(tmp_path / "out", **changes)
    assert again["test base@people-degraded, seed 0"].done != found["test base@people-degraded, seed 0"].done
    assert again["train corrected, seed 0"].done == found["train corrected, seed 0"].done


def test_what_is_tested_does_not_change_trainings(tmp_path: Path) -> None:
    """So that trainings can begin before all tests are thought of."""
    before = tasks(tmp_path)
    domains = {"elsewhere": BARE["domains"]["elsewhere"]}
    tests: dict[str, Any] = {"tests": {"crf": [37, 51]}, "domains": domains, "recognition": {}, "test_stride": 2}
    systems = {**PLAIN["systems"], "another": {"train": "corrector", "overrides": {"trainer": {"lr": 1e-5}}}}
    after = tasks(tmp_path, **tests, systems=systems)
    for seed in (0, 1, 2):
        for name in ("fine-tuned", "corrected"):
            one, two = (found[f"train {name}, seed {seed}"] for found in (before, after))
            assert (one.done, one.about) == (two.done, two.about)
    assert "train another, seed 0" in after


def test_restorer(tmp_path: Path) -> None:
    """It sees those who train alone; a corrector that begins with it waits for it, and for its weights."""
    systems = {
        "restorer": {"restorer": True},
        "fine-tuned": {"train": "estimator"},
        "corrected": {"train": "corrector", "begin": "restorer"},
    }
    model = {"channels": [4, 4], "blocks": 1, "embedding_size": 4}
    restorer = {"model": model, "trainer": {"iterations": 5, "batch_size": 4}}
    correction = {**BARE["correction"], "model": model}
    changes: dict[str, Any] = {"systems": systems, "restorer": restorer, "correction": correction, "walkers": SMALL}
    found = tasks(tmp_path, recognition={}, **changes)
    deep = depth(found)
    assert deep["train restorer"] < deep["train corrected, seed 0"]
    assert deep["train fine-tuned, seed 0"] == deep["train restorer"]
    pretraining, corrected = found["train restorer"].argument, found["train corrected, seed 0"].argument
    assert corrected.config.model.weights == pretraining.weights.resolve()
    assert found["poses restorer, degraded"].argument.finder.weights == pretraining.weights.resolve()
    assert isinstance(found["test restorer@degraded, seed 1"].argument, WeightedSum)
    store.write_json(pretraining.data.config.data.split, {"train": ["001", "002"], "val": ["003"], "test": ["004"]})
    pretraining.data.link_training_videos()
    (tree,) = pretraining.config.data.videos
    assert sorted(path.name for path in tree.iterdir()) == ["001", "002"]
    # With another pre-training the corrector is trained anew, and what does not begin with it is not.
    other = tasks(tmp_path, recognition={}, **{**changes, "restorer": {**restorer, "trainer": {"iterations": 6}}})
    changed = {name for name in found if name in other and found[name].done != other[name].done}
    assert {"train restorer", "train corrected, seed 0", "test restorer@degraded, seed 0"} <= changed
    assert not {"train fine-tuned, seed 0", "test base@degraded, seed 0"} & changed


def test_a_system_that_learns_from_video_without_labels_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = tmp_path / "own"
    taught = {"objective": {"coordinate_weight": 0.0, "distillation_weight": 1.0}, "trainer": {"videos_share": 0.25}}
    system = {"train": "corrector", "videos": str(own), "obtain": "film somebody", "overrides": taught}
    systems = {**PLAIN["systems"], "taught": system}
    table = {"name": "a", "title": "a", "rows": ["taught"], "columns": [{"condition": "degraded", "metrics": ["AP"]}]}
    changes: dict[str, Any] = {"systems": systems, "recognition": {}, "tables": [table], "seeds": [0, 1]}
    before = tasks(tmp_path / "out", **changes)
    assert "film somebody" in caplog.text
    assert not [name for name in before if "taught" in name]
    own.mkdir()
    (own / "one.mp4").write_bytes(b"a video")
    found = tasks(tmp_path / "out", **changes)
    deep = depth(found)
    cut = found[f"data crops of {own}"]
    assert cut.alone
    assert deep["data crops"] < deep[cut.name] < deep["train taught, seed 0"]
    assert cut.needs == ("data crops",)
    assert found["train taught, seed 1"].needs == (cut.name,)
    assert found["train corrected, seed 0"].needs == ("data crops",)
    config = found["train taught, seed 0"].argument.config
    assert (config.data.videos, config.data.degrade.crf, config.trainer.videos_share) == (own, 45, 0.25)
    assert config.data.cache == found["train corrected, seed 0"].argument.config.data.cache
    # What nothing but this system reads changes nothing else; another video is another training.
    same = [name for name in before if not name.startswith("test")]
    assert all(found[name].done == before[name].done for name in same)
    (own / "one.mp4").write_bytes(b"another")
    again = tasks(tmp_path / "out", **changes)
    changed = {name for name in found if again[name].done != found[name].done}
    assert {cut.name, "train taught, seed 0", "test taught@degraded, seed 1"} <= changed
    assert not {name for name in changed if "corrected" in name or "base" in name}


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
    testing = found["test corrected@gait-degraded/0, seed 1"].argument
    assert isinstance(testing, training.Testing)
    assert (testing.cell_seed, testing.training.seed) == (1, 0)
    searched = found["poses corrected, seed 1, degraded"].argument
    assert testing.config["data_cfg"]["dataset_root"] == str(searched.folder / "poses")
    assert searched.finder.weights == found["train corrected, seed 1"].argument.weights.resolve()
    # Data take all cores, trainings stand side by side.
    alone = {"data videos", "data crops", "data test crops", "data clean poses"}
    assert {name for name, task in found.items() if task.alone} == alone


def test_a_cell_of_recognition_is_the_mean_over_recognisers(tmp_path: Path) -> None:
    """The base has no correction's seed: its one mean stands for all."""
    gait = {**PLAIN["recognition"]["gait"], "seeds": [0, 4]}
    found = tasks(tmp_path, recognition={"gait": gait}, seeds=[0, 1])
    mean = found["test corrected@gait-original, seed 1"]
    parts = [found[f"test corrected@gait-original/{seed}, seed 1"] for seed in (0, 4)]
    assert mean.argument.parts == tuple((0.5, part.done) for part in parts)
    assert {part.argument.training.seed for part in parts} == {0, 4}
    base = [found[f"test base@gait-original, seed {seed}"].argument for seed in (0, 1)]
    assert (
        base[0].parts
        == base[1].parts
        == tuple((0.5, found[f"test base@gait-original/{s}, seed 0"].done) for s in (0, 4))
    )
    assert "test base@gait-original/0, seed 1" not in found


def test_heatmaps_for_recognition(tmp_path: Path) -> None:
    """Gaussians at the true joints of the training crops; what is searched is kept as heatmaps, too."""
    heat = BARE["recognition"]["gaitheat"]
    found = tasks(tmp_path, recognition={"heat": {**heat, "systems": ["corrected"], "seeds": [0]}}, walkers=SMALL)
    assert found["poses corrected, seed 0, degraded"].argument.leaves == ("heatmaps",)
    assert found["poses fine-tuned, seed 0, degraded"].argument.leaves == ()
    training_of = found["train heat, seed 0"].argument
    assert training_of.config["model_cfg"]["class_num"] == 2
    clean = found["data clean heatmaps"].argument
    config = clean.data.config.data
    store.write_json(config.split, {"train": ["001"], "val": ["002"], "test": ["003"]})
    (config.truth / "sequences" / "001").mkdir(parents=True)
    poses = np.zeros((2, 17, 3), np.float32)
    poses[0, 3] = (4 * 10 + 1.5, 4 * 20 + 1.5, 1)  # the middle of a heatmap's pixel
    store.write_leaf(config.cache / "sequences", "001", "nm-01", "000", {"2_poses": poses})
    found["data clean heatmaps"].function(clean)
    root = Path(training_of.config["data_cfg"]["dataset_root"])
    maps = np.asarray(store.read_sequence(root / "001" / "nm-01" / "000" / "0_heatmaps.pkl")).astype(float)
    assert maps.shape == (2, 17, 64, 48)
    assert maps[0, 3, 20, 10] == pytest.approx(1, abs=0.01)
    assert maps[0, 3, 20, 12] == pytest.approx(np.exp(-0.5), abs=0.01)
    assert not maps[0, :3].any()
    assert not maps[1].any()


def test_several_gpus_go_to_one_training_at_a_time(tmp_path: Path) -> None:
    found = tasks(tmp_path, nproc=2)
    assert all(task.alone for name, task in found.items() if name.startswith(("train c", "train f")))
    assert not found["train gait, seed 0"].alone
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


@pytest.mark.parametrize("stride", [1, 2])
def test_recognition_is_trained_on_the_label_sources_poses_of_the_training_identities(
    tmp_path: Path, stride: int
) -> None:
    """Of walkers: the renderer's joints in frame pixels, none but those who train; tested on those for the result, in
    frames as far apart."""
    found = tasks(tmp_path, walkers=SMALL, recognition_stride=stride, test_stride=4)
    assert found["poses corrected, seed 1, original"].argument.stride == stride
    clean = found["data clean poses"].argument
    data = clean.data
    write_dataset(data.walkers, data.config.data.truth, quiet=True)  # in this process, as the task does in others
    split = {"train": ["001", "002"], "val": ["003"], "test": ["004"]}
    store.write_json(data.config.data.split, split)
    found["data clean poses"].function(clean)
    assert found["data clean poses"].is_done()
    config = found["train gait, seed 0"].argument.config["data_cfg"]
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
        true = np.asarray(store.read_sequence(source))[::stride]
        assert len(ours) == len(true) > 1
        x, y = true[..., 0], true[..., 1]
        outside = (x <= -0.5) | (x >= 159.5) | (y <= -0.5) | (y >= 119.5)
        assert ours[~outside, :2] == pytest.approx(true[~outside, :2])
        assert np.array_equal(ours[~outside, 2], np.where(true[~outside, 2] >= 0.5, 1, 0.5))  # hidden ones count less
        assert not ours[outside].any()
    # What the estimator finds has no part in it.
    onnx = {**BARE["correction"], "estimator": "onnx:x.onnx"}
    other = tasks(tmp_path, walkers=SMALL, recognition_stride=stride, test_stride=4, correction=onnx)
    assert other["data clean poses"].about == found["data clean poses"].about


def test_recognition_is_trained_on_an_extractions_poses_of_the_training_identities(tmp_path: Path) -> None:
    people = [f"{k:03d}" for k in range(10)]
    for name in people:
        (tmp_path / "truth" / "sequences" / name).mkdir(parents=True)
    (tmp_path / "degraded").mkdir()
    data = {name: str(tmp_path / name) for name in ("truth", "degraded", "cache")}
    found = tasks(tmp_path / "out", walkers=None, correction={**BARE["correction"], "data": data})
    found["data clean poses"].function(found["data clean poses"].argument)
    config = found["train gait, seed 0"].argument.config["data_cfg"]
    split = read_split(None, people, 0)
    assert config["dataset_root"] == str(tmp_path / "truth" / "sequences")
    assert config["data_in_use"] == [False, False, True, False]
    partition = json.loads(Path(config["dataset_partition"]).read_text())
    assert partition == {"TRAIN_SET": list(split.train), "TEST_SET": list(split.test)}
    assert (len(split.train), len(split.val)) == (8, 1)


@pytest.mark.parametrize(("name", "groups"), [("walkers", 4), ("paper_study", 8)])
def test_tables_have_the_papers_angles(name: str, groups: int) -> None:
    """The variations and their mean, for each method: six angles and the mean."""
    tables = [table for table in parse_study(CONFIGS / f"{name}.yaml").settings.tables if table.groups]
    assert len(tables) in (2, 4)
    for table in tables:
        assert table.headers() == ["0°", "45°", "90°", "180°", "225°", "270°", "mean"]
        rows = dict(table.lines())
        assert len(rows) == groups * len(table.rows)
        line = rows["CL: fine-tuned"]
        assert line[4] == ("fine-tuned", table.columns[0].condition, "CL-225")
        assert line[6][2] == "CL"
        # Printed means are those of the printed angles.
        for printed in table.published[1:8]:
            for numbers in printed.partition(": ")[2].split("; "):
                *angles, mean = map(float, numbers.split(", "))
                assert len(angles) == 6
                assert np.mean(angles) == pytest.approx(mean, abs=0.011)


def test_angles_that_are_not_walked_are_refused() -> None:
    table = next(table for table in WALKERS["tables"] if table["name"] == "table2")
    recognition = {"gait": PLAIN["recognition"]["gait"]}
    with pytest.raises(ConfigError, match="will have no 'NM-090'"):
        study(recognition=recognition, walkers={**BARE["walkers"], "views": ["000", "045"]}, tables=[table])


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


def test_without_recognition(tmp_path: Path) -> None:
    found = tasks(tmp_path, recognition={})
    assert not [name for name in found if "gait" in name.lower() or "clean" in name]
    assert found["poses corrected, seed 0, degraded"].argument.stride == BARE["test_stride"]
    with pytest.raises(ConfigError, match="gait-degraded"):
        study(recognition={}, claims=[{"name": "a", "better": "corrected@gait-degraded", "than": "base@degraded"}])


def test_made_anew_is_what_has_changed(tmp_path: Path) -> None:
    """A setting of one training leaves the other's and the data as they are."""
    before = tasks(tmp_path)
    correction = {**BARE["correction"], "finetune_trainer": {**BARE["correction"]["finetune_trainer"], "lr": 1e-5}}
    after = tasks(tmp_path, correction=correction)
    other = {n for n in before if before[n].done != after[n].done or before[n].about != after[n].about}
    assert other == {name for name in before if "fine-tuned" in name}
    degraded = tasks(tmp_path, degrade={"crf": 40})
    # Clean poses are of original videos.
    assert {n for n in before if before[n].done == degraded[n].done} == {"data clean poses", "train gait, seed 0"}


def test_released_weights(tmp_path: Path) -> None:
    systems = {**PLAIN["systems"], "released": {"weights": str(tmp_path / "fbcnn_color.pth")}}
    with pytest.raises(ConfigError, match="no such file"):
        tasks(tmp_path, systems=systems)
    (tmp_path / "fbcnn_color.pth").write_bytes(b"one")
    one = tasks(tmp_path, systems=systems)["test released@degraded, seed 2"]
    assert isinstance(one.argument, WeightedSum)
    (tmp_path / "fbcnn_color.pth").write_bytes(b"two")
    two = tasks(tmp_path, systems=systems)["test released@degraded, seed 2"]
    assert one.done != two.done
    # Without weights its rows hold dashes.
    table = {"name": "a", "title": "a", "rows": ["released"], "columns": [{"condition": "degraded", "metrics": ["AP"]}]}
    found = tasks(tmp_path, systems={**systems, "released": {"weights": None}}, tables=[table])
    assert not [name for name in found if "released" in name]


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
        ({"model_cfg": {"layerz": 3}}, r"recognition\.gait: .*layerz"),
        ({"loss_cfg": [{"type": "Triplet", "log_prefix": "triplet"}]}, r"recognition\.gait: .*TripletLoss"),
    ):
        with pytest.raises(ConfigError, match=rf"(?s){said}"):
            study(recognition={"gait": {**gait, "overrides": overrides}})


UNLABELLED = {
    "estimator": "movenet",
    "data": {"videos": "x", "cache": "c"},
    "objective": {"coordinate_weight": 0, "distillation_weight": 1},
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"systems": {"base": {"train": "corrector"}}}, "which is always there"),
        ({"walkers": None, "correction": UNLABELLED}, "nothing says what is true"),
        ({"systems": {"a": {}}}, "give one of weights"),
        ({"systems": {"a": {"train": "corrector", "restorer": True}}}, "give one of weights"),
        ({"systems": {"a": {"train": "estimator", "begin": "restorer"}}}, "only a corrector"),
        ({"systems": {"a": {"train": "estimator", "videos": "v"}}}, "only a corrector learns"),
        ({"systems": {"a": {"train": "corrector", "videos": "v"}}}, "distillation_weight"),
        ({"recognition_stride": 3}, "test_stride is no multiple"),
        ({"walkers": None, "recognition_stride": 2}, "only walkers have one"),
        ({"systems": {"a": {"train": "corrector", "begin": "restorer"}}}, "there is no restorer"),
        ({"systems": {"a": {"train": "corrector", "overrides": {"data": {}}}}}, "overrides: 'data'"),
        ({"systems": {"a": {"train": "corrector", "overrides": {"objective": {"temprature": 1}}}}}, "temprature"),
        ({"tests": {"crf": [45]}}, "is what `degraded` is"),
        ({"domains": {"a": {}}}, "give walkers, or videos"),
        ({"domains": {"a": {"walkers": {"content": ["video"]}}}}, "keypoints and video"),
        ({"domains": {"gait": {"videos": "x"}}}, "is a domain's name, too"),
        ({"domains": {"original": {"videos": "x"}}}, "may not be the name of one"),
        ({"domains": {"a": {"videos": "x", "crops": {"cropp": "box"}}}}, r"domains\.a\.crops.*cropp"),
    ],
)
def test_refuses_systems_and_domains(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=rf"(?s){said}"):
        study(**changes)


def test_overrides_of_fine_tuning_begin_with_the_trainers(tmp_path: Path) -> None:
    correction = {key: value for key, value in BARE["correction"].items() if key != "finetune_trainer"}
    systems = {"fine-tuned": {"train": "estimator", "overrides": {"finetune_trainer": {"original_share": 1.0}}}}
    found = tasks(tmp_path, correction=correction, systems=systems, recognition={})
    steps = found["train fine-tuned, seed 0"].argument.config.finetune_trainer
    assert (steps.original_share, steps.batch_size) == (1.0, correction["trainer"]["batch_size"])
