"""Trainings and tests of a study in the embedded host: what runs in the workers."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gaitext import standalone
from gaitext.errors import DataError
from gaitext.evaluation import PROTOCOLS, by_identity
from gaitext.standalone.settings import HostConfig
from gaitext.standalone.tester import evaluate as evaluated
from gaitext.studies.cells import Cell, mean
from gaitext.studies.driver import Running
from gaitext.studies.tasks import Task, digest_of, finish, plain
from gaitext.studies.toolbox import toolbox_test, toolbox_train
from gaitext.training.runs import checkpoint_path

__all__ = [
    "Config",
    "Testing",
    "Training",
    "cell_file",
    "checkpoint_of",
    "evaluate",
    "host_name",
    "short_numbers",
    "test",
    "testing_task",
    "train",
    "training_task",
]

Config = dict[str, Any]
_PREFIX = "scalar/test_accuracy/"


@dataclass(frozen=True)
class Training:
    """A system and a seed.

    Args:
        system: its name.
        config: the host's.
        seed: of everything random; a toolbox sets its own.
        folder: of this training; the embedded host's ``output``.
        device: ``cpu`` or ``cuda``.
        about: what :attr:`done` says.
        toolbox: root of the linked toolbox that trains; None: the embedded host.
    """

    system: str
    config: Config
    seed: int
    folder: Path
    device: str
    about: Mapping[str, Any]
    toolbox: Path | None = None

    @property
    def done(self) -> Path:
        return self.folder / "done.json"

    @property
    def checkpoint(self) -> Path:
        """Where the embedded host will leave its last one."""
        trainer, data = self.config["trainer_cfg"], self.config["data_cfg"]
        folder = self.folder / data["dataset_name"] / self.config["model_cfg"]["model"] / trainer["save_name"]
        return checkpoint_path(folder, int(trainer["total_iter"]))


@dataclass(frozen=True)
class Testing:
    """A trained system under a condition.

    Args:
        system, condition: of the cell.
        config: the host's, whose ``evaluator_cfg`` and ``data_cfg`` decide.
        training: of the system.
        cell: the file to write.
        about: what the cell is made of.
        clean: another config, by which gallery sequences are embedded (occluded probes in a whole gallery); None: the
            same.
        seed: of the cell, where it is of something else that was trained; None: the training's.
    """

    system: str
    condition: str
    config: Config
    training: Training
    cell: Path
    about: Mapping[str, Any]
    clean: Config | None = None
    seed: int | None = None

    @property
    def cell_seed(self) -> int:
        return self.training.seed if self.seed is None else self.seed


def host_name(running: Running) -> str:
    """What tells hosts apart; their numbers do not go into one study."""
    return "embedded" if running.toolbox is None else running.toolbox.name


def cell_file(running: Running, system: str, condition: str, seed: int, about: Mapping[str, Any]) -> Path:
    """Where a cell stands: in a folder that tells what it is made of, so that other settings do not replace it."""
    made = digest_of({**about, "trained": {**about["trained"], "seed": None}})
    return running.out / "cells" / f"{system}@{condition.replace('/', '-')}-{made}" / f"seed-{seed}.json"


def training_task(training: Training, name: str, needs: tuple[str, ...]) -> Task:
    return Task(name, train, training, training.done, training.about, needs)


def testing_task(testing: Testing, needs: tuple[str, ...]) -> Task:
    name = f"test {testing.system}@{testing.condition}, seed {testing.cell_seed}"
    return Task(name, test, testing, testing.cell, testing.about, needs)


def train(training: Training) -> None:
    """Train, or go on where a killed training stopped."""
    if training.toolbox is not None:
        found = toolbox_train(training.toolbox, training.config, training.folder, training.device)
        finish(training.done, training.about, checkpoint=str(found))
        return
    begun = any(training.checkpoint.parent.glob("*.pt"))
    result = standalone.train(
        training.config, device=training.device, output=training.folder, seed=training.seed, resume=begun, quiet=True
    )
    relative = result.checkpoint.relative_to(training.folder)
    finish(training.done, training.about, checkpoint=str(relative), seconds=round(result.seconds, 1))


def checkpoint_of(trained: Path) -> Path:
    """The checkpoint that a training's done.json names."""
    try:
        name = json.loads(trained.read_text(encoding="utf-8"))["checkpoint"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"names no checkpoint ({error!r})", where=trained, how="delete it: it is made again") from error
    path = trained.parent / name
    if not path.is_file():
        raise DataError("the checkpoint is gone", where=path, how=f"delete {trained}, and it is trained again")
    return path


