"""What every top-down pose estimator looks like to the rest of gaitext."""

from __future__ import annotations

import importlib
import inspect
from typing import Any, Protocol, runtime_checkable

import torch

from gaitext.errors import ConfigError, ShapeError, suggest

__all__ = ["ESTIMATORS", "HEATMAP_SHAPE", "INPUT_SIZE", "PoseEstimator", "check_heatmaps", "load_estimator"]

#: Height and width of the RGB crops an estimator sees (GaitHeat §3.2).
INPUT_SIZE = (256, 192)
#: Joints, height and width of the heatmaps it returns.
HEATMAP_SHAPE = (17, 64, 48)


@runtime_checkable
class PoseEstimator(Protocol):
    """A top-down estimator of COCO-17 heatmaps.

    Attributes:
        input_size: (height, width) of the images, here always (256, 192).
        differentiable: whether gradients flow from the heatmaps to the images. A corrector
            trained in front of a frozen estimator needs one through which they do.
        settings: what decides the result (library, a digest of the weights, normalisation), as
            plain JSON values. It is recorded with everything extracted, and a sequence is made
            again when it differs.
    """

    input_size: tuple[int, int]
    differentiable: bool
    settings: dict[str, Any]

    def heatmaps(self, images: torch.Tensor) -> torch.Tensor:
        """Heatmaps of RGB crops.

        Args:
            images: [N, 3, 256, 192], float32 in 0..1, RGB, not yet normalised.

        Returns:
            [N, 17, 64, 48], float32.
        """
        ...


#: Prefix of an estimator's specification -> (module, class). A class takes the text after the
#: prefix and keyword options. Imported when asked for: each needs an extra of its own.
ESTIMATORS: dict[str, tuple[str, str]] = {
    "onnx": ("gaitext.pose.onnx", "OnnxEstimator"),
}


def load_estimator(specification: str, **options: Any) -> PoseEstimator:
    """Load an estimator from a specification such as ``"onnx:hrnet_w32.onnx"``.

    Args:
        specification: ``PREFIX:REST``; the prefix is a key of :data:`ESTIMATORS`.
        options: the estimator's own (see its class).

    Raises:
        ConfigError: unknown prefix (the known ones are named), nothing after it, an unknown
            option, or weights that cannot be loaded.
        MissingDependencyError: the library behind it is not installed.
    """
    prefix, _, rest = specification.partition(":")
    known = ", ".join(f"{name}:…" for name in sorted(ESTIMATORS))
    if prefix not in ESTIMATORS:
        raise ConfigError(f"unknown estimator '{specification}'", where="estimator", how=f"known ones: {known}")
    if not rest:
        raise ConfigError(f"'{specification}' names no model", where="estimator", how=f"write {prefix}:FILE")
    module, name = ESTIMATORS[prefix]
    factory = getattr(importlib.import_module(module), name)
    accepted = list(inspect.signature(factory).parameters)[1:]
    for option in options:
        if option not in accepted:
            raise ConfigError(
                f"unknown option '{option}'",
                where=specification,
                how=suggest(option, accepted),
            )
    loaded: PoseEstimator = factory(rest, **options)
    return loaded


def check_heatmaps(heatmaps: torch.Tensor, images: torch.Tensor, where: object) -> torch.Tensor:
    """Return ``heatmaps`` if they are [N, 17, 64, 48] for ``images`` [N, …].

    Raises:
        ShapeError: they are not.
    """
    if tuple(heatmaps.shape) != (len(images), *HEATMAP_SHAPE):
        raise ShapeError(
            f"returned heatmaps of shape {list(heatmaps.shape)} for {len(images)} images",
            where=where,
            how=f"gaitext needs a COCO-17 network with output [N, {', '.join(map(str, HEATMAP_SHAPE))}]",
        )
    return heatmaps
