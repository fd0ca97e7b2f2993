"""How much memory a training will take, measured on a small batch of its own data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gaitext.standalone.building import EmbeddedModel, build_model
from gaitext.standalone.data import Request, SequenceDataset, build_chains, collate, find_leaves
from gaitext.standalone.settings import HostConfig

#: Values that an optimizer keeps of each weight.
_STATES = {"SGD": 1, "Adam": 2, "AdamW": 2}
_BYTES = 4
#: Sequences of the batches that are measured, and frames of each where a config says how many there are.
_SEQUENCES, _FRAMES = (2, 4), 4


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes of a training in float32, all on one device.

    Attributes:
        weights: of weights, gradients and the optimizer's state.
        batch: of what is kept of a batch for the gradients.
    """

    weights: int
    batch: int

    @property
    def total(self) -> int:
        return self.weights + self.batch

    def __str__(self) -> str:
        return (
            f"about {_gigabytes(self.total)} to train in float32 ({_gigabytes(self.weights)} weights, gradients and "
            f"optimizer, {_gigabytes(self.batch)} a batch)"
        )


def training_memory(config: str | Path | Mapping[str, Any]) -> TrainingMemory:
    """Estimate how much memory a config's training takes.

    Two small batches of the config's data go through the model, and what it keeps of them for the gradients is counted;
    it grows with the frames (of a ``fixed_…`` sampling) or the sequences. These are tensors; beside them there is the
    process, and on a CPU what libraries copy and the allocator keeps, which may be as much again.

    Raises:
        ConfigError, DataError: see :func:`gaitext.standalone.train`.
    """
    host = HostConfig.checked(config, training=True, world_size=1)
    sampler = host.trainer.sampler
    size = sampler.batch_size
    sequences = size if isinstance(size, int) else size[0] * size[1]
    frames, fixed = sampler.frames, sampler.frames.count != "all"
    if fixed:
        frames = replace(frames, sample_type="fixed_unordered", frames_num_fixed=_FRAMES)
    found = find_leaves(host.data, training=True, allow_missing=host.fabric.allow_missing)
    chains = build_chains(host.trainer.transform, where="trainer_cfg.transform")
    dataset = SequenceDataset(found, host.data, frames, chains, 0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_model(host.model, fresh=False).train()
        low, high = (_kept(model, dataset, count) for count in _SEQUENCES)
    each = (high - low) / (_SEQUENCES[1] - _SEQUENCES[0])
    if fixed:
        usual = sampler.frames_num_fixed if sampler.frames.count == "fixed" else sampler.frames_num_max
        each *= max(1, usual or 1) / _FRAMES
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    others = sum(value.numel() for value in (*model.parameters(), *model.buffers())) - trained
    states = 2 + _STATES.get(str(host.optimizer["solver"]), 2)
    return TrainingMemory(_BYTES * (trained * states + others), round(each * sequences))


def _kept(model: EmbeddedModel, dataset: SequenceDataset, count: int) -> int:
    """Bytes that are kept for the gradients of a batch of so many sequences."""
    requests = [Request(position % len(dataset), 0, position) for position in range(count)]
    batch = collate([dataset[request] for request in requests], packed=dataset.frames.count != "fixed")
    weights = {value.untyped_storage().data_ptr() for value in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(batch.inputs(torch.device("cpu")))
    del output
    return sum(kept.values())


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{max(1, count // 10**6)} MB"
