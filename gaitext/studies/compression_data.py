"""What a study of artifact correction says, and the videos, crops and clean poses that it trains and tests on."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field, model_validator

from gaitext.config import Settings, load_yaml, merge
from gaitext.errors import DataError
from gaitext.evaluation.psymo import VARIATIONS
from gaitext.restoration import DegradeSettings, degrade_dataset
from gaitext.restoration.crop_data import CropData, read_split
from gaitext.restoration.crops import prepare_crops
from gaitext.restoration.learner import build_learner
from gaitext.restoration.settings import CorrectionConfig
from gaitext.restoration.targets import find_targets, renderer_poses
from gaitext.restoration.train import prepare_correction
from gaitext.store import read_partition, write_json, write_leaf, write_partition
from gaitext.store.contract import POSES_FRAME
from gaitext.studies.configs import check_config, check_embedded, located
from gaitext.studies.scoring import Config
from gaitext.studies.settings import StudySettings
from gaitext.studies.tasks import Task, digest_of, finish
from gaitext.video import probe
from gaitext.video.sources import find_videos
from gaitext.walkers import WalkerSettings, write_dataset
from gaitext.walkers.settings import PROTOCOLS

#: Systems, in the order of the paper's table.
METHODS = ("base", "released", "fine-tuned", "corrected")
#: Systems that nothing of this study trains.
UNTRAINED = ("base", "released")
#: Conditions of poses; with ``gait-`` before them, those of recognition.
VIDEOS = ("degraded", "original")
#: Files that this kind of study writes beside those of all.
PICTURES = ("histogram", "examples", "panels")


class GaitSettings(Settings):
    """How identities are told.

    Attributes:
        config: of a GaitPT, such as gaitpt/tiny.yaml, relative to the study's. It is trained on the label source's
            poses of the identities that correctors are trained on (§IV-B): the extraction's that stands for the truth,
            or, of walkers, the renderer's.
        overrides: laid over it.
        seed: of its training.
        seeds: of correction's training, whose test poses are recognised; None: all of the study's.
    """

    config: Path
    overrides: dict[str, Any] = Field(default_factory=dict)
    seed: int = 0
    seeds: tuple[int, ...] | None = Field(None, min_length=1)

    def host_config(self, root: Path) -> Config:
        """The config with ``overrides``, without its data's place; ``root`` is the folder of the study's YAML.

        Raises:
            ConfigError: it is wrong; what concerns the data is seen when they are there.
        """
        config = merge(self.overrides, load_yaml(root / self.config))
        with located("recognition"):
            there = {"data_cfg": {"dataset_root": ".", "dataset_partition": "."}}
            check_embedded(check_config(merge(there, config), with_data=False))
        return config


class CompressionSettings(StudySettings):
    """A study of kind ``compression``.

    Attributes:
        walkers: rendered and degraded first; None: ``correction.data`` names what ``gaitext degrade`` and
            ``gaitext extract`` made.
        degrade: how much is lost; of walkers.
        correction: what ``gaitext correct train`` takes, or its file, relative to the study's; with walkers, its data's
            folders are filled in. As there, paths in it start from where the command is given.
        released: ``fbcnn_color.pth``, likewise; None leaves that system out: its rows hold dashes.
        test_stride: poses are measured in every so many frames of a test sequence; recognition takes all.
        recognition: None: there are no conditions ``gait-degraded`` and ``gait-original``.
        nproc: GPUs, or processes, of one training; with several, trainings are done one after another.
    """

    walkers: dict[str, Any] | None = None
    degrade: DegradeSettings = DegradeSettings()
    correction: Path | dict[str, Any]
    released: Path | None = None
    test_stride: int = Field(1, ge=1)
    recognition: GaitSettings | None = None
    nproc: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _names(self) -> CompressionSettings:
        for table in self.tables:
            if table.name in PICTURES:
                raise ValueError(f"tables: '{table.name}' is what another file of the study is called")
        content = (self.walkers or {}).get("content")
        if self.walkers is not None and not {"keypoints", "video"} <= set(content or ()):
            raise ValueError("walkers.content: name keypoints and video, which are the truth and what is degraded")
        return self

    @property
    def gait_seeds(self) -> tuple[int, ...]:
        """Those whose test poses are recognised."""
        if self.recognition is None:
            return ()
        asked = self.recognition.seeds
        return self.seeds if asked is None else tuple(seed for seed in self.seeds if seed in asked)

    def gait_metrics(self) -> set[str]:
        """What cells of recognition will have: numbers by variation, and by its probe angle."""
        views = (
            PROTOCOLS["psymo"][1] if self.walkers is None else WalkerSettings.parse(self.walkers, where="walkers").views
        )
        names = [*(name.upper() for name in VARIATIONS), "mean"]
        return {name + end for name in names for end in ("", "@R5", "@mAP", *(f"-{view}" for view in views or ()))}

    def correction_config(self, root: Path, folders: dict[str, Any] | None) -> CorrectionConfig:
        """What ``gaitext correct train`` is given, its paths absolute.

        Args:
            root: the folder of the study's YAML.
            folders: laid over its ``data``.

        Raises:
            ConfigError: it is wrong.
        """
        given = self.correction
        values = dict(given) if isinstance(given, dict) else load_yaml(root / given)
        if folders is not None:
            values["data"] = {**(values.get("data") or {}), **{key: str(value) for key, value in folders.items()}}
        config = CorrectionConfig.parse(values, where="correction" if isinstance(given, dict) else str(root / given))
        data = {name: value.resolve() for name, value in config.data if isinstance(value, Path)}
        changes: dict[str, Any] = {"data": config.data.model_copy(update=data)}
        if config.model.weights is not None:
            changes["model"] = config.model.model_copy(update={"weights": config.model.weights.resolve()})
        return config.model_copy(update=changes)


@dataclass(frozen=True)
class CompressionData:
    """What a study of artifact correction trains and tests on.

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
        """What ``gaitext correct train`` is given."""
        if self.settings.walkers is None:
            return self.settings.correction_config(self.root, None)
        videos = digest_of(self.videos_about)
        folders = {
            "truth": self._walkers_folder,
            "degraded": self.folder / f"degraded-{videos}",
            "split": self.folder / f"split-{videos}.json",
            "cache": self.folder / f"crops-{videos}",
        }
        return self.settings.correction_config(self.root, folders)

    @property
    def _walkers_folder(self) -> Path:
        assert self.walkers is not None
        return self.folder / f"walkers-{digest_of(self.walkers.model_dump(mode='json'))}"

    @property
    def videos_about(self) -> dict[str, Any]:
        """What the videos are; where they are, if they were there before."""
        if self.walkers is not None:
            degrade = self.settings.degrade.model_dump(mode="json")
            return {"walkers": self.walkers.model_dump(mode="json"), "degrade": degrade}
        data = self.config.data
        return {"truth": str(data.truth), "degraded": str(data.degraded)}

    @property
    def about(self) -> dict[str, Any]:
        """What the crops are; the same settings give the same."""
        data = self.config.data.model_dump(mode="json")
        places = {"truth", "degraded", "cache"} | ({"split"} if self.settings.walkers is not None else set())
        return {**self.videos_about, **{key: value for key, value in data.items() if key not in places}}

    def videos_task(self) -> Task:
        about = self.videos_about
        done = self.folder / f"videos-{digest_of(about)}.json"
        return Task("data videos", _make_videos, self, done, about, alone=True)

    def crops_task(self) -> Task:
        """Its ``done`` names the test crops, for :func:`read_crops`."""
        about = self.about
        done = self.folder / f"crops-{digest_of(about)}.json"
        return Task("data crops", _make_crops, self, done, about, ("data videos",), alone=True)

    @property
    def test_crops(self) -> Path:
        """The folder of all frames of the test identities."""
        return self.folder / f"test-crops-{digest_of(self.about)}"

    @property
    def clean_about(self) -> dict[str, Any]:
        """What the clean poses are, that recognition is trained on: the label source's of the training identities."""
        data = self.config.data
        split = {} if self.settings.walkers is not None else {"split": str(data.split), "split_seed": data.split_seed}
        known = {key: value for key, value in self.videos_about.items() if key in ("walkers", "truth")}
        return {**known, **split, "labels": "renderer" if self._is_rendered else "extraction", "of": "train"}

    @property
    def _is_rendered(self) -> bool:
        """Whether the label source is walkers' renderer, whose keypoints are no extraction's leaves."""
        return self.settings.walkers is not None or (self.config.data.truth / "walkers.json").is_file()

    @property
    def _clean(self) -> Path:
        return self.folder / f"clean-{digest_of(self.clean_about)}"

    @property
    def clean_data_cfg(self) -> dict[str, Any]:
        """Of a host that trains on the clean poses."""
        found = self._clean if self._is_rendered else self.config.data.truth
        return {
            "dataset_root": str(found / "sequences"),
            "dataset_partition": str(self._clean.with_name(f"{self._clean.name}-partition.json")),
            # Of what `gaitext extract` writes, the poses in frame pixels.
            "data_in_use": [True] if self._is_rendered else [False, False, True, False],
        }

    def clean_task(self) -> Task:
        done = self._clean.with_suffix(".json")
        return Task("data clean poses", _make_clean, self, done, self.clean_about, ("data videos",), alone=True)


