"""The checks every host makes, on the embedded host's config."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from gaitext.config import load_yaml, told_by
from gaitext.standalone.settings import HostConfig
from gaitext.toolboxes.validate import validate_config

__all__ = ["telling", "validated"]

log = logging.getLogger(__name__)


def telling(config: str | Path | Mapping[str, Any]) -> AbstractContextManager[None]:
    """Names the config's file in the errors of further checks."""
    return nullcontext() if isinstance(config, Mapping) else told_by(config)


def validated(config: str | Path | Mapping[str, Any], *, training: bool, world_size: int) -> HostConfig:
    """Read a config and check it before anything is built: its keys, classes, inputs and data's place.

    Raises:
        ConfigError: naming the key, the place and the nearest valid name.
        DataError: the partition is missing or wrong.
    """
    with telling(config):
        if isinstance(config, Mapping):
            return _validated(dict(config), "the config", training, world_size)
        return _validated(load_yaml(config), str(config), training, world_size)


def _validated(sections: dict[str, Any], where: str, training: bool, world_size: int) -> HostConfig:
    host = HostConfig.of(sections, where=where)
    optional: dict[str, Any] = {"evaluator_cfg": {}} if training else {"evaluator_cfg": {}, "trainer_cfg": {}}
    sections = {**optional, "loss_cfg": host.losses, **sections}
    for remark in validate_config(sections, training, world_size=world_size):
        log.warning(remark)
    return host
