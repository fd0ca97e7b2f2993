"""GaitPT in the hosts: its input, loss and checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gaitext.errors import ConfigError, DataError
from gaitext.models.gaitpt import GaitPT, GaitPTSettings
from gaitext.skeleton import resolve_order
from gaitext.toolboxes.adapter import HostInputs, HostOutput, ListedTransform, ModelAdapter

__all__ = ["GaitPTAdapter"]

#: Coordinates divided by the frame's width or height hardly leave -1 … 2; pixels are in the hundreds.
_LARGEST = 10.0


def _settings(model_cfg: Mapping[str, Any]) -> GaitPTSettings:
    own = {key: value for key, value in model_cfg.items() if key != "model"}
    return GaitPTSettings.parse(own, where="model_cfg")


class GaitPTAdapter(ModelAdapter):
    """GaitPT: normalised poses, ordered by the transform ``PoseOrder`` or, as COCO's joints, by the network.

    Loss: ``triplet`` on the embeddings, [n, c, 1] as the toolboxes' losses want them.
    """

    name = "GaitPT"

    @classmethod
    def build(cls, model_cfg: Mapping[str, Any]) -> nn.Module:
        return GaitPT.from_settings(_settings(model_cfg))

    @classmethod
    def class_count(cls, model_cfg: Mapping[str, Any]) -> int | None:
        _settings(model_cfg)  # whose errors are expected here
        return None

    @classmethod
    def loss_names(cls, model_cfg: Mapping[str, Any]) -> Mapping[str, Sequence[str]] | None:
        return {"triplet": ("embeddings", "labels")}

    @classmethod
    def check_transforms(cls, model_cfg: Mapping[str, Any], lists: Sequence[Sequence[ListedTransform]]) -> None:
        settings = _settings(model_cfg)
        for transform in (transform for each in lists for transform in each):
            if transform.name != "PoseOrder":
                continue
            where = f"{transform.where}.partition"
            given = transform.argument("partition")
            # Of other joints than the network's, the network itself names the shape.
            joints = len(given) if isinstance(given, (list, tuple)) else 18
            if resolve_order(given, joints, where=where) != settings.order:
                raise ConfigError(
                    f"PoseOrder's partition is {given}, but model_cfg.partition is {settings.partition}",
                    where=where,
                    how="write the same in both places",
                )

    @classmethod
    @torch.no_grad()
    def check_batch(cls, network: nn.Module, inputs: HostInputs) -> None:
        points = inputs.sequence(0, "poses")[..., :2].flatten(0, -2)
        points = points[(points != 0).any(-1)].abs()  # a missing joint is (0, 0)
        if points.numel() and float(points.median()) > _LARGEST:
            raise DataError(
                f"the first batch's coordinates are around {float(points.median()):.0f}: pixels, it seems, "
                "not shares of the frame's width or height",
                where=f"{'trainer' if network.training else 'evaluator'}_cfg.transform",
                how="add PoseNormalize to the poses' list, before PoseOrder; in training and evaluation alike",
            )

    @classmethod
    def signature(cls, network: nn.Module, inputs: HostInputs) -> Tensor:
        assert isinstance(network, GaitPT)
        return network.signature(inputs.sequence(0, "poses"), inputs.lengths)

    @classmethod
    def frame_shapes(cls, model_cfg: Mapping[str, Any]) -> list[tuple[int, ...]] | None:
        settings = _settings(model_cfg)
        return [(settings.joints, settings.channels)]

    @classmethod
    def run(cls, network: nn.Module, inputs: HostInputs, *, training: bool) -> HostOutput:
        assert isinstance(network, GaitPT)
        embeddings = network(inputs.sequence(0, "poses"), inputs.lengths)[..., None]
        if not training:
            return HostOutput({}, {"embeddings": embeddings}, {})
        return HostOutput({"triplet": {"embeddings": embeddings, "labels": inputs.labels}}, {}, {})
