"""A run's checkpoints: where they lie, which is the latest, and what is restored of an optimizer and a schedule."""

from __future__ import annotations

import itertools
import logging
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from torch import Tensor, nn

from gaitext.checkpoints import read_file
from gaitext.errors import CheckpointError, ConfigError
from gaitext.store import atomic_path, clear_all_temporaries, only_one

log = logging.getLogger(__name__)


def checkpoint_path(folder: Path, iteration: int) -> Path:
    """``<folder>/checkpoints/<save_name>-<iteration>.pt``, the toolboxes' place."""
    return folder / "checkpoints" / f"{folder.name}-{iteration:05d}.pt"


def latest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint of the highest iteration, if there is one."""
    found = _checkpoints(folder)
    return found[max(found)] if found else None


def _checkpoints(folder: Path) -> dict[int, Path]:
    pattern = re.compile(re.escape(folder.name) + r"-(\d+)\.pt")
    return {int(m[1]): p for p in (folder / "checkpoints").glob("*.pt") if (m := pattern.fullmatch(p.name))}


@contextmanager
def alone(folder: Path, *, first: bool = True) -> Iterator[None]:
    """Hold a run's folder, so that no other training writes its log and checkpoints there.

    What killed trainings left half written is removed. The lock stands beside the folder, as training may
    set the folder aside.

    Args:
        folder: the run's; it need not be there.
        first: whether this is the process that writes; the others hold nothing.

    Raises:
        DataError: another training is at work there, or nothing can be written.
    """
    if not first:
        yield
        return
    with only_one(folder, beside=True):
        for place in (folder, folder / "checkpoints"):
            clear_all_temporaries(place)
        yield


def set_aside(folder: Path) -> Path | None:
    """Rename a run's folder to ``<folder>.old-N``, N counted from 1; None where there is none."""
    if not folder.exists():
        return None
    aside = _free_name(folder)
    folder.rename(aside)
    return aside


def set_later_aside(folder: Path, iteration: int) -> Path | None:
    """Move the checkpoints after ``iteration`` to ``<folder>.old-N``, with a copy of the log.

    A run that goes on at ``iteration`` is another run from there on: were it killed, the old
    run's later checkpoints would be taken for its own.
    """
    later = [path for number, path in _checkpoints(folder).items() if number > iteration]
    if not later:
        return None
    aside = _free_name(folder)
    (aside / "checkpoints").mkdir(parents=True)
    if (folder / "log.csv").exists():
        shutil.copy2(folder / "log.csv", aside)
    for path in later:
        path.rename(aside / "checkpoints" / path.name)
    return aside


def _free_name(folder: Path) -> Path:
    names = (folder.with_name(f"{folder.name}.old-{number}") for number in itertools.count(1))
    return next(path for path in names if not path.exists())


def write_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint whole or not at all; equal contents are equal bytes, whatever the file's name."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        guarded = _ErrorKeepingStream(stream)
        try:
            torch.save(dict(content), cast(BinaryIO, guarded))
        except Exception as error:
            if guarded.failed is not None:  # torch hides the disk's error behind one of its own
                raise guarded.failed from error
            raise
        stream.flush()


class _ErrorKeepingStream:
    """What ``torch.save`` writes to; it keeps the disk's error. A file that torch opens itself gets its name inside."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.failed: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self.stream.write(data)
        except OSError as error:
            self.failed = error
            raise

    def flush(self) -> None:
        self.stream.flush()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU without running anything it might contain.

    Raises:
        CheckpointError: missing, damaged, or holding more than tensors and plain values.
    """
    if not path.is_file():
        others = sorted(p.name for p in path.parent.glob("*.pt"))
        raise CheckpointError(
            "no such checkpoint",
            where=path,
            how=f"there are {', '.join(others[-5:])}" if others else "train first, or check restore_hint",
        )
    loaded = read_file(path)
    if not isinstance(loaded, dict):
        raise CheckpointError("holds no checkpoint", where=path, how="use another checkpoint")
    return loaded


#: What torch's optimizers learned to be told later, and fill in themselves.
_ADDED_LATER = {
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
_NAMES_OF_ENDS = ("milestones", "T_max", "total_iters", "total_steps")


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
    problem = _why_another(optimizer, state)
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
        problem = _why_not_its_state(entry, parameter, optimizer)
        if problem is None and (loaded is None or name in loaded):
            kept[number] = entry
        elif loaded is None:
            raise CheckpointError(f"its optimizer's state of '{name}' {problem}", where=where, how=reset)
        else:
            anew.append(name)
    optimizer.load_state_dict({**state, "state": kept})
    if anew:
        log.warning("%s: the optimizer starts anew for %d weights, such as '%s'", where, len(anew), anew[0])


def _why_another(optimizer: torch.optim.Optimizer, state: Any) -> str | None:
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
    lacking = set(optimizer.defaults) - set(groups[0]) - _ADDED_LATER if groups else set()
    return f"is another than {type(optimizer).__name__} (it has no {sorted(lacking)[0]})" if lacking else None


def _why_not_its_state(entry: Any, parameter: Tensor, optimizer: torch.optim.Optimizer) -> str | None:
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
    ends = [end for end in (_end(getattr(schedule, name, None)) for name in _NAMES_OF_ENDS) if end is not None]
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
