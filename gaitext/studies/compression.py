"""Studies of artifact correction: poses in degraded and in original video, and who is recognised by them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gaitext.config import merge
from gaitext.errors import ConfigError, MissingDependencyError
from gaitext.execution import cores
from gaitext.studies.cells import Cells, WeightedSum
from gaitext.studies.compression_data import (
    METHODS,
    UNTRAINED,
    VIDEOS,
    CompressionData,
    CompressionSettings,
    read_crops,
)
from gaitext.studies.compression_poses import (
    NUMBERS,
    CorrectorTraining,
    Found,
    PoseTest,
    Search,
    examples,
    histogram,
    panels,
)
from gaitext.studies.scoring import Config
from gaitext.studies.tasks import Running, Task, digest_of, estimator_about, seedless
from gaitext.studies.training import Testing, Training, cell_file, host_name, run_folder
from gaitext.video.digests import content_sha256

log = logging.getLogger(__name__)

_GAIT = "train GaitPT"


class CompressionStudy:
    """Trainings, searches for poses and tests of a :class:`CompressionSettings`.

    Systems are the estimator as it is (``base``), behind FBCNN as released (``released``), fine-tuned, and behind the
    trained corrector (``corrected``). Conditions are ``degraded`` and ``original``, whose cells say how near poses
    come (AP, AP50, AP75 in %, L2 and L2-norm in pixels of the crop, and ``frames``, how many were measured), and
    ``gait-degraded`` and ``gait-original``: rank-1 in % of a GaitPT trained on clean poses, by variation, and its mean.
    What no seed changes is done once, and its cell stands for each seed.

    Args:
        values: the YAML's.
        path: of the YAML.

    Raises:
        ConfigError: it is wrong, a config that it names included.
    """

    def __init__(self, values: Mapping[str, Any], path: Path) -> None:
        self.settings: CompressionSettings = CompressionSettings.parse(values, where=str(path))
        self.root = path.parent
        folders = {"degraded": ".", "truth": ".", "cache": "."} if self.settings.walkers is not None else None
        self.settings.correction_config(self.root, folders)  # which is wrong, if anything is
        _ = CompressionData(self.settings, self.root, Path(), 0).walkers
        self._gait: Config | None = None
        conditions: tuple[str, ...] = VIDEOS
        if self.settings.recognition is not None:
            self._gait = self.settings.recognition.host_config(self.root)
            conditions += tuple(f"gait-{video}" for video in VIDEOS)
        # FBCNN as released may be in tables without its weights: with dashes.
        self.settings.check_places({(method, condition) for method in METHODS for condition in conditions})
        known: dict[tuple[str, str], Collection[str]] = {}
        for method in METHODS:
            known |= {(method, video): (*NUMBERS, "frames") for video in VIDEOS}
            known |= {(method, f"gait-{video}"): self.settings.gait_metrics() for video in VIDEOS}
        self.settings.check_metrics(known)

    def data(self, running: Running) -> CompressionData:
        """Videos, crops and clean poses."""
        return CompressionData(self.settings, self.root, running.out / "data", running.jobs or cores(), running.quiet)

    def tasks(self, running: Running) -> list[Task]:
        if running.toolbox is not None:
            raise ConfigError(
                "a study of kind compression trains by itself", where="--toolbox", how="leave it out: docs/studies.md"
            )
        if self.settings.released is None:
            log.info("FBCNN as released is left out: its weights (fbcnn_color.pth) are not given")
        elif not self.settings.released.is_file():
            raise ConfigError(
                "no such file", where=f"released: {self.settings.released}", how="name the file, or take `released` out"
            )
        data, several = self.data(running), self.settings.nproc > 1
        tasks = [data.videos_task(), data.crops_task()]
        gait = None
        if self.settings.gait_seeds:
            gait = self.gait(data, running)
            tasks += [data.clean_task(), gait.task(_GAIT, ("data clean poses",))]
        searches: dict[str, Task] = {}
        tests: list[Task] = []
        for seed in self.settings.seeds:  # outermost: a study that is stopped has whole seeds
            for method in self.methods:
                needs = ["data crops"]
                name = method if method in UNTRAINED else f"{method}, seed {seed}"
                if method not in UNTRAINED:
                    training = self.correction(method, seed, data, running)
                    needs.append(f"train {name}")
                    tasks.append(training.task(needs[-1], ("data crops",), alone=several))
                for video in VIDEOS:
                    job = self.search(method, seed, video, data, running)
                    found = job.task(f"poses {name}, {video}", tuple(needs))
                    searches[found.name] = found
                    tests.append(self._pose_test(job, seed, video, found.name, running))
                    if gait is not None and seed in self.settings.gait_seeds:
                        tests.append(self._gait_test(job, seed, video, found.name, gait, running))
        return [*tasks, *searches.values(), *tests]

    @property
    def methods(self) -> list[str]:
        """Systems that are run."""
        return [method for method in METHODS if method != "released" or self.settings.released is not None]

    def correction(self, method: str, seed: int, data: CompressionData, running: Running) -> CorrectorTraining:
        """A training; what only the other method reads is no part of what it is made of."""
        config, finetune = data.config, method == "fine-tuned"
        about: dict[str, Any] = {"estimator": estimator_about(config.estimator), "data": data.about}
        about["nproc"] = self.settings.nproc
        if finetune:
            steps = config.model_copy(update={"mode": "finetune"}).steps
            about["trainer"] = steps.model_dump(mode="json")
        else:
            about |= config.model_dump(mode="json", include={"model", "objective", "trainer"})
            weights = config.model.weights
            if weights is not None and weights.is_file():
                about["weights"] = content_sha256(weights)
        about = {"system": method, **about, "seed": seed}
        output = run_folder(running, method, about).parent
        config = config.model_copy(update={"name": f"seed-{seed}"})
        return CorrectorTraining(config, finetune, seed, output, running.chosen_device, self.settings.nproc, about)

    def search(self, method: str, seed: int, video: str, data: CompressionData, running: Running) -> Search:
        """A method's poses in one kind of video: in all frames, where they are recognised."""
        weights: Path | None = None
        trained: Mapping[str, Any]
        if method in UNTRAINED:
            weights = self.settings.released if method == "released" else None
            of_weights = None if weights is None else self._released_digest
            estimator = estimator_about(data.config.estimator)
            trained = {"system": method, "estimator": estimator, "weights": of_weights, "seed": None}
        else:
            training = self.correction(method, seed, data, running)
            weights, trained = training.weights, training.about
        seeds = self.settings.gait_seeds
        leaves = bool(seeds) if method in UNTRAINED else seed in seeds
        stride = 1 if leaves else self.settings.test_stride
        about = {"trained": trained, "data": data.about, "video": video, "stride": stride, "leaves": leaves}
        made = digest_of({**about, "trained": seedless(trained)})
        folder = running.out / "poses" / f"{method}@{video}-{made}"
        if method not in UNTRAINED:
            folder /= f"seed-{seed}"
        if weights is not None:
            weights = weights.resolve()
        crops, original, device = data.crops_task().done, video == "original", running.chosen_device
        return Search(method, data.config, weights, original, crops, stride, leaves, folder, device, about)

    @cached_property
    def _released_digest(self) -> str:
        assert self.settings.released is not None
        return content_sha256(self.settings.released)

    def _pose_test(self, job: Search, seed: int, video: str, need: str, running: Running) -> Task:
        stride = self.settings.test_stride
        about = {**{key: job.about[key] for key in ("trained", "data", "video")}, "stride": stride}
        if copied := self._copied(job, video, seed, self.settings.seeds[0], about, running):
            return copied
        cell = cell_file(running, job.system, video, seed, about)
        return PoseTest(job, video, seed, stride, cell, about).task(need)

    def gait(self, data: CompressionData, running: Running) -> Training:
        """A GaitPT of clean poses."""
        assert self._gait is not None
        assert self.settings.recognition is not None
        seed = self.settings.recognition.seed
        about = {"config": self._gait, "data": data.clean_about, "seed": seed, "host": host_name(running)}
        config = merge({"data_cfg": data.clean_data_cfg}, self._gait)
        folder = run_folder(running, "gaitpt", about)
        return Training("gaitpt", config, seed, folder, running.chosen_device, about)

    def _gait_test(self, job: Search, seed: int, video: str, need: str, gait: Training, running: Running) -> Task:
        condition = f"gait-{video}"
        about = {**{key: job.about[key] for key in ("trained", "data", "video")}, "gait": gait.about}
        if copied := self._copied(job, condition, seed, self.settings.gait_seeds[0], about, running):
            return copied
        config = merge({"data_cfg": job.data_cfg}, gait.config)
        cell = cell_file(running, job.system, condition, seed, about)
        return Testing(job.system, condition, config, gait, cell, about, seed=seed).task((need, _GAIT))

    def _copied(
        self, job: Search, condition: str, seed: int, first: int, about: Mapping[str, Any], running: Running
    ) -> Task | None:
        """The cell of a system that no seed changes, for all seeds but the first: so it can be paired with those that
        have seeds."""
        if job.system not in UNTRAINED or seed == first:
            return None
        source, cell = (cell_file(running, job.system, condition, s, about) for s in (first, seed))
        name, need = (f"test {job.system}@{condition}, seed {each}" for each in (seed, first))
        return WeightedSum(job.system, condition, seed, ((1.0, source),), cell, about).task(name, (need,))

    def is_cell(self, task: Task) -> bool:
        return isinstance(task.argument, (PoseTest, Testing, WeightedSum))

    def finish(self, running: Running, cells: Cells) -> list[Path]:
        """Write histogram.png, examples.png and panels.png, of the first seed."""
        data, seed, stride = self.data(running), self.settings.seeds[0], self.settings.test_stride
        jobs = {(m, v): self.search(m, seed, v, data, running) for m in self.methods for v in VIDEOS}
        found = {place: Found.read(job.poses).thinned(stride) for place, job in jobs.items()}
        files = []
        try:
            shown = {f"{m}, {v}": poses for (m, v), poses in found.items()}
            files.append(histogram(running.out / "histogram.png", shown))
        except MissingDependencyError as error:
            log.warning("no histogram: %s", error)
        crops = read_crops(data.crops_task().done)
        rows = np.concatenate([np.arange(count) for count in crops.names_and_frames().values()])
        at = np.flatnonzero(rows % stride == 0)
        degraded = {method: found[method, "degraded"] for method in self.methods}
        files.append(examples(running.out / "examples.png", crops, at, degraded))
        corrected, base = (jobs[method, "degraded"].objective() for method in ("corrected", "base"))
        return [*files, panels(running.out / "panels.png", crops, at, corrected, base)]
