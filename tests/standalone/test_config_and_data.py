"""What is wrong with a config or its data is said before training, by name."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
import yaml

from gaitext import standalone
from gaitext.config import load_yaml
from gaitext.errors import CheckpointError, ConfigError, DataError, GaitextError
from gaitext.losses import CrossEntropyLoss, TripletLoss
from gaitext.standalone.building import LossSum
from gaitext.standalone.data import Request, SequenceDataset, build_chains, find_leaves
from gaitext.standalone.settings import HostConfig
from gaitext.store import write_leaf
from gaitext.toolboxes.parts import MODELS

Config = dict[str, Any]


@pytest.fixture
def copy(data: Path, tmp_path: Path) -> Path:
    """The tiny data set, to be damaged."""
    shutil.copytree(data, tmp_path / "copy")
    return tmp_path / "copy"


def _set(path: str, value: Any) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        *above, last = path.split(".")
        section: Any = config
        for name in above:
            section = section[int(name)] if isinstance(section, list) else section[name]
        section[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_set("model_cfg.class_num", 3), r"class_num.*\n.*(write 4|4)"),
        (_set("model_cfg.model", "Tinny"), "Tiny"),
        (_set("trainer_config", {}), "trainer_cfg"),
        (_set("trainer_cfg.total_iters", 5), "total_iter"),
        (_set("trainer_cfg.sampler.sample_type", "fixed_unorderd"), "fixed_unordered"),
        (_set("trainer_cfg.sampler.type", "TripletSample"), "TripletSampler"),
        (_set("trainer_cfg.sampler.batch_size", 12), "batch_size"),
        (_set("trainer_cfg.transform", [{"type": "BaseSilCuttingTransform"}]), "BaseSilCuttingTransform"),
        (_set("trainer_cfg.transform", [{"type": "HeatmapInput", "chanels": 3}]), "channels"),
        (_set("data_cfg.dataset_partition", "/nowhere.json"), "partition"),
        (_set("data_cfg.dataset_root", "/nowhere"), "nowhere"),
        (_set("data_cfg.data_in_use", [False]), "transform"),
        (_set("loss_cfg.0.type", "TripletLos"), "TripletLoss"),
        (_set("loss_cfg.0.margine", 0.2), "margin"),
        (_set("loss_cfg.1.log_prefix", "soft"), "softmax"),
        (_set("optimizer_cfg.solver", "Adamm"), "Adam"),
        (_set("optimizer_cfg.lr", "1e-3"), "1.0e-"),
        (_set("optimizer_cfg", {"solver": "Adam", "lr": 0.1}), "weight_decay"),
        (_set("optimizer_cfg.nestrov", True), "nesterov"),
        (_set("scheduler_cfg", {"scheduler": "StepLR"}), "gamma"),
        (_set("scheduler_cfg", {"scheduler": "StepLR", "gamma": 0.1}), "step_size"),
        (_set("trainer_cfg.sampler.batch_size", [12, 1]), "TripletLoss has a positive"),
        (_set("trainer_cfg.sampler.batch_size", [1, 12]), "TripletLoss has a negative"),
        (_set("fabric_cfg", {"precision": "16-mixed"}), "GPU"),
        (_set("fabric_cfg", {"precison": "bf16-mixed"}), "precision"),
    ],
)
def test_training_refuses(data: Path, tmp_path: Path, change: Callable[[Config], None], named: str) -> None:
    config = tiny.config(data)
    change(config)
    with pytest.raises(GaitextError, match=named):
        standalone.train(config, output=tmp_path, quiet=True)
    assert not list(tmp_path.rglob("*.pt"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_set("evaluator_cfg.eval_func", "evaluate_indor_dataset"), "evaluate_indoor_dataset"),
        (_set("evaluator_cfg.eval_func", "HID_submission"), r"OpenGait's own(.|\n)*evaluate_indoor_dataset"),
        (_set("evaluator_cfg.metrik", "cos"), "metric"),
        (_set("evaluator_cfg.cross_view_gallery", True), "cross_view_gallery"),
        (_set("data_cfg.dataset_name", "CASIA-C"), "CASIA-B|no checkpoint"),
    ],
)
def test_testing_refuses(data: Path, tmp_path: Path, change: Callable[[Config], None], named: str) -> None:
    config = tiny.config(data)
    change(config)
    with pytest.raises(GaitextError, match=named):
        standalone.test(config, output=tmp_path, quiet=True)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_set("evaluator_cfg.eval_func", "evaluate_indor_dataset"), "evaluate_indoor_dataset"),
        (_set("evaluator_cfg.metrik", "cos"), "metric"),
        (_set("evaluator_cfg.metric", "cosine"), "euc or cos"),
        (_set("evaluator_cfg.sampler.batch_size", [2, 2]), "one number"),
        (_set("evaluator_cfg.transform", [{"type": "HeatmapInputs"}]), "HeatmapInput"),
        (_set("data_cfg.test_dataset_name", "CASIA-E"), "no cross-view protocol"),
        (_set("evaluator_cfg.eval_func", "evaluate_PsyMo"), "is for PsyMo"),
        (_set("evaluator_cfg.table", "table.txt"), "csv or .json"),
    ],
)
def test_tests_in_between_are_examined_before_training(
    data: Path, tmp_path: Path, change: Callable[[Config], None], named: str
) -> None:
    config = tiny.config(data, with_test=True)
    change(config)
    with pytest.raises(GaitextError, match=named):
        standalone.train(config, output=tmp_path, quiet=True)
    assert not list(tmp_path.rglob("log.csv"))


def test_test_data_are_examined_before_training(copy: Path, tmp_path: Path) -> None:
    victim = copy / "data" / "005" / "nm-03" / "090" / "0_frames.pkl"
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-40])
    with pytest.raises(DataError, match=str(victim)):
        standalone.train(tiny.config(copy, with_test=True), output=tmp_path, quiet=True)
    victim.write_bytes(whole)
    for identity in ("005", "006"):
        for leaf in (copy / "data" / identity).glob("nm-0[1-4]"):
            shutil.rmtree(leaf)
    with pytest.raises(DataError, match="gallery is empty"):
        standalone.train(tiny.config(copy, with_test=True), output=tmp_path, quiet=True)
    assert not list(tmp_path.rglob("log.csv"))


def test_torchruns_processes_are_counted(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "5", "LOCAL_WORLD_SIZE": "5"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="5 processes"):
        standalone.train(tiny.config(data), output=tmp_path, quiet=True)
    config = tiny.config(data)
    config["evaluator_cfg"]["sampler"]["batch_size"] = [2, 2]
    with pytest.raises(ConfigError, match="5 processes"):
        standalone.test(config, output=tmp_path, quiet=True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="sync_BN"):
        standalone.train(tiny.config(data, sync_BN=True), output=tmp_path, quiet=True)


def test_a_test_takes_an_iteration_or_a_checkpoint(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--iter"):
        standalone.test(tiny.config(data), iteration=3, checkpoint="x.pt", output=tmp_path, quiet=True)


def test_a_useless_checkpoint_is_named(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "tiny-00001.pt"
    for content in (b"", b"no checkpoint", pickle.dumps({"model": print}, protocol=2)):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=str(path)) as caught:
            standalone.test(tiny.config(data), checkpoint=path, output=tmp_path, quiet=True)
        assert "weights_only" not in str(caught.value)


def test_a_test_without_a_checkpoint_says_so(data: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint"):
        standalone.test(tiny.config(data), output=tmp_path, quiet=True)
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        standalone.test(tiny.config(data), iteration=5, output=tmp_path, quiet=True)


def test_batch_statistics_of_two_processes_need_gpus(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sync_BN"):
        standalone.train(tiny.config(data, sync_BN=True), devices=2, output=tmp_path, quiet=True)


def test_shipped_configs_are_read() -> None:
    found = sorted((Path(__file__).parents[2] / "configs").rglob("*.yaml"))
    shipped = [path for path in found if "\nmodel_cfg:" in path.read_text(encoding="utf-8")]
    assert shipped
    for path in shipped:
        host = HostConfig.read(path)
        assert host.trainer.sampler.frames.sample_type
        extractor = load_yaml(path)["model_cfg"].get("gse", {"model_cfg": {"model": "GaitHeat"}})
        if extractor["model_cfg"]["model"] in MODELS:  # else it is a toolbox's, and so are its transforms
            build_chains(host.trainer.transform, where="trainer_cfg.transform")


def test_a_config_may_be_a_file(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny.config(data, total_iter=1, log_iter=1)))
    assert standalone.train(path, output=tmp_path, quiet=True).iteration == 1


def test_a_truncated_file_stops_the_run_by_name(copy: Path, tmp_path: Path) -> None:
    victim = copy / "data" / "002" / "nm-03" / "090" / "0_frames.pkl"
    victim.write_bytes(victim.read_bytes()[:-40])
    for depth in ("auto", "tail", "full"):
        config = tiny.config(copy) | {"fabric_cfg": {"check": depth}}
        with pytest.raises(DataError, match=str(victim)):
            standalone.train(config, output=tmp_path, quiet=True)
    assert not list(tmp_path.rglob("log.csv"))


def test_a_truncated_file_found_while_training_is_named(copy: Path, tmp_path: Path) -> None:
    for victim in (copy / "data").rglob("*.pkl"):
        victim.write_bytes(victim.read_bytes()[:-40])
    config = tiny.config(copy) | {"fabric_cfg": {"check": "none"}}
    config["data_cfg"]["num_workers"] = 1
    with pytest.raises(DataError, match=r"0_frames\.pkl"):
        standalone.train(config, output=tmp_path, quiet=True)


def test_check_data_names_every_kind_of_damage(copy: Path) -> None:
    root = copy / "data"
    assert standalone.check_data(tiny.config(copy), quiet=True).ok
    (root / "001" / "nm-01" / "000" / "0_frames.pkl").write_bytes(b"")
    (root / "001" / "nm-01" / "090" / "0_frames.pkl").unlink()
    shutil.copy(root / "001/nm-02/000/0_frames.pkl", root / "001/nm-02/000/1_more.pkl")
    nan = np.zeros((5, 3, 4), np.float16)
    nan[2] = np.nan
    write_leaf(root, "002", "nm-01", "000", {"0_frames": nan})
    write_leaf(root, "002", "nm-02", "000", {"0_frames": np.zeros((5, 3, 5), np.float32)})
    write_leaf(root, "003", "nm-01", "000", {"0_frames": np.zeros((5, 3, 4), np.float64)})
    (root / "005" / "nm-01" / "000" / "0_frames.pkl").write_bytes(b"cos\nsystem\n(S'echo " + b"0" * 40 + b"'\ntR.")
    report = standalone.check_data(tiny.config(copy), workers=0, quiet=True)
    text = "\n".join(report.problems)
    for expected in (
        "001/nm-01/000/0_frames.pkl: is empty",
        "001/nm-01/090: no .pkl",
        "001/nm-02/000: 2 files",
        "002/nm-01/000/0_frames.pkl: NaN or infinity, first in frame 2",
        "002/nm-02/000: frames are float32 [3, 5], those of most leaves float16 [3, 4]",
        "003/nm-01/000: frames are float64 [3, 4], those of most",
        "os.system",
    ):
        assert expected in text
    assert len(report.problems) == 7
    assert report.leaves == 120
    with pytest.raises(DataError, match="7 problems"):
        report.raise_problems()


def test_dangling_links_are_reported(copy: Path, tmp_path: Path) -> None:
    leaf = copy / "data" / "001" / "nm-01" / "000"
    (leaf / "0_frames.pkl").unlink()
    (leaf / "0_frames.pkl").symlink_to(tmp_path / "gone.pkl")
    report = standalone.check_data(tiny.config(copy), quiet=True)
    (problem,) = report.problems
    assert problem.startswith(f"{leaf}/0_frames.pkl: is a link to {tmp_path}/gone.pkl")
    with pytest.raises(DataError, match=r"gone\.pkl"):
        standalone.train(tiny.config(copy), output=tmp_path, quiet=True)


def test_a_report_reads_well(data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "of: today"  # a colon in the path
    shutil.copytree(data, copy)
    assert re.fullmatch(
        r"120 sequences, 120 files, \d+ KiB, read in full: no problem; 5 to 11 frames, median \d",
        str(standalone.check_data(tiny.config(copy), quiet=True)),
    )
    victim = copy / "data" / "001" / "nm-01" / "000" / "0_frames.pkl"
    victim.write_bytes(victim.read_bytes()[:-40])
    report = standalone.check_data(tiny.config(copy), quiet=True)
    first, problem, mend = str(report).splitlines()
    assert first.startswith("120 sequences")
    assert "1 problem;" in first
    assert problem == f"  {victim}: is truncated (it does not end as a pickle does)"
    assert mend.startswith("To mend it")
    assert "looked at" in str(standalone.check_data(tiny.config(copy), depth="tail", quiet=True))


def test_missing_identities_are_named_or_allowed(copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(copy / "data" / "002")
    with pytest.raises(DataError, match="002"):
        standalone.train(tiny.config(copy), output=tmp_path, quiet=True)
    config = tiny.config(copy, total_iter=1) | {"fabric_cfg": {"allow_missing": True}}
    assert standalone.train(config, output=tmp_path, quiet=True).iteration == 1


def test_labels_and_order_are_opengaits(copy: Path) -> None:
    (copy / "partition.json").write_text(json.dumps({"TRAIN_SET": ["003", "001"], "TEST_SET": ["005"]}))
    host = HostConfig.read(tiny.config(copy))
    found = find_leaves(host.data, training=True)
    assert [leaf.identity for leaf in found[:2]] == ["003", "003"]  # the partition's order
    chains = build_chains([None], where="transform")
    dataset = SequenceDataset(found, host.data, host.trainer.sampler.frames, chains, 0)
    assert dataset.label_set == ["001", "003"]  # labels count the sorted identities
    assert dataset[Request(0, 0, 0)].label == 1
    sample, again = dataset[Request(0, 5, 2)], dataset[Request(0, 5, 2)]
    assert torch.equal(sample.sequences[0], again.sequences[0])
    assert not torch.equal(sample.sequences[0], dataset[Request(0, 6, 2)].sequences[0])


def test_transform_lists() -> None:
    flip = {"type": "HeatmapFlip", "probability": 1.0}
    frames = np.random.default_rng(0).random((4, 17, 8, 6)).astype(np.float32)
    results = []
    for section in (
        [{"type": "Compose", "trf_cfg": [{"type": "HeatmapInput"}, flip]}],
        [[{"type": "HeatmapInput"}, flip]],
        flip,
    ):
        (chain,) = build_chains(section, where="transform")
        results.append(chain(frames, np.random.default_rng(0)))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
    assert not np.array_equal(results[0], frames)
    half = build_chains({"type": "HeatmapFlip"}, where="transform")[0]
    outcomes = [np.array_equal(half(frames, np.random.default_rng(s)), frames) for s in range(20)]
    assert outcomes == [np.array_equal(half(frames, np.random.default_rng(s)), frames) for s in range(20)]
    assert len(set(outcomes)) == 2


def test_the_losses_are_weighted_and_added() -> None:
    embeddings, logits = torch.randn(8, 4, 3), torch.randn(8, 4, 3)
    labels = torch.arange(8) % 4
    both = LossSum(
        [
            {"type": "TripletLoss", "log_prefix": "a", "loss_term_weight": 2.0},
            {"type": "CrossEntropyLoss", "log_prefix": "b"},
        ]
    )
    fed = {"embeddings": embeddings, "labels": labels}, {"logits": logits, "labels": labels}
    total, scalars = both({"a": fed[0], "b": fed[1], "own": torch.tensor([1.0, 3.0])})
    expected = 2 * TripletLoss()(**fed[0])[0].mean() + CrossEntropyLoss()(**fed[1])[0] + 2
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(scalars["loss"], expected)
    with pytest.raises(ConfigError, match="'c'"):
        both({"c": fed[0]})