def _make_videos(data: CompressionData) -> None:
    config = data.config
    # Before hours of rendering: weights and estimator can be read.
    with torch.random.fork_rng(devices=[]):
        for mode in ("correct", "finetune"):
            build_learner(config.model_copy(update={"mode": mode}), torch.device("cpu"))
    if data.walkers is not None:
        made = write_dataset(data.walkers, config.data.truth, data.workers, quiet=data.quiet)
        assert made.videos is not None
        assert config.data.split is not None
        sources = find_videos(made.videos)
        settings = data.settings.degrade
        report = degrade_dataset(sources, config.data.degraded, settings, workers=data.workers, quiet=data.quiet)
        if report.failed:
            raise DataError(f"{len(report.failed)} videos failed:\n{report}", where=config.data.degraded)
        trained, tested = read_partition(made.partition)
        few = max(1, round(0.12 * len(trained)))
        parts = {"train": trained[:-few], "val": trained[-few:], "test": tested}
        write_json(config.data.split, parts)
    for folder in (config.data.truth, config.data.degraded):
        if not folder.is_dir():
            raise DataError("no such folder", where=folder, how="`gaitext extract` and `gaitext degrade` make them")
    finish(data.videos_task().done, data.videos_about)


def _make_crops(data: CompressionData) -> None:
    """Crops to train on and to validate, in the config's cache, and those of all frames of the test identities."""
    config = data.config
    prepare_correction(config, workers=data.workers, quiet=data.quiet)
    targets = find_targets(config.data.truth, config.data.degraded, config.data.boxes)
    split = read_split(config.data.split, (target.identity for target in targets), config.data.split_seed)
    tested = [target for target in targets if target.identity in split.test]
    if not tested:
        raise DataError("of nobody for 'test' there is a degraded video with poses", where=config.data.split)
    cut = config.data.crops.model_copy(update={"stride": 1})
    report = prepare_crops(tested, data.test_crops, cut, workers=data.workers, quiet=data.quiet)
    finish(
        data.crops_task().done,
        data.about,
        folder=str(data.test_crops.relative_to(data.folder)),
        leaves=report.leaves,
        dropped=report.dropped,
        min_score=config.data.min_score,
    )


