"""What a checkpoint holds beside the weights: an optimizer's state and a schedule's, as far as they fit."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gaitext.errors import CheckpointError, ConfigError

__all__ = ["check_steps", "restore_optimizer", "restore_schedule", "warn_of_schedule"]

log = logging.getLogger(__name__)

#: What torch's optimizers learned to be told later, and fill in themselves.
_LATER = {
    "foreach",
    "maximize",
    "capturable",
    "differentiable",
    "fused",
    "decoupled_weight_decay",
    "amsgrad",
    "nesterov",
}
#: What schedules hold for their own bookkeeping; versions of torch differ in it.
_BOOKKEEPING = {"_last_lr", "verbose", "_get_lr_called_within_step", "_is_initial", "_step_count"}
#: What a schedule calls the step at which it ends.
_ENDS = ("milestones", "T_max", "total_iters", "total_steps")


def restore_optimizer(
    optimizer: torch.optim.Optimizer,
    model: nn.Module,
    state: Any,
    where: object,
    *,
    loaded: Collection[str] | None = None,
    reset: str,
) -> None:
    """Give an optimizer the state of another run's.

    Args:
        optimizer: of ``model``'s parameters.
        model: whose parameters they are.
        state: what its ``state_dict()`` was.
        where: the checkpoint, for errors.
        loaded: names of the parameters that were taken from the checkpoint. The state of others, and
            of what does not fit, starts anew. None: all were, and the state must fit.
        reset: how to mend it.

    Raises:
        CheckpointError: it is another optimizer's or another model's, with ``loaded`` None.
    """
    problem = _unlike(optimizer, state)
    if problem is not None:
        if loaded is None:
            raise CheckpointError(f"its optimizer {problem}", where=where, how=reset)
        log.warning("%s: its optimizer %s: the optimizer starts anew", where, problem)
        return
    names = {id(value): name for name, value in model.named_parameters()}
    ours = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    theirs = [number for group in state["param_groups"] for number in group["params"]]
    kept: dict[Any, Any] = {}
    anew = []
    for number, parameter in zip(theirs, ours):
        name = names.get(id(parameter), str(number))
        entry = state["state"].get(number)
        if entry is None:
            continue
        problem = _misfit(entry, parameter, optimizer)
        if problem is None and (loaded is None or name in loaded):
            kept[number] = entry
        elif loaded is None:
            raise CheckpointError(f"its optimizer's state of '{name}' {problem}", where=where, how=reset)
        else:
            anew.append(name)
    optimizer.load_state_dict({**state, "state": kept})
    if anew:
        log.warning("%s: the optimizer starts anew for %d weights, such as '%s'", where, len(anew), anew[0])


def _unlike(optimizer: torch.optim.Optimizer, state: Any) -> str | None:
    """Why a state is no such optimizer's."""
    if not isinstance(state, Mapping) or not isinstance(state.get("state"), Mapping):
        return "has no state"
    groups = state.get("param_groups")
    if not isinstance(groups, list) or not all(
        isinstance(g, Mapping) and isinstance(g.get("params"), list) for g in groups
    ):
        return "has no groups of weights"
    if not all(isinstance(g.get("lr"), (int, float)) for g in groups):
        return "has no learning rate"
    counts = [len(group["params"]) for group in groups], [len(group["params"]) for group in optimizer.param_groups]
    if counts[0] != counts[1]:
        return f"has {sum(counts[0])} weights in {len(groups)} groups, this one {sum(counts[1])} in {len(counts[1])}"
    lacking = set(optimizer.defaults) - set(groups[0]) - _LATER if groups else set()
    return f"is another than {type(optimizer).__name__} (it has no {sorted(lacking)[0]})" if lacking else None


def _misfit(entry: Any, parameter: Tensor, optimizer: torch.optim.Optimizer) -> str | None:
    """Why a parameter cannot have this state."""
    if not isinstance(entry, Mapping):
        return "is none"
    factored = type(optimizer).__name__ == "Adafactor"
    for name, value in entry.items():
        if not isinstance(value, Tensor):
            continue
        if value.layout != torch.strided or value.is_meta or value.is_quantized:
            return f"holds no dense {name}"
        if value.numel() > 1 and value.shape != parameter.shape and not factored:
            return f"holds {name} {list(value.shape)}, it is {list(parameter.shape)}"
        if value.is_floating_point() and not torch.isfinite(value).all():
            return f"holds NaN or infinity in {name}"
    return None


def restore_schedule(schedule: Any, state: Any, where: object, *, partial: bool, reset: str) -> bool:
    """Give a schedule the state of another run's; is it restored?

    Raises:
        CheckpointError: it is another schedule's, unless ``partial``: then it starts anew.
    """
    own = set(schedule.state_dict()) - _BOOKKEEPING
    theirs = set(state) - _BOOKKEEPING if isinstance(state, Mapping) else set()
    if own == theirs and isinstance(state["last_epoch"], int):
        groups, given = len(schedule.optimizer.param_groups), state.get("base_lrs")
        if not isinstance(given, list) or len(given) == groups:
            schedule.load_state_dict(dict(state))
            return True
    problem = f"its schedule is no {type(schedule).__name__} of this optimizer"
    if not partial:
        raise CheckpointError(problem, where=where, how=reset)
    log.warning("%s: %s: the schedule starts anew", where, problem)
    return False


def warn_of_schedule(schedule: Any, rates: Collection[float], where: object, how: str) -> None:
    """Warn of a schedule that another run has gone through, wholly or so far that little is left of the rate.

    Args:
        schedule: restored.
        rates: the learning rates that the config asks for.
        where: the checkpoint.
        how: to begin anew.
    """
    now = max(group["lr"] for group in schedule.optimizer.param_groups)
    step, asked = schedule.last_epoch, max(rates)
    ends = [end for end in (_end(getattr(schedule, name, None)) for name in _ENDS) if end is not None]
    finished = bool(ends) and step >= max(ends)
    if finished or now < asked / 2:
        log.warning(
            "%s: the schedule is taken over %s at step %d, with a learning rate of %g where the config says %g: %s",
            where,
            "finished," if finished else "as it stood",
            step,
            now,
            asked,
            how,
        )


def _end(value: Any) -> float | None:
    if isinstance(value, Mapping):  # MultiStepLR's milestones
        value = max(value, default=None)
    if isinstance(value, (list, tuple)):
        value = max(value, default=None)
    return float(value) if isinstance(value, (int, float)) else None


def check_steps(schedule: Any, steps: int, where: str) -> None:
    """Refuse a schedule that ends before training does, where torch would refuse to step on.

    Raises:
        ConfigError: naming both.
    """
    total = getattr(schedule, "total_steps", None)
    if isinstance(total, int) and schedule.last_epoch + steps > total:
        raise ConfigError(
            f"{type(schedule).__name__} has {total} steps, and {schedule.last_epoch} + {steps} are to be made",
            where=where,
            how="raise total_steps, lower total_iter, or begin the schedule anew (trainer_cfg.scheduler_reset: true)",
        )
