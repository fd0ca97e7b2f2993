"""Configs for one's own data: they train and test with no edit, follow the rules, and keep what shipped ones say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from own import STEMS, write_own
from typer.testing import CliRunner

from gaitext import cli, standalone
from gaitext.config import load_yaml, shipped_configs
from gaitext.errors import ConfigError, DataError
from gaitext.standalone.building import build_model
from gaitext.standalone.data import Request, SequenceDataset, build_chains, collate, find_leaves
from gaitext.standalone.memory import training_memory
from gaitext.standalone.new_config import _BASES, MODELS, new_config
from gaitext.standalone.settings import HostConfig
from gaitext.store import leaves, write_leaf
from gaitext.toolboxes.toolbox import TOOLBOXES
from gaitext.toolboxes.validate import validate_config
from gaitext.walkers import WalkerSettings


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_own(tmp_path_factory.mktemp("own") / "clips")


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """No memory is estimated, which takes longer than all else."""
    monkeypatch.setattr("gaitext.standalone.new_config.training_memory", lambda config: None)


def run(*words: object) -> str:
    done = CliRunner().invoke(cli.app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


# A system's stages before the last are the networks alone.
@pytest.mark.parametrize("model", ["rg-gait:gaitheat", "rg-gait:gaitpt", "rg-gait", "mimicgait"])
def test_three_commands_train_and_test_every_model(
    own: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = run("config", "new", "--model", model, "--data", own, "--iterations", 2, "--out", "mine.yaml")
    files = ["mine_oem.yaml", "mine_gse.yaml", "mine.yaml"]
    assert [line.split()[2] for line in said.splitlines() if line.startswith("gaitext train")] == files
    assert all(f"{file}: about" in said for file in files)
    for file in files:
        run("train", file, "-q", "--device", "cpu")
        table = run("test", file, "-q", "--device", "cpu")
        assert ("type" in table) if "oem" in file else ("rank-1" in table and "bg" in table)


@pytest.mark.parametrize("size", ["small", "published"])
@pytest.mark.parametrize("model", [*MODELS, "rg-gait:gaitpt", "mimicgait:gaitheat"])
@pytest.mark.usefixtures("unmeasured")
def test_every_host_accepts_them(own: Path, model: str, size: str, tmp_path: Path) -> None:
    for made in new_config(model, own, size=size, out=tmp_path / "mine.yaml"):
        config = load_yaml(made.path)
        for toolbox in (*TOOLBOXES, None):
            for training in (True, False):
                assert validate_config(config, training, toolbox=toolbox, world_size=1) == []


def differences(one: Any, two: Any, at: str = "") -> set[str]:
    """Places in which two configs differ."""
    if isinstance(one, dict) and isinstance(two, dict):
        return {
            place
            for key in {**one, **two}
            for place in differences(one.get(key, "absent"), two.get(key, "absent"), f"{at}.{key}".lstrip("."))
        }
    return set() if one == two else {at}


@pytest.mark.parametrize("model", ["gaitheat", "gaitbase"])
@pytest.mark.parametrize("size", list(_BASES))
@pytest.mark.usefixtures("unmeasured")
def test_all_else_is_the_shipped_config(own: Path, model: str, size: str, tmp_path: Path) -> None:
    made = new_config(model, own, size=size, out=tmp_path / "mine.yaml")[0]
    base = shipped_configs()[_BASES[size][model].name]
    changed = differences(load_yaml(made.path), load_yaml(base))
    data = {f"data_cfg.{key}" for key in ("dataset_name", "test_dataset_name", "dataset_root", "dataset_partition")}
    assert data < changed
    assert changed - data <= {
        *(f"data_cfg.{key}" for key in ("data_in_use", "cache", "num_workers")),
        *(f"evaluator_cfg.{key}" for key in ("eval_func", "gallery", "probe", "exclude", "restore_hint", "save_name")),
        *(f"trainer_cfg.{key}" for key in ("total_iter", "save_iter", "log_iter", "save_name")),
        *(f"trainer_cfg.sampler.{key}" for key in ("batch_size", "frames_num_fixed")),
        *("model_cfg.class_num", "scheduler_cfg.milestones"),
    }
    # Lines of what stayed are there still, with their comments and the blank lines between sections.
    lines = made.text.splitlines()
    stayed = [line for line in base.read_text().splitlines() if not line.startswith("#")]
    assert sum(line in lines for line in stayed) >= len(stayed) - 20
    assert lines.count("") == stayed.count("")


@pytest.mark.usefixtures("unmeasured")
def test_the_rules(tmp_path: Path) -> None:
    # Three walks each of four people, 6 to 9 frames long.
    data = write_own(tmp_path / "few", types=("a", "b", "c"), views=("x",), train=4)
    made = new_config("gaitheat", data, size="published", out=tmp_path / "mine.yaml")[0]
    config = load_yaml(made.path)
    assert config["model_cfg"]["class_num"] == 4
    assert config["trainer_cfg"]["sampler"]["batch_size"] == [4, 3]  # 8 × 8 there
    lengths = [len(np.load(file, allow_pickle=True)) for file in (data / "sequences").glob("00[1-4]/*/*/3_boxes.pkl")]
    assert config["trainer_cfg"]["sampler"]["frames_num_fixed"] == int(np.median(lengths))
    # 472 draws of each of 12 sequences in batches of 12 are below the least.
    assert config["trainer_cfg"]["total_iter"] == config["evaluator_cfg"]["restore_hint"] == 1000
    assert config["scheduler_cfg"]["milestones"] == [333, 667, 833]
    assert config["trainer_cfg"]["save_name"] == config["evaluator_cfg"]["save_name"] == "mine"
    assert config["data_cfg"]["data_in_use"] == [True, False, False, False, False]
    assert config["data_cfg"]["dataset_root"] == str(data / "sequences")
    assert (config["data_cfg"]["cache"], config["data_cfg"]["num_workers"]) == (True, 0)
    assert config["data_cfg"]["dataset_name"] == "few"


@pytest.mark.usefixtures("unmeasured")
def test_iterations_follow_the_draws_of_a_sequence(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gaitext.standalone.new_config._LEAST", 10)
    config = load_yaml(new_config("gaitheat", own, size="published", out=tmp_path / "a.yaml")[0].path)
    # 18 sequences, batches of 3 × 6, 60,000 · 64 / 8,140 draws of each.
    assert config["trainer_cfg"]["total_iter"] == 500
    poses = load_yaml(new_config("gaitpt", own, size="published", out=tmp_path / "b.yaml")[0].path)
    assert poses["trainer_cfg"]["total_iter"] == 200  # 200 epochs, as published
    assert poses["scheduler_cfg"]["step_size_up"] == round(495 * 200 / 6600)
    # The same decay over the whole training.
    assert poses["scheduler_cfg"]["gamma"] ** 200 == pytest.approx(0.99984812**6600, rel=1e-4)
    assert poses["trainer_cfg"]["sampler"]["type"] == "TripletSampler"
    named = load_yaml(new_config("gaitpt", own, iterations=7, size="small", out=tmp_path / "c.yaml")[0].path)
    assert named["trainer_cfg"]["total_iter"] == named["scheduler_cfg"]["total_steps"] == 7


def test_the_sequences_that_draws_are_counted_by() -> None:
    """Those of the shipped configs' own data."""
    for base, walkers in (
        ("gaitheat/tiny", "gaitheat/tiny_walkers"),
        ("gaitpt/tiny", "gaitpt/tiny_walkers"),
        ("rg-gait/tiny_gse", "rg-gait/tiny_walkers"),
    ):
        people = WalkerSettings.parse(load_yaml(walkers), where=walkers)
        count = next(each.sequences for each in _BASES["small"].values() if each.name == base)
        assert count == people.training * len(people.types) * len(people.views)


