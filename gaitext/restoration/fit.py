"""Training a corrector, or an estimator on the same crops: one process's part of a run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gaitext.restoration.crop_data import Batch, CropData
from gaitext.restoration.learner import build_learner
from gaitext.restoration.objective import CorrectionOutput
from gaitext.restoration.settings import CorrectionConfig, TrainerSettings
from gaitext.restoration.terms import SIGMA
from gaitext.restoration.validation import estimate, pictures
from gaitext.store import disk_errors
from gaitext.training.best import BestJob, BestRun, BestTraining
from gaitext.training.launch import repeatable

#: What a run left: ``validations`` hold ``iteration``, ``AP`` and ``L2`` (input pixels) on degraded validation crops
#: (from iteration 0, before any step), and with ``validate_on: both`` ``AP-original``, ``L2-original``.
CorrectionRun = BestRun


def chosen_by(score: Mapping[str, float]) -> float:
    """What ``best.pt`` has most of, of a row of ``validation.csv``: AP, or its mean with AP on originals."""
    return (score["AP"] + score.get("AP-original", score["AP"])) / 2


@dataclass(frozen=True)
class CorrectionJob(BestJob):
    """What every process is given: leaves of crops, and how many frames each has.

    Attributes:
        training, validation: leaf -> frames.
        unlabelled: those of ``training`` that have no true joints.
    """

    training: dict[str, int]
    validation: dict[str, int]
    unlabelled: tuple[str, ...]


def run_correction(fabric: Any, job: CorrectionJob) -> CorrectionRun:
    """Train in this process; torch's random state outside is left alone."""
    with repeatable(fabric.device), disk_errors(job.folder):
        return CorrectionTraining(fabric, job).run()


class CorrectionTraining(BestTraining):
    """One process's part of a run."""

    remedy = "lower trainer.lr, set trainer.clip, or raise the precision, and go on with --resume"
    shown = ("loss", "l2", "lr")
    command = "gaitext correct train"
    fixed = ("mode", "estimator", "model", "objective")
    validates_start = True

    def __init__(self, fabric: Any, job: CorrectionJob) -> None:
        self.config = CorrectionConfig.parse(job.config, where="config")
        self.cfg: TrainerSettings = self.config.steps
        data = self.config.data
        self.training = CropData(data.cache, job.training, data.min_score, unlabelled=job.unlabelled)
        self.validation = CropData(data.cache, job.validation, data.min_score)
        torch.manual_seed(job.seed)
        self.learner = build_learner(self.config, fabric.device)
        total = self.cfg.length(len(self.training))
        super().__init__(fabric, self.learner.objective, self.learner.kept, job, self.cfg, total)

    @property
    def _margin(self) -> float:
        """How far outside the picture a joint counts: while its Gaussian reaches in (HRNet's); coordinates never."""
        if self.learner.kind == "corrector":
            return 0.0
        estimator = self.learner.objective.estimator
        return 3 * SIGMA * estimator.input_size[1] / estimator.heatmap_size[1]

    def draw(self, iteration: int) -> Batch:
        return self.training.draw(
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

    def validate(self) -> tuple[dict[str, float], float]:
        """AP on the validation identities; shows corrections."""
        at = self.validation.spread(self.cfg.validation_frames)
        fabric = self.fabric
        score: dict[str, float] = {}
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
        reached = chosen_by(score)
        if self.cfg.images and self.learner.kind == "corrector":
            self._show()
        return score, reached

    def _look(self, images: Tensor) -> CorrectionOutput:
        """The objective without a loss, and not through the wrapper: processes may call it differently often.

        An estimator looks in float32: the peaks of half precision are coarser than a quarter pixel.
        """
        with self.fabric.autocast() if self.learner.kind == "corrector" else nullcontext():
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
        return super().notes() | {"kind": self.learner.kind, "estimator": self.config.estimator}
