"""What tools/rg_gait_study.py's trainings begin from where they go on from others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

__all__ = ["add_class", "begin_from", "read_weights", "replace_evaluator", "shortened"]

Config = dict[str, Any]


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """A host's checkpoint's weights, under the host's names."""
    weights: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)["model"]
    return weights


def add_class(weights: dict[str, torch.Tensor]) -> None:
    """Give the evaluator's type head a class more, whose logit begins at 0."""
    for end in ("type_head.weight", "type_head.bias"):
        key = next(key for key in weights if key.endswith(end))
        weights[key] = torch.cat((weights[key], torch.zeros_like(weights[key][:1])))


def replace_evaluator(system: dict[str, torch.Tensor], evaluator: dict[str, torch.Tensor]) -> None:
    """Put another evaluator's weights into a whole system's."""
    prefix = next(key for key in system if "occlusion_evaluator." in key).partition("occlusion_evaluator.")[0]
    for key, value in evaluator.items():
        system[f"{prefix}occlusion_evaluator.{key.removeprefix('network.')}"] = value


def begin_from(config: Config, start: Path) -> None:
    """Train on from a checkpoint's weights, with everything else new."""
    config["trainer_cfg"].update(
        restore_hint=str(start), restore_ckpt_strict=True, optimizer_reset=True, scheduler_reset=True
    )


def shortened(config: Config, iterations: int | None) -> Config:
    """The config with so many iterations, its schedule in proportion; None leaves it as it is."""
    if iterations is not None:
        trainer, schedule = config["trainer_cfg"], config["scheduler_cfg"]
        share = iterations / trainer["total_iter"]
        trainer.update(total_iter=iterations, save_iter=iterations)
        if "milestones" in schedule:
            schedule["milestones"] = [max(1, round(step * share)) for step in schedule["milestones"]]
    return config
