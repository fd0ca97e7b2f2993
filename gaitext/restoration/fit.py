"""The loop of correction's training: one process's part of a run.

Weights averaged over the iterations of training, which small batches and an L1 loss make restless.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import gaitext
from gaitext.checkpoints import load
from gaitext.errors import CheckpointError, GaitextError
from gaitext.execution import progress
from gaitext.execution.stages import ahead
from gaitext.restoration.crop_data import Batch, CropData
from gaitext.restoration.learner import build_learner
from gaitext.restoration.objective import SIGMA, CorrectionOutput
from gaitext.restoration.settings import CorrectionConfig, TrainerSettings
from gaitext.restoration.validation import estimate, pictures
from gaitext.store import disk_errors
from gaitext.training.launch import repeatable
from gaitext.training.log import CsvLog, Means, show, summary_writer, write_scalars
from gaitext.training.restoring import restore_optimizer, restore_schedule
from gaitext.training.runs import checkpoint_path, read_checkpoint, set_aside, write_checkpoint

__all__ = ["Average", "BEST", "CorrectionJob", "CorrectionRun", "run_correction"]


class Average:
    """An exponential moving average of a network's weights and statistics.

    Early on it counts the last iterations only: the share kept is at most (1 + t) / (10 + t) at iteration t.

    Args:
        network: whose; its tensors are changed in place while :meth:`in_use`.
        decay: the share kept; 0 averages nothing.

    Attributes:
        weights: the average, under the network's names; empty where nothing is averaged.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network, self.decay = network, decay
        self.weights: dict[str, Tensor] = {}

    def add(self, iteration: int) -> None:
        """Count the network's weights after ``iteration`` (from 1)."""
        if not self.decay:
            return
        now = self.network.state_dict()
        if not self.weights:
            self.weights = {name: value.detach().clone() for name, value in now.items()}
            return
        kept = min(self.decay, (1 + iteration) / (10 + iteration))
        for name, value in now.items():
            mean = self.weights[name]
            if mean.is_floating_point():
                mean.lerp_(value.detach().to(mean), 1 - kept)
            else:
                mean.copy_(value)

    def restore(self, weights: Mapping[str, Tensor]) -> None:
        """Go on from an average that was saved."""
        if self.decay:
            now = self.network.state_dict()
            self.weights = {name: value.to(now[name].device, copy=True) for name, value in weights.items()}

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """The network has the average's weights meanwhile."""
        if not self.weights:
            yield
            return
        now = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        with torch.no_grad():
            self.network.load_state_dict(self.weights)
            try:
                yield
            finally:
                self.network.load_state_dict(now)


log = logging.getLogger(__name__)

#: The weights that were best on the validation identities.
BEST = "best.pt"


@dataclass(frozen=True)
class CorrectionRun:
    """What a run left.

    Attributes:
        folder: with ``log.csv``, ``validation.csv``, ``summary/``, ``checkpoints/`` and ``best.pt``.
        checkpoint: the last checkpoint.
        best: ``best.pt``.
        iteration: how far the run has come.
        rows: ``log.csv``.
        validations: ``validation.csv``: ``iteration``, ``AP`` and ``L2`` (input pixels) on degraded validation
            crops, and with ``validate_on: both`` ``AP-original``, ``L2-original``.
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
class CorrectionJob:
    """What every process is given; ``config`` is plain values, which pickle anywhere."""

    config: dict[str, Any]
    training: dict[str, int]
    validation: dict[str, int]
    folder: Path
    resume: Path | None
    overwrite: bool
    seed: int
    quiet: bool


def run_correction(fabric: Any, job: CorrectionJob) -> CorrectionRun:
    """Train in this process; torch's random state outside is left alone."""
    with repeatable(fabric.device), disk_errors(job.folder):
        return _Run(fabric, job).run()


