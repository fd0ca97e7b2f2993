"""The training loop, for everything that is trained here: one process's part of a run, and what it writes down.

A subclass says what is trained and what a batch costs, and what happens between steps: tests, validation, averages.
"""

from __future__ import annotations

import csv
import importlib.util
import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

import gaitext
from gaitext.errors import GaitextError
from gaitext.execution import progress
from gaitext.losses.loss import world_size
from gaitext.store import atomic_path, disk_errors
from gaitext.training.runs import write_checkpoint

log = logging.getLogger(__name__)


class Means:
    """Means of scalars since the last row, over iterations and processes.

    Sums stay on the device until they are asked for, so that training does not wait for it.
    """

    def __init__(self) -> None:
        self.sums: dict[str, Tensor | float] = {}
        self.count = 0

    def add(self, scalars: Mapping[str, Tensor]) -> None:
        for name, value in scalars.items():
            self.sums[name] = self.sums.get(name, 0.0) + value.detach()
        self.count += 1

    def state(self) -> dict[str, Any]:
        """Sums averaged over processes, as numbers; all processes must ask."""
        names = list(self.sums)
        values = torch.stack([torch.as_tensor(self.sums[n], dtype=torch.float64).cpu() for n in names])
        if world_size() > 1:
            device = "cuda" if dist.get_backend() == "nccl" else "cpu"
            shared = values.to(device)
            dist.all_reduce(shared)
            values = shared.cpu() / world_size()
        return {"sums": dict(zip(names, values.tolist())), "count": self.count}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.sums, self.count = dict(state["sums"]), int(state["count"])

    def take(self) -> dict[str, float]:
        """The means, and start anew; all processes must take them."""
        state = self.state()
        self.sums, self.count = {}, 0
        return {name: value / state["count"] for name, value in state["sums"].items()}


class CsvLog:
    """``log.csv``: one row every ``log_iter`` iterations.

    Args:
        path: the file.
        after: keep the rows up to this iteration, drop the others: those of a run that was
            killed after its last checkpoint. 0 starts a new file.
    """

    def __init__(self, path: Path, after: int) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []
        if after > 0 and path.exists():
            with path.open(newline="", encoding="utf-8") as stream:
                # A last line cut short by a kill has fewer cells, or none that is a number.
                whole = [row for row in csv.DictReader(stream) if None not in row.values()]
            read = [{key: float(value) for key, value in row.items() if value != ""} for row in whole]
            self.rows = [row for row in read if row["iteration"] <= after]
        elif path.exists():
            log.warning("%s is begun anew: this run does not resume the one before", path)
        self.columns = list(self.rows[-1]) if self.rows else []
        self._rewrite()

    def write(self, row: Mapping[str, float]) -> None:
        self.rows.append(dict(row))
        if any(name not in self.columns for name in row):
            self.columns += [name for name in row if name not in self.columns]
            self._rewrite()
            return
        with disk_errors(self.path), self.path.open("a", newline="", encoding="utf-8") as stream:
            csv.DictWriter(stream, self.columns, restval="").writerow(_text(row))

    def _rewrite(self) -> None:
        with atomic_path(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, self.columns, restval="")
            if self.columns:
                writer.writeheader()
            writer.writerows(_text(row) for row in self.rows)


def _text(row: Mapping[str, float]) -> dict[str, str]:
    return {k: str(int(v)) if k == "iteration" else repr(float(v)) for k, v in row.items()}


def summary_writer(folder: Path, after: int, wanted: bool) -> Any:
    """A TensorBoard writer in ``folder``, or None where tensorboard is not installed or not wanted."""
    if not wanted:
        return None
    if importlib.util.find_spec("tensorboard") is None:
        log.info("no TensorBoard log: pip install 'gaitext[standalone]' brings it")
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=after + 1 if after else None)


def write_scalars(writer: Any, row: Mapping[str, float], prefix: str = "") -> None:
    """A row's numbers to TensorBoard, at its ``iteration``; ``writer`` may be None."""
    for name, value in row.items() if writer is not None else ():
        if name != "iteration":
            writer.add_scalar(prefix + name, value, int(row["iteration"]))


def show(values: Mapping[str, float], names: Iterable[str]) -> str:
    """Some of a row's numbers, for the progress bar."""
    return " ".join(f"{name} {values[name]:.4g}" for name in names if name in values)


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
