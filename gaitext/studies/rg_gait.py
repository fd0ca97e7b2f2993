"""Studies of RG-Gait: its three stages trained, tested under occlusions, ablated and adapted."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gaitext.config import load_yaml
from gaitext.errors import ConfigError
from gaitext.evaluation import PROTOCOLS
from gaitext.studies.cells import Cells, Combination
from gaitext.studies.checking import check_config, check_embedded, metrics_of, told_of
from gaitext.studies.driver import Running
from gaitext.studies.rg_gait_plan import RANKS, Tested, needed, reckoned, standard_tables, tested
from gaitext.studies.rg_gait_settings import RGGaitSettings
from gaitext.studies.rg_gait_systems import UNOCCLUDED, Adaptation, Systems, adapt, start_file
from gaitext.studies.scoring import dataset_of
from gaitext.studies.tasks import Task, digest_of, seedless
from gaitext.studies.training import (
    Embedding,
    Testing,
    Training,
    cell_file,
    embedding_task,
    host_name,
    run_folder,
    testing_task,
    training_task,
)

__all__ = ["RGGaitSettings", "RGGaitStudy"]


class RGGaitStudy:
    """Trainings and tests of an :class:`RGGaitSettings`.

    Args:
        values: the YAML's.
        path: of the YAML.

    Raises:
        ConfigError: it is wrong, or a stage's config is.
    """

    def __init__(self, values: Mapping[str, Any], path: Path) -> None:
        given = RGGaitSettings.parse(values, where=str(path))
        tables = (*standard_tables(given), *given.tables)
        names = [table.name for table in tables]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"two tables are called '{twice[0]}'", where=f"{path}: tables", how="rename yours")
        self.settings: RGGaitSettings = given.model_copy(update={"tables": tables})
        stages = given.stages.model_dump()
        self.systems = Systems(given, {name: load_yaml(path.parent / file) for name, file in stages.items()})
        self.settings.check_places({*(cell.place for cell in tested(given)), *(cell.place for cell in reckoned(given))})

    def trained(self) -> list[str]:
        """All systems that are trained, each after those that it begins with."""
        found: dict[str, None] = {}

        def add(system: str) -> None:
            for before in self.systems.begins(system):
                add(before)
            found.setdefault(system)

        for system in needed(self.settings):
            add(system)
        return list(found)

    def tasks(self, running: Running) -> list[Task]:
        self._check(running)
        return [task for seed in self.settings.seeds for task in _Seed(self, seed, running).tasks()]

    def is_cell(self, task: Task) -> bool:
        return isinstance(task.argument, (Testing, Combination))

    def finish(self, running: Running, cells: Cells) -> list[Path]:
        """Take away what only tests needed; tables and claims are the driver's."""
        folder = running.out / "embeddings"
        for done in folder.glob("*/*.json"):
            done.unlink()  # first, so that nothing half gone is taken for done
        shutil.rmtree(folder, ignore_errors=True)
        return []

    def _check(self, running: Running) -> None:
        """Refuse before anything is trained what would fail after hours."""
        if running.toolbox is not None:
            if len(self.settings.seeds) > 1 or self.settings.occluded != ("all",):
                raise ConfigError(
                    "a toolbox sets its own seed, and keeps its embeddings to itself",
                    where="seeds, occluded",
                    how="name one seed (--seeds 0), and `occluded: [all]`",
                )
            return
        metrics: dict[str, set[str]] = {}
        for system in self.trained():
            config = self.systems.config(system)
            with told_of(system):
                check_embedded(check_config(config))
                for occlusion in needed(self.settings).get(system, ()):
                    check_config(self.systems.tested(config, occlusion))
            if system in needed(self.settings) and (dataset := dataset_of(config)) not in PROTOCOLS:
                raise ConfigError(
                    f"no rank-5 of {dataset} in the embedded host",
                    where="data_cfg.test_dataset_name",
                    how=f"study it with --toolbox, or use data of {', '.join(PROTOCOLS)}",
                )
            metrics[system] = metrics_of(config, tuple(RANKS)) or set()
        # Cells that are reckoned have their parts' metrics, and all systems' are of one protocol.
        found = set.intersection(*(metrics[system] for system in needed(self.settings)))
        places = {*(cell.place for cell in tested(self.settings)), *(cell.place for cell in reckoned(self.settings))}
        self.settings.check_metrics(dict.fromkeys(places, found) if found else {})


