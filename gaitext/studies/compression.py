"""Studies of artifact correction: poses in degraded and in original video, and who is recognised by them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gaitext.config import load_yaml
from gaitext.errors import ConfigError, MissingDependencyError
from gaitext.execution import cores
from gaitext.studies.cells import Cells, WeightedSum
from gaitext.studies.compression_data import CompressionData
from gaitext.studies.compression_domains import Domain, TestCrops, read_crops
from gaitext.studies.compression_pictures import Curve, curves_figure, curves_table, examples, histogram, panels
from gaitext.studies.compression_poses import Found, PoseTest
from gaitext.studies.compression_recognition import Recogniser
from gaitext.studies.compression_search import Finder, Search
from gaitext.studies.compression_settings import BASE, CompressionSettings, Place
from gaitext.studies.compression_training import CorrectorTraining, RestorerTraining
from gaitext.studies.configs import located
from gaitext.studies.scoring import Config
from gaitext.studies.tasks import Running, Task, digest_of, estimator_about, seedless
from gaitext.studies.training import cell_file, run_folder
from gaitext.video.digests import content_sha256

log = logging.getLogger(__name__)

_RESTORER = "train restorer"
#: Conditions that recognition has, each with the recogniser's name before it.
_RECOGNISED = ("degraded", "original")


class CompressionStudy:
    """Trainings, searches for poses and tests of a :class:`CompressionSettings`.

    Systems are the estimator as it is (``base``) and those that the YAML lists. Conditions are ``degraded``,
    ``original``, ``crf37`` and so on, of a domain with its name before (``people-degraded``). Their cells say how near
    poses come: AP, AP50, AP75 in %, L2 and L2-norm in pixels of the crop, ``within10``, the share in % of joints found
    within 10 of those, ``PSNR`` in decibels of what the estimator sees against the original crop, in degraded video
    ``recovered``, the share in % of the AP that the base loses by compression, and ``frames``, how many were measured.
    ``NAME-degraded`` and ``NAME-original`` of a recogniser are rank-1 in % by variation, and its mean. What no seed
    changes is done once, and its cell stands for each seed.

    Args:
        values: the YAML's.
        path: of the YAML.

    Raises:
        ConfigError: it is wrong, a config that it names included.
    """

    def __init__(self, values: Mapping[str, Any], path: Path) -> None:
        self.settings: CompressionSettings = CompressionSettings.parse(values, where=str(path))
        self.root = path.parent
        settings, data = self.settings, CompressionData(self.settings, self.root, Path(), 0)
        crops = data.config.data.crops  # which is wrong, if anything is
        for name, system in settings.systems.items():
            with located(f"systems.{name}.overrides"):
                data.config_with(system)
        if settings.restorer is not None:
            data.restorer_config(self._restorer_values())
        for name in settings.domains:
            _ = Domain(name, data).walkers, settings.crops_in(name, crops)
        self._gaits: dict[str, Config] = {
            name: gait.host_config(self.root, f"recognition.{name}") for name, gait in settings.recognition.items()
        }
        systems = (BASE, *settings.systems)  # one without weights may be in tables: with dashes
        known: dict[tuple[str, str], Collection[str]] = {
            (system, place.name): place.numbers for system in systems for place in settings.places
        }
        for name in settings.recognition:
            gait_metrics = settings.gait_metrics()
            known |= {(system, f"{name}-{video}"): gait_metrics for system in systems for video in _RECOGNISED}
        settings.check_places(set(known))
        settings.check_metrics(known)

    def data(self, running: Running) -> CompressionData:
        """Videos and crops to train on."""
        return CompressionData(self.settings, self.root, running.out / "data", running.jobs or cores(), running.quiet)

    def domains(self, data: CompressionData) -> dict[str, Domain]:
        """Those that can be tested on; the study's own people, under the empty name, are the first."""
        there = [name for name, domain in self.settings.domains.items() if domain.is_there]
        return {name: Domain(name, data) for name in ("", *there)}

    @property
    def systems(self) -> list[str]:
        """Those that are run."""
        return [BASE, *(name for name, system in self.settings.systems.items() if system.is_there)]

    def is_trained(self, system: str) -> bool:
        """Whether a seed changes it."""
        return system != BASE and self.settings.systems[system].train is not None

    def tasks(self, running: Running) -> list[Task]:
        if running.toolbox is not None:
            raise ConfigError(
                "a study of kind compression trains by itself", where="--toolbox", how="leave it out: docs/studies.md"
            )
        self._say_what_is_missing()
        data = self.data(running)
        domains, several = self.domains(data), self.settings.nproc > 1
        recognisers = self._recognisers(data, running)
        tasks = {task.name: task for task in (data.videos_task(), data.crops_task())}

        def add(task: Task) -> str:
            tasks.setdefault(task.name, task)
            return task.name

        for domain in domains.values():
            add(domain.task())
        for name in self.systems[1:]:
            if (taught := self.settings.systems[name]).videos is not None:
                add(data.own_crops_task(taught))
        for recogniser in recognisers:
            add(recogniser.clean.task())
        places = [place for place in self.settings.places if place.domain in domains]
        cut = {place: add(self._crops(place, domains).task()) for place in places}
        if self._restorer_is_needed:
            add(self.restorer(data, running).task(_RESTORER, ("data crops",), alone=several))
        for recogniser in recognisers:
            for task in recogniser.training_tasks():
                add(task)
        searches: dict[str, Task] = {}
        tests: list[Task] = []
        for seed in self.settings.seeds:  # outermost: a study that is stopped has whole seeds
            for system in (system for system in self.systems if seed in self.settings.seeds_of(system)):
                trained = self._training_task(system, seed, data, running)
                needs = self._needs(system) if trained is None else (add(trained),)
                for place in places:
                    job = self.search(system, seed, place, domains, running)
                    found = job.task(self._search_name(system, seed, place), (cut[place], *needs))
                    searches[found.name] = found
                    tests.append(self._pose_test(job, system, seed, place, domains, running))
                    for recogniser in recognisers if place in self._whole else ():
                        if seeds := self.settings.recognised(recogniser.name, system):
                            first = None if self.is_trained(system) else seeds[0]
                            if seed in seeds:
                                tests += recogniser.tests(job, place.video, found.name, seed, first)
        return [*tasks.values(), *searches.values(), *tests]

    def _say_what_is_missing(self) -> None:
        for name, system in self.settings.systems.items():
            if system.videos is not None and not system.is_there:
                log.warning("%s is left out: there is no folder %s. %s", name, system.videos, system.obtain)
            elif not system.is_there:
                log.info("%s is left out: its weights (fbcnn_color.pth, say) are not given", name)
            elif system.weights is not None and not system.weights.is_file():
                how = "name the file, or write `weights: null`, and its rows hold dashes"
                raise ConfigError("no such file", where=f"systems.{name}.weights: {system.weights}", how=how)
        for name, domain in self.settings.domains.items():
            if not domain.is_there:
                log.warning("%s is left out: there is no folder %s. %s", name, domain.videos, domain.obtain)

    @property
    def _whole(self) -> set[Place]:
        """Where frames for recognition are looked at, too."""
        return {Place("", video) for video in _RECOGNISED} if self.settings.recognition else set()

    def _crops(self, place: Place, domains: Mapping[str, Domain]) -> TestCrops:
        return domains[place.domain].crops(place, whole=place in self._whole)

    def _recognisers(self, data: CompressionData, running: Running) -> list[Recogniser]:
        given = self.settings.recognition
        return [
            Recogniser(name, gait, self._gaits[name], data, running, self.settings.save_embeddings)
            for name, gait in given.items()
        ]

    @property
    def _restorer_is_needed(self) -> bool:
        return any(system.needs_restorer for system in self.settings.systems.values())

    def _restorer_values(self) -> dict[str, Any]:
        given = self.settings.restorer
        assert given is not None
        return dict(given) if isinstance(given, dict) else load_yaml(self.root / given)

    def restorer(self, data: CompressionData, running: Running) -> RestorerTraining:
        """The pre-training of correctors, by one seed of its own."""
        config = data.restorer_config(self._restorer_values())
        ours = {"cache"} if data.walkers is None else {"cache", "videos"}
        made = config.model_dump(mode="json", exclude={"name": True, "data": ours})
        about = {"restorer": made, "videos": data.videos_about, "nproc": self.settings.nproc, "seed": 0}
        output = run_folder(running, "restorer", about).parent
        return RestorerTraining(0, output, running.chosen_device, self.settings.nproc, about, data, config)

    def correction(self, name: str, seed: int, data: CompressionData, running: Running) -> CorrectorTraining:
        """A system's training; what only the other kind of training reads is no part of what it is made of."""
        system = self.settings.systems[name]
        finetune = system.train == "estimator"
        config = data.config_with(system).model_copy(update={"name": f"seed-{seed}"})
        about: dict[str, Any] = {"estimator": estimator_about(config.estimator), "data": data.about_of(system)}
        about["nproc"] = self.settings.nproc
        if finetune:
            steps = config.model_copy(update={"mode": "finetune"}).steps
            about["trainer"] = steps.model_dump(mode="json")
        else:
            about |= config.model_dump(mode="json", include={"model", "objective", "trainer"})
            if system.begin is not None:
                restorer = self.restorer(data, running)
                about["weights"] = restorer.about
                model = config.model.model_copy(update={"weights": restorer.weights.resolve()})
                config = config.model_copy(update={"model": model})
            elif config.model.weights is not None and config.model.weights.is_file():
                about["weights"] = content_sha256(config.model.weights)
        about = {"system": name, **about, "seed": seed}
        output = run_folder(running, name, about).parent
        return CorrectorTraining(seed, output, running.chosen_device, self.settings.nproc, about, config, finetune)

    def _training_task(self, system: str, seed: int, data: CompressionData, running: Running) -> Task | None:
        if not self.is_trained(system):
            return None
        own = self.settings.systems[system]
        crops = data.crops_task() if own.videos is None else data.own_crops_task(own)
        needs = (crops.name, *([_RESTORER] if own.begin else []))
        training = self.correction(system, seed, data, running)
        return training.task(f"train {system}, seed {seed}", needs, alone=self.settings.nproc > 1)

    def _needs(self, system: str) -> tuple[str, ...]:
        """What a system that no seed changes waits for."""
        return (_RESTORER,) if system != BASE and self.settings.systems[system].restorer else ()

    def _search_name(self, system: str, seed: int, place: Place) -> str:
        return f"poses {system}{f', seed {seed}' if self.is_trained(system) else ''}, {place.name}"

    def search(self, system: str, seed: int, place: Place, domains: Mapping[str, Domain], running: Running) -> Search:
        """A system's poses in one place, in the frames that are recognised or measured."""
        data, crops = domains[""].data, self._crops(place, domains)
        trained, weights = self._trained(system, seed, data, running)
        leaves = self._leaves(system, seed) if place in self._whole else ()
        stride = self.settings.recognition_stride if leaves else self.settings.stride_in(place.domain)
        about = {"trained": trained, "data": crops.about, "video": place.name, "stride": stride, "leaves": leaves}
        made = digest_of({**about, "trained": seedless(trained)})
        folder = running.out / "poses" / f"{system}@{place.name}-{made}"
        if self.is_trained(system):
            folder /= f"seed-{seed}"
        tuned = system != BASE and self.settings.systems[system].train == "estimator"
        weights = None if weights is None else weights.resolve()
        finder = Finder(data.config, weights, tuned, running.chosen_device, trained.get("quality"))
        return Search(system, finder, place.is_original, crops.done, crops.min_score, stride, leaves, folder, about)

    def _trained(
        self, system: str, seed: int, data: CompressionData, running: Running
    ) -> tuple[Mapping[str, Any], Path | None]:
        """What a system is made of, and where its weights are; None of the base."""
        if self.is_trained(system):
            training = self.correction(system, seed, data, running)
            return training.about, training.weights
        about: dict[str, Any] = {"system": system, "estimator": estimator_about(data.config.estimator), "seed": None}
        if system == BASE:
            return about, None
        about["quality"] = data.config.objective.quality  # whose training fixed none is used as correctors begin
        if self.settings.systems[system].restorer:
            restorer = self.restorer(data, running)
            return {**about, "weights": restorer.about}, restorer.weights
        weights = self.settings.systems[system].weights
        assert weights is not None
        return {**about, "weights": content_sha256(weights)}, weights

    def _leaves(self, system: str, seed: int) -> tuple[str, ...]:
        """What recognisers are given of a system."""
        wanted = set()
        for name, gait in self.settings.recognition.items():
            seeds = self.settings.recognised(name, system)
            if seed in seeds if self.is_trained(system) else seeds:
                wanted.add(gait.input)
        return tuple(sorted(wanted))

    def _pose_test(
        self, job: Search, system: str, seed: int, place: Place, domains: Mapping[str, Domain], running: Running
    ) -> Task:
        stride = self.settings.stride_in(place.domain)
        about = {**{key: job.about[key] for key in ("trained", "data", "video")}, "stride": stride}
        cell = cell_file(running, system, place.name, seed, about)
        first = self.settings.seeds[0]
        if not self.is_trained(system) and seed != first:  # so that it can be paired with those that have seeds
            source = cell_file(running, system, place.name, first, about)
            name, need = (f"test {system}@{place.name}, seed {each}" for each in (seed, first))
            return WeightedSum(system, place.name, seed, ((1.0, source),), cell, about).task(name, (need,))
        needs, lost = [self._search_name(system, seed, place)], None
        if not place.is_original:
            ends = place, place._replace(video="original")
            worst, best = (self.search(BASE, seed, each, domains, running) for each in ends)
            lost = (worst.poses, best.poses)
            needs += [self._search_name(BASE, seed, each) for each in ends]
        return PoseTest(job.poses, system, place.name, seed, stride, lost, cell, about).task(
            tuple(dict.fromkeys(needs))
        )

    def is_cell(self, task: Task) -> bool:
        return isinstance(task.argument, (PoseTest, WeightedSum))

    def finish(self, running: Running, cells: Cells) -> list[Path]:
        """Write curves.png and .csv of all seeds; of the first one histogram.png, examples.png, panels.png, and a
        picture like that for each domain of videos."""
        data, out = self.data(running), running.out
        domains = self.domains(data)
        seed = self.settings.seeds[0]
        systems = [system for system in self.systems if seed in self.settings.seeds_of(system)]
        stride = self.settings.stride_in("")
        found = {
            (system, video): Found.read(self.search(system, seed, Place("", video), domains, running).poses)
            for system in systems
            for video in _RECOGNISED
        }
        found = {place: poses.thinned(stride) for place, poses in found.items()}
        files = self._curves(data, running)
        try:
            shown = {f"{system}, {video}": poses for (system, video), poses in found.items()}
            files.append(histogram(out / "histogram.png", shown))
        except MissingDependencyError as error:
            log.warning("no histogram: %s", error)
        job = self.search(BASE, seed, Place("", "degraded"), domains, running)
        crops, frames = read_crops(job.crops, job.min_score)
        degraded = {system: found[system, "degraded"] for system in systems}
        files.append(examples(out / "examples.png", crops, np.flatnonzero(frames % stride == 0), degraded))
        correctors = [s for s in systems if self.is_trained(s) and self.settings.systems[s].train == "corrector"]
        for domain in [name for name in domains if not name or domains[name].is_filmed] if correctors else []:
            place = Place(domain, "degraded")
            after, before = (self.search(s, seed, place, domains, running) for s in (correctors[-1], BASE))
            crops, frames = read_crops(before.crops, before.min_score)
            at = np.flatnonzero(frames % self.settings.stride_in(domain) == 0)
            files.append(panels(out / f"{domain or 'panels'}.png", crops, at, after.finder, before.finder))
        return files

    def _curves(self, data: CompressionData, running: Running) -> list[Path]:
        curves: list[Curve] = []
        base: dict[str, float] = {}
        for system in filter(self.is_trained, self.systems):
            for seed in self.settings.seeds_of(system):
                training = self.correction(system, seed, data, running)
                rows = training.validations()
                curves.append(Curve.of(system, seed, rows, training.batch_size))
                if rows and rows[0]["iteration"] == 0 and training.begins_as_base:
                    base = rows[0]
        if not curves:
            return []
        files = [curves_table(running.out / "curves.csv", curves)]
        try:
            files.append(curves_figure(running.out / "curves.png", curves, base))
        except MissingDependencyError as error:
            log.warning("no curves: %s", error)
        return files
