"""The toolbox matrix's configs: every model of gaitext, small, in every case."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaitext.toolboxes.toolbox import Toolbox
from tests.toolboxes.matrix.walkers import INPUTS, training_identities

Config = dict[str, Any]
ITERATIONS = 2
#: How many each cell runs with, in turn.
PROCESSES = (1, 2)
#: Dataset -> the model that is tested on it by a toolbox's evaluation function and gaitext's.
EVALUATED = {"CASIA-B": "GaitHeat", "CCPG": "GaitHeat", "SUSTech1K": "GaitHeat", "PsyMo": "GaitHeat"}


@dataclass(frozen=True)
class Model:
    """A model of the matrix.

    Args:
        dataset, other: the dataset that it is trained on, and the one that it is tested on beside it.
        inputs: which of a leaf's sequences it reads, by name; of crops by position.
        transforms: a list for each input.
        protocol: dataset -> the evaluation function that is called for it, and what its log must say.
        needs: the models whose checkpoints it starts from.
    """

    dataset: str
    other: str
    inputs: tuple[str, ...]
    transforms: list[Config]
    protocol: dict[str, tuple[str, str]]
    settings: Config
    losses: list[Config]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """A case of the matrix.

    Args:
        phase: of main.py.
        title: of the table's column.
        trainer: what it changes in ``trainer_cfg``.
        after_train: it starts from the checkpoint of the case ``train``.
        says: what the log must hold; ``says_on_cpu``: what there must be beside it where gaitext switches things off.
    """

    phase: str
    title: str
    trainer: Config
    after_train: bool = False
    says: tuple[str, ...] = ()
    says_on_cpu: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """Where a run takes place.

    Args:
        toolbox, root: the toolbox and its linked copy.
        data: the folder of the datasets.
        processes: how many.
        device: cpu or cuda.
    """

    toolbox: Toolbox
    root: Path
    data: Path
    processes: int
    device: str


def _pair(prefix: str = "") -> list[Config]:
    softmax = {"type": "CrossEntropyLoss", "log_prefix": f"{prefix}softmax", "scale": 16, "loss_term_weight": 1.0}
    triplet = {"type": "TripletLoss", "log_prefix": f"{prefix}triplet", "margin": 0.2, "loss_term_weight": 1.0}
    return [triplet, {**softmax, "label_smooth": True, "eps": 0.1}]


_INDOOR = ("evaluate_indoor_dataset", "@R1: ")
_CROSS_VIEW = {
    **{"CASIA-B": _INDOOR, "SUSTech1K": _INDOOR},
    **{"CCPG": ("evaluate_CCPG", "Rank-1"), "PsyMo": ("evaluate_PsyMo", "===PsyMo")},
}
_POSE = dict.fromkeys(("Crops", "OtherCrops"), ("evaluate_pose", "===Keypoint AP"))
_OEM = dict.fromkeys(("CASIA-B", "CCPG"), ("evaluate_OEM", "===Occlusion evaluation"))
_HEATMAPS: list[Config] = [{"type": "HeatmapInput"}]
_NORMALIZED = [{"type": "PoseInput"}, {"type": "PoseNormalize", "size": 640}, {"type": "PoseOrder"}]
_POSES: list[Config] = [{"type": "Compose", "trf_cfg": _NORMALIZED}]
_GAITHEAT: Config = {"channels": [4, 4, 8, 8], "embedding_size": 8}
_EVALUATOR: Config = {"channels": [2, 4, 4], "feature_size": 6}

MODELS: dict[str, Model] = {
    "GaitHeat": Model(
        "CASIA-B", "SUSTech1K", ("heatmaps",), _HEATMAPS, _CROSS_VIEW, _GAITHEAT,
        [loss for branch in ("local_", "global_", "fusion_") for loss in _pair(branch)],
    ),
    "GaitPT": Model(
        "PsyMo", "CASIA-B", ("poses_frame",), _POSES, _CROSS_VIEW,
        {"frames": 6, "dims": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "embedding_size": 8},
        [{"type": "AllTripletsLoss", "log_prefix": "triplet", "margin": 0.01, "loss_term_weight": 1.0}],
    ),
    "GaitBase": Model(
        "CASIA-B", "SUSTech1K", ("silhouettes",), [{"type": "SilhouetteInput"}], _CROSS_VIEW, _GAITHEAT, _pair(),
    ),
    "RGGaitOEM": Model(
        "CASIA-B", "CCPG", ("heatmaps",), _HEATMAPS, _OEM, _EVALUATOR,
        [{"type": "OcclusionLoss", "log_prefix": "occlusion", "loss_term_weight": 1.0}],
    ),
    "RGGait": Model(
        "CASIA-B", "CCPG", ("heatmaps",), _HEATMAPS, _CROSS_VIEW, {}, _pair(), needs=("GaitHeat", "RGGaitOEM"),
    ),
    "MimicGait": Model(
        "CASIA-B", "CCPG", ("heatmaps",), _HEATMAPS, _CROSS_VIEW, {},
        [{"type": "AllTripletsLoss", "log_prefix": "triplet", "margin": 0.2, "loss_term_weight": 1.0}],
        needs=("GaitHeat", "RGGaitOEM"),
    ),
    "ArtifactCorrector": Model(
        "Crops", "OtherCrops", ("0", "2", "3"),
        [{"type": "CropInput"}, {"type": "PoseInput"}, {"type": "PoseBoxInput"}], _POSE,
        {"corrector": {"channels": [4, 6], "blocks": 1, "embedding_size": 5}, "frames_per_step": 8, "test_frames": 8},
        [{"type": "CoordinateL1Loss", "log_prefix": "coordinates", "reduction": "frame", "loss_term_weight": 1.0}],
    ),
}  # fmt: skip

_RESTORED = ("Restore Parameters from",)
CASES: dict[str, Case] = {
    "train": Case("train", "train", {}),
    # In the folder of the training, as users do; the other cases that start from it take its first checkpoint.
    "resume": Case(
        "train",
        "resume",
        {"restore_hint": ITERATIONS, "total_iter": 2 * ITERATIONS},
        True,
        (*_RESTORED, f"Iteration {ITERATIONS + 1:05}"),
    ),
    "test": Case("test", "test", {}, True, _RESTORED),
    "cross": Case("test", "test elsewhere", {}, True, _RESTORED),
    "with_test": Case("train", "`with_test`", {"with_test": True}),
    "float16": Case("train", "`enable_float16`", {"enable_float16": True}, says_on_cpu=("enable_float16 is off",)),
    "sync_BN": Case("train", "`sync_BN`", {"sync_BN": True}, says_on_cpu=("sync_BN is off",)),
    "fix_BN": Case("train", "`fix_BN`", {"fix_BN": True}, True, _RESTORED),
    "unused": Case("train", "`find_unused_parameters`", {"find_unused_parameters": True}),
}


def not_applicable(place: Place, case: str) -> str | None:
    """Why a toolbox has no such case."""
    if case == "unused" and place.toolbox.name == "FastPoseGait":
        return "FastPoseGait hard-codes false"
    return None


def checkpoint(place: Place, model: str, case: str = "train", iteration: int = ITERATIONS) -> Path:
    """Where a training leaves its checkpoint."""
    name, kind = _save_name(place, case), MODELS[model]
    return place.root / f"output/{kind.dataset}/{model}/{name}/checkpoints/{name}-{iteration:05}.pt"


def _save_name(place: Place, case: str) -> str:
    return f"{case}-{place.device}-{place.processes}"


def config(place: Place, model: str, case: str) -> Config:
    """The whole config of a cell."""
    kind, changes = MODELS[model], copy.deepcopy(CASES[case].trainer)
    cfgs = _config(place, model, "train" if case in ("resume", "test", "cross") else case, kind.dataset)
    cfgs["trainer_cfg"].update(changes)
    if case == "fix_BN":
        # After two iterations statistics are far from settled, and normalise little: only small steps are safe. The
        # checkpoint's optimizer would bring its own.
        cfgs["optimizer_cfg"]["lr"] = 1.0e-6
        cfgs["trainer_cfg"].update(optimizer_reset=True, scheduler_reset=True)
        cfgs["trainer_cfg"]["restore_hint"] = str(checkpoint(place, model))
    if case == "cross":
        return evaluation_config(place, model, kind.other)
    return cfgs


def evaluation_config(place: Place, model: str, dataset: str) -> Config:
    """A test of the training's checkpoint on any dataset."""
    cfgs = _config(place, model, f"on-{dataset}", dataset)
    cfgs["evaluator_cfg"]["restore_hint"] = str(checkpoint(place, model))
    # The network is the training's, however many identities the other dataset has.
    cfgs["model_cfg"] = _model_cfg(place, model, training_identities(place.data / MODELS[model].dataset))
    return cfgs


