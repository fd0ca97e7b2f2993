"""The checks every host makes, on the embedded host's config."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gaitext.config import load_yaml
from gaitext.standalone.settings import HostConfig
from gaitext.toolboxes.validate import validate_config

__all__ = ["validate"]

log = logging.getLogger(__name__)


def validate(config: str | Path | Mapping[str, Any], *, training: bool, world_size: int) -> None:
    """Check a config before anything is built: its keys, classes, inputs and data's place.

    Raises:
        ConfigError: naming the key, the place and the nearest valid name.
        DataError: the partition is missing or wrong.
    """
    host = HostConfig.read(config)
    sections = dict(config) if isinstance(config, Mapping) else load_yaml(config)
    optional: dict[str, Any] = {"evaluator_cfg": {}} if training else {"evaluator_cfg": {}, "trainer_cfg": {}}
    sections = {**optional, "loss_cfg": host.losses, **sections}
    for remark in validate_config(sections, training, world_size=world_size):
        log.warning(remark)
