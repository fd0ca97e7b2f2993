"""A training that validates now and then, and keeps the weights that were best."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from gaitext.checkpoints import load
from gaitext.errors import CheckpointError, ConfigError
from gaitext.execution.stages import ahead
from gaitext.store import make_folder
from gaitext.training.launch import leads, process_count
from gaitext.training.loop import CsvLog, TrainingLoop, write_scalars
from gaitext.training.pace import PaceSettings
from gaitext.training.runs import (
    alone,
    checkpoint_path,
    latest_checkpoint,
    read_checkpoint,
    restore_optimizer,
    restore_schedule,
    set_aside,
)

#: The weights that were best in validation.
BEST = "best.pt"


class Average:
    """An exponential moving average of a network's weights and statistics, which small batches make restless.

    Early on it counts the last iterations only: the share kept is at most (1 + t) / (10 + t) at iteration t.

    Args:
        network: whose; its tensors are changed in place while :meth:`in_use`.
        decay: the share kept; 0 averages nothing.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network, self.decay, self.iteration = network, decay, 0
        self.averaged = AveragedModel(network, multi_avg_fn=self._mix, use_buffers=True) if decay else None

    @property
    def weights(self) -> dict[str, Tensor]:
        """The average, under the network's names; empty where nothing is averaged."""
        started = self.averaged is not None and bool(self.averaged.n_averaged)
        return dict(self.averaged.module.state_dict()) if started else {}  # type: ignore[union-attr]

    def add(self, iteration: int) -> None:
        """Count the network's weights after ``iteration`` (from 1)."""
        if self.averaged is not None:
            self.iteration = iteration
            self.averaged.update_parameters(self.network)

    def _mix(self, averaged: Any, current: Any, count: Any) -> None:
        if averaged[0].is_floating_point():
            kept = min(self.decay, (1 + self.iteration) / (10 + self.iteration))
            get_ema_multi_avg_fn(kept)(averaged, current, count)
        else:  # a count has no mean
            torch._foreach_copy_(averaged, current)

    def restore(self, weights: Mapping[str, Tensor]) -> None:
        """Go on from an average that was saved."""
        if self.averaged is not None:
            self.averaged.module.load_state_dict(weights)
            self.averaged.n_averaged.fill_(1)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """The network has the average's weights meanwhile."""
        weights = self.weights
        if not weights:
            yield
            return
        now = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self.network.load_state_dict(weights)
        try:
            yield
        finally:
            self.network.load_state_dict(now)


@dataclass(frozen=True)
class BestRun:
    """What a run left.

    Attributes:
        folder: with ``log.csv``, ``validation.csv``, ``summary/``, ``checkpoints/`` and ``best.pt``.
        checkpoint: the last checkpoint.
        best: ``best.pt``.
        iteration: how far the run has come.
        rows: ``log.csv``.
        validations: ``validation.csv``.
        seconds: of this call's training.
    """

    folder: Path
    checkpoint: Path
    best: Path
    iteration: int
    rows: list[dict[str, float]]
    validations: list[dict[str, float]]
    seconds: float


@dataclass(frozen=True)
class BestJob:
    """What every process is given.

    Attributes:
        config: the run's settings, plain values, which pickle anywhere.
        folder: of the run.
        resume: the checkpoint to go on from; None begins anew.
        overwrite: set aside what an earlier run has left.
        seed: of everything random.
        quiet: no progress bar.
    """

    config: dict[str, Any]
    folder: Path
    resume: Path | None
    overwrite: bool
    seed: int
    quiet: bool


@contextmanager
def run_folder(folder: Path, *, resume: bool, overwrite: bool) -> Iterator[Path | None]:
    """Hold a run's folder; yields the checkpoint to go on from, if it is to be gone on.

    Raises:
        ConfigError: it holds checkpoints, and neither ``resume`` nor ``overwrite`` is given.
        DataError: another training is at work there, or nothing can be written.
    """
    make_folder(folder.parent)
    with alone(folder, first=leads()):
        latest = latest_checkpoint(folder)
        if latest is not None and not (resume or overwrite):
            raise ConfigError(
                "holds checkpoints of an earlier run", where=folder, how="give --resume or --overwrite, or another name"
            )
        yield latest if resume else None


def check_batch(batch_size: int, devices: int) -> None:
    """Refuse a batch that leaves a process without a picture.

    Raises:
        ConfigError: naming both numbers.
    """
    processes = process_count(devices)
    if batch_size < processes:
        raise ConfigError(
            f"a batch of {batch_size} for {processes} processes",
            where="trainer.batch_size",
            how="give each at least one picture",
        )


