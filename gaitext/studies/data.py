"""A study's data sets: walkers rendered and seen by an estimator, or what is there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from gaitext.config import Settings
from gaitext.errors import DataError
from gaitext.extraction import ExtractSettings, extract_dataset, find_sources
from gaitext.store import read_partition
from gaitext.studies.tasks import Task, digest_of, estimator_about, finish
from gaitext.walkers import WalkerSettings, write_dataset


class DataSettings(Settings):
    """One data set.

    Attributes:
        walkers: rendered with these settings of ``gaitext walkers``; with ``estimator`` they are filmed and it finds
            their heatmaps, without it their leaves are what the renderer's simulated estimator sees.
        estimator: as ``gaitext extract`` takes it.
        extract: its settings.
        data_cfg: laid over a system's ``data_cfg``; for data that are there it names ``dataset_root``,
            ``dataset_partition``, ``dataset_name`` and ``test_dataset_name``. For systems whose config is a toolbox's,
            its own partition and names stand where these are left out.
        evaluator_cfg: laid over a system's, where its test is on these data: ``eval_func``.
    """

    walkers: dict[str, Any] | None = None
    estimator: str | None = None
    extract: dict[str, Any] = Field(default_factory=lambda: {"form": "compact", "min_frames": 1})
    data_cfg: dict[str, Any] = Field(default_factory=dict)
    evaluator_cfg: dict[str, Any] = Field(default_factory=dict)

    @property
    def has_partition(self) -> bool:
        """Whether it says by itself who is trained on."""
        return self.walkers is not None or "dataset_partition" in self.data_cfg

    @model_validator(mode="after")
    def _somewhere(self) -> DataSettings:
        if self.walkers is None and "dataset_root" not in self.data_cfg:
            raise ValueError("give walkers, or data_cfg with dataset_root and dataset_partition")
        if self.walkers is None and self.estimator is not None:
            raise ValueError("an estimator is for walkers here: run `gaitext extract`, and name its sequences")
        if self.walkers is not None:
            WalkerSettings.parse(self.walkers, where="walkers")
        ExtractSettings.parse(self.extract, where="extract")
        return self


@dataclass(frozen=True)
class PreparedData:
    """A data set and where it is, or will be.

    Args:
        name: in the study.
        settings: of it.
        folder: the study's ``data``.
        workers: processes that render and extract.
        root: that relative paths of ``data_cfg`` start from.
        quiet: no progress bars.
    """

    name: str
    settings: DataSettings
    folder: Path
    workers: int
    root: Path
    quiet: bool = False

    @property
    def about(self) -> dict[str, Any]:
        """What the data are; the same settings give the same."""
        given = self.settings
        if given.walkers is None:
            return {"data_cfg": given.data_cfg, "evaluator_cfg": given.evaluator_cfg}
        about: dict[str, Any] = {
            "walkers": self.walkers.model_dump(mode="json"),
            "data_cfg": given.data_cfg,
            "evaluator_cfg": given.evaluator_cfg,
        }
        return (
            about
            if given.estimator is None
            else {**about, "estimator": estimator_about(given.estimator), "extract": given.extract}
        )

    @property
    def walkers(self) -> WalkerSettings:
        content = {} if self.settings.estimator is None else {"content": ["video"]}
        return WalkerSettings.parse({**(self.settings.walkers or {}), **content}, where=f"data.{self.name}.walkers")

    @property
    def filmed(self) -> Path:
        """Of the walkers; data that differ in the estimator alone share it."""
        return self.folder / f"walkers-{digest_of(self.walkers.model_dump(mode='json'))}"

    @property
    def seen(self) -> Path:
        """The folder of ``sequences``."""
        estimator = self.settings.estimator
        if estimator is None:
            return self.filmed
        made = {"estimator": estimator_about(estimator), "extract": self.settings.extract, "of": self.filmed.name}
        return self.folder / f"{self.name}-{digest_of(made)}"

    @property
    def done(self) -> Path:
        return self.folder / f"{self.name}-{digest_of(self.about)}.json"

    def task(self) -> Task:
        return Task(f"data {self.name}", _make, self, self.done, self.about, alone=True)

    def host_sections(self, training: bool) -> dict[str, Any]:
        """What is laid over a host's config."""
        given = self.settings
        data = dict(given.data_cfg)
        if given.walkers is not None:
            data |= {"dataset_root": self.seen / "sequences", "dataset_partition": self.filmed / "partition.json"}
        for key in {"dataset_root", "dataset_partition"} & set(data):
            data[key] = str((self.root / data[key]).resolve())
        return {"data_cfg": data} if training else {"data_cfg": data, "evaluator_cfg": dict(given.evaluator_cfg)}

    def identities(self) -> int:
        """How many are trained on."""
        if self.settings.walkers is not None:
            return self.walkers.training
        return len(read_partition(Path(self.host_sections(True)["data_cfg"]["dataset_partition"]))[0])


def _make(data: PreparedData) -> None:
    settings = data.settings
    if settings.walkers is None:
        found = data.host_sections(True)["data_cfg"]
        if "dataset_partition" in found:
            read_partition(Path(found["dataset_partition"]))
        if not Path(found["dataset_root"]).is_dir():
            raise DataError("no such folder", where=found["dataset_root"], how=f"mend data.{data.name}")
        finish(data.done, data.about)
        return
    written = write_dataset(data.walkers, data.filmed, workers=data.workers, quiet=data.quiet)
    if settings.estimator is not None:
        assert written.videos is not None
        report = extract_dataset(
            find_sources(written.videos, written.boxes),
            settings.estimator,
            data.seen,
            ExtractSettings.parse(settings.extract, where="extract"),
            workers=data.workers,
            quiet=data.quiet,
        )
        report.raise_failures("videos")
        left = {path.name for path in (data.seen / "sequences").iterdir() if path.is_dir()}
        trained, tested = read_partition(written.partition)
        gone = sorted({*trained, *tested} - left)
        if gone:
            raise DataError(f"the estimator has found nothing of {', '.join(gone)}", where=data.seen)
    finish(data.done, data.about)
