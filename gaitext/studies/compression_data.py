"""What a study of artifact correction trains on: videos, their degraded versions, and crops of both."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from gaitext.errors import DataError
from gaitext.restoration import RestorerConfig, degrade_dataset
from gaitext.restoration.crop_data import read_split
from gaitext.restoration.learner import build_learner
from gaitext.restoration.settings import CorrectionConfig
from gaitext.restoration.train import prepare_correction
from gaitext.store import read_partition, write_json
from gaitext.studies.compression_settings import CompressionSettings, PoseSystemSettings
from gaitext.studies.tasks import Task, digest_of, finish
from gaitext.video.digests import digest
from gaitext.video.sources import find_clips, find_videos
from gaitext.walkers import WalkerSettings, write_dataset


@dataclass(frozen=True)
class CompressionData:
    """What a study of artifact correction trains on.

    Args:
        settings: the study's.
        root: the folder of its YAML.
        folder: the study's ``data``.
        workers: processes that render, degrade, cut and extract.
        quiet: no progress bars.
    """

    settings: CompressionSettings
    root: Path
    folder: Path
    workers: int
    quiet: bool = False

    @property
    def walkers(self) -> WalkerSettings | None:
        given = self.settings.walkers
        return None if given is None else WalkerSettings.parse(given, where="walkers")

    @cached_property
    def config(self) -> CorrectionConfig:
        """What ``gaitext correct train`` is given, without a system's changes."""
        return self.config_with(None)

    @property
    def truth(self) -> Path:
        """The originals, and what is true of them."""
        assert self.config.data.truth is not None
        return self.config.data.truth

    @property
    def degraded(self) -> Path:
        """Their degraded versions."""
        assert self.config.data.degraded is not None
        return self.config.data.degraded

    def config_with(self, system: PoseSystemSettings | None) -> CorrectionConfig:
        """The same with a system's changes.

        Raises:
            ConfigError: it is wrong.
        """
        if self.walkers is None:
            return self.settings.correction_config(self.root, {}, system)
        videos = digest_of(self.videos_about)
        folders = {
            "truth": rendered(self.folder, self.walkers),
            "degraded": self.folder / f"degraded-{videos}",
            "split": self.folder / f"split-{videos}.json",
            "cache": self.folder / f"crops-{videos}",
        }
        return self.settings.correction_config(self.root, folders, system)

    @property
    def videos_about(self) -> dict[str, Any]:
        """What the videos are; where they are, if they were there before."""
        if self.walkers is not None:
            degrade = self.settings.degrade.model_dump(mode="json")
            return {"walkers": self.walkers.model_dump(mode="json"), "degrade": degrade}
        data = self.settings.correction_config(self.root, {}).data
        return {"truth": str(data.truth), "degraded": str(data.degraded)}

    @property
    def about(self) -> dict[str, Any]:
        """What the crops are; the same settings give the same."""
        data = self.config.data.model_dump(mode="json")
        places = {"truth", "degraded", "cache"} | ({"split"} if self.settings.walkers is not None else set())
        own = {key: data.pop(key) for key in ("videos", "degrade")}  # those without labels, if there are any
        more = {} if own["videos"] is None else {"own": own}
        return {**self.videos_about, **more, **{key: value for key, value in data.items() if key not in places}}

    def restorer_config(self, values: Mapping[str, Any]) -> RestorerConfig:
        """What ``gaitext correct pretrain`` is given: of walkers it sees the training people's videos alone.

        Args:
            values: the study's ``restorer``.

        Raises:
            ConfigError: they are wrong.
        """
        if self.walkers is not None:
            data = {"videos": [str(self._training_videos)], "cache": str(self._training_videos.with_suffix(".cache"))}
            values = {**values, "data": {**(values.get("data") or {}), **data}}
        return RestorerConfig.parse({**values, "name": "seed-0"}, where="restorer")

    @property
    def _training_videos(self) -> Path:
        """A tree of links to the videos of those who train."""
        return self.folder / f"training-{digest_of(self.videos_about)}"

    def link_training_videos(self) -> None:
        """Make :meth:`restorer_config`'s tree of walkers."""
        if self.walkers is None:
            return
        self._training_videos.mkdir(parents=True, exist_ok=True)
        for identity in read_split(self.config.data.split, ()).train:
            link, videos = self._training_videos / identity, self.truth / "videos" / identity
            if not link.is_symlink():
                link.symlink_to(os.path.relpath(videos, link.parent), target_is_directory=True)

    @property
    def is_rendered(self) -> bool:
        """Whether the label source is walkers' renderer, whose keypoints are no extraction's leaves."""
        return self.settings.walkers is not None or (self.truth / "walkers.json").is_file()

    @property
    def training_identities(self) -> int | None:
        """How many correctors, and recognisers, are trained on; None: that is seen when the data are there."""
        return None if self.walkers is None else self.walkers.training - _validating(self.walkers.training)

    def videos_task(self) -> Task:
        about = self.videos_about
        done = self.folder / f"videos-{digest_of(about)}.json"
        return Task("data videos", _make_videos, self, done, about, alone=True)

    def crops_task(self) -> Task:
        """Crops to train on and to validate, in the config's cache."""
        return TrainingCrops(self, self.config, self.about).task("data crops", ("data videos",))

    def about_of(self, system: PoseSystemSettings) -> dict[str, Any]:
        """What the crops are that a system is trained on."""
        if system.videos is None:
            return self.about
        videos = clips_about(system.videos)
        return {**self.about, "own": {"videos": videos, "degrade": self.settings.degrade.model_dump(mode="json")}}

    def own_crops_task(self, system: PoseSystemSettings) -> Task:
        """Crops of a system's own videos, beside the others in the cache."""
        crops = TrainingCrops(self, self.config_with(system), self.about_of(system))
        return crops.task(f"data crops of {system.videos}", ("data crops",))


