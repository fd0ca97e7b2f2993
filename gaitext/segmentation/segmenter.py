"""What everything that masks people looks like to the rest of gaitext."""

from __future__ import annotations

import importlib
import inspect
from typing import Any, Protocol, runtime_checkable

import torch

from gaitext.config import name_and_model
from gaitext.errors import ConfigError, suggest
from gaitext.pose.estimator import typed_options

#: By how much a box grows, after it was made square, to the crop that a segmenter sees (docs/segmentation.md).
SCALE = 1.25


@runtime_checkable
class Segmenter(Protocol):
    """Says which pixels of a square crop are the person it was made for.

    Attributes:
        input_size: (height, width) of the crops, the same.
        settings: what decides the result (library, a digest of the weights), as plain JSON values; recorded with
            everything extracted.
    """

    input_size: tuple[int, int]
    settings: dict[str, Any]

    def masks(self, images: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Masks of RGB crops.

        Args:
            images: [N, 3, *input_size], float32 in 0..1, RGB.
            boxes: [N, 4], x, y, w, h of the person's box in each crop, pixels; in its middle.

        Returns:
            [N, *input_size], float32 in 0..1, how sure it is that a pixel is the person, on the images' device.
        """
        ...


#: Prefix of a segmenter's specification -> (module, class). A class takes the text after the prefix, but for
#: ``bundled``, and keyword options.
SEGMENTERS: dict[str, tuple[str, str]] = {
    "bundled": ("gaitext.segmentation.bundled", "BundledSegmenter"),
    "hf": ("gaitext.segmentation.instances", "InstanceSegmenter"),
}
_WITHOUT_MODEL = ("bundled",)


def load_segmenter(specification: str) -> Segmenter:
    """Load a segmenter from ``bundled`` or ``hf:NAME_OR_FOLDER``, with ``?OPTION=VALUE&…`` or without.

    The options are the keyword arguments of :class:`~gaitext.segmentation.bundled.BundledSegmenter` and
    :class:`~gaitext.segmentation.instances.InstanceSegmenter`.

    Raises:
        ConfigError: unknown prefix or option, nothing after the prefix, or a model that cannot be loaded.
        CheckpointError: the weights cannot be read or do not fit the network.
        MissingDependencyError: the library behind it is not installed.
    """
    name, rest, written = name_and_model(specification, SEGMENTERS, where="segmenter", alone=_WITHOUT_MODEL)
    module, kind = SEGMENTERS[name]
    factory = getattr(importlib.import_module(module), kind)
    model = () if name in _WITHOUT_MODEL else (rest,)
    accepted = list(inspect.signature(factory).parameters)[len(model) :]
    for option in written:
        if option not in accepted:
            raise ConfigError(f"unknown option '{option}'", where=specification, how=suggest(option, accepted))
    loaded: Segmenter = factory(*model, **typed_options(factory, written, specification))
    return loaded