class _Run:
    def __init__(self, fabric: Any, job: CorrectionJob) -> None:
        self.fabric, self.job = fabric, job
        self.config = CorrectionConfig.parse(job.config, where="config")
        self.cfg: TrainerSettings = self.config.steps
        data = self.config.data
        self.training = CropData(data.cache, job.training, data.min_score)
        self.validation = CropData(data.cache, job.validation, data.min_score)
        self.iterations = self.cfg.length(len(self.training))
        torch.manual_seed(job.seed)
        self.learner = build_learner(self.config, fabric.device)
        self.inner = torch.optim.AdamW(list(self.learner.parameters()), self.cfg.lr, weight_decay=self.cfg.weight_decay)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.inner, self._rate)
        self.means, self.iteration, self.best = Means(), 0, -math.inf
        self.average = Average(self.learner.kept, self.cfg.average)
        checkpoint = None if job.resume is None else read_checkpoint(job.resume)
        if checkpoint is not None:
            self._check_same(checkpoint)
            load(self.learner.kept, checkpoint, job.resume)
        self.wrapped, self.optimizer = fabric.setup(self.learner.objective, self.inner)
        self.scaler = getattr(fabric.strategy.precision, "scaler", None)
        if checkpoint is not None:
            self._restore(checkpoint)

    def _rate(self, iteration: int) -> float:
        return self.cfg.rate(iteration, self.iterations)

    @property
    def _margin(self) -> float:
        """How far outside the picture a joint counts: while its Gaussian reaches in (HRNet's); coordinates never."""
        if self.learner.kind == "corrector":
            return 0.0
        estimator = self.learner.objective.estimator
        return 3 * SIGMA * estimator.input_size[1] / estimator.heatmap_size[1]

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
                "is no checkpoint of gaitext correct train to go on from",
                where=self.job.resume,
                how="give one of the run's checkpoints folder, or --overwrite",
            )
        own = self.job.config
        differing = [k for k in ("mode", "estimator", "model", "objective") if theirs.get(k) != own.get(k)]
        if differing:
            raise CheckpointError(
                f"was trained with another {' and another '.join(differing)}",
                where=self.job.resume,
                how="resume with the config it was trained with, or give --overwrite",
            )

    def _restore(self, checkpoint: dict[str, Any]) -> None:
        kept, again = (
            self.learner.objective,
            "go on from another of the run's checkpoints, or begin anew with --overwrite",
        )
        restore_optimizer(self.inner, kept, checkpoint["optimizer"], self.job.resume, reset=again)
        restore_schedule(self.scheduler, checkpoint["scheduler"], self.job.resume, partial=False, reset=again)
        self.iteration = int(checkpoint["iteration"])
        own = checkpoint["gaitext"]
        self.best = float(own["best"])
        if "average" in own:
            self.average.restore(own["average"])
        if "means" in own:
            self.means.restore(own["means"])
        if self.scaler is not None and "scaler" in own:
            self.scaler.load_state_dict(own["scaler"])
        if own["seed"] != self.job.seed:
            log.warning("resumed with seed %d a run of seed %d", self.job.seed, own["seed"])

    def run(self) -> CorrectionRun:
        job, cfg, fabric = self.job, self.cfg, self.fabric
        first, begun = fabric.global_rank == 0, time.monotonic()
        fabric.barrier()
        if first:
            aside = set_aside(job.folder) if job.overwrite and job.resume is None else None
            if aside is not None:
                log.warning("what an earlier run left in %s is now in %s", job.folder, aside)
            job.folder.mkdir(parents=True, exist_ok=True)
        table = CsvLog(job.folder / "log.csv", self.iteration) if first else None
        scores = CsvLog(job.folder / "validation.csv", self.iteration) if first else None
        writer = summary_writer(job.folder / "summary", self.iteration, first)
        self.wrapped.train()
        with (
            closing(ahead(self._batches(), 2)) as batches,
            progress("training", self.iterations, done=self.iteration, quiet=job.quiet or not first) as update,
        ):
            for batch in batches:
                self._step(batch)
                last, note = self.iteration == self.iterations, ""
                if self.iteration % cfg.log_every == 0 or last:
                    row = self._row()
                    note = show(row, ("loss", "l2", "lr"))
                    if table is not None:
                        table.write(row)
                    write_scalars(writer, row)
                update(self.iteration, note=note)
                if self.iteration % cfg.validate_every == 0 or last:
                    with self.average.in_use():
                        score = self._validate(writer)
                    if scores is not None:
                        scores.write(score)
                    write_scalars(writer, score, "validation/")
                if self.iteration % cfg.save_every == 0 or last:
                    self._save(checkpoint_path(job.folder, self.iteration))
        if writer is not None:
            writer.close()
        return CorrectionRun(
            job.folder,
            checkpoint_path(job.folder, self.iteration),
            job.folder / BEST,
            self.iteration,
            table.rows if table is not None else [],
            scores.rows if scores is not None else [],
            time.monotonic() - begun,
        )

    def _batches(self) -> Iterator[Batch]:
        cfg, fabric = self.cfg, self.fabric
        for iteration in range(self.iteration, self.iterations):
            yield self.training.draw(
                cfg.batch_size,
                self.job.seed,
                iteration,
                rank=fabric.global_rank,
                world=fabric.world_size,
                original_share=cfg.original_share,
                mirror=cfg.mirror,
            )

    def _step(self, batch: Batch) -> None:
        key = (self.job.seed * 1_000_003 + self.iteration) * 1009 + self.fabric.global_rank
        torch.manual_seed(key % 2**63)
        batch = self._moved(batch)
        output = self.wrapped(batch.images, batch.targets, batch.weights)
        self.optimizer.zero_grad()
        self.fabric.backward(output.losses["loss"])
        if self.cfg.clip:
            self.fabric.clip_gradients(self.wrapped, self.optimizer, max_norm=self.cfg.clip, error_if_nonfinite=False)
        self.optimizer.step()
        self.scheduler.step()
        self.iteration += 1
        self.average.add(self.iteration)
        self.means.add(output.losses)

    def _moved(self, batch: Batch) -> Batch:
        """On the device, and as the augmentation has it."""
        cfg, fabric = self.cfg, self.fabric
        if not cfg.augment.moves:
            return batch.to(fabric.device)
        place = {"rank": fabric.global_rank, "world": fabric.world_size}
        views = self.training.views(batch, cfg.augment, cfg.batch_size, self.job.seed, self.iteration, **place)
        return batch.to(fabric.device).moved(views.to(fabric.device), self._margin)

    def _row(self) -> dict[str, float]:
        means = self.means.take()
        if not math.isfinite(means["loss"]):
            raise GaitextError(
                f"the loss is {means['loss']} at iteration {self.iteration}",
                where=self.job.folder,
                how="lower trainer.lr, set trainer.clip, or raise the precision, and go on with --resume",
            )
        return {"iteration": self.iteration, "lr": self.inner.param_groups[0]["lr"], **means}

    def _validate(self, writer: Any) -> dict[str, float]:
        """AP on the validation identities; keeps the best weights, shows corrections."""
        self.wrapped.eval()
        at = self.validation.spread(self.cfg.validation_frames)
        fabric = self.fabric
        score: dict[str, float] = {"iteration": self.iteration}
        for name, original in (("", False), ("-original", True)):
            if original and self.cfg.validate_on == "degraded":
                continue
            poses = estimate(
                self._look,
                self.validation,
                at,
                original=original,
                device=fabric.device,
                rank=fabric.global_rank,
                world=fabric.world_size,
            )
            score[f"AP{name}"], score[f"L2{name}"] = poses.precision()
        reached = (score["AP"] + score.get("AP-original", score["AP"])) / 2
        if reached > self.best:
            self.best = reached
            self._save(self.job.folder / BEST)
        if self.cfg.images and self.learner.kind == "corrector":
            self._show(writer)
        self.wrapped.train()
        return score

    def _look(self, images: Tensor) -> CorrectionOutput:
        """The objective without a loss, and not through the wrapper: processes may call it differently often."""
        with self.fabric.autocast():
            output: CorrectionOutput = self.learner.objective(images)
        return output

    def _show(self, writer: Any) -> None:
        if writer is None:
            return
        at = self.validation.spread(self.cfg.images)
        worse, better = (next(self.validation.batches(at, len(at), original=each)) for each in (False, True))
        shown = pictures(self._look, worse, better, self.fabric.device)
        writer.add_images("degraded, corrected, original", shown, self.iteration)

    def _save(self, path: Path) -> None:
        own: dict[str, Any] = {
            "version": gaitext.__version__,
            "kind": self.learner.kind,
            "estimator": self.config.estimator,
            "config": self.job.config,
            "seed": self.job.seed,
            "best": self.best,
        }
        if self.means.count:
            own["means"] = self.means.state()
            if not math.isfinite(own["means"]["sums"]["loss"]):
                self._row()  # raises
        if self.scaler is not None:
            own["scaler"] = self.scaler.state_dict()
        if path.name != BEST and self.average.weights:
            own["average"] = self.average.weights
        if self.fabric.global_rank == 0:
            content = {"model": self.learner.kept.state_dict(), "iteration": self.iteration, "gaitext": own}
            if path.name != BEST:
                content |= {"optimizer": self.inner.state_dict(), "scheduler": self.scheduler.state_dict()}
            write_checkpoint(path, content)
        self.fabric.barrier()
