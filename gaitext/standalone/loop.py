"""The training loop itself: one process's part of a run."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import gaitext
from gaitext.errors import CheckpointError, GaitextError
from gaitext.execution import progress
from gaitext.models.folding import unsettled
from gaitext.standalone.data import SequenceDataset, loader
from gaitext.standalone.host import (
    LossSum,
    build_model,
    build_optimizer,
    build_sampler,
    build_scheduler,
    load_weights,
)
from gaitext.standalone.settings import HostConfig
from gaitext.standalone.tester import embed, evaluate, testing_set
from gaitext.store import disk_errors
from gaitext.training.launch import repeatable
from gaitext.training.log import CsvLog, Means, show, summary_writer, write_scalars
from gaitext.training.restoring import check_steps, restore_optimizer, restore_schedule, warn_of_schedule
from gaitext.training.runs import checkpoint_path, read_checkpoint, set_aside, set_later_aside, write_checkpoint

__all__ = ["Job", "TrainResult", "run_job"]

log = logging.getLogger(__name__)

#: Keeps the network's draws (dropout, augmentation) apart from the samplers'.
_NETWORK = 2


@dataclass(frozen=True)
class TrainResult:
    """What a training run left.

    Args:
        folder: the run's folder, with ``log.csv``, ``summary/`` and ``checkpoints/``.
        checkpoint: the last checkpoint.
        iteration: how far the run has come.
        rows: ``log.csv``: ``iteration``, ``lr``, ``loss`` and each loss's own, means over the
            iterations since the row before.
        evaluations: iteration -> result, with ``trainer_cfg.with_test``.
        seconds: duration of this call's training.
    """

    folder: Path
    checkpoint: Path
    iteration: int
    rows: list[dict[str, float]]
    evaluations: dict[int, Any]
    seconds: float


@dataclass(frozen=True)
class Job:
    """What every process of a run is given."""

    host: HostConfig
    dataset: SequenceDataset
    folder: Path
    restore: Path | None
    #: Go on at the checkpoint's iteration; otherwise its weights are a start.
    resume: bool
    #: What an earlier run left in the folder is moved aside.
    overwrite: bool
    seed: int
    quiet: bool


def run_job(fabric: Any, job: Job) -> TrainResult:
    """Train in this process; torch's random state outside, this GPU's too, is left alone."""
    with repeatable(fabric.device), disk_errors(job.folder):
        return _Trainer(fabric, job).run()


class _Trainer:
    """One process's part of a run."""

    def __init__(self, fabric: Any, job: Job) -> None:
        self.fabric, self.job, self.host = fabric, job, job.host
        self.cfg = job.host.trainer
        torch.manual_seed(job.seed)
        restored = job.restore is not None and self.cfg.restore_ckpt_strict
        self.model = build_model(self.host.model, fresh=not restored)
        if self.cfg.sync_BN and fabric.world_size > 1:
            nn.SyncBatchNorm.convert_sync_batchnorm(self.model)
        self.losses = LossSum(self.host.losses).to(fabric.device)
        self.sampler = build_sampler(job.dataset, self.cfg.sampler, job.seed)
        self.means = Means()
        self.iteration = 0
        self.inner = build_optimizer(self.model, self.host.optimizer)
        self.scheduler = build_scheduler(self.inner, self.host.scheduler)
        self._rates = [group.get("initial_lr", group["lr"]) for group in self.inner.param_groups]
        checkpoint = read_checkpoint(job.restore) if job.restore is not None else None
        loaded: set[str] | None = None
        if checkpoint is not None and job.restore is not None:
            loaded = load_weights(self.model, job.restore, checkpoint, strict=self.cfg.restore_ckpt_strict)
        self.wrapped, self.optimizer = fabric.setup(self.model, self.inner)
        #: Of float16; its state belongs to the run's.
        self.scaler = getattr(fabric.strategy.precision, "scaler", None)
        if checkpoint is not None:
            self._restore_state(checkpoint, loaded)
        check_steps(self.scheduler, self.cfg.total_iter - self.iteration, "scheduler_cfg")

    def _restore_state(self, checkpoint: Mapping[str, Any], loaded: set[str] | None) -> None:
        """Optimizer, schedule and, going on, the iteration and what else makes the run the same."""
        job, cfg = self.job, self.cfg
        how = "set trainer_cfg.{}_reset: true, and it starts anew"
        taken = [
            name for name in ("optimizer", "scheduler") if not getattr(cfg, f"{name}_reset") and name in checkpoint
        ]
        for name in ("optimizer", "scheduler"):
            if name not in taken:
                log.warning("%s: the %s starts anew", job.restore, name)
        if "optimizer" in taken:
            state = checkpoint["optimizer"]
            reset = how.format("optimizer")
            restore_optimizer(self.inner, self.model, state, job.restore, loaded=loaded, reset=reset)
        if "scheduler" in taken:
            state, reset = checkpoint["scheduler"], how.format("scheduler")
            restore_schedule(self.scheduler, state, job.restore, partial=loaded is not None, reset=reset)
        if not job.resume:
            if taken:
                anew = "to begin it anew, set trainer_cfg.scheduler_reset and optimizer_reset: true"
                warn_of_schedule(self.scheduler, self._rates, job.restore, anew)
            return
        iteration = checkpoint.get("iteration")
        if type(iteration) is not int or iteration < 0:
            raise CheckpointError(
                "does not say its iteration", where=job.restore, how="start from it: restore_hint: PATH"
            )
        self.iteration = iteration
        own = checkpoint.get("gaitext")
        own = own if isinstance(own, Mapping) else {}
        if "means" in own:
            self.means.restore(own["means"])
        if self.scaler is not None and "scaler" in own:
            self.scaler.load_state_dict(own["scaler"])
        if own.get("seed", self.job.seed) != self.job.seed:
            log.warning("resumed with seed %d a run of seed %d", self.job.seed, own["seed"])

    def run(self) -> TrainResult:
        job, cfg, fabric = self.job, self.cfg, self.fabric
        first, begun = fabric.global_rank == 0, time.monotonic()
        if self.host.data.cache:
            job.dataset.load_all()
        # Not earlier: the checkpoint to start from may lie there, and every process has read it now.
        fabric.barrier()
        if first:
            self._tidy_folder()
        table = CsvLog(job.folder / "log.csv", self.iteration) if first else None
        writer = summary_writer(job.folder / "summary", self.iteration, first and self.host.fabric.tensorboard)
        evaluations: dict[int, Any] = {}
        self._training_mode()
        warning = unsettled(self.model) if cfg.fix_BN and first else None
        if warning is not None:
            log.warning("%s", warning)
        batches = loader(
            job.dataset,
            self.sampler.draw,
            range(self.iteration, cfg.total_iter),
            fabric.device,
            rank=fabric.global_rank,
            world_size=fabric.world_size,
        )
        with progress("training", cfg.total_iter, done=self.iteration, quiet=job.quiet or not first) as update:
            for batch in batches:
                images = self._step(batch.inputs(fabric.device))
                note = ""
                if self.iteration % cfg.log_iter == 0:
                    row = self._row()
                    note = show(row, ("loss", "lr"))
                    if table is not None:
                        table.write(row)
                    _summarise(writer, row, images)
                update(self.iteration, note=note)
                if self.iteration % cfg.save_iter == 0 or self.iteration == cfg.total_iter:
                    self._save()
                    if cfg.with_test:
                        evaluations[self.iteration] = self._test(writer)
        if writer is not None:
            writer.close()
        last = checkpoint_path(job.folder, self.iteration)
        rows = table.rows if table is not None else []
        return TrainResult(job.folder, last, self.iteration, rows, evaluations, time.monotonic() - begun)

    def _tidy_folder(self) -> None:
        """Make the run's folder, without what another run has left in it."""
        folder, aside = self.job.folder, None
        if self.job.overwrite:
            aside = set_aside(folder)
        elif self.job.resume:
            aside = set_later_aside(folder, self.iteration)
        if aside is not None:
            log.warning("what an earlier run left in %s is now in %s", folder, aside)
        folder.mkdir(parents=True, exist_ok=True)

    def _training_mode(self) -> None:
        self.wrapped.train()
        if self.cfg.fix_BN:
            for module in self.model.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def _step(self, inputs: tuple[Any, ...]) -> dict[str, torch.Tensor]:
        """One iteration; returns the pictures for the log."""
        key = np.random.SeedSequence([self.job.seed, _NETWORK, self.iteration, self.fabric.global_rank])
        torch.manual_seed(int(key.generate_state(1, np.uint64)[0] >> np.uint64(1)))
        output = self.wrapped(inputs)
        total, scalars = self.losses(output["training_feat"])
        self.optimizer.zero_grad()
        self.fabric.backward(total)
        self.optimizer.step()
        self.scheduler.step()
        self.iteration += 1
        self.means.add(scalars)
        images: dict[str, torch.Tensor] = output["visual_summary"]
        return images

    def _row(self) -> dict[str, float]:
        means = self.means.take()
        if not math.isfinite(means["loss"]):
            raise GaitextError(
                f"the loss is {means['loss']} at iteration {self.iteration}",
                where=self.job.folder,
                how="lower optimizer_cfg.lr or raise the precision, and go on from a checkpoint before it (--resume)",
            )
        return {"iteration": self.iteration, "lr": self.inner.param_groups[0]["lr"], **means}

    def _save(self) -> None:
        own: dict[str, Any] = {"version": gaitext.__version__, "seed": self.job.seed}
        if self.means.count:
            own["means"] = self.means.state()
            if not math.isfinite(own["means"]["sums"]["loss"]):
                self._row()  # raises
        if self.scaler is not None:
            own["scaler"] = self.scaler.state_dict()
        if self.fabric.global_rank == 0:
            content = {
                "model": self.model.state_dict(),
                "optimizer": self.inner.state_dict(),
                "scheduler": self.scheduler.state_dict(),
                "iteration": self.iteration,
                "gaitext": own,
            }
            write_checkpoint(checkpoint_path(self.job.folder, self.iteration), content)
        self.fabric.barrier()

    def _test(self, writer: Any) -> Any:
        """Test in between, on the network as it is."""
        data = embed(self.fabric, self.model, self.host, testing_set(self.host, self.job.seed), quiet=True)
        result = evaluate(self.host, data) if self.fabric.global_rank == 0 else None
        if writer is not None:
            for name, value in getattr(result, "scalars", {}).items():
                writer.add_scalar(name.removeprefix("scalar/"), value, self.iteration)
        self._training_mode()
        return result


def _summarise(writer: Any, row: Mapping[str, float], images: Mapping[str, torch.Tensor]) -> None:
    write_scalars(writer, row)
    for name, image in images.items() if writer is not None else ():
        writer.add_images(name.removeprefix("image/"), image.detach().float().clamp(0, 1), int(row["iteration"]))
