"""Every mistake in a config that a toolbox would swallow is named, with its place and what was meant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gaitext import store
from gaitext.errors import ConfigError, DataError
from gaitext.toolboxes import parts
from gaitext.toolboxes.toolbox import TOOLBOXES
from gaitext.toolboxes.validate import check_transforms, uses_gaitext, validate_config
from gaitext.transforms.base import RandomTransform, Transform

from . import data

OPENGAIT = TOOLBOXES[0]


def validate(cfgs: dict[str, Any], training: bool = True, world_size: int | None = 1) -> list[str]:
    return validate_config(cfgs, training, toolbox=OPENGAIT, world_size=world_size)


@pytest.mark.parametrize("training", [True, False])
def test_accepts_a_right_config(dataset: Path, training: bool) -> None:
    assert validate(data.config(dataset), training) == []


def edit(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(cfgs: dict[str, Any]) -> None:
        target: Any = cfgs
        *way, last = path.split("/")
        for step in way:
            target = target[int(step) if step.isdigit() else step]
        if value is None:
            del target[last]
        else:
            target[int(last) if last.isdigit() else last] = value

    return change


@pytest.mark.parametrize(
    ("change", "place", "hint"),
    [
        (edit("model_cfg/embeding_size", 8), "model_cfg.embeding_size", "embedding_size"),
        (edit("model_cfg/class_num", 2), "model_cfg.class_num", "write 3"),
        (edit("trainer_cfg/transform/0/chanels", 2), "trainer_cfg.transform[0].chanels", "did you mean 'channels'"),
        (edit("loss_cfg/0/log_prefix", "local_triplt"), "loss_cfg[0].log_prefix", "did you mean 'local_triplet'"),
        (edit("loss_cfg/0/log_prefix", None), "loss_cfg[0].log_prefix", ""),
        (lambda cfgs: cfgs["loss_cfg"].pop(), "loss_cfg", "fusion_softmax"),
        (edit("loss_cfg/1/scale", "1e1"), "loss_cfg[1].scale", "write 1.0e+1"),
        (edit("optimizer_cfg/lr", "1e-3"), "optimizer_cfg.lr", "write 1.0e-3"),
        (edit("data_cfg/dataset_root", "nowhere"), "data_cfg.dataset_root", "no folder"),
        (edit("data_cfg/data_in_use", [True, True]), "data_cfg.data_in_use", "from 0"),
        (edit("data_cfg/data_in_use", [0, 1]), "data_cfg.data_in_use", "from 0"),
        (edit("data_cfg/data_in_use", [False]), "trainer_cfg.transform", "data_in_use"),
        (edit("trainer_cfg/transform", [{"type": "HeatmapInput"}] * 2), "trainer_cfg.transform", "2 transforms for 1"),
        (edit("trainer_cfg/sampler/batch_size", [1, 3]), "trainer_cfg.sampler.batch_size", "multiple of 2"),
        (edit("model_cfg", None), "model_cfg", ""),
    ],
)
def test_names_the_mistake(dataset: Path, change: Callable[[dict[str, Any]], None], place: str, hint: str) -> None:
    cfgs = data.config(dataset, processes=2)
    change(cfgs)
    with pytest.raises(ConfigError) as caught:
        validate(cfgs, world_size=2)
    assert place in str(caught.value)
    assert hint in str(caught.value)


def test_a_loss_of_ours_is_checked(dataset: Path) -> None:
    cfgs = data.config(dataset)
    cfgs["loss_cfg"][0].update(type="BatchHardTripletLoss", margn=0.1)
    with pytest.raises(ConfigError, match="did you mean 'margin'"):
        validate(cfgs)


def test_missing_partition(dataset: Path) -> None:
    cfgs = data.config(dataset)
    cfgs["data_cfg"]["dataset_partition"] = "missing.json"
    with pytest.raises(DataError, match="no such partition"):
        validate(cfgs)


def test_another_datasets_partition(dataset: Path, tmp_path: Path) -> None:
    cfgs = data.config(dataset)
    cfgs["data_cfg"]["dataset_partition"] = str(tmp_path / "other.json")
    store.write_json(tmp_path / "other.json", {"TRAIN_SET": ["9"], "TEST_SET": ["8"]})
    with pytest.raises(ConfigError, match="none of the 1 identities of TRAIN_SET"):
        validate(cfgs)


def test_remarks(dataset: Path, tmp_path: Path) -> None:
    cfgs = data.config(dataset)
    cfgs["data_cfg"]["dataset_partition"] = str(tmp_path / "more.json")
    cfgs["model_cfg"]["class_num"] = 9
    store.write_json(tmp_path / "more.json", {"TRAIN_SET": [*data.TRAIN, "004"], "TEST_SET": []})
    remarks = validate(cfgs)
    assert ["1 of TRAIN_SET's 4" in remarks[0], "TRAIN_SET has 4" in remarks[1]] == [True, True]


def test_test_batch_must_be_the_number_of_processes(dataset: Path) -> None:
    cfgs = data.config(dataset, processes=2)
    with pytest.raises(ConfigError, match="OpenGait wants the number of processes, 1"):
        validate(cfgs, training=False)
    validate(cfgs, training=True)
    cfgs["trainer_cfg"]["with_test"] = True
    with pytest.raises(ConfigError, match="number of processes"):
        validate(cfgs, training=True)
    validate_config(cfgs, False, toolbox=TOOLBOXES[1], world_size=1)


class Wobble(RandomTransform):
    def change(self, sequence: Any) -> Any:
        return sequence


class Window(Transform):
    per_sequence = True

    def __call__(self, sequence: Any) -> Any:
        return sequence


def test_transforms_that_a_config_cannot_serve(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(parts.TRANSFORMS, "Wobble", Wobble)
    monkeypatch.setitem(parts.TRANSFORMS, "Window", Window)
    cfgs = data.config(dataset)
    composed = {"type": "Compose", "trf_cfg": [{"type": "HeatmapInput"}, {"type": "Window"}]}
    cfgs["trainer_cfg"]["transform"] = [composed]
    validate(cfgs)
    cfgs["trainer_cfg"]["sampler"]["sample_type"] = "unfixed_unordered"
    with pytest.raises(ConfigError, match=r"trf_cfg\[1\].*one sequence at a time"):
        validate(cfgs)
    cfgs["trainer_cfg"]["transform"] = [{"type": "Wobble"}, {"type": "PoseInput"}]
    with pytest.raises(ConfigError, match="own coin"):
        validate(cfgs)
    cfgs["trainer_cfg"]["transform"] = [{"type": "Wobble", "generator": 1}]
    with pytest.raises(ConfigError, match="no argument 'generator'"):
        validate(cfgs)
    # In OpenGait's test each process has one sequence at a time; in FastPoseGait's not.
    cfgs["evaluator_cfg"]["transform"] = [{"type": "Window"}]
    validate(cfgs, training=False)
    cfgs["evaluator_cfg"]["sampler"]["batch_size"] = 2
    with pytest.raises(ConfigError, match=r"one sequence at a time(.|\n)*batch_size 1"):
        validate_config(cfgs, False, toolbox=TOOLBOXES[1])
    cfgs["evaluator_cfg"]["sampler"]["batch_size"] = 1
    validate_config(cfgs, False, toolbox=TOOLBOXES[1])


def test_noise_of_every_point_may_be_drawn_in_a_pack_but_a_coin_may_not(dataset: Path) -> None:
    cfgs = data.config(dataset)
    cfgs["trainer_cfg"]["sampler"]["sample_type"] = "all_ordered"
    cfgs["trainer_cfg"]["transform"] = [{"type": "PosePointNoise"}]
    validate(cfgs)
    cfgs["trainer_cfg"]["transform"] = [{"type": "PosePointNoise", "probability": 0.5}]
    with pytest.raises(ConfigError, match="PosePointNoise must see one sequence at a time"):
        validate(cfgs)


def test_a_sampler_of_ours_is_checked(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class OwnSampler:
        def __init__(self, dataset: Any, batch_size: list[int], batch_shuffle: bool = False, seed: int = 0) -> None: ...

    monkeypatch.setitem(parts.SAMPLERS, "OwnSampler", OwnSampler)
    cfgs = data.config(dataset)
    cfgs["trainer_cfg"]["sampler"].update(type="OwnSampler", seed=1)
    validate(cfgs)
    cfgs["trainer_cfg"]["sampler"]["sead"] = 1
    with pytest.raises(ConfigError, match="did you mean 'seed'"):
        validate(cfgs)


def test_other_peoples_models_are_left_alone() -> None:
    cfgs = {"model_cfg": {"model": "Baseline", "anything": 1}, "trainer_cfg": {}, "loss_cfg": []}
    assert validate(cfgs) == []
    assert not uses_gaitext(cfgs)
    cfgs["trainer_cfg"] = {"transform": [{"type": "HeatmapInput", "divisr": 1}]}
    assert uses_gaitext(cfgs)
    with pytest.raises(ConfigError, match="divisor"):
        validate(cfgs)


def test_a_window_may_be_cut_in_a_test_where_it_draws_nothing(dataset: Path) -> None:
    cfgs = data.config(dataset)
    window: dict[str, Any] = {"type": "PoseWindow", "frames": 60}
    cfgs["evaluator_cfg"]["transform"] = [[{"type": "PoseInput"}, window]]
    for position in (None, "random"):
        if position:
            window["position"] = position
        with pytest.raises(ConfigError, match="PoseWindow tosses a coin"):
            validate(cfgs, training=False)
    window["position"] = "center"
    validate(cfgs, training=False)
    # FastPoseGait's test hands it several sequences as one.
    cfgs["evaluator_cfg"]["sampler"]["batch_size"] = 4
    with pytest.raises(ConfigError, match="PoseWindow must see one sequence at a time"):
        validate_config(cfgs, False, toolbox=TOOLBOXES[1])
    # Windows that draw nothing are the same for all inputs.
    cfgs["trainer_cfg"]["transform"] = [{"type": "HeatmapInput"}, dict(window)]
    check_transforms("trainer_cfg", cfgs["trainer_cfg"], OPENGAIT)
    cfgs["trainer_cfg"]["transform"][1]["position"] = "random"
    with pytest.raises(ConfigError, match="PoseWindow tosses its own coin"):
        check_transforms("trainer_cfg", cfgs["trainer_cfg"], OPENGAIT)


def test_the_repeating_sampler_and_the_all_triplets_loss_are_checked(dataset: Path) -> None:
    cfgs = data.config(dataset)
    cfgs["trainer_cfg"]["sampler"].update(type="RepeatTripletSampler", repeats={"bg": 3})
    cfgs["loss_cfg"][0]["type"] = "AllTripletsLoss"
    validate(cfgs)
    cfgs["trainer_cfg"]["sampler"]["repeat"] = {"bg": 3}
    with pytest.raises(ConfigError, match="did you mean 'repeats'"):
        validate(cfgs)
    del cfgs["trainer_cfg"]["sampler"]["repeat"]
    cfgs["loss_cfg"][1] = {"type": "AllTripletsLoss", "log_prefix": cfgs["loss_cfg"][1]["log_prefix"]}
    with pytest.raises(ConfigError, match="AllTripletsLoss takes embeddings and labels"):
        validate(cfgs)


@pytest.mark.parametrize("sample_type", ["unfixed_unordered", "all_ordered"])
def test_a_flip_needs_one_sequence_at_a_time(dataset: Path, sample_type: str) -> None:
    cfgs = data.config(dataset)
    cfgs["trainer_cfg"]["transform"] = [[{"type": "HeatmapInput"}, {"type": "HeatmapFlip"}]]
    validate(cfgs)
    cfgs["trainer_cfg"]["sampler"]["sample_type"] = sample_type
    with pytest.raises(ConfigError, match=r"transform\[0\]\[1\]: HeatmapFlip must see one sequence at a time"):
        validate(cfgs)


def test_a_test_is_never_random(dataset: Path) -> None:
    cfgs = data.config(dataset)
    cfgs["evaluator_cfg"]["transform"] = [[{"type": "HeatmapInput"}, {"type": "HeatmapFlip"}]]
    validate(cfgs)
    for change in ({}, {"with_test": True}):
        cfgs["trainer_cfg"].update(change)
        with pytest.raises(ConfigError, match=r"evaluator_cfg.*HeatmapFlip tosses a coin"):
            validate(cfgs, training=bool(change))


def test_occlusions_in_a_test(dataset: Path) -> None:
    cfgs = data.config(dataset)
    occlusion = {"type": "OcclusionHeatmaps", "types": {"top": 1.0}}
    cfgs["evaluator_cfg"]["transform"] = [[{"type": "HeatmapInput"}, occlusion]]
    with pytest.raises(ConfigError, match="OcclusionHeatmaps tosses a coin"):
        validate(cfgs, training=False)
    occlusion["seed"] = 1
    validate(cfgs, training=False)  # a function of the sequence: one at a time in OpenGait
    validate_config(cfgs, False, toolbox=None)  # and in the embedded host
    validate_config(cfgs, False, toolbox=TOOLBOXES[1])  # and in FastPoseGait in batches of 1
    cfgs["evaluator_cfg"]["sampler"]["batch_size"] = 4
    with pytest.raises(ConfigError, match="one sequence at a time"):
        validate_config(cfgs, False, toolbox=TOOLBOXES[1])
    cfgs["evaluator_cfg"]["sampler"]["batch_size"] = 1
    # Heatmaps and poses have different content, and would be occluded differently.
    cfgs["evaluator_cfg"]["transform"] = [[{"type": "HeatmapInput"}, occlusion], {"type": "PoseInput"}]
    with pytest.raises(ConfigError, match="OcclusionHeatmaps draws by the content of its own input"):
        validate(cfgs, training=False)
    cfgs["evaluator_cfg"]["transform"] = [[{"type": "HeatmapInput"}, {**occlusion, "typs": {}}]]
    with pytest.raises(ConfigError, match="did you mean 'types'"):
        validate(cfgs, training=False)


def test_a_flip_of_one_of_two_inputs(dataset: Path) -> None:
    cfgs = data.config(dataset)
    cfgs["trainer_cfg"]["transform"] = [[{"type": "HeatmapInput"}, {"type": "HeatmapFlip"}], {"type": "PoseInput"}]
    with pytest.raises(ConfigError, match="HeatmapFlip tosses its own coin"):
        validate(cfgs)


def test_a_loss_of_the_wrong_kind(dataset: Path) -> None:
    cfgs = data.config(dataset)
    cfgs["loss_cfg"][0]["type"] = "CrossEntropyLoss"
    with pytest.raises(ConfigError, match="feeds embeddings and labels") as caught:
        validate(cfgs)
    assert "loss_cfg[0].type" in str(caught.value)
    assert "TripletLoss" in str(caught.value)
    cfgs["loss_cfg"][0]["type"] = "SomebodysTripletLoss"
    validate(cfgs)
    cfgs["loss_cfg"][1]["type"] = "BatchHardTripletLoss"
    with pytest.raises(ConfigError, match=r"loss_cfg\[1\]\."):
        validate(cfgs)


@pytest.mark.parametrize("toolbox", [*TOOLBOXES, None])
def test_a_misspelt_sampler(dataset: Path, tmp_path: Path, toolbox: Any) -> None:
    def check(training: bool) -> None:
        validate_config(cfgs, training, toolbox=toolbox, base=tmp_path)

    cfgs = data.config(dataset)
    cfgs["evaluator_cfg"]["sampler"]["type"] = "InferencSampler"
    check(training=True)
    with pytest.raises(ConfigError, match=r"evaluator_cfg.sampler.type(.|\n)*did you mean 'InferenceSampler'"):
        check(training=False)
    cfgs["trainer_cfg"]["sampler"]["type"] = "OwnSampler"
    with pytest.raises(ConfigError, match=r"trainer_cfg\.sampler\.type"):
        check(training=True)
    if toolbox is not None:  # one that somebody added to the toolbox
        file = tmp_path / toolbox.package / "data" / "sampler.py"
        file.parent.mkdir(parents=True)
        file.write_text("class OwnSampler:\n    pass\n")
        check(training=True)
