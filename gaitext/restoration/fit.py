"""Training a corrector, or an estimator on the same crops: one process's part of a run."""

from __future__ import annotations

import logging
import math
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from gaitext.checkpoints import load
from gaitext.errors import CheckpointError
from gaitext.execution.stages import ahead
from gaitext.restoration.crop_data import Batch, CropData
from gaitext.restoration.learner import build_learner
from gaitext.restoration.objective import CorrectionOutput
from gaitext.restoration.settings import CorrectionConfig, TrainerSettings
from gaitext.restoration.terms import SIGMA
from gaitext.restoration.validation import estimate, pictures
from gaitext.store import disk_errors
from gaitext.training.launch import repeatable
from gaitext.training.loop import CsvLog, TrainingLoop, write_scalars
from gaitext.training.runs import checkpoint_path, read_checkpoint, restore_optimizer, restore_schedule, set_aside

log = logging.getLogger(__name__)

#: The weights that were best on the validation identities.
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
class CorrectionRun:
    """What a run left.

    Attributes:
        folder: with ``log.csv``, ``validation.csv``, ``summary/``, ``checkpoints/`` and ``best.pt``.
        checkpoint: the last checkpoint.
        best: ``best.pt``.
        iteration: how far the run has come.
        rows: ``log.csv``.
        validations: ``validation.csv``: ``iteration`` (0 is before any step), ``AP`` and ``L2`` (input pixels) on
            degraded validation crops, and with ``validate_on: both`` ``AP-original``, ``L2-original``.
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
    unlabelled: tuple[str, ...]
    folder: Path
    resume: Path | None
    overwrite: bool
    seed: int
    quiet: bool


def run_correction(fabric: Any, job: CorrectionJob) -> CorrectionRun:
    """Train in this process; torch's random state outside is left alone."""
    with repeatable(fabric.device), disk_errors(job.folder):
        return CorrectionTraining(fabric, job).run()