@dataclass(frozen=True)
class TrainingCrops:
    """Crops to train on.

    Args:
        data: the study's.
        config: of ``gaitext correct train``, which says where they are cut from.
        about: what they are.
    """

    data: CompressionData
    config: CorrectionConfig
    about: Mapping[str, Any]

    @property
    def done(self) -> Path:
        return self.data.folder / f"crops-{digest_of(self.about)}.json"

    def task(self, name: str, needs: tuple[str, ...]) -> Task:
        return Task(name, _make_crops, self, self.done, self.about, needs, alone=True)


def clips_about(folder: Path) -> dict[str, str]:
    """Name -> digest of the videos of a folder."""
    return {clip.name: digest(clip.path) for clip in find_clips(folder.resolve())}


def rendered(folder: Path, walkers: WalkerSettings) -> Path:
    """Where a study renders walkers to; equal settings share it."""
    return folder / f"walkers-{digest_of(walkers.model_dump(mode='json'))}"


def _validating(training: int) -> int:
    """How many of those who are not tested choose the best weights."""
    return max(1, round(0.1 * training))


def _make_videos(data: CompressionData) -> None:
    config = data.config
    # Before hours of rendering: weights and estimator can be read.
    with torch.random.fork_rng(devices=[]):
        for mode in ("correct", "finetune"):
            build_learner(config.model_copy(update={"mode": mode}), torch.device("cpu"))
    if data.walkers is not None:
        made = write_dataset(data.walkers, data.truth, data.workers, quiet=data.quiet)
        assert made.videos is not None
        assert config.data.split is not None
        sources = find_videos(made.videos)
        worse = degrade_dataset(sources, data.degraded, data.settings.degrade, workers=data.workers, quiet=data.quiet)
        worse.raise_failures("videos")
        trained, tested = read_partition(made.partition)
        few = _validating(len(trained))
        write_json(config.data.split, {"train": trained[:-few], "val": trained[-few:], "test": tested})
    for folder in (data.truth, data.degraded):
        if not folder.is_dir():
            raise DataError("no such folder", where=folder, how="`gaitext extract` and `gaitext degrade` make them")
    finish(data.videos_task().done, data.videos_about)


def _make_crops(crops: TrainingCrops) -> None:
    report = prepare_correction(crops.config, workers=crops.data.workers, quiet=crops.data.quiet)
    finish(crops.done, crops.about, frames=report.frames, dropped=report.dropped)
