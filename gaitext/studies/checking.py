"""Finding what is wrong with a host's config before anything is rendered or trained."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from torch import nn

from gaitext.errors import ConfigError
from gaitext.evaluation import PROTOCOLS
from gaitext.evaluation.ccpg import CCPG
from gaitext.standalone.check import check_batch, evaluation_function
from gaitext.standalone.data import build_chains
from gaitext.standalone.host import LossSum, build_optimizer, build_scheduler, check_model
from gaitext.standalone.settings import HostConfig
from gaitext.studies.scoring import dataset_of, evaluate
from gaitext.toolboxes.validate import validate_config

__all__ = ["check_config", "check_embedded", "metrics_of", "told_of"]


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
def told_of(place: str) -> Iterator[None]:
    """Put ``place`` before where a config's error was found."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(error.what, where=f"{place}: {error.where or 'config'}", how=error.how) from error