class BestTraining(TrainingLoop):
    """One process's part of a run that keeps its best weights.

    Args:
        fabric: Lightning Fabric's, of this process.
        module: what is trained, those of its parameters that want gradients; ``kept`` is part of it.
        kept: the network whose weights a checkpoint holds under ``model``.
        job: what the run was started with.
        pace: how long and how fast.
        total: iterations at the end.

    Raises:
        CheckpointError: ``job.resume`` is of another run.
    """

    logs_last = True
    #: The command, for errors.
    command: ClassVar[str]
    #: Parts of the config that a run cannot be gone on with when they have changed.
    fixed: ClassVar[tuple[str, ...]]
    #: Whether what was there before the first step is validated, too.
    validates_start: ClassVar[bool] = False

    def __init__(
        self, fabric: Any, module: nn.Module, kept: nn.Module, job: BestJob, pace: PaceSettings, total: int
    ) -> None:
        self.job, self.kept, self.pace, self.total = job, kept, pace, total
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, pace.lr, weight_decay=pace.weight_decay)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        checkpoint = None if job.resume is None else read_checkpoint(job.resume)
        if checkpoint is not None:
            self._check_same(checkpoint)
            load(kept, checkpoint, job.resume)
        self.average = Average(kept, pace.average)
        self.best = -math.inf
        self.scores: CsvLog | None = None
        super().__init__(
            fabric,
            module,
            optimizer,
            scheduler,
            folder=job.folder,
            total=total,
            log_every=pace.log_every,
            seed=job.seed,
            quiet=job.quiet,
        )
        if checkpoint is not None:
            again = "go on from another of the run's checkpoints, or begin anew with --overwrite"
            restore_optimizer(self.inner, module, checkpoint["optimizer"], job.resume, reset=again)
            restore_schedule(self.scheduler, checkpoint["scheduler"], job.resume, partial=False, reset=again)
            own = checkpoint["gaitext"]
            self.best = float(own["best"])
            if "average" in own:
                self.average.restore(own["average"])
            self.restore(int(checkpoint["iteration"]), own)

    def _rate(self, iteration: int) -> float:
        return self.pace.rate(iteration, self.total)

    def _check_same(self, checkpoint: dict[str, Any]) -> None:
        written = checkpoint.get("gaitext")
        theirs = written.get("config") if isinstance(written, dict) else None
        wanted = ("iteration", "optimizer", "scheduler")
        if (
            not isinstance(theirs, dict)
            or not all(key in checkpoint for key in wanted)
            or "best" not in (written or ())
        ):
            raise CheckpointError(
                f"is no checkpoint of {self.command} to go on from",
                where=self.job.resume,
                how="give one of the run's checkpoints folder, or --overwrite",
            )
        differing = [key for key in self.fixed if theirs.get(key) != self.job.config.get(key)]
        if differing:
            raise CheckpointError(
                f"was trained with another {' and another '.join(differing)}",
                where=self.job.resume,
                how="resume with the config it was trained with, or give --overwrite",
            )

    def run(self) -> BestRun:
        """Train to the end."""
        seconds = self.train()
        return BestRun(
            self.folder,
            checkpoint_path(self.folder, self.iteration),
            self.folder / BEST,
            self.iteration,
            self.table.rows if self.table is not None else [],
            self.scores.rows if self.scores is not None else [],
            seconds,
        )

    def set_aside(self) -> Path | None:
        return set_aside(self.folder) if self.job.overwrite and self.job.resume is None else None

    def begin(self) -> None:
        self.wrapped.train()
        if self.first:
            self.scores = CsvLog(self.folder / "validation.csv", self.iteration)
        if self.validates_start and self.iteration == 0:
            self._score()

    def batches(self) -> Generator[Any, None, None]:
        yield from ahead((self.draw(iteration) for iteration in range(self.iteration, self.total)), 2)

    def step_seed(self) -> int:
        return ((self.seed * 1_000_003 + self.iteration) * 1009 + self.fabric.global_rank) % 2**63

    def clip(self) -> None:
        if self.pace.clip:
            self.fabric.clip_gradients(self.wrapped, self.optimizer, max_norm=self.pace.clip, error_if_nonfinite=False)

    def between_steps(self, last: bool) -> None:
        self.average.add(self.iteration)
        if self.iteration % self.pace.validate_every == 0 or last:
            self._score()
        if self.iteration % self.pace.save_every == 0 or last:
            self.save(checkpoint_path(self.folder, self.iteration))

    def _score(self) -> None:
        """Validate, write it down, and keep the weights if they are the best."""
        with self.average.in_use():
            self.wrapped.eval()
            score, reached = self.validate()
            if reached > self.best:
                self.best = reached
                self.save(self.folder / BEST)
            self.wrapped.train()
        row = {"iteration": float(self.iteration), **score}
        if self.scores is not None:
            self.scores.write(row)
        write_scalars(self.writer, row, "validation/")

    def notes(self) -> dict[str, Any]:
        return {"config": self.job.config, "seed": self.seed, "best": self.best}

    def checkpoint(self, path: Path, own: dict[str, Any]) -> dict[str, Any]:
        content = {"model": self.kept.state_dict(), "iteration": self.iteration, "gaitext": own}
        if path.name == BEST:  # to be used, not to be gone on from
            return content
        weights = self.average.weights
        if weights:
            own["average"] = weights
        return content | {"optimizer": self.inner.state_dict(), "scheduler": self.scheduler.state_dict()}

    # What a training says of itself --------------------------------------------------------------

    @abstractmethod
    def draw(self, iteration: int) -> Any:
        """This process's part of the batch of an iteration; called in a thread of its own, ahead of its use."""

    @abstractmethod
    def validate(self) -> tuple[dict[str, float], float]:
        """How good the averaged weights are: a row of ``validation.csv``, and the number that is to be highest.

        All processes are asked, and must return the same.
        """
