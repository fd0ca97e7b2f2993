"""Hosts' configs that a study names: gaitext's files, or a toolbox's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, field_validator

from gaitext.config import Settings, load_yaml, merge
from gaitext.errors import ConfigError, suggest
from gaitext.studies.scoring import Config
from gaitext.toolboxes.hosts import TOOLBOXES, detect

__all__ = ["ConfigSettings", "for_processes", "laid", "toolbox_config"]


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
    return laid(given.set, merge(load_yaml(root / given.file), load_yaml(root / detect(root).default_cfg)))


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


def laid(over: Mapping[str, Any], base: Mapping[str, Any]) -> Config:
    """:func:`~gaitext.config.merge`, where null takes a key out."""
    return _without_null(merge(over, base))


def _without_null(section: Mapping[str, Any]) -> Config:
    found = {k: _without_null(v) if isinstance(v, Mapping) else v for k, v in section.items()}
    return {key: value for key, value in found.items() if value is not None}