@dataclass
class _Seed:
    """All that is done with one seed: its trainings begin with each other."""

    study: RGGaitStudy
    seed: int
    running: Running
    _trainings: dict[str, Training] = field(default_factory=dict)

    def tasks(self) -> list[Task]:
        settings = self.study.settings
        trainings = [self._train(system) for system in self.study.trained()]
        embeddings = [self._embed(*place) for place in self._embedded()]
        cells = {test.place: self._test(test) for test in tested(settings)}
        for cell in reckoned(settings):
            parts = tuple((weight, cells[place].done) for weight, place in cell.parts)
            made = digest_of([(weight, part.parent.name) for weight, part in parts])
            path = self._path("cells", f"{cell.system}@{cell.condition.replace('/', '-')}-{made}").with_suffix(".json")
            cells[cell.place] = Combination(*cell.place, self.seed, parts, path).task(
                tuple(cells[p].name for _, p in cell.parts)
            )
        return [*trainings, *embeddings, *cells.values()]

    def training(self, system: str) -> Training:
        """A system's, with all that it begins with in its config."""
        if system not in self._trainings:
            systems, running = self.study.systems, self.running
            before = {name: self.training(name) for name in systems.begins(system)}
            about = {
                "config": systems.config(system),
                "begins with": {name: _made(training) for name, training in before.items()},
                "seed": self.seed,
                "host": host_name(running),
            }
            folder = run_folder(running, system.replace("+", "_"), about)
            checkpoints = {name: training.checkpoint for name, training in before.items()}
            config = systems.placed(system, checkpoints, start_file(folder))
            self._trainings[system] = Training(
                system, config, self.seed, folder, running.chosen_device, about, running.toolbox
            )
        return self._trainings[system]

    def _train(self, system: str) -> Task:
        training, before = self.training(system), self.study.systems.begins(system)
        name, needs = self._name("train", system), tuple(self._name("train", each) for each in before)
        if "+" not in system or system.startswith("finetuned"):
            return training_task(training, name, needs)
        base, *evaluator = (self.training(each).done for each in before)
        return Task(name, adapt, Adaptation(training, base, *evaluator), training.done, training.about, needs)

    def _embedded(self) -> list[tuple[str, str]]:
        """Systems and occlusions, whole galleries included; a toolbox keeps its embeddings to itself."""
        if self.running.toolbox is not None:
            return []
        return [(name, o) for name, of in needed(self.study.settings).items() for o in dict.fromkeys((UNOCCLUDED, *of))]

    def embedding(self, system: str, occlusion: str) -> Embedding:
        """Of a system's test sequences."""
        training = self.training(system)
        config = self.study.systems.tested(training.config, occlusion)
        about = self._about(system, occlusion)
        folder = f"{system}@{occlusion}-{digest_of({**about, 'trained': _made(training)})}"
        return Embedding(training, config, self._path("embeddings", folder).with_suffix(".npz"), about)

    def _embed(self, system: str, occlusion: str) -> Task:
        needs = (self._name("train", system),)
        return embedding_task(self.embedding(system, occlusion), self._name("embed", f"{system}@{occlusion}"), needs)

    def _test(self, test: Tested) -> Task:
        system, condition = test.place
        training, found = self.training(system), self.embedding(system, test.occlusion)
        about = {**self._about(system, test.occlusion), "occluded": test.occluded if condition != UNOCCLUDED else None}
        cell = cell_file(self.running, system, condition, self.seed, about)
        testing = Testing(system, condition, found.config, training, cell, about, ranks=tuple(RANKS))
        if self.running.toolbox is not None:
            return testing_task(testing, (self._name("train", system),))
        gallery = self.embedding(system, UNOCCLUDED) if test.occluded == "probes" and condition != UNOCCLUDED else None
        testing = replace(testing, embeddings=found.file, gallery=None if gallery is None else gallery.file)
        occlusions = (test.occlusion, UNOCCLUDED) if gallery is not None else (test.occlusion,)
        return testing_task(testing, tuple(self._name("embed", f"{system}@{o}") for o in occlusions))

    def _about(self, system: str, occlusion: str) -> dict[str, Any]:
        evaluator = self.study.systems.tested(self.study.systems.config(system), occlusion)["evaluator_cfg"]
        return {"trained": self.training(system).about, "evaluator_cfg": evaluator}

    def _path(self, kind: str, name: str) -> Path:
        return self.running.out / kind / name / f"seed-{self.seed}"

    def _name(self, verb: str, what: str) -> str:
        return f"{verb} {what}, seed {self.seed}"


def _made(training: Training) -> str:
    """What tells trainings of one system apart, whatever the seed."""
    return digest_of(seedless(training.about))
