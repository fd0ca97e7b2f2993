"""Studies of recognition: systems that differ in a config's keys, trained and tested on data sets."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from gaitext.config import Settings, load_yaml, merge, need
from gaitext.errors import ConfigError, suggest
from gaitext.execution import cores
from gaitext.pose import load_estimator
from gaitext.standalone.settings import HostConfig
from gaitext.store import write_partition
from gaitext.store.contract import BOXES, HEATMAPS, POSES, POSES_FRAME, folder_name
from gaitext.studies.cells import Cells
from gaitext.studies.configs import (
    ConfigSettings,
    check_config,
    check_embedded,
    for_processes,
    lay_over,
    located,
    metrics_of,
    toolbox_config,
)
from gaitext.studies.data import DataSettings, PreparedData
from gaitext.studies.scoring import Config
from gaitext.studies.settings import StudySettings, repeated
from gaitext.studies.tasks import Running, Task
from gaitext.studies.training import Testing, Training, cell_file, host_name, run_folder

#: What walkers' leaves hold, as the renderer and an extraction write them.
LEAF = tuple(part.file for part in (HEATMAPS, POSES, POSES_FRAME, BOXES))


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

    @property
    def conditions(self) -> tuple[str, ...]:
        """Data sets that it is tested on."""
        return (self.data,) if self.test_on is None else self.test_on


class RecognitionSettings(StudySettings):
    """A study of kind ``recognition``.

    Attributes:
        data: data sets.
        configs: hosts' configs; a file's name stands for ``{file: …}``.
        systems: what is trained.
    """

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
            if repeated(tested):
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
            name: lay_over(given.set, load_yaml(self.root / given.file))
            for name, given in self.settings.configs.items()
            if given.toolbox is None
        }
        systems = self.settings.systems
        self.settings.check_places({(name, data) for name, system in systems.items() for data in system.conditions})
        for name in systems:
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

    def config(self, name: str, root: Path | None = None) -> Config:
        """A system's config, without its data's place.

        Args:
            name: the system.
            root: of the toolbox, where the config is its own; it is laid over its default.yaml, as it does itself.
        """
        system, given = self.settings.systems[name], self._given(name)
        if given.toolbox is None:
            base = copy.deepcopy(self._configs[system.config])
        else:
            assert root is not None
            base = toolbox_config(given, root, where=f"configs.{system.config}")
        config = lay_over(system.set, base)
        for section in ("trainer_cfg", "evaluator_cfg"):
            if not isinstance(found := need(config, section, where=f"systems.{name}"), Mapping):
                raise ConfigError(f"holds {found!r}, not keys and values", where=f"systems.{name}: {section}")
        self._choose_losses(name, config)
        for section in ("trainer_cfg", "evaluator_cfg"):
            if system.transform is not None:
                config[section]["transform"] = copy.deepcopy(system.transform)
            config[section]["save_name"] = name
        return config

    def _choose_losses(self, name: str, config: Config) -> None:
        """Keep and swap what the system says."""
        system, losses = self.settings.systems[name], _losses(config, f"systems.{name}: loss_cfg")
        prefixes = ("",) if system.keep_losses is None else system.keep_losses
        kept = [loss for loss in losses if str(loss.get("log_prefix")).startswith(prefixes)]
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

    def _check(self, name: str) -> None:
        """Find a wrong key before anything is rendered; what concerns the data is seen when they are there."""
        system = self.settings.systems[name]
        config = self.config(name)
        with tempfile.TemporaryDirectory() as folder:
            partition = Path(folder) / "partition.json"
            write_partition(partition, ["001"], ["002"])
            given = self.settings.data[system.data]
            asked = {**config.get("data_cfg", {}), **given.data_cfg}.get("data_in_use") or LEAF
            files = LEAF if given.walkers is not None else [f"{i}.pkl" for i in range(len(asked))]
            for identity in ("001", "002"):
                leaf = Path(folder) / identity / "nm-01" / "000"
                leaf.mkdir(parents=True)
                for file in files:
                    (leaf / file).touch()  # a look-alike: what is there is counted, not read
            there = {"dataset_root": folder, "dataset_partition": str(partition)}
            data = {"dataset_name": "data", **given.data_cfg, **there}
            with located(f"systems.{name}"):
                check_config(merge({"data_cfg": data}, config))

    def prepared(self, running: Running) -> dict[str, PreparedData]:
        """The data sets."""
        made = (running.out / "data", running.jobs or cores(), self.root, running.quiet)
        return {name: PreparedData(name, given, *made) for name, given in self.settings.data.items()}

    def tasks(self, running: Running) -> list[Task]:
        for name in self.settings.systems:
            self.host(name, running)  # before anything is made
        data = self.prepared(running)
        used = {name for system in self.settings.systems.values() for name in (system.data, *system.conditions)}
        tasks = {name: data[name].task() for name in self.settings.data if name in used}
        missing = {data[name].settings.estimator or "" for name, task in tasks.items() if not task.is_done()}
        for estimator in sorted(missing - {""}):
            with located("data"):
                load_estimator(estimator)  # it can be, before hours of rendering
        trainings, tests = [], []
        metrics: dict[tuple[str, str], set[str]] = {}
        for seed in self.settings.seeds:  # outermost: a study that is stopped has whole seeds
            for name, system in self.settings.systems.items():
                training = self.training(name, seed, data, running)
                trainings.append(training.task(f"train {name}, seed {seed}", (f"data {system.data}",)))
                for condition in system.conditions:
                    testing = self.testing(name, condition, training, data, running)
                    if training.toolbox is None and seed == self.settings.seeds[0]:
                        with located(f"systems.{name}, tested on {condition}"):
                            check_embedded(HostConfig.of(testing.config))
                            if (found := metrics_of(testing.config)) is not None:
                                metrics[name, condition] = found
                    tests.append(testing.task((trainings[-1].name, f"data {condition}")))
        self.settings.check_metrics(metrics)
        return [*tasks.values(), *trainings, *tests]

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
        metrics = tuple(self.settings.metrics_at(name, condition))
        return Testing(
            name, condition, config, training, cell, about, metrics=metrics, save=self.settings.save_embeddings
        )

    def is_cell(self, task: Task) -> bool:
        return isinstance(task.argument, Testing)

    def finish(self, running: Running, cells: Cells) -> list[Path]:
        return []


def _losses(config: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    given = config.get("loss_cfg") or []
    losses = [given] if isinstance(given, Mapping) else given
    if not isinstance(losses, list) or not all(isinstance(loss, Mapping) for loss in losses):
        raise ConfigError(f"holds {given!r}, not losses", where=where, how="list them: `- type: …`")
    return [dict(loss) for loss in losses]
