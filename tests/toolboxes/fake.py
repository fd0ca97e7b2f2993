"""A miniature toolbox with the shape of the real ones, so that linking can be tested without one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType

FILES = {
    "configs/default.yaml": """
data_cfg: {dataset_name: CASIA-B, dataset_root: nowhere, dataset_partition: nowhere.json}
model_cfg: {model: Plain}
loss_cfg: {type: PlainLoss, log_prefix: plain}
trainer_cfg: {with_test: false, sampler: {batch_size: [8, 16], sample_type: fixed_unordered}, transform: []}
evaluator_cfg: {sampler: {batch_size: 1, sample_type: all_ordered}, transform: []}
""",
    "opengait/modeling/base_model.py": """
import torch


class Messages:
    def log_warning(self, message):
        print(message)


class BaseModel(torch.nn.Module):
    def __init__(self, cfgs, training):
        super().__init__()
        self.cfgs = cfgs
        self.msg_mgr = Messages()
        self.engine_cfg = cfgs["trainer_cfg" if training else "evaluator_cfg"]
        self.iteration = 0
        self.build_network(cfgs["model_cfg"])
        self.init_parameters()
        self.train(training)

    def init_parameters(self):
        for parameter in self.parameters():
            torch.nn.init.zeros_(parameter)

    def inputs_pretreament(self, inputs):
        sequences, labels, types, views, lengths = inputs
        tensors = [torch.stack([torch.as_tensor(s) for s in batch]).float() for batch in sequences]
        if lengths is not None:
            tensors = [t[:, :, : int(lengths.sum())] for t in tensors]
        return tensors, torch.as_tensor(labels), types, views, lengths
""",
    "opengait/modeling/models/__init__.py": """
import importlib
import pkgutil

for found in pkgutil.iter_modules(__path__):
    for name, value in vars(importlib.import_module(__name__ + "." + found.name)).items():
        if isinstance(value, type):
            globals()[name] = value
""",
    "opengait/modeling/models/plain.py": """
from modeling.base_model import BaseModel


class Plain(BaseModel):
    pass
""",
    "opengait/modeling/losses/__init__.py": "",
    "opengait/data/transform.py": "class Identity:\n    pass\n",
    "opengait/data/sampler.py": "",
    "opengait/evaluation/__init__.py": "",
    "opengait/evaluation/evaluator.py": "def evaluate_indoor_dataset(data, dataset):\n    return {}\n",
    # As in the toolboxes: nobody to write to before the processes are connected.
    "opengait/utils/__init__.py": """
import torch

LINES = []


class Manager:
    def log_info(self, line):
        LINES.append(("info", line))

    def log_warning(self, line):
        LINES.append(("warning", line))


def get_msg_mgr():
    torch.distributed.get_rank()
    return Manager()
""",
    # Tells, in a json per rank, what its CUDA calls came to.
    "opengait/main.py": """
import argparse
import json
import os
import sys
import time

import torch
from torch.cuda.amp import GradScaler, autocast
from torch.nn.parallel import DistributedDataParallel

from modeling import models

parser = argparse.ArgumentParser()
parser.add_argument("--cfgs")
parser.add_argument("--phase", default="train")
parser.add_argument("--fail", action="store_true")
parser.add_argument("--sleep", type=float, default=0)
options = parser.parse_args()
if __name__ == "__main__":
    torch.distributed.init_process_group("nccl", init_method="env://")
    rank = torch.distributed.get_rank()
    if options.fail:
        sys.exit(3)
    time.sleep(options.sleep)
    torch.cuda.set_device(rank)
    device = torch.device("cuda", rank)
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2)).to(device=device).cuda()
    torch.save({"weight": torch.ones(1), "step": 3}, f"checkpoint-{rank}.pt")
    loaded = torch.load(f"checkpoint-{rank}.pt", map_location=device)
    model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    ddp = DistributedDataParallel(model, device_ids=[torch.cuda.current_device()], output_device=rank)
    scaler = GradScaler()
    with autocast(enabled=True):
        output = ddp(torch.ones(3, 2, device="cuda").cuda(rank))
    scaler.scale(output.float().sum()).backward()
    total = torch.tensor([rank + 1.0]).to(rank)
    torch.distributed.all_reduce(total)
    facts = {
        "backend": torch.distributed.get_backend(),
        "devices": torch.cuda.device_count(),
        "world": torch.distributed.get_world_size(),
        "dtype": str(output.dtype),
        "device": str(output.device),
        "loaded": str(loaded["weight"].device),
        "total": float(total),
        "arguments": sys.argv,
        "cwd": os.getcwd(),
        "path": sys.path[0],
        "models": sorted(n for n in vars(models) if n in ("GaitHeat", "Plain")),
    }
    with open(f"facts-{rank}.json", "w") as stream:
        json.dump(facts, stream)
""",
}


def make_toolbox(root: Path, **more: str) -> Path:
    """Write the miniature toolbox; ``more`` adds model files (stem -> text)."""
    for name, text in FILES.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.lstrip())
    for stem, text in more.items():
        (root / f"opengait/modeling/models/{stem}.py").write_text(text)
    return root


@contextmanager
def imported(root: Path) -> Iterator[ModuleType]:
    """The toolbox's ``modeling.models``, imported as its main.py would; forgotten afterwards."""
    before = set(sys.modules)
    sys.path.insert(0, str(root / "opengait"))
    try:
        yield import_module("modeling.models")
    finally:
        sys.path.remove(str(root / "opengait"))
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in ("modeling", "data", "evaluation", "utils"):
                del sys.modules[name]