def _config(place: Place, model: str, case: str, dataset: str) -> Config:
    kind, folder, name = MODELS[model], place.data / dataset, _save_name(place, case)
    function, _ = kind.protocol[dataset]
    evaluator: Config = {"metric": "euc"} if function in ("evaluate_indoor_dataset", "evaluate_CCPG") else {}
    crops = kind.dataset == "Crops"
    used = [str(i) in kind.inputs for i in range(5)] if crops else [name in kind.inputs for name in INPUTS]
    rate = 1.0e-6 if crops else 0.02
    return {
        "data_cfg": {
            **{"dataset_name": dataset, "test_dataset_name": dataset, "dataset_root": str(folder / "sequences")},
            **{"dataset_partition": str(folder / "partition.json"), "data_in_use": used},
            **{"num_workers": 1, "cache": False},
        },
        "model_cfg": _model_cfg(place, model, training_identities(folder)),
        "loss_cfg": copy.deepcopy(kind.losses),
        "optimizer_cfg": {"solver": "SGD", "lr": rate, "momentum": 0.9, "weight_decay": 5.0e-4},
        "scheduler_cfg": {"scheduler": "MultiStepLR", "gamma": 0.1, "milestones": [100]},
        "trainer_cfg": {
            **{"save_name": name, "enable_float16": False, "sync_BN": False, "fix_BN": False, "with_test": False},
            **{"total_iter": ITERATIONS, "save_iter": ITERATIONS, "log_iter": 1, "restore_hint": 0},
            "sampler": {
                **{"type": "TripletSampler", "batch_size": [2, 2], "batch_shuffle": True},
                **{"sample_type": "fixed_unordered", "frames_num_fixed": 4},
            },
            "transform": copy.deepcopy(kind.transforms),
        },
        "evaluator_cfg": {
            **{"save_name": name, "enable_float16": False, "restore_ckpt_strict": True, "restore_hint": ITERATIONS},
            **{"eval_func": function, **evaluator},
            "sampler": {
                **{"type": "InferenceSampler", "sample_type": "all_ordered", "frames_all_limit": 8 if crops else 720},
                "batch_size": place.processes if place.toolbox.test_batch_is_world else 4,
            },
            "transform": copy.deepcopy(kind.transforms),
        },
    }


def _model_cfg(place: Place, model: str, identities: int) -> Config:
    kind = MODELS[model]
    cfg: Config = {"model": model, **copy.deepcopy(kind.settings)}
    if model in ("GaitHeat", "GaitBase", "RGGait"):
        cfg["class_num"] = identities
    if model in ("RGGait", "MimicGait"):
        gse, oem = (str(checkpoint(place, needed)) for needed in kind.needs)
        cfg["gse"] = {"model_cfg": _model_cfg(place, "GaitHeat", identities), "checkpoint": gse}
        cfg["oem"] = {"checkpoint": oem, **_EVALUATOR}
    return cfg
