"""The training loop, for everything that is trained here: one process's part of a run.

A subclass says what is trained and what a batch costs, and what happens between steps: tests, validation, averages.
"""

from __future__ import annotations

import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

import gaitext
from gaitext.errors import GaitextError
from gaitext.execution import progress
from gaitext.training.log import CsvLog, Means, show, summary_writer, write_scalars
from gaitext.training.runs import write_checkpoint

__all__ = ["TrainingLoop"]

log = logging.getLogger(__name__)


class TrainingLoop(ABC):
    """Draw, step, log, save, until ``total`` iterations are made.

    Args:
        fabric: Lightning Fabric's, of this process.
        module: what is trained; called through ``wrapped``. Weights to begin with are loaded already.
        optimizer, scheduler: of its parameters; the scheduler is stepped with every iteration.
        folder: of the run.
        total: iterations at the end.
        log_every: iterations between rows of ``log.csv``.
        seed: of everything drawn.
        quiet: no progress bar.
        tensorboard: whether a TensorBoard log is wanted.

    Attributes:
        iteration: how many are made.
        means: of the losses since the last row.
        scaler: GradScaler of 16-mixed; saved with the checkpoint.
        table: ``log.csv``, in the first process.
        writer: TensorBoard's, in the first process, if there is one.
    """

    #: What to do against a loss that is no number any more.
    remedy: ClassVar[str]
    #: Numbers of a row that the progress bar shows.
    shown: ClassVar[tuple[str, ...]]
    #: Whether the last iteration has a row, whatever its number.
    logs_last: ClassVar[bool] = False

    def __init__(
        self,
        fabric: Any,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        scheduler: Any,
        *,
        folder: Path,
        total: int,
        log_every: int,
        seed: int,
        quiet: bool,
        tensorboard: bool = True,
    ) -> None:
        self.fabric, self.folder, self.seed, self.quiet = fabric, folder, seed, quiet
        self.total, self.log_every, self.tensorboard = total, log_every, tensorboard
        self.inner, self.scheduler = optimizer, scheduler
        self.wrapped, self.optimizer = fabric.setup(module, optimizer)
        self.scaler = getattr(fabric.strategy.precision, "scaler", None)
        self.iteration, self.means = 0, Means()
        self.table: CsvLog | None = None
        self.writer: Any = None

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return bool(self.fabric.global_rank == 0)

    def restore(self, iteration: int, own: Mapping[str, Any]) -> None:
        """Go on at an iteration, with what :meth:`save` wrote under ``gaitext``."""
        self.iteration = iteration
        if "means" in own:
            self.means.restore(own["means"])
        if self.scaler is not None and "scaler" in own:
            self.scaler.load_state_dict(own["scaler"])
        if own.get("seed", self.seed) != self.seed:
            log.warning("resumed with seed %d a run of seed %d", self.seed, own["seed"])

    def train(self) -> float:
        """Train to the end; the seconds it took."""
        begun = time.monotonic()
        # The checkpoint to start from may lie in the folder: every process has read it now.
        self.fabric.barrier()
        if self.first:
            aside = self.set_aside()
            if aside is not None:
                log.warning("what an earlier run left in %s is now in %s", self.folder, aside)
            self.folder.mkdir(parents=True, exist_ok=True)
            self.table = CsvLog(self.folder / "log.csv", self.iteration)
        self.writer = summary_writer(self.folder / "summary", self.iteration, self.first and self.tensorboard)
        self.begin()
        with (
            closing(self.batches()) as batches,
            progress("training", self.total, done=self.iteration, quiet=self.quiet or not self.first) as update,
        ):
            for batch in batches:
                self.step(batch)
                last, note = self.iteration == self.total, ""
                if self.iteration % self.log_every == 0 or (last and self.logs_last):
                    row = self.row()
                    note = show(row, self.shown)
                    if self.table is not None:
                        self.table.write(row)
                    self.summarise(row)
                update(self.iteration, note=note)
                self.between_steps(last)
        if self.writer is not None:
            self.writer.close()
        return time.monotonic() - begun

    def step(self, batch: Any) -> None:
        """One iteration."""
        torch.manual_seed(self.step_seed())
        loss, scalars = self.forward(batch)
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        self.clip()
        self.optimizer.step()
        self.scheduler.step()
        self.iteration += 1
        self.means.add(scalars)

    def row(self) -> dict[str, float]:
        """The means since the last row; all processes must ask.

        Raises:
            GaitextError: the loss is no number any more.
        """
        means = self.means.take()
        if not math.isfinite(means["loss"]):
            raise GaitextError(
                f"the loss is {means['loss']} at iteration {self.iteration}", where=self.folder, how=self.remedy
            )
        return {"iteration": self.iteration, "lr": self.inner.param_groups[0]["lr"], **means}

    def save(self, path: Path) -> None:
        """Write a checkpoint; all processes must ask."""
        own: dict[str, Any] = {"version": gaitext.__version__, **self.notes()}
        if self.means.count:
            own["means"] = self.means.state()
            if not math.isfinite(own["means"]["sums"]["loss"]):
                self.row()  # raises
        if self.scaler is not None:
            own["scaler"] = self.scaler.state_dict()
        if self.first:
            write_checkpoint(path, self.checkpoint(path, own))
        self.fabric.barrier()

    # What a training says of itself --------------------------------------------------------------

    @abstractmethod
    def set_aside(self) -> Path | None:
        """Move what another run has left in the folder; where to, if there was anything."""

    @abstractmethod
    def begin(self) -> None:
        """Put the networks into the mode they are trained in; anything else before the first step."""

    @abstractmethod
    def batches(self) -> Generator[Any, None, None]:
        """This process's batches, from ``iteration`` to ``total``."""

    @abstractmethod
    def step_seed(self) -> int:
        """What torch is seeded with before a step, of this iteration and process: dropout, augmentation."""

    @abstractmethod
    def forward(self, batch: Any) -> tuple[Tensor, Mapping[str, Tensor]]:
        """What is minimised, and the numbers to log; ``loss`` among them."""

    def clip(self) -> None:  # noqa: B027 (nothing is what most do)
        """Limit the gradients, if they are to be."""

    def summarise(self, row: Mapping[str, float]) -> None:
        """Write a row to TensorBoard."""
        write_scalars(self.writer, row)

    @abstractmethod
    def between_steps(self, last: bool) -> None:
        """Saving, testing, averaging, each when it is due."""

    @abstractmethod
    def notes(self) -> dict[str, Any]:
        """What a checkpoint says of the run, under ``gaitext``; ``seed`` among it."""

    @abstractmethod
    def checkpoint(self, path: Path, own: dict[str, Any]) -> dict[str, Any]:
        """All of a checkpoint, with ``own`` under ``gaitext``."""
