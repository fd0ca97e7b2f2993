"""Hosts' configs that a study names, gaitext's files or a toolbox's own, checked before anything is made."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import nn

from gaitext.config import Settings, load_yaml, merge
from gaitext.errors import ConfigError, suggest
from gaitext.evaluation import PROTOCOLS
from gaitext.evaluation.ccpg import CCPG
from gaitext.standalone.building import LossSum, build_optimizer, build_scheduler, check_model
from gaitext.standalone.check import check_batch, evaluation_function
from gaitext.standalone.data import build_chains
from gaitext.standalone.settings import HostConfig
from gaitext.studies.scoring import Config, dataset_of, evaluate
from gaitext.toolboxes.toolbox import TOOLBOXES, detect
from gaitext.toolboxes.validate import validate_config


class ConfigSettings(Settings):
    """A host's config.

    Attributes:
        file: relative to the study's; with ``toolbox``, to its root.
        toolbox: ``OpenGait`` or ``FastPoseGait``, whose own config it is, such as ``configs/gaitset/gaitset.yaml``: its
            model, transforms and sizes stand, and its main.py runs it (``--toolbox``), never the embedded host.
        set: laid over it, as a system's.
    """

    file: Path
    toolbox: str | None = None
    set: dict[str, Any] = Field(default_factory=dict)

    @field_validator("toolbox")
    @classmethod
    def _known(cls, toolbox: str | None) -> str | None:
        names = [each.name for each in TOOLBOXES]
        if toolbox is not None and toolbox not in names:
            raise ValueError(f"'{toolbox}'; {suggest(toolbox, names)}")
        return toolbox


def toolbox_config(given: ConfigSettings, root: Path, *, where: str) -> Config:
    """A toolbox's config over its default.yaml, as it lays them itself, and ``set`` over both.

    Args:
        given: with a ``toolbox``.
        root: of that toolbox.
        where: for the error.

    Raises:
        ConfigError: the toolbox has no such file.
    """
    if not (root / given.file).is_file():
        there = [str(path.relative_to(root)) for path in root.glob("configs/**/*.yaml")]
        raise ConfigError(f"{given.toolbox} has no {given.file}", where=where, how=suggest(str(given.file), there))
    return lay_over(given.set, merge(load_yaml(root / given.file), load_yaml(root / detect(root).default_cfg)))


def for_processes(config: Config, root: Path, device: str) -> Config:
    """Test as many sequences at a time as there are processes: a toolbox's own configs have its authors' GPUs.

    OpenGait insists on it, and models of FastPoseGait take a pack of several whole sequences for one. Sequences of a
    fixed number of frames are not packed.
    """
    packed = not str(config["evaluator_cfg"]["sampler"].get("sample_type")).startswith("fixed")
    if not (packed or detect(root).test_batch_is_world):
        return config
    processes = torch.cuda.device_count() if device == "cuda" else 1
    return merge({"evaluator_cfg": {"sampler": {"batch_size": max(1, processes)}}}, config)


def lay_over(over: Mapping[str, Any], base: Mapping[str, Any]) -> Config:
    """:func:`~gaitext.config.merge`, where null takes a key out."""
    return _without_null(merge(over, base))


def _without_null(section: Mapping[str, Any]) -> Config:
    found = {k: _without_null(v) if isinstance(v, Mapping) else v for k, v in section.items()}
    return {key: value for key, value in found.items() if value is not None}


def check_config(config: Mapping[str, Any], *, with_data: bool = True) -> HostConfig:
    """What every host asks of a config. Its remarks come when it is trained.

    Args:
        config: the host's.
        with_data: whether what its ``data_cfg`` names is there, to be looked at.

    Raises:
        ConfigError: naming the key, the place and the nearest valid name.
    """
    host = HostConfig.of(config)
    given = {"evaluator_cfg": {}, "loss_cfg": host.losses, **config}
    validate_config({k: v for k, v in given.items() if with_data or k != "data_cfg"}, True, world_size=1)
    for part, transform in (("trainer", host.trainer.transform), ("evaluator", host.evaluator.transform)):
        build_chains(transform, where=f"{part}_cfg.transform")
    return host


def check_embedded(host: HostConfig) -> None:
    """What the embedded host alone asks, and would ask after the data are made only.

    Raises:
        ConfigError: the model, a loss, the optimizer, its schedule or the evaluation is unknown, an argument of theirs
            is, or no batch has a triplet.
    """
    check_model(str(host.model["model"]))
    check_batch(host)
    LossSum(host.losses)
    build_scheduler(build_optimizer(nn.Linear(1, 1), host.optimizer), host.scheduler)
    evaluation_function(host)


def metrics_of(config: Mapping[str, Any], ranks: tuple[int, ...] = ()) -> set[str] | None:
    """Metrics that cells tested with this config will have, found with made-up embeddings.

    Args:
        config: the host's.
        ranks: as :class:`~gaitext.studies.training.Testing` has them.

    Returns:
        None where they are not known beforehand: of protocols other than CCPG's and those of
        :data:`~gaitext.evaluation.PROTOCOLS`.

    Raises:
        ConfigError: the evaluation cannot be done, its distance is unknown for example.
    """
    dataset, function = dataset_of(config), config["evaluator_cfg"].get("eval_func")
    if dataset in PROTOCOLS and function == "evaluate_indoor_dataset":
        sides = (PROTOCOLS[dataset].gallery, *PROTOCOLS[dataset].probes.values())
        views = ("000", "090")
    elif dataset == "CCPG" and function == "evaluate_CCPG":
        sides, views = tuple(types for condition in CCPG.values() for types in condition), ("00_0", "01_0")
    else:
        return None
    types = sorted({name for names in sides for name in names})
    labels, kinds, views = zip(*itertools.product(("1", "2"), types, views))
    embeddings = np.random.default_rng(0).random((len(labels), 1, 1), np.float32)
    config = {**config, "evaluator_cfg": {k: v for k, v in config["evaluator_cfg"].items() if k != "table"}}
    data = {"embeddings": embeddings, "labels": np.array(labels), "types": np.array(kinds), "views": np.array(views)}
    return set(evaluate(data, config, ranks)[0])


@contextlib.contextmanager
def located(place: str) -> Iterator[None]:
    """Put ``place`` before where a config's error was found."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(error.what, where=f"{place}: {error.where or 'config'}", how=error.how) from error