@pytest.mark.parametrize(
    ("types", "views", "wanted"),
    [
        (("nm-01", "bg-01"), ("000",), {"gallery": {"type": "nm"}, "probe": {"bg": {"type": "bg"}}}),
        (
            ("nm-01", "bg-01", "cl"),
            ("000", "090"),
            {
                "gallery": {"type": "nm"},
                "probe": {"bg": {"type": "bg"}, "cl": {"type": "cl"}},
                "exclude": "view",
            },
        ),
        (("walk-01", "walk-02"), ("000",), {"gallery": {"type": "walk-01"}}),
        (("walk",), ("000", "090"), {"exclude": "view"}),
        (("090", "no"), ("x",), {"gallery": {"type": "090"}, "probe": {"no": {"type": "no"}}}),
    ],
)
@pytest.mark.usefixtures("unmeasured")
def test_the_protocol_fits_the_types(
    types: tuple[str, ...], views: tuple[str, ...], wanted: dict[str, Any], tmp_path: Path
) -> None:
    data = write_own(tmp_path / "own", types=types, views=views, stems=["4_silhouettes"])
    config = load_yaml(new_config("gaitbase", data, out=tmp_path / "mine.yaml")[0].path)
    found = {
        key: config["evaluator_cfg"][key] for key in ("gallery", "probe", "exclude") if key in config["evaluator_cfg"]
    }
    assert found == wanted
    assert config["data_cfg"]["data_in_use"] == [True]