class CorrectionTraining(TrainingLoop):
    """One process's part of a run."""

    remedy = "lower trainer.lr, set trainer.clip, or raise the precision, and go on with --resume"
    shown = ("loss", "l2", "lr")
    logs_last = True

    def __init__(self, fabric: Any, job: CorrectionJob) -> None:
        self.job, self.config = job, CorrectionConfig.parse(job.config, where="config")
        self.cfg: TrainerSettings = self.config.steps
        data = self.config.data
        self.training = CropData(data.cache, job.training, data.min_score, unlabelled=job.unlabelled)
        self.validation = CropData(data.cache, job.validation, data.min_score)
        self.total = self.cfg.length(len(self.training))
        torch.manual_seed(job.seed)
        self.learner = build_learner(self.config, fabric.device)
        trained = list(self.learner.parameters())
        optimizer = torch.optim.AdamW(trained, self.cfg.lr, weight_decay=self.cfg.weight_decay)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        checkpoint = None if job.resume is None else read_checkpoint(job.resume)
        if checkpoint is not None:
            self._check_same(checkpoint)
            load(self.learner.kept, checkpoint, job.resume)
        self.average = Average(self.learner.kept, self.cfg.average)
        self.best = -math.inf
        self.scores: CsvLog | None = None
        super().__init__(
            fabric,
            self.learner.objective,
            optimizer,
            scheduler,
            folder=job.folder,
            total=self.total,
            log_every=self.cfg.log_every,
            seed=job.seed,
            quiet=job.quiet,
        )
        if checkpoint is not None:
            again = "go on from another of the run's checkpoints, or begin anew with --overwrite"
            restore_optimizer(self.inner, self.learner.objective, checkpoint["optimizer"], self.job.resume, reset=again)
            restore_schedule(self.scheduler, checkpoint["scheduler"], self.job.resume, partial=False, reset=again)
            own = checkpoint["gaitext"]
            self.best = float(own["best"])
            if "average" in own:
                self.average.restore(own["average"])
            self.restore(int(checkpoint["iteration"]), own)

    def _rate(self, iteration: int) -> float:
        return self.cfg.rate(iteration, self.total)

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

    def run(self) -> CorrectionRun:
        seconds = self.train()
        return CorrectionRun(
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
        if self.iteration == 0:
            self._score()

    def batches(self) -> Generator[Batch, None, None]:
        yield from ahead(self._drawn(), 2)

    def _drawn(self) -> Iterator[Batch]:
        for iteration in range(self.iteration, self.total):
            yield self.training.draw(
                self.cfg.batch_size,
                self.seed,
                iteration,
                rank=self.fabric.global_rank,
                world=self.fabric.world_size,
                original_share=self.cfg.original_share,
                mirror=self.cfg.mirror,
                bare_share=self.cfg.videos_share if self.training.is_mixed else None,
                paired=self.learner.needs_originals,
            )

    def step_seed(self) -> int:
        return ((self.seed * 1_000_003 + self.iteration) * 1009 + self.fabric.global_rank) % 2**63

    def forward(self, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        batch = self._moved(batch)
        self.learner.anneal(self.iteration / self.total)
        output = self.wrapped(batch.images, batch.targets, batch.weights, batch.originals)
        return output.losses["loss"], output.losses

    def _moved(self, batch: Batch) -> Batch:
        """On the device, and as the augmentation has it."""
        cfg, fabric = self.cfg, self.fabric
        if not cfg.augment.moves:
            return batch.to(fabric.device)
        place = {"rank": fabric.global_rank, "world": fabric.world_size}
        views = self.training.views(batch, cfg.augment, cfg.batch_size, self.seed, self.iteration, **place)
        return batch.to(fabric.device).moved(views.to(fabric.device), self._margin)

    def clip(self) -> None:
        if self.cfg.clip:
            self.fabric.clip_gradients(self.wrapped, self.optimizer, max_norm=self.cfg.clip, error_if_nonfinite=False)

    def between_steps(self, last: bool) -> None:
        self.average.add(self.iteration)
        if self.iteration % self.cfg.validate_every == 0 or last:
            with self.average.in_use():
                self._score()
        if self.iteration % self.cfg.save_every == 0 or last:
            self.save(checkpoint_path(self.folder, self.iteration))

    def _score(self) -> None:
        score = self._validate()
        if self.scores is not None:
            self.scores.write(score)
        write_scalars(self.writer, score, "validation/")

    def _validate(self) -> dict[str, float]:
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
            self.save(self.folder / BEST)
        if self.cfg.images and self.learner.kind == "corrector":
            self._show()
        self.wrapped.train()
        return score

    def _look(self, images: Tensor) -> CorrectionOutput:
        """The objective without a loss, and not through the wrapper: processes may call it differently often."""
        with self.fabric.autocast():
            output: CorrectionOutput = self.learner.objective(images)
        return output

    def _show(self) -> None:
        if self.writer is None:
            return
        at = self.validation.spread(self.cfg.images)
        worse, better = (next(self.validation.batches(at, len(at), original=each)) for each in (False, True))
        shown = pictures(self._look, worse, better, self.fabric.device)
        self.writer.add_images("degraded, corrected, original", shown, self.iteration)

    def notes(self) -> dict[str, Any]:
        return {
            "kind": self.learner.kind,
            "estimator": self.config.estimator,
            "config": self.job.config,
            "seed": self.seed,
            "best": self.best,
        }

    def checkpoint(self, path: Path, own: dict[str, Any]) -> dict[str, Any]:
        content = {"model": self.learner.kept.state_dict(), "iteration": self.iteration, "gaitext": own}
        if path.name == BEST:  # to be used, not to be gone on from
            return content
        weights = self.average.weights
        if weights:
            own["average"] = weights
        return content | {"optimizer": self.inner.state_dict(), "scheduler": self.scheduler.state_dict()}
