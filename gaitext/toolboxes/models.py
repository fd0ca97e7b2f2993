"""One adapter per network: what it reads from a host's batch and which losses it feeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from gaitext.models.gaitheat import GaitHeat
from gaitext.models.gaitheat_settings import GaitHeatSettings
from gaitext.toolboxes.adapter import HostInputs, HostOutput, ModelAdapter

__all__ = ["GaitHeatAdapter"]


def _settings(model_cfg: Mapping[str, Any]) -> GaitHeatSettings:
    own = {key: value for key, value in model_cfg.items() if key != "model"}
    return GaitHeatSettings.parse(own, where="model_cfg")


class GaitHeatAdapter(ModelAdapter):
    """GaitHeat: heatmaps first, then what its alignment reads (``alignment.keypoints``).

    Losses: ``<branch>_triplet`` on the embeddings and ``<branch>_softmax`` on the logits of each
    branch (``local``, ``global``, ``fusion``) (Eq. 9).
    """

    name = "GaitHeat"

    @classmethod
    def build(cls, model_cfg: Mapping[str, Any]) -> nn.Module:
        return GaitHeat.from_settings(_settings(model_cfg))

    @classmethod
    def class_count(cls, model_cfg: Mapping[str, Any]) -> int | None:
        return _settings(model_cfg).class_num

    @classmethod
    def loss_names(cls, model_cfg: Mapping[str, Any]) -> list[str] | None:
        branches = _settings(model_cfg).branches
        return [f"{branch}_{loss}" for branch in branches for loss in ("triplet", "softmax")]

    @classmethod
    def run(cls, network: nn.Module, inputs: HostInputs, *, training: bool) -> HostOutput:
        assert isinstance(network, GaitHeat)
        extra: dict[str, Tensor] = {}
        source = network.settings.alignment.needs
        if source == "poses":
            extra["poses"] = inputs.sequence(1, "poses (alignment.keypoints: poses)")
            if len(inputs.sequences) > 2:
                extra["crops"] = inputs.sequence(2, "crop boxes")
        elif source == "matrices":
            extra["matrices"] = inputs.sequence(1, "alignment matrices (PoseToAlignment)")
        heatmaps = inputs.sequence(0, "heatmaps")
        output = network(heatmaps, inputs.lengths, **extra)
        if not training:
            return HostOutput({}, {"embeddings": output}, {})
        losses: dict[str, dict[str, Tensor]] = {}
        for branch, head in output.heads.items():
            losses[f"{branch}_triplet"] = {"embeddings": head.embeddings, "labels": inputs.labels}
            losses[f"{branch}_softmax"] = {"logits": head.logits, "labels": inputs.labels}
        # The first sequence's frames as the network saw them: aligned, merged.
        return HostOutput(losses, {}, {"aligned": output.preview})
