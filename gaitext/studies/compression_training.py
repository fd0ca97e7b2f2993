"""Trainings of a study of artifact correction: the restorer, correctors, and the fine-tuning they are compared with."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaitext.errors import DataError
from gaitext.restoration import CorrectionConfig, RestorerConfig, train_correction, train_restorer
from gaitext.studies.compression_data import CompressionData
from gaitext.studies.tasks import Task, finish


@dataclass(frozen=True)
class _Training:
    """A training of a study.

    Args:
        seed: of everything random.
        output: the folder of all seeds.
        device: ``cpu`` or ``cuda``.
        nproc: processes.
        about: what :attr:`done` says.
    """

    seed: int
    output: Path
    device: str
    nproc: int
    about: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Of its folder."""
        raise NotImplementedError

    @property
    def folder(self) -> Path:
        return self.output / self.name

    @property
    def done(self) -> Path:
        return self.folder / "done.json"

    @property
    def weights(self) -> Path:
        return self.folder / "best.pt"

    @property
    def how(self) -> dict[str, Any]:
        """Keywords that ``train_correction`` and ``train_restorer`` share; one that was killed goes on."""
        return {
            "device": self.device,
            "devices": self.nproc,
            "resume": True,
            "seed": self.seed,
            "output": self.output,
            "quiet": True,
        }


@dataclass(frozen=True)
class CorrectorTraining(_Training):
    """A corrector's training, or the fine-tuning it is compared with.

    Args:
        config: of ``gaitext correct train``, its ``name`` the seed's.
        finetune: train the estimator.
    """

    config: CorrectionConfig
    finetune: bool

    @property
    def name(self) -> str:
        return self.config.name + ("-finetuned" if self.finetune else "")

    @property
    def begins_as_base(self) -> bool:
        """Whether before its first step the estimator is what it is, and sees crops as they are."""
        return self.finetune or self.config.model.weights is None

    @property
    def batch_size(self) -> int:
        mode = "finetune" if self.finetune else "correct"
        return self.config.model_copy(update={"mode": mode}).steps.batch_size

    def task(self, name: str, needs: tuple[str, ...], *, alone: bool) -> Task:
        return Task(name, train, self, self.done, self.about, needs, alone)

    def validations(self) -> list[dict[str, float]]:
        """``validation.csv``: AP on validation crops by ``iteration``.

        Raises:
            DataError: it cannot be read.
        """
        path = self.folder / "validation.csv"
        try:
            with path.open(newline="", encoding="utf-8") as stream:
                return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(stream)]
        except (OSError, ValueError) as error:
            raise DataError(f"holds no validations ({error!r})", where=path, how=f"delete {self.done}") from error


def train(correction: CorrectorTraining) -> None:
    """Train, or go on where a killed training stopped."""
    run = train_correction(correction.config, finetune=correction.finetune, **correction.how)
    finish(correction.done, correction.about, seconds=round(run.seconds, 1), AP=run.validations)


@dataclass(frozen=True)
class RestorerTraining(_Training):
    """The pre-training of a corrector as a restorer of pictures, which sees no poses.

    Args:
        data: the study's.
        config: of ``gaitext correct pretrain``, its ``name`` the seed's.
    """

    data: CompressionData
    config: RestorerConfig

    @property
    def name(self) -> str:
        return self.config.name

    def task(self, name: str, needs: tuple[str, ...], *, alone: bool) -> Task:
        return Task(name, pretrain, self, self.done, self.about, needs, alone)


def pretrain(restorer: RestorerTraining) -> None:
    """Pre-train, or go on where a killed pre-training stopped."""
    restorer.data.link_training_videos()
    run = train_restorer(restorer.config, **restorer.how)
    finish(restorer.done, restorer.about, seconds=round(run.seconds, 1))