def read_crops(done: Path) -> CropData:
    """The test crops that a task has cut."""
    try:
        read = json.loads(done.read_text(encoding="utf-8"))
        return CropData(done.parent / read["folder"], read["leaves"], read["min_score"])
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"names no crops ({error!r})", where=done, how="delete it: they are cut again") from error


def _make_clean(data: CompressionData) -> None:
    """Poses of the training identities, as the label source has them: the extraction's, or the renderer's."""
    config, own = data.config, data.clean_data_cfg
    truth = config.data.truth
    there = truth / "sequences"
    split = read_split(config.data.split, (path.name for path in there.iterdir()), config.data.split_seed)
    if data._is_rendered:
        root = Path(own["dataset_root"])
        for leaf in sorted(path for identity in split.train for path in (there / identity).glob("*/*")):
            info = probe(truth / "videos" / leaf.relative_to(there).with_suffix(".mp4"))
            poses = renderer_poses(leaf, info.width, info.height).astype(np.float32)
            identity, kind, view = leaf.relative_to(there).parts
            shutil.rmtree(root / identity / kind / view, ignore_errors=True)
            write_leaf(root, identity, kind, view, {POSES_FRAME.stem: poses})
    partition = Path(own["dataset_partition"])
    write_partition(partition, split.train, split.test)
    finish(data.clean_task().done, data.clean_about)
