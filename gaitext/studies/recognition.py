"""Studies of recognition: systems that differ in a config's keys, trained and tested on data sets."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, model_validator

from gaitext.config import Settings, load_yaml, merge, need
from gaitext.errors import ConfigError, suggest
from gaitext.execution import cores
from gaitext.pose import load_estimator
from gaitext.standalone.settings import HostConfig
from gaitext.store import write_json
from gaitext.store.contract import BOXES, HEATMAPS, POSES, POSES_FRAME, folder_name
from gaitext.studies.cells import Cells
from gaitext.studies.checking import check_config, check_embedded, metrics_of, told_of
from gaitext.studies.configs import ConfigSettings, for_processes, laid, toolbox_config
from gaitext.studies.data import DataSettings, PreparedData
from gaitext.studies.driver import Running
from gaitext.studies.scoring import Config
from gaitext.studies.settings import StudySettings
from gaitext.studies.tasks import Task
from gaitext.studies.training import (
    Testing,
    Training,
    cell_file,
    host_name,
    run_folder,
    testing_task,
    training_task,
)

#: What walkers' leaves hold, as the renderer and an extraction write them.
LEAF = tuple(part.file for part in (HEATMAPS, POSES, POSES_FRAME, BOXES))

__all__ = ["RecognitionSettings", "RecognitionStudy", "SystemSettings"]


class SystemSettings(Settings):
    """What is trained: a host's config with changes, on a data set.

    Attributes:
        config: one of the study's ``configs``.
        data: one of its ``data``, to train on.
        set: laid over the config, dict by dict; a list replaces a list, and null takes a key out.
        transform: in place of training's and the test's transforms.
        keep_losses: those whose ``log_prefix`` begins with one of these; None: all.
        swap_losses: a loss's type -> another, with the same arguments.
        test_on: data sets; None: ``data``.
    """

    config: str
    data: str
    set: dict[str, Any] = Field(default_factory=dict)
    transform: list[Any] | None = None
    keep_losses: tuple[str, ...] | None = None
    swap_losses: dict[str, str] = Field(default_factory=dict)
    test_on: tuple[str, ...] | None = None


class RecognitionSettings(StudySettings):
    """A study of kind ``recognition``.

    Attributes:
        data: data sets.
        configs: hosts' configs; a file's name stands for ``{file: …}``.
        systems: what is trained.
    """

    KIND: ClassVar[str] = "recognition"

    data: dict[str, DataSettings] = Field(min_length=1)
    configs: dict[str, ConfigSettings] = Field(min_length=1)
    systems: dict[str, SystemSettings] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _files(cls, values: Any) -> Any:
        configs = values.get("configs") if isinstance(values, dict) else None
        if isinstance(configs, Mapping):
            values = {**values, "configs": {k: {"file": v} if isinstance(v, str) else v for k, v in configs.items()}}
        return values

    @model_validator(mode="after")
    def _consistent(self) -> RecognitionSettings:
        for what, names in (("systems", self.systems), ("data", self.data)):
            for name in names:
                try:
                    folder_name(name)
                except ValueError as error:
                    raise ValueError(f"{what}: {error}") from error
        for name, system in self.systems.items():
            if "@" in name:
                raise ValueError(f"systems: '{name}' may hold no @")
            if system.config not in self.configs:
                raise ValueError(f"systems.{name}.config: '{system.config}'; {suggest(system.config, self.configs)}")
            tested = system.test_on or ()
            if len(set(tested)) != len(tested):
                raise ValueError(f"systems.{name}.test_on: one is there twice")
            for data in (system.data, *tested):
                if data not in self.data:
                    raise ValueError(f"systems.{name}: no data '{data}'; {suggest(data, self.data)}")
                theirs = self.configs[system.config].toolbox is not None and data == system.data
                if not (self.data[data].has_partition or theirs):
                    raise ValueError(
                        f"systems.{name}: data '{data}' names no dataset_partition, and no toolbox's config does for it"
                    )
        return self


class RecognitionStudy:
    """Trainings and tests of a :class:`RecognitionSettings`.

    Args:
        values: the YAML's.
        path: of the YAML.

    Raises:
        ConfigError: it is wrong, one of the systems' configs included.
    """

    def __init__(self, values: Mapping[str, Any], path: Path) -> None:
        self.settings: RecognitionSettings = RecognitionSettings.parse(values, where=str(path))
        self.root = path.parent
        self._configs = {
            name: laid(given.set, load_yaml(self.root / given.file))
            for name, given in self.settings.configs.items()
            if given.toolbox is None
        }
        self.settings.check_places(
            {(name, data) for name, system in self.settings.systems.items() for data in _tested_on(system)}
        )
        for name in self.settings.systems:
            if self._given(name).toolbox is None:
                self._check(name)

    def _given(self, name: str) -> ConfigSettings:
        return self.settings.configs[self.settings.systems[name].config]

    def host(self, name: str, running: Running) -> Path | None:
        """Root of the toolbox that trains and tests a system; None: the embedded host.

        Raises:
            ConfigError: the system's config is a toolbox's that is not given.
        """
        wanted = self._given(name).toolbox
        if wanted is None:
            return running.toolbox
        if wanted not in running.toolboxes:
            raise ConfigError(
                f"its config is {wanted}'s own, which only {wanted} can run",
                where=f"systems.{name}",
                how=f"give --toolbox PATH/TO/{wanted} (linked), or take the system out",
            )
        return running.toolboxes[wanted]

    def _base(self, name: str, root: Path | None) -> Config:
        """What a system's ``set`` is laid over; a toolbox's is laid over its default.yaml, as it does itself."""
        system, given = self.settings.systems[name], self._given(name)
        if given.toolbox is None:
            return copy.deepcopy(self._configs[system.config])
        assert root is not None
        return toolbox_config(given, root, where=f"configs.{system.config}")

    def config(self, name: str, root: Path | None = None) -> Config:
        """A system's config, without its data's place.

        Args:
            name: the system.
            root: of the toolbox, where the config is its own.
        """
        system = self.settings.systems[name]
        config = laid(system.set, self._base(name, root))
        for section in ("trainer_cfg", "evaluator_cfg"):
            if not isinstance(found := need(config, section, where=f"systems.{name}"), Mapping):
                raise ConfigError(f"holds {found!r}, not keys and values", where=f"systems.{name}: {section}")
        losses = _losses(config, f"systems.{name}: loss_cfg")
        kept = [
            loss
            for loss in losses
            if system.keep_losses is None or str(loss.get("log_prefix")).startswith(system.keep_losses)
        ]
        if losses and not kept:
            raise ConfigError(
                "none of the losses is kept",
                where=f"systems.{name}.keep_losses",
                how=f"there are {', '.join(str(loss.get('log_prefix')) for loss in losses)}",
            )
        types = {str(loss.get("type")) for loss in kept}
        for old in set(system.swap_losses) - types:
            raise ConfigError(
                f"there is no loss {old}", where=f"systems.{name}.swap_losses", how=suggest(old, sorted(types))
            )
        if losses and (system.keep_losses is not None or system.swap_losses):
            swap = system.swap_losses
            config["loss_cfg"] = [{**loss, "type": swap.get(str(loss.get("type")), loss.get("type"))} for loss in kept]
        for section in ("trainer_cfg", "evaluator_cfg"):
            if system.transform is not None:
                config[section]["transform"] = copy.deepcopy(system.transform)
            config[section]["save_name"] = name
        return config

    def _check(self, name: str) -> None:
        """Find a wrong key before anything is rendered; what concerns the data is seen when they are there."""
        system = self.settings.systems[name]
        config = self.config(name)
        with tempfile.TemporaryDirectory() as folder:
            partition = Path(folder) / "partition.json"
            write_json(partition, {"TRAIN_SET": ["001"], "TEST_SET": ["002"]})
            given = self.settings.data[system.data]
            asked = {**config.get("data_cfg", {}), **given.data_cfg}.get("data_in_use") or LEAF
            files = LEAF if given.walkers is not None else [f"{i}.pkl" for i in range(len(asked))]
            for identity in ("001", "002"):
                leaf = Path(folder) / identity / "nm-01" / "000"
                leaf.mkdir(parents=True)
                for file in files:
                    (leaf / file).touch()  # a look-alike: what is there is counted, not read
            data = {
                "dataset_name": "data",
                **given.data_cfg,
                "dataset_root": folder,
                "dataset_partition": str(partition),
            }
            with told_of(f"systems.{name}"):
                check_config(merge({"data_cfg": data}, config))

    def prepared(self, running: Running) -> dict[str, PreparedData]:
        """The data sets."""
        folder, workers = running.out / "data", running.jobs or cores()
        made = (folder, workers, self.root, running.quiet)
        return {n: PreparedData(n, given, *made) for n, given in self.settings.data.items()}

    def tasks(self, running: Running) -> list[Task]:
        for name in self.settings.systems:
            self.host(name, running)  # before anything is made
        data = self.prepared(running)
        used = {n for system in self.settings.systems.values() for n in (system.data, *_tested_on(system))}
        tasks = [data[name].task() for name in self.settings.data if name in used]
        missing = {data[name].settings.estimator or "" for name in used if not data[name].task().is_done()}
        for estimator in sorted(missing - {""}):
            with told_of("data"):
                load_estimator(estimator)  # it can be, before hours of rendering
        trainings, tests = [], []
        metrics: dict[tuple[str, str], set[str]] = {}
        for seed in self.settings.seeds:  # outermost: a study that is stopped has whole seeds
            for name, system in self.settings.systems.items():
                training = self.training(name, seed, data, running)
                task = training_task(training, f"train {name}, seed {seed}", (f"data {system.data}",))
                trainings.append(task)
                for condition in _tested_on(system):
                    testing = self.testing(name, condition, training, data, running)
                    if training.toolbox is None and seed == self.settings.seeds[0]:
                        with told_of(f"systems.{name}, tested on {condition}"):
                            check_embedded(HostConfig.of(testing.config))
                            if (found := metrics_of(testing.config)) is not None:
                                metrics[name, condition] = found
                    tests.append(testing_task(testing, (task.name, f"data {condition}")))
        self.settings.check_metrics(metrics)
        return tasks + trainings + tests

    def training(self, name: str, seed: int, data: Mapping[str, PreparedData], running: Running) -> Training:
        """A system's, with a seed."""
        own = data[self.settings.systems[name].data]
        root, is_theirs = self.host(name, running), self._given(name).toolbox is not None
        config = self.config(name, root)
        about = {"config": config, "data": own.about, "seed": seed, "host": host_name(running, root)}
        config = merge(own.host_sections(training=True), config)
        if is_theirs and root is not None:
            config = for_processes(config, root, running.chosen_device)
        elif "class_num" in config["model_cfg"] and own.settings.walkers is not None:
            config["model_cfg"] = {**config["model_cfg"], "class_num": own.identities()}
        folder = run_folder(running, name, about)
        return Training(name, config, seed, folder, running.chosen_device, about, root, is_theirs)

    def testing(
        self, name: str, condition: str, training: Training, data: Mapping[str, PreparedData], running: Running
    ) -> Testing:
        """Of a trained system on a data set."""
        config = merge(data[condition].host_sections(training=False), training.config)
        about = {"trained": training.about, "condition": data[condition].about}
        cell = cell_file(running, name, condition, training.seed, about)
        asked = tuple(self.settings.asked_of(name, condition))
        return Testing(name, condition, config, training, cell, about, asked=asked)

    def is_cell(self, task: Task) -> bool:
        return isinstance(task.argument, Testing)

    def finish(self, running: Running, cells: Cells) -> list[Path]:
        return []


def _tested_on(system: SystemSettings) -> tuple[str, ...]:
    return (system.data,) if system.test_on is None else system.test_on


def _losses(config: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    given = config.get("loss_cfg") or []
    losses = [given] if isinstance(given, Mapping) else given
    if not isinstance(losses, list) or not all(isinstance(loss, Mapping) for loss in losses):
        raise ConfigError(f"holds {given!r}, not losses", where=where, how="list them: `- type: …`")
    return [dict(loss) for loss in losses]
