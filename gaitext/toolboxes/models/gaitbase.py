"""GaitBase in the hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from gaitext.models.gaitbase import GaitBase, GaitBaseSettings
from gaitext.toolboxes.adapter import HostInputs, HostOutput, ModelAdapter

__all__ = ["GaitBaseAdapter"]


def _settings(model_cfg: Mapping[str, Any]) -> GaitBaseSettings:
    own = {key: value for key, value in model_cfg.items() if key != "model"}
    return GaitBaseSettings.parse(own, where="model_cfg")


class GaitBaseAdapter(ModelAdapter):
    """GaitBase on silhouettes: what OpenGait's ``Baseline`` is, for hosts that have none.

    Losses: ``triplet`` on the embeddings and ``softmax`` on the logits.
    """

    name = "GaitBase"

    @classmethod
    def build(cls, model_cfg: Mapping[str, Any]) -> nn.Module:
        return GaitBase.from_settings(_settings(model_cfg))

    @classmethod
    def class_count(cls, model_cfg: Mapping[str, Any]) -> int | None:
        return _settings(model_cfg).class_num

    @classmethod
    def loss_names(cls, model_cfg: Mapping[str, Any]) -> Mapping[str, Sequence[str]] | None:
        return {"triplet": ("embeddings", "labels"), "softmax": ("logits", "labels")}

    @classmethod
    def signature(cls, network: nn.Module, inputs: HostInputs) -> Tensor:
        assert isinstance(network, GaitBase)
        return network.signature(inputs.sequence(0, "silhouettes"), inputs.lengths)

    @classmethod
    def frame_shapes(cls, model_cfg: Mapping[str, Any]) -> list[tuple[int, ...]] | None:
        channels = _settings(model_cfg).in_channels
        return [(64, 44) if channels == 1 else (channels, 64, 44)]

    @classmethod
    def run(cls, network: nn.Module, inputs: HostInputs, *, training: bool) -> HostOutput:
        output = network(inputs.sequence(0, "silhouettes"), inputs.lengths)
        if not training:
            return HostOutput({}, {"embeddings": output}, {})
        losses = {
            "triplet": {"embeddings": output.head.embeddings, "labels": inputs.labels},
            "softmax": {"logits": output.head.logits, "labels": inputs.labels},
        }
        preview = output.preview
        shown = preview if preview.shape[1] in (1, 3) else preview.amax(1, keepdim=True)
        return HostOutput(losses, {}, {"sils": shown})
