"""Tiny look-alikes of CASIA-B's heatmaps and PsyMo's poses, and configs that train a tiny network on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from gaitext import store

TRAIN = ["001", "002", "003"]
TEST = ["075", "076", "077"]
TEST_TYPES = [*(f"nm-{i:02}" for i in range(1, 7)), "bg-01", "bg-02", "cl-01", "cl-02"]
VIEWS = ["000", "090"]
PSYMO_TYPES = ["nm-01", "nm-02", "bg", "txt"]
PSYMO_VIEWS = ["000", "090", "180"]


def heatmaps(generator: np.random.Generator, frames: int, joints: np.ndarray) -> np.ndarray:
    """Gaussian peaks [T, 17, 64, 48] around ``joints`` [17, 2], jittered per frame."""
    centres = joints + generator.normal(0, 1.5, (frames, 17, 2))
    y, x = np.mgrid[:64, :48]
    distance = (x - centres[..., 0, None, None]) ** 2 + (y - centres[..., 1, None, None]) ** 2
    return np.exp(-distance / 8).astype(np.float16)


def assert_alike(found: Any, wanted: Any, share: float = 1e-5) -> None:
    """Arrays may differ by ``share`` of the wanted one's largest number: by rounding, whatever their size."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=share * np.abs(wanted).max())


def make_dataset(root: Path, seed: int = 0) -> Path:
    """Write the leaves below ``root``/data and the partition beside it; returns ``root``."""
    generator = np.random.default_rng(seed)
    rows = np.array([8, 6, 6, 7, 7, 16, 16, 24, 24, 32, 32, 34, 34, 46, 46, 58, 58])
    for identity in TRAIN + TEST:
        joints = np.stack((24 + generator.normal(0, 5, 17), rows + generator.normal(0, 2, 17)), -1)
        for kind in TEST_TYPES[:3] if identity in TRAIN else TEST_TYPES:
            for view in VIEWS:
                frames = int(generator.integers(4, 10))
                store.write_leaf(
                    root / "data", identity, kind, view, {"0_heatmap": heatmaps(generator, frames, joints)}
                )
    store.write_json(root / "partition.json", {"TRAIN_SET": TRAIN, "TEST_SET": TEST})
    return root


def config(dataset: Path, processes: int = 1, **trainer: Any) -> dict[str, Any]:
    """All that a GaitHeat config has to set for a toolbox."""
    transform = [{"type": "HeatmapInput"}]
    losses = []
    for branch in ("local", "global", "fusion"):
        losses.append(
            {"type": "TripletLoss", "log_prefix": f"{branch}_triplet", "margin": 0.2, "loss_term_weight": 1.0}
        )
        losses.append(
            {
                "type": "CrossEntropyLoss",
                "log_prefix": f"{branch}_softmax",
                "scale": 16,
                "label_smooth": True,
                "eps": 0.1,
            }
        )
    return {
        "data_cfg": {
            "dataset_name": "CASIA-B",
            "test_dataset_name": "CASIA-B",
            "dataset_root": str(dataset / "data"),
            "dataset_partition": str(dataset / "partition.json"),
            "data_in_use": [True],
            "num_workers": 1,
            "cache": False,
        },
        "model_cfg": {
            "model": "GaitHeat",
            "class_num": len(TRAIN),
            "channels": [4, 4, 8, 8],
            "embedding_size": 8,
        },
        "loss_cfg": losses,
        "optimizer_cfg": {"solver": "SGD", "lr": 0.05, "momentum": 0.9, "weight_decay": 5.0e-4},
        "scheduler_cfg": {"scheduler": "MultiStepLR", "gamma": 0.1, "milestones": [100]},
        "trainer_cfg": {
            "save_name": "tiny",
            "enable_float16": False,
            "sync_BN": False,
            "with_test": False,
            "total_iter": 2,
            "save_iter": 2,
            "log_iter": 1,
            "restore_hint": 0,
            "sampler": {
                "type": "TripletSampler",
                "batch_size": [2, 2],
                "batch_shuffle": True,
                "sample_type": "fixed_unordered",
                "frames_num_fixed": 4,
            },
            "transform": transform,
            **trainer,
        },
        "evaluator_cfg": {
            "save_name": "tiny",
            "enable_float16": False,
            "restore_ckpt_strict": True,
            "restore_hint": 2,
            "eval_func": "evaluate_indoor_dataset",
            "metric": "euc",
            "sampler": {
                "type": "InferenceSampler",
                "batch_size": processes,
                "sample_type": "all_ordered",
                "frames_all_limit": 720,
            },
            "transform": transform,
        },
    }


def make_poses(root: Path, seed: int = 0) -> Path:
    """Write walks of 2 to 15 frames in pixels, some joints missing, and the partition; returns ``root``."""
    generator = np.random.default_rng(seed)
    for identity in TRAIN + TEST:
        body = generator.uniform((120, 40), (200, 200), (17, 2))
        for kind in PSYMO_TYPES:
            for view in PSYMO_VIEWS:
                # Of every other person all walks are short, so that a few in a row are under 17 frames.
                frames = int(generator.integers(2, 5) if int(identity) % 2 else generator.integers(2, 16))
                poses = np.ones((frames, 17, 3), np.float32)
                poses[..., :2] = body + generator.normal(0, 4, (frames, 17, 2))
                poses[generator.random((frames, 17)) < 0.05] = 0
                store.write_leaf(root / "data", identity, kind, view, {"2_poses_frame": poses})
    store.write_json(root / "partition.json", {"TRAIN_SET": TRAIN, "TEST_SET": TEST})
    return root


def pose_config(dataset: Path, batch: int = 1, **trainer: Any) -> dict[str, Any]:
    """All that a GaitPT config has to set for a toolbox; ``batch`` sequences a pack in a test."""
    cfgs = config(dataset, batch, **trainer)
    for section, noise in (("trainer_cfg", [{"type": "PosePointNoise", "std": 0.05}]), ("evaluator_cfg", [])):
        steps = [{"type": "PoseInput"}, *noise, {"type": "PoseNormalize", "size": 320}, {"type": "PoseOrder"}]
        cfgs[section]["transform"] = [{"type": "Compose", "trf_cfg": steps}]
    cfgs["data_cfg"].update(dataset_name="PsyMo", test_dataset_name="PsyMo")
    cfgs["model_cfg"] = {
        "model": "GaitPT",
        "frames": 6,
        "dims": [8, 8, 16, 16],
        "depths": [1, 1, 1, 1],
        "embedding_size": 8,
        "augmentation": {"pace": [0.5, 1.0, 2.0], "flip": 0.5, "mirror": 0.5},
    }
    cfgs["loss_cfg"] = [{"type": "AllTripletsLoss", "log_prefix": "triplet", "margin": 0.01, "loss_term_weight": 1.0}]
    cfgs["optimizer_cfg"] = {"solver": "AdamW", "lr": 1.0e-3, "weight_decay": 0.01}
    cfgs["scheduler_cfg"] = {
        **{"scheduler": "CyclicLR", "mode": "exp_range", "base_lr": 1.0e-4, "max_lr": 1.0e-2},
        **{"step_size_up": 4, "gamma": 0.995, "cycle_momentum": False},
    }
    cfgs["trainer_cfg"]["sampler"].update(sample_type="all_ordered", batch_size=[3, 2], frames_all_limit=720)
    cfgs["evaluator_cfg"].update(eval_func="evaluate_PsyMo")
    return cfgs


def write_config(path: Path, cfgs: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(cfgs), encoding="utf-8")
    return path
