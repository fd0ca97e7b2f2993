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
from gaitext.studies.cells import Cells, WeightedSum
from gaitext.studies.configs import check_config, check_embedded, located, metrics_of
from gaitext.studies.rg_gait_cells import RANKS, CellPlan, CellTest, standard_tables
from gaitext.studies.rg_gait_systems import UNOCCLUDED, Adaptation, RGGaitStudySettings, Systems, start_file
from gaitext.studies.scoring import dataset_of
from gaitext.studies.settings import repeated
from gaitext.studies.tasks import Running, Task, digest_of, seedless
from gaitext.studies.training import Embedding, Testing, Training, cell_file, host_name, run_folder


class RGGaitStudy:
    """Trainings and tests of an :class:`RGGaitStudySettings`.

    Args:
        values: the YAML's.
        path: of the YAML.

    Raises:
        ConfigError: it is wrong, or a stage's config is.
    """

    def __init__(self, values: Mapping[str, Any], path: Path) -> None:
        given = RGGaitStudySettings.parse(values, where=str(path))
        tables = (*standard_tables(given), *given.tables)
        names = [table.name for table in tables]
        if repeated(names):
            twice = min(name for name in names if names.count(name) > 1)
            raise ConfigError(f"two tables are called '{twice}'", where=f"{path}: tables", how="rename yours")
        self.settings: RGGaitStudySettings = given.model_copy(update={"tables": tables})
        stages = given.stages.model_dump()
        self.systems = Systems(given, {name: load_yaml(path.parent / file) for name, file in stages.items()})
        self.plan = CellPlan(given)
        self.settings.check_places(self.plan.places)
        self.trained: dict[str, tuple[str, ...]] = {}
        for system in self.plan.occlusions:
            self._add_trained(system)

    def _add_trained(self, system: str) -> None:
        """To the systems that are trained, after those that it begins with."""
        for before in self.systems.begins_with(system):
            self._add_trained(before)
        self.trained.setdefault(system, self.systems.begins_with(system))

    def tasks(self, running: Running) -> list[Task]:
        self._check(running)
        return [task for seed in self.settings.seeds for task in _Seed(self, seed, running).tasks()]

    def is_cell(self, task: Task) -> bool:
        return isinstance(task.argument, (Testing, WeightedSum))

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
        metrics = []
        for system in self.trained:
            config, occlusions = self.systems.config(system), self.plan.occlusions.get(system, ())
            with located(system):
                check_embedded(check_config(config))
                for occlusion in occlusions:
                    check_config(self.systems.occluded(config, occlusion))
            if occlusions and (dataset := dataset_of(config)) not in PROTOCOLS:
                raise ConfigError(
                    f"no rank-5 of {dataset} in the embedded host",
                    where="data_cfg.test_dataset_name",
                    how=f"study it with --toolbox, or use data of {', '.join(PROTOCOLS)}",
                )
            if occlusions:
                metrics.append(metrics_of(config, tuple(RANKS)) or set())
        # Sums have their parts' metrics, and all systems' are of one protocol.
        found = set.intersection(*metrics)
        self.settings.check_metrics(dict.fromkeys(self.plan.places, found) if found else {})


@dataclass
class _Seed:
    """All that is done with one seed: its trainings begin with each other."""

    study: RGGaitStudy
    seed: int
    running: Running
    _trainings: dict[str, Training] = field(default_factory=dict)
    _embeddings: dict[tuple[str, str], Embedding] = field(default_factory=dict)

    def tasks(self) -> list[Task]:
        plan = self.study.plan
        trainings = [self._train(system) for system in self.study.trained]
        embeddings = [
            self.embedding(system, occlusion).task(
                self._name("embed", f"{system}@{occlusion}"), (self._name("train", system),)
            )
            for system, occlusions in plan.occlusions.items()
            if self.running.toolbox is None  # which keeps its embeddings to itself
            for occlusion in dict.fromkeys((UNOCCLUDED, *occlusions))
        ]
        cells = {test.place: self._test(test) for test in plan.tests}
        for (system, condition), parts in plan.sums.items():
            files = tuple((weight, cells[part].done) for weight, part in parts)
            made = digest_of([(weight, file.parent.name) for weight, file in files])
            path = self._path("cells", f"{system}@{condition.replace('/', '-')}-{made}").with_suffix(".json")
            wanted = WeightedSum(system, condition, self.seed, files, path)
            name, needs = self._name("sum", f"{system}@{condition}"), tuple(cells[part].name for _, part in parts)
            # In this process: to start another takes longer than to add up.
            cells[system, condition] = wanted.task(name, needs, alone=True)
        return [*trainings, *embeddings, *cells.values()]

    def training(self, system: str) -> Training:
        """A system's, with all that it begins with in its config."""
        if system not in self._trainings:
            systems, running = self.study.systems, self.running
            before = {name: self.training(name) for name in self.study.trained[system]}
            about = {
                "config": systems.config(system),
                "begins with": {name: _made(training) for name, training in before.items()},
                "seed": self.seed,
                "host": host_name(running),
            }
            folder = run_folder(running, system.replace("+", "_"), about)
            checkpoints = {name: training.checkpoint for name, training in before.items()}
            config = systems.with_checkpoints(system, checkpoints, start_file(folder))
            self._trainings[system] = Training(
                system, config, self.seed, folder, running.chosen_device, about, running.toolbox
            )
        return self._trainings[system]

    def _train(self, system: str) -> Task:
        training, before = self.training(system), self.study.trained[system]
        name, needs = self._name("train", system), tuple(self._name("train", each) for each in before)
        if "+" not in system or system.startswith("finetuned"):
            return training.task(name, needs)
        return Adaptation(training, *(self.training(each).done for each in before)).task(name, needs)

    def embedding(self, system: str, occlusion: str) -> Embedding:
        """Of a system's test sequences."""
        if (system, occlusion) not in self._embeddings:
            systems, training = self.study.systems, self.training(system)
            config = systems.occluded(training.config, occlusion)
            about = {"trained": training.about, "evaluator_cfg": config["evaluator_cfg"]}
            folder = f"{system}@{occlusion}-{digest_of({**about, 'trained': _made(training)})}"
            file = self._path("embeddings", folder).with_suffix(".npz")
            self._embeddings[system, occlusion] = Embedding(training, config, file, about)
        return self._embeddings[system, occlusion]

    def _test(self, test: CellTest) -> Task:
        system, condition = test.place
        training, found = self.training(system), self.embedding(system, test.occlusion)
        about = {**found.about, "occluded": test.occluded if condition != UNOCCLUDED else None}
        cell = cell_file(self.running, system, condition, self.seed, about)
        testing = Testing(
            system,
            condition,
            found.config,
            training,
            cell,
            about,
            ranks=tuple(RANKS),
            save=self.study.settings.save_embeddings,
        )
        if self.running.toolbox is not None:
            return testing.task((self._name("train", system),))
        testing, occlusions = replace(testing, embeddings=found.file), [test.occlusion]
        if test.occluded == "probes" and condition != UNOCCLUDED:
            testing = replace(testing, gallery=self.embedding(system, UNOCCLUDED).file)
            occlusions.append(UNOCCLUDED)
        return testing.task(tuple(self._name("embed", f"{system}@{occlusion}") for occlusion in occlusions))

    def _path(self, kind: str, name: str) -> Path:
        return self.running.out / kind / name / f"seed-{self.seed}"

    def _name(self, verb: str, what: str) -> str:
        return f"{verb} {what}, seed {self.seed}"


def _made(training: Training) -> str:
    """What tells trainings of one system apart, whatever the seed."""
    return digest_of(seedless(training.about))
