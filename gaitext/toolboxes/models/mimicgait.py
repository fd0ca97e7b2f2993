"""MimicGait in the hosts: RG-Gait's parts, trained to mimic the extractor on whole walkers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gaitext.losses.loss import rank
from gaitext.models.occlusion_evaluator import OcclusionEvaluator
from gaitext.models.rg_gait import MimicGait, RGGait
from gaitext.models.rg_gait_settings import MimicGaitSettings
from gaitext.models.signature import SignatureExtractor
from gaitext.toolboxes.adapter import Host, HostInputs
from gaitext.toolboxes.models.rg_gait import RGGaitAdapter


class MimicGaitAdapter(RGGaitAdapter):
    """MimicGait on the inputs of its teacher, ``gse.model_cfg.model``.

    The batch is occluded once, for the student and the evaluator; the teacher sees it whole.

    Losses: ``triplet`` on the embeddings of both [2n, c, p], for ``AllTripletsLoss``.
    """

    name = "MimicGait"
    settings_type = MimicGaitSettings

    def assemble(
        self,
        gse: SignatureExtractor,
        evaluator: OcclusionEvaluator | None,
        frn: SignatureExtractor,
        shape: tuple[int, int],
        host: Host,
    ) -> RGGait:
        assert evaluator is not None
        return MimicGait(gse, evaluator, frn, shape=shape)

    @property
    def loss_names(self) -> Mapping[str, Sequence[str]] | None:
        return {"triplet": ("embeddings", "labels")}

    def whole(self, inputs: HostInputs, training: bool) -> dict[str, HostInputs]:
        return {"whole": inputs} if training else {}

    def losses(self, output: Any, labels: Tensor) -> dict[str, dict[str, Tensor]]:
        if self.settings.labels == "instance":
            # A sequence is no other's positive, of this process or of another.
            labels = torch.arange(len(labels), device=labels.device) + rank() * len(labels)
        return {"triplet": output.pairs(labels)}
