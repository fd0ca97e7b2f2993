"""RG-Gait's stage 1 in the hosts: the occlusion evaluator, trained on frames occluded on the fly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from gaitext.models.occluded_inputs import InputKind, check_kinds, input_kinds, occlude_inputs
from gaitext.models.occluding import draw_by_key, draw_in_training
from gaitext.models.occlusion_evaluator import OcclusionEvaluator
from gaitext.models.packing import sequence_lengths
from gaitext.models.rg_gait_settings import RGGaitOEMSettings
from gaitext.occlusion import OCCLUSION_TYPES
from gaitext.toolboxes.adapter import Host, HostInputs, HostOutput, ModelAdapter


def detached(inputs: HostInputs) -> list[Tensor]:
    """The inputs without their gradients, which nobody uses."""
    return [sequence.detach() for sequence in inputs.sequences]


def sequence_keys(inputs: HostInputs) -> list[tuple[int, str, str]]:
    """What names each sequence, whatever it comes with: label, type and view."""
    return list(zip(inputs.labels.tolist(), map(str, inputs.types), map(str, inputs.views)))


class RGGaitOEMAdapter(ModelAdapter):
    """The occlusion evaluator on silhouettes, heatmaps or poses.

    In training each frame is occluded by a draw of its own, and the loss ``occlusion`` gets the
    frames' logits and amounts and the truth, read off the pixels that were hidden. At test each
    sequence is occluded as a function of (seed, label, type, view), and ``evaluate_OEM`` gets
    what it needs.
    """

    name = "RGGaitOEM"
    settings_type = RGGaitOEMSettings
    settings: RGGaitOEMSettings
    #: What the inputs show, as the first batch's numbers tell.
    shown: list[InputKind] | None = None

    def build(self, host: Host | None = None) -> nn.Module:
        return OcclusionEvaluator(**self.settings.sizes)

    @property
    def loss_names(self) -> Mapping[str, Sequence[str]] | None:
        return {"occlusion": ("logits", "types", "amount", "true_amount")}

    def check_batch(self, network: nn.Module, inputs: HostInputs) -> None:
        if self.settings.inputs is None:
            # Parsing has the shape of silhouettes, and images that of heatmaps: their numbers tell.
            self.shown = input_kinds(inputs.sequences, values=True)
            shapes = [tuple(sequence.shape[2:]) for sequence in inputs.sequences]
            check_kinds(self.shown, shapes, judged=True, name=self.name)

    def run(self, network: nn.Module, inputs: HostInputs, *, training: bool) -> HostOutput:
        assert isinstance(network, OcclusionEvaluator)
        settings, sequences = self.settings, detached(inputs)
        kinds = input_kinds(sequences, settings.inputs or self.shown)
        lengths = sequence_lengths(sequences[0], inputs.lengths, where=self.name)
        if training:
            drawn = draw_in_training(settings.train_occlusion, sum(lengths))
            occluded = occlude_inputs(sequences, inputs.lengths, kinds, drawn)
            assert occluded.frames is not None
            found = network(occluded.frames)
            # Position in OCCLUSION_TYPES -> class, -1 where there is none.
            known = [settings.types.index(name) if name in settings.types else -1 for name in OCCLUSION_TYPES]
            class_of = torch.tensor(known, device=found.logits.device)
            loss_inputs = {
                "logits": found.logits,
                "types": class_of[occluded.frame_types],
                "amount": found.amount,
                "true_amount": occluded.frame_amounts,
            }
            return HostOutput({"occlusion": loss_inputs}, {}, {"occluded": occluded.frames[: lengths[0]]})
        drawn = draw_by_key(settings.test_occlusion, sequence_keys(inputs))
        occluded = occlude_inputs(sequences, inputs.lengths, kinds, drawn)
        assert occluded.frames is not None
        found = network.sequences(occluded.frames, lengths)
        kind_of = found.logits.new_tensor([OCCLUSION_TYPES.index(name) for name in settings.types])
        results = {
            "embeddings": found.feature[:, :, None],
            "logits": found.logits,
            "classes": kind_of.expand(len(lengths), -1),
            "amount": found.amount,
            "true_type": occluded.types.to(found.logits.dtype),
            "true_amount": occluded.amounts,
        }
        return HostOutput({}, results, {"occluded": occluded.frames[: lengths[0]]})
