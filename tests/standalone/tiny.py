"""A model that meets the adapter contract in a few lines, and data it can learn.

The tests import it, and start it as a script where a process is to be killed or several are to
train: ``python tiny.py FOLDER PROCESSES [KEY=VALUE of trainer_cfg …]``.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gaitext.errors import DataError
from gaitext.store import write_leaf
from gaitext.toolboxes import parts
from gaitext.toolboxes.adapter import Host, HostInputs, HostOutput, ModelAdapter


class TinyNetwork(nn.Module):
    """Temporal mean of the frames, two linear parts, dropout in training: [n, 4, 2]."""

    def __init__(self, class_num: int) -> None:
        super().__init__()
        self.class_num = class_num
        self.embed = nn.Linear(12, 8)
        self.drop = nn.Dropout(0.1)
        self.classify = nn.Linear(4, class_num)

    def forward(self, frames: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        if lengths is None:
            mean = frames.flatten(2).mean(1)
        else:
            mean = torch.stack([p.flatten(1).mean(0) for p in frames[0].split(lengths[0].tolist())])
        embeddings = self.embed(self.drop(mean)).unflatten(1, (4, 2))
        logits = self.classify(nn.functional.normalize(embeddings, dim=1).transpose(1, 2)).transpose(1, 2)
        return embeddings, logits


class TinyAdapter(ModelAdapter):
    name = "Tiny"
    calls = 0

    def __init__(self, model_cfg: Mapping[str, Any], models: Any = None) -> None:
        self.settings = model_cfg

    def build(self, host: Host | None = None) -> nn.Module:
        network = TinyNetwork(int(self.settings["class_num"]))
        network.drop.p = float(self.settings.get("dropout", 0.1))
        return network

    @property
    def class_count(self) -> int | None:
        return int(self.settings["class_num"])

    def run(self, network: nn.Module, inputs: HostInputs, *, training: bool) -> HostOutput:
        embeddings, logits = network(inputs.sequence(0, "frames"), inputs.lengths)
        if training:
            TinyAdapter.calls += 1
            if TinyAdapter.calls == int(os.environ.get("TINY_DIES_AT", 0)):
                os.kill(os.getpid(), signal.SIGKILL)
        if not training:
            return HostOutput({}, {"embeddings": embeddings}, {})
        fed = {
            "triplet": {"embeddings": embeddings, "labels": inputs.labels},
            "softmax": {"logits": logits, "labels": inputs.labels},
        }
        return HostOutput(fed, {}, {"frames": inputs.sequence(0, "frames").flatten(0, 1)[:2, None]})


parts.MODELS["Tiny"] = TinyAdapter


def refuse(fabric: Any) -> None:
    """The second of several processes finds something wrong."""
    if fabric.global_rank == 1:
        raise DataError("is not to its taste", where="the file", how="try another")
    fabric.barrier()


TYPES = ("nm-01", "nm-02", "nm-03", "nm-04", "nm-05", "nm-06", "bg-01", "bg-02", "cl-01", "cl-02")


def write_data(root: Path, identities: int = 6, views: tuple[str, ...] = ("000", "090")) -> None:
    """Noisy frames [T, 3, 4] around each identity's mean; the last two identities are for the test."""
    generator = np.random.default_rng(0)
    names = [f"{i:03d}" for i in range(1, identities + 1)]
    for name in names:
        mean = generator.normal(size=(3, 4))
        for kind in TYPES:
            for view in views:
                length = int(generator.integers(5, 12))
                frames = mean + 0.3 * generator.normal(size=(length, 3, 4))
                write_leaf(root / "data", name, kind, view, {"0_frames": frames.astype(np.float16)})
    split = {"TRAIN_SET": names[:-2], "TEST_SET": names[-2:]}
    (root / "partition.json").write_text(json.dumps(split), encoding="utf-8")


def config(root: Path, **trainer: Any) -> dict[str, Any]:
    """A small config; keyword arguments go to ``trainer_cfg``."""
    return {
        "data_cfg": {
            "dataset_name": "CASIA-B",
            "dataset_root": str(root / "data"),
            "dataset_partition": str(root / "partition.json"),
            "num_workers": 0,
        },
        "model_cfg": {"model": "Tiny", "class_num": 4},
        "loss_cfg": [
            {"type": "TripletLoss", "log_prefix": "triplet", "margin": 0.2, "loss_term_weight": 1.0},
            {"type": "CrossEntropyLoss", "log_prefix": "softmax", "scale": 16, "log_accuracy": True},
        ],
        "optimizer_cfg": {"solver": "SGD", "lr": 0.02, "momentum": 0.9, "weight_decay": 0.0005},
        "scheduler_cfg": {"scheduler": "MultiStepLR", "milestones": [8], "gamma": 0.1},
        "trainer_cfg": {
            "save_name": "tiny",
            "total_iter": 12,
            "log_iter": 3,
            "save_iter": 4,
            "sampler": {
                "type": "TripletSampler",
                "batch_size": [3, 4],
                "sample_type": "fixed_unordered",
                "frames_num_fixed": 6,
            },
            "transform": [{"type": "NoOperation"}],
            **trainer,
        },
        "evaluator_cfg": {
            "save_name": "tiny",
            "eval_func": "evaluate_indoor_dataset",
            "metric": "euc",
            "sampler": {"type": "InferenceSampler", "batch_size": 1, "sample_type": "all_ordered"},
            "transform": [{"type": "NoOperation"}],
        },
    }


if __name__ == "__mp_main__" and os.environ.get("TINY_ABORTS_LAST"):
    # As gloo's threads do now and then, in a process that has finished its work.
    atexit.register(os.abort)

if __name__ == "__main__":
    from gaitext import standalone

    folder = Path(sys.argv[1])
    settings = config(folder, **{key: json.loads(value) for key, value in (a.split("=") for a in sys.argv[3:])})
    settings["model_cfg"]["dropout"] = float(os.environ.get("TINY_DROPOUT", 0.1))
    settings["fabric_cfg"] = {"tensorboard": False}
    result = standalone.train(settings, devices=int(sys.argv[2]), output=folder / "output", quiet=True)
    scalars = {iteration: evaluation.scalars for iteration, evaluation in result.evaluations.items()}
    (folder / "evaluations.json").write_text(json.dumps(scalars), encoding="utf-8")
