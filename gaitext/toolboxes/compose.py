"""Several transforms for one input, where the toolbox has no way to say so."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["Compose"]


class Compose:
    """Applies transforms one after the other: OpenGait's ``Compose``, for a toolbox without it.

    FastPoseGait has none; with this one, a config that lists ``type: Compose`` runs in all hosts.

    Args:
        trf_cfg: the transforms' entries, each with its ``type``, looked up as the toolbox does.
    """

    def __init__(self, trf_cfg: Sequence[Mapping[str, Any]]) -> None:
        self.transforms = importlib.import_module("data.transform").get_transform(list(trf_cfg))

    def __call__(self, sequence: Any) -> Any:
        for transform in self.transforms:
            sequence = transform(sequence)
        return sequence
