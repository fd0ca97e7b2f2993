"""What every top-down pose estimator looks like to the rest of gaitext."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Mapping
from typing import Any, Protocol, get_type_hints, runtime_checkable

import torch
from pydantic import TypeAdapter, ValidationError

from gaitext.config import name_and_model
from gaitext.errors import ConfigError, ShapeError, suggest
from gaitext.skeleton import joint_mirror
from gaitext.store.contract import HEATMAP_SHAPE

#: Height and width of the RGB crops that GaitHeat's estimators see (GaitHeat §3.2).
INPUT_SIZE = (256, 192)


@runtime_checkable
class PoseEstimator(Protocol):
    """A top-down estimator of COCO-17 heatmaps.

    Attributes:
        input_size: (height, width) of the images, (256, 192) for most networks.
        heatmap_size: (height, width) of the heatmaps, (64, 48) for most networks.
        differentiable: whether gradients flow from the heatmaps to the images. A corrector
            trained in front of a frozen estimator needs one through which they do.
        settings: what decides the result (library, a digest of the weights, normalisation), as
            plain JSON values. It is recorded with everything extracted, and a sequence is made
            again when it differs.
    """

    input_size: tuple[int, int]
    heatmap_size: tuple[int, int]
    differentiable: bool
    settings: dict[str, Any]

    def heatmaps(self, images: torch.Tensor) -> torch.Tensor:
        """Heatmaps of RGB crops.

        Args:
            images: [N, 3, *input_size], float32 in 0..1, RGB, not yet normalised.

        Returns:
            [N, 17, *heatmap_size], float32, on the images' device.
        """
        ...


#: Prefix of an estimator's specification -> (module, class). A class takes the text after the
#: prefix and keyword options. Imported when asked for: each needs an extra of its own.
ESTIMATORS: dict[str, tuple[str, str]] = {
    "bundled": ("gaitext.pose.movenet_estimator", "MoveNetEstimator"),
    "mmpose": ("gaitext.pose.mmpose", "MMPoseEstimator"),
    "movenet": ("gaitext.pose.movenet_estimator", "MoveNetEstimator"),
    "onnx": ("gaitext.pose.onnx", "OnnxEstimator"),
    "tuned": ("gaitext.pose.tuned", "TunedEstimator"),
    "vitpose": ("gaitext.pose.vitpose", "VitPoseEstimator"),
}
#: What those stand for whose specification may be the prefix alone.
_MODEL = {"bundled": "thunder", "movenet": "thunder"}


def load_estimator(specification: str, **options: Any) -> PoseEstimator:
    """Load an estimator from a specification such as ``"onnx:hrnet_w32.onnx?flip_test=true"``.

    Args:
        specification: ``PREFIX:MODEL`` or ``PREFIX:MODEL?OPTION=VALUE&…``; the prefix is a key of
            :data:`ESTIMATORS`, and ``movenet`` alone, or ``bundled``, is ``movenet:thunder``. Values are JSON, or text
            where they are not.
        options: the estimator's own (see its class), beside those in the specification.

    Raises:
        ConfigError: unknown prefix (the known ones are named), nothing after it, an option that is
            unknown, given twice or of the wrong type, or a model that cannot be loaded.
        CheckpointError: the weights cannot be read or do not fit the network.
        ShapeError: it is no network of COCO-17 heatmaps.
        MissingDependencyError: the library behind it is not installed.
    """
    name, model, written = name_and_model(specification, ESTIMATORS, where="estimator", defaults=_MODEL)
    module, kind = ESTIMATORS[name]
    factory = getattr(importlib.import_module(module), kind)
    accepted = list(inspect.signature(factory).parameters)[1:]
    for option in (*written, *options):
        if option not in accepted:
            raise ConfigError(f"unknown option '{option}'", where=specification, how=suggest(option, accepted))
        if option in written and option in options:
            raise ConfigError(f"option '{option}' is given twice", where=specification)
    loaded: PoseEstimator = factory(model, **typed_options(factory, written, specification), **options)
    return loaded


def check_images(images: torch.Tensor, size: tuple[int, int], where: str) -> None:
    """Raise ShapeError unless ``images`` are [N, 3, *size]."""
    if images.ndim != 4 or tuple(images.shape[1:]) != (3, *size):
        height, width = size
        raise ShapeError(
            f"images have shape {list(images.shape)}", where=where, how=f"give [N, 3, {height}, {width}] in 0..1"
        )


def check_multiple(images: torch.Tensor, multiple: int, where: str) -> None:
    """Raise ShapeError unless ``images`` are [N, 3, H, W] with H and W multiples of ``multiple``."""
    if images.ndim != 4 or images.shape[1] != 3 or any(side % multiple or not side for side in images.shape[2:]):
        raise ShapeError(
            f"images have shape {list(images.shape)}",
            where=where,
            how=f"give [N, 3, H, W] with H and W multiples of {multiple}",
        )


def check_heatmaps(
    heatmaps: torch.Tensor, images: torch.Tensor, where: object, size: tuple[int, int] = HEATMAP_SHAPE[1:]
) -> torch.Tensor:
    """Return ``heatmaps`` if they are [N, 17, *size] for ``images`` [N, …].

    Raises:
        ShapeError: they are not.
    """
    wanted = (HEATMAP_SHAPE[0], *size)
    if tuple(heatmaps.shape) != (len(images), *wanted):
        raise ShapeError(
            f"returned heatmaps of shape {list(heatmaps.shape)} for {len(images)} images",
            where=where,
            how=f"gaitext needs a COCO-17 network with output [N, {', '.join(map(str, wanted))}]",
        )
    return heatmaps


def mirror_heatmaps(heatmaps: torch.Tensor, shift: bool = False) -> torch.Tensor:
    """Heatmaps of mirrored images as those of the images: mirrored, left and right joints swapped.

    Args:
        heatmaps: [N, 17, H, W].
        shift: move them one pixel to the right. Networks trained on ``joint · W / width`` of
            integer pixels see a mirrored joint one heatmap pixel too far left, and need it;
            those trained with unbiased data processing (UDP) do not.
    """
    mirrored = heatmaps.flip(-1)[:, list(joint_mirror())]
    return torch.cat((mirrored[..., :1], mirrored[..., :-1]), -1) if shift else mirrored


def typed_options(factory: type, options: Mapping[str, str], where: str) -> dict[str, Any]:
    """Options written as text, as the types that the signature of ``factory`` asks for."""
    hints = get_type_hints(factory.__init__) if options else {}  # type: ignore[misc]
    typed = {}
    for name, text in options.items():
        adapter: TypeAdapter[Any] = TypeAdapter(hints[name])
        try:
            # JSON first: where both fit, "[1, 2]" is a list.
            typed[name] = adapter.validate_python(json.loads(text))
            continue
        except ValueError:  # of which JSON's and pydantic's errors are kinds
            pass
        try:
            typed[name] = adapter.validate_python(text)
        except ValidationError as error:
            reasons = "; ".join(sorted({e["msg"] for e in error.errors()}))
            raise ConfigError(f"option '{name}' cannot be '{text}' ({reasons})", where=where) from error
    return typed
