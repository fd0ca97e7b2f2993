"""What a study of RG-Gait adapts from: weights of a trained system that fit a new occlusion."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from gaitext.checkpoints import read_state_dict
from gaitext.studies.training import Training, checkpoint_of, train
from gaitext.training.runs import read_checkpoint, write_checkpoint

__all__ = ["Adaptation", "adapt", "add_class", "read_weights", "replace_evaluator", "start_file"]

Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Adaptation:
    """A training that goes on from a trained system's weights.

    Args:
        training: whose config begins at :func:`start_file`.
        base: done.json of the trained system.
        evaluator: done.json of the adapted evaluator, for a whole system; None: ``base`` is an evaluator.
    """

    training: Training
    base: Path
    evaluator: Path | None = None


def start_file(folder: Path) -> Path:
    """Where the weights lie that an adapted training begins with, in its folder."""
    return folder / "start.pt"


def adapt(adaptation: Adaptation) -> None:
    """Write what the training begins with, and train."""
    weights = read_weights(checkpoint_of(adaptation.base))
    if adaptation.evaluator is None:
        add_class(weights)
    else:
        replace_evaluator(weights, read_weights(checkpoint_of(adaptation.evaluator)))
    write_checkpoint(start_file(adaptation.training.folder), {"model": weights, "iteration": 0})
    train(adaptation.training)


def read_weights(path: Path) -> Weights:
    """A host's checkpoint's weights, under the host's names."""
    return read_state_dict(read_checkpoint(path), path)


def add_class(weights: Weights) -> None:
    """Give the evaluator's type head a class more, whose logit begins at 0."""
    for end in ("type_head.weight", "type_head.bias"):
        key = next(key for key in weights if key.endswith(end))
        weights[key] = torch.cat((weights[key], torch.zeros_like(weights[key][:1])))


def replace_evaluator(system: Weights, evaluator: Weights) -> None:
    """Put another evaluator's weights into a whole system's."""
    prefix = next(key for key in system if "occlusion_evaluator." in key).partition("occlusion_evaluator.")[0]
    for key, value in evaluator.items():
        system[f"{prefix}occlusion_evaluator.{key.removeprefix('network.')}"] = value