@pytest.mark.usefixtures("unmeasured")
def test_toolboxes_silhouettes_are_taken(tmp_path: Path) -> None:
    """OpenGait's own pickles, called after the view, and of another width."""
    for person in ("1", "2", "3"):
        for kind in ("nm-01", "nm-02"):
            write_leaf(tmp_path / "set", person, kind, "090", {"090": np.zeros((4, 128, 128), np.uint8)})
    run("partition", tmp_path / "set", "--test", "3")
    config = load_yaml(new_config("gaitbase", tmp_path / "set", iterations=2, out=tmp_path / "mine.yaml")[0].path)
    assert config["trainer_cfg"]["transform"] == [{"type": "SilhouetteInput", "cut": 20}]
    assert config["data_cfg"]["dataset_name"] == "set"


def test_memory_is_that_of_the_whole_batch(own: Path, tmp_path: Path) -> None:
    """Against what autograd keeps of a batch as training draws it."""
    for model in ("gaitheat", "gaitpt"):
        made = new_config(model, own, size="small", out=tmp_path / f"{model}.yaml")[0]
        host = HostConfig.read(made.path)
        chains = build_chains(host.trainer.transform, where="")
        found = find_leaves(host.data, training=True)
        dataset = SequenceDataset(found, host.data, host.trainer.sampler.frames, chains, 0)
        people, each = host.trainer.sampler.batch_size  # type: ignore[misc]
        samples = [dataset[Request(i % len(dataset), 0, i)] for i in range(people * each)]
        batch = collate(samples, packed=host.trainer.sampler.frames.count != "fixed")
        network = build_model(host.model).train()
        kept: dict[int, torch.UntypedStorage] = {}

        def keep(tensor: torch.Tensor, kept: dict[int, torch.UntypedStorage] = kept) -> torch.Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            output = network(batch.inputs(torch.device("cpu")))
        weights = {weight.untyped_storage().data_ptr() for weight in network.parameters()}
        whole = sum(storage.nbytes() for place, storage in kept.items() if place not in weights)
        assert output is not None
        assert made.memory.batch == pytest.approx(whole, rel=0.15)
        count = sum(weight.numel() for weight in network.parameters())
        assert made.memory.weights == pytest.approx(16 * count, rel=0.02)  # AdamW: weight, gradient, two moments
        assert training_memory(made.path) == made.memory


@pytest.mark.usefixtures("unmeasured")
def test_what_is_missing_is_said(own: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.yaml"
    with pytest.raises(ConfigError, match="did you mean 'gaitheat'"):
        new_config("gaitheet", own, out=out)
    with pytest.raises(ConfigError, match="--size"):
        new_config("gaitheat", own, size="large", out=out)
    with pytest.raises(ConfigError, match="--out"):
        new_config("gaitheat", own, out=tmp_path / "mine.txt")
    poses = write_own(tmp_path / "poses", stems=STEMS[1:3])
    with pytest.raises(ConfigError, match=r"gaitheat needs heatmaps, and the leaves hold other, poses"):
        new_config("gaitheat", poses, out=out)
    assert new_config("rg-gait", poses, out=out)[-1].path == out  # over poses
    with pytest.raises(DataError, match="is another"):
        new_config("gaitpt", poses, out=out)
    assert new_config("gaitpt", poses, out=out, overwrite=True)[0].written
    assert not new_config("gaitpt", poses, out=out)[0].written

    (poses / "partition.json").unlink()
    with pytest.raises(DataError, match=r"gaitext partition .* --test 004,005"):
        new_config("gaitpt", poses, out=out)
    alone = write_own(tmp_path / "alone", types=("a",), views=("x",), stems=STEMS[4:])
    with pytest.raises(DataError, match="two sequences of one"):
        new_config("gaitbase", alone, out=out)
    mixed = write_own(tmp_path / "mixed", stems=STEMS[4:])
    write_leaf(mixed / "sequences", "004", "cl-01", "000", {"0_other": np.zeros((3, 64, 64), np.uint8)})
    with pytest.raises(DataError, match="which must be the same in all"):
        new_config("gaitbase", mixed, out=out)


@pytest.mark.usefixtures("unmeasured")
def test_a_test_that_can_tell_nothing_is_said(tmp_path: Path) -> None:
    data = write_own(tmp_path / "own", stems=STEMS[4:])
    for leaf in leaves(data / "sequences"):
        if leaf.identity in ("004", "005") and (leaf.type, leaf.view) != ("nm-01", "000"):
            for file in leaf.files():
                file.unlink()
            leaf.path.rmdir()
    made = new_config("gaitbase", data, iterations=2, out=tmp_path / "mine.yaml")[0]
    assert "NOBODY tested has two sequences" in made.text
    standalone.train(made.path, output=tmp_path / "output", device="cpu", quiet=True)
    with pytest.raises(DataError, match="has a mate"):
        standalone.test(made.path, output=tmp_path / "output", device="cpu", quiet=True)