def test(testing: Testing) -> None:
    """Embed the test sequences, evaluate them, and write the cell.

    Where a toolbox tests, the cell's scalars are the toolbox's; the embedded host embeds with the same weights for the
    identities' own numbers, where it knows the protocol.
    """
    checkpoint = checkpoint_of(testing.training.done)
    scalars: dict[str, float] = {}
    if testing.training.toolbox is not None:
        folder = testing.cell.parent / testing.cell.stem
        scalars = toolbox_test(testing.training.toolbox, testing.config, checkpoint, folder, testing.training.device)
    people: dict[str, dict[str, float]] = {}
    if testing.training.toolbox is None or _dataset(testing.config) in (*PROTOCOLS, "PsyMo", "CCPG"):
        found = _embedded(testing.config, checkpoint, testing)
        if testing.clean is not None:
            found = with_gallery_of(found, _embedded(testing.clean, checkpoint, testing), testing.config)
        ours, people = evaluate(found, testing.config)
        scalars = {**ours, **scalars}
    cell = Cell(testing.system, testing.condition, testing.cell_seed, scalars, people)
    cell.write(testing.cell, **plain(testing.about))


def with_gallery_of(found: dict[str, Any], whole: dict[str, Any], config: Config) -> dict[str, Any]:
    """``found`` with the gallery's embeddings taken from ``whole``; for protocols whose probes are not in it."""
    dataset = _dataset(config)
    if dataset not in PROTOCOLS:
        raise DataError(f"no gallery apart from the probes is known of {dataset}", how="occlude all sequences")
    gallery = PROTOCOLS[dataset].select(found["types"], PROTOCOLS[dataset].gallery)
    mixed = found["embeddings"].copy()
    mixed[gallery] = whole["embeddings"][gallery]
    return {**found, "embeddings": mixed}


def _embedded(config: Config, checkpoint: Path, testing: Testing) -> dict[str, Any]:
    config = copy.deepcopy(config)
    config["evaluator_cfg"]["sampler"]["batch_size"] = 8  # packed; it does not change results
    file = testing.cell.with_suffix(".npz")
    file.parent.mkdir(parents=True, exist_ok=True)
    standalone.test(
        config,
        checkpoint=checkpoint,
        device=testing.training.device,
        output=testing.cell.parent,
        save_embeddings=file,
        quiet=True,
    )
    with np.load(file) as saved:
        found = dict(saved)
    file.unlink()
    return found


def _dataset(config: Config) -> str:
    return str(config["data_cfg"].get("test_dataset_name") or config["data_cfg"]["dataset_name"])


def evaluate(data: dict[str, Any], config: Config) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """A cell's scalars and people, of embeddings."""
    result = evaluated(HostConfig.read(config), data)
    section = config["evaluator_cfg"]
    options = {name: section[name] for name in ("gallery", "exclude_same_walk") if name in section}
    people = by_identity(data, _dataset(config), str(section.get("metric", "euc")), **options)
    own: dict[str, dict[str, float]] = {}
    identities = sorted({identity for of in people.values() for identity in of})
    for identity in identities:
        of_it = short_numbers({name: of[identity] for name, of in people.items() if identity in of})
        for name, value in of_it.items():
            own.setdefault(name, {})[identity] = value
    return short_numbers(result.scalars), own


def short_numbers(scalars: Mapping[str, float]) -> dict[str, float]:
    """Without the toolboxes' prefix, rank-1 by the condition's name alone, and the conditions' ``mean``.

    >>> short_numbers({"scalar/test_accuracy/NM@R1": 50.0, "scalar/test_accuracy/CL@R1": 30.0})
    {'NM': 50.0, 'CL': 30.0, 'mean': 40.0}
    """
    numbers = {name.removeprefix(_PREFIX): float(value) for name, value in scalars.items()}
    for rank in {name.partition("@")[2] for name in numbers if "@" in name}:
        of_rank = {n.partition("@")[0]: v for n, v in numbers.items() if n.partition("@")[2] == rank}
        # CCPG's re-identification is another protocol; SUSTech1K's Overall and PsyMo's mean are of the others.
        conditions = [v for n, v in of_rank.items() if n not in ("mean", "Overall") and not n.endswith("-ReID")]
        if conditions:
            numbers.setdefault(f"mean@{rank}", mean(conditions))
    renamed = {name.removesuffix("@R1"): value for name, value in numbers.items()}
    return {name: renamed[name] for name in sorted(renamed, key=lambda n: n.partition("@")[0] == "mean")}
