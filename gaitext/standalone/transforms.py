"""The ``transform`` section: one chain of transforms per input."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gaitext.errors import ConfigError, suggest
from gaitext.standalone.settings import arguments_for
from gaitext.store import Array
from gaitext.toolboxes.parts import TRANSFORMS
from gaitext.transforms.base import SeededTransform

__all__ = ["Chain", "build_chains"]


class Chain:
    """Transforms applied one after the other to one sequence [T, …]."""

    def __init__(self, transforms: Sequence[Callable[..., Any]]) -> None:
        self.transforms = list(transforms)

    def __call__(self, sequence: Array, generator: np.random.Generator) -> Array:
        """Apply the chain; what is random in it draws from ``generator``."""
        for transform in self.transforms:
            if isinstance(transform, SeededTransform):
                transform.generator = generator
            sequence = transform(sequence)
        return sequence


def build_chains(section: Any, *, where: str) -> list[Chain]:
    """Build one chain per input.

    Args:
        section: a list with one entry per input, each ``{type: Name, …}``,
            ``{type: Compose, trf_cfg: [...]}`` or a list of such; null or ``NoOperation`` leaves an
            input as it is. A single dict, or null, stands for one input.
        where: the section's name, for errors.

    Raises:
        ConfigError: a name gaitext does not have, or arguments it does not take.
    """
    entries = section if isinstance(section, list) else [section]
    return [Chain(_transforms(entry, f"{where}[{i}]")) for i, entry in enumerate(entries)]


def _transforms(entry: Any, where: str) -> list[Callable[..., Any]]:
    if entry is None:
        return []
    if isinstance(entry, list):
        return [transform for part in entry for transform in _transforms(part, where)]
    if not isinstance(entry, Mapping) or "type" not in entry:
        raise ConfigError(f"is {entry!r}, not a transform", where=where, how="write `- type: Name`")
    name = entry["type"]
    if name == "NoOperation":
        return []
    if name == "Compose":
        return _transforms(list(entry.get("trf_cfg") or []), where)
    if name not in TRANSFORMS:
        raise ConfigError(
            f"no transform {name!r} in the embedded host, which has gaitext's own only",
            where=where,
            how=suggest(name, sorted(TRANSFORMS)),
        )
    kind: Any = TRANSFORMS[name]
    try:
        return [kind(**arguments_for(kind, entry, where=f"{where}.{name}", ignored=("type",)))]
    except TypeError as error:
        raise ConfigError(f"cannot be built: {error}", where=f"{where}.{name}") from error
