"""Training a host's model: one process's part of a run."""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gaitext.errors import CheckpointError
from gaitext.models.folding import unsettled
from gaitext.standalone.building import (
    LossSum,
    build_model,
    build_optimizer,
    build_sampler,
    build_scheduler,
    load_weights,
)
from gaitext.standalone.data import SequenceDataset, loader
from gaitext.standalone.settings import HostConfig
from gaitext.standalone.tester import embed, evaluate, save, testing_set
from gaitext.store import disk_errors
from gaitext.training.launch import repeatable
from gaitext.training.loop import TrainingLoop, write_scalars
from gaitext.training.runs import (
    check_steps,
    checkpoint_path,
    read_checkpoint,
    restore_optimizer,
    restore_schedule,
    set_aside,
    set_later_aside,
    warn_of_schedule,
)

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
        return _HostTraining(fabric, job).run()


class _HostTraining(TrainingLoop):
    """One process's part of a run."""

    remedy = "lower optimizer_cfg.lr or raise the precision, and go on from a checkpoint before it (--resume)"
    shown = ("loss", "lr")

    def __init__(self, fabric: Any, job: Job) -> None:
        self.job, self.host, self.cfg = job, job.host, job.host.trainer
        torch.manual_seed(job.seed)
        strict = self.cfg.restore_ckpt_strict
        self.model = build_model(self.host.model, fresh=job.restore is None or not strict)
        if self.cfg.sync_BN and fabric.world_size > 1:
            nn.SyncBatchNorm.convert_sync_batchnorm(self.model)
        self.losses = LossSum(self.host.losses).to(fabric.device)
        self.sampler = build_sampler(job.dataset, self.cfg.sampler, job.seed)
        self.images: dict[str, Tensor] = {}
        self.evaluations: dict[int, Any] = {}
        optimizer = build_optimizer(self.model, self.host.optimizer)
        scheduler = build_scheduler(optimizer, self.host.scheduler)
        self._rates = [group.get("initial_lr", group["lr"]) for group in optimizer.param_groups]
        checkpoint, loaded = None, None
        if job.restore is not None:
            checkpoint = read_checkpoint(job.restore)
            loaded = load_weights(self.model, job.restore, checkpoint, strict=strict)
        super().__init__(
            fabric,
            self.model,
            optimizer,
            scheduler,
            folder=job.folder,
            total=self.cfg.total_iter,
            log_every=self.cfg.log_iter,
            seed=job.seed,
            quiet=job.quiet,
            tensorboard=self.host.fabric.tensorboard,
        )
        if checkpoint is not None:
            self._restore_state(checkpoint, loaded)
        check_steps(self.scheduler, self.total - self.iteration, "scheduler_cfg")

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
        own = checkpoint.get("gaitext")
        self.restore(iteration, own if isinstance(own, Mapping) else {})

    def run(self) -> TrainResult:
        if self.host.data.cache:
            self.job.dataset.load_all()
        seconds = self.train()
        last = checkpoint_path(self.folder, self.iteration)
        rows = self.table.rows if self.table is not None else []
        return TrainResult(self.folder, last, self.iteration, rows, self.evaluations, seconds)

    def set_aside(self) -> Path | None:
        if self.job.overwrite:
            return set_aside(self.folder)
        return set_later_aside(self.folder, self.iteration) if self.job.resume else None

    def begin(self) -> None:
        self._training_mode()
        warning = unsettled(self.model) if self.cfg.fix_BN and self.first else None
        if warning is not None:
            log.warning("%s", warning)

    def _training_mode(self) -> None:
        self.wrapped.train()
        if self.cfg.fix_BN:
            for module in self.model.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def batches(self) -> Generator[Any, None, None]:
        yield from loader(
            self.job.dataset,
            self.sampler.draw,
            range(self.iteration, self.total),
            self.fabric.device,
            rank=self.fabric.global_rank,
            world_size=self.fabric.world_size,
        )

    def step_seed(self) -> int:
        key = np.random.SeedSequence([self.seed, _NETWORK, self.iteration, self.fabric.global_rank])
        return int(key.generate_state(1, np.uint64)[0] >> np.uint64(1))

    def forward(self, batch: Any) -> tuple[Tensor, Mapping[str, Tensor]]:
        self.model.trained_share = self.iteration / self.total
        output = self.wrapped(batch.inputs(self.fabric.device))
        self.images = output["visual_summary"]
        total, scalars = self.losses(output["training_feat"])
        return total, scalars

    def summarise(self, row: Mapping[str, float]) -> None:
        write_scalars(self.writer, row)
        for name, image in self.images.items() if self.writer is not None else ():
            shown = image.detach().float().clamp(0, 1)
            self.writer.add_images(name.removeprefix("image/"), shown, int(row["iteration"]))

    def between_steps(self, last: bool) -> None:
        if self.iteration % self.cfg.save_iter == 0 or last:
            self.save(checkpoint_path(self.folder, self.iteration))
            if self.cfg.with_test:
                self.evaluations[self.iteration] = self._test()

    def _test(self) -> Any:
        """Test in between, on the network as it is."""
        found = testing_set(self.host, self.seed)
        data = embed(self.fabric, self.model, self.host, found, quiet=True)
        result = None
        if self.first:
            saved = self.host.evaluator.save_embeddings
            if saved is not None:
                path = checkpoint_path(self.folder, self.iteration)
                save(self.host, data, found, saved, path, self.iteration, self.seed)
            result = evaluate(self.host, data)
        if self.writer is not None:
            for name, value in getattr(result, "scalars", {}).items():
                self.writer.add_scalar(name.removeprefix("scalar/"), value, self.iteration)
        self._training_mode()
        return result

    def notes(self) -> dict[str, Any]:
        return {"seed": self.seed}

    def checkpoint(self, path: Path, own: dict[str, Any]) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.inner.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "iteration": self.iteration,
            "gaitext": own,
        }
