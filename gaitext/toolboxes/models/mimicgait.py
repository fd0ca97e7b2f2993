"""MimicGait in the hosts: RG-Gait's parts, trained to mimic the extractor on whole walkers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gaitext.losses.loss import rank
from gaitext.models.occlusion_evaluator import OcclusionEvaluator
from gaitext.models.rg_gait import MimicGait
from gaitext.models.signature import SignatureExtractor
from gaitext.toolboxes.adapter import Host, HostInputs
from gaitext.toolboxes.models.rg_gait import RGGaitAdapter, _HostedRGGait

__all__ = ["MimicGaitAdapter"]


class _HostedMimicGait(_HostedRGGait, MimicGait):
    """The network with the settings of its run."""


class MimicGaitAdapter(RGGaitAdapter):
    """MimicGait on the inputs of its teacher, ``gse.model_cfg.model``.

    The batch is occluded once, for the student and the evaluator; the teacher sees it whole.

    Losses: ``triplet`` on the embeddings of both [2n, c, p], for ``AllTripletsLoss``.
    """

    name = "MimicGait"

    @classmethod
    def assemble(
        cls,
        settings: Any,
        gse: SignatureExtractor,
        evaluator: OcclusionEvaluator | None,
        frn: SignatureExtractor,
        shape: tuple[int, int],
        host: Host,
    ) -> _HostedRGGait:
        assert evaluator is not None
        return _HostedMimicGait(gse, evaluator, frn, shape=shape)

    @classmethod
    def loss_names(cls, model_cfg: Mapping[str, Any]) -> Mapping[str, Sequence[str]] | None:
        cls.class_count(model_cfg)  # an error now
        return {"triplet": ("embeddings", "labels")}

    @classmethod
    def whole(cls, inputs: HostInputs, training: bool) -> dict[str, HostInputs]:
        return {"whole": inputs} if training else {}

    @classmethod
    def losses(cls, network: _HostedRGGait, output: Any, labels: Tensor) -> dict[str, dict[str, Tensor]]:
        if network.settings.labels == "instance":
            # A sequence is no other's positive, of this process or of another.
            labels = torch.arange(len(labels), device=labels.device) + rank() * len(labels)
        return {"triplet": output.pairs(labels)}
