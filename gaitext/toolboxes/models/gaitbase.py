"""GaitBase in the hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from gaitext.models.gaitbase import GaitBase, GaitBaseSettings
from gaitext.toolboxes.adapter import Host, HostInputs, HostOutput, ModelAdapter


class GaitBaseAdapter(ModelAdapter):
    """GaitBase on silhouettes: what OpenGait's ``Baseline`` is, for hosts that have none.

    Losses: ``triplet`` on the embeddings and ``softmax`` on the logits.
    """

    name = "GaitBase"
    settings_type = GaitBaseSettings
    settings: GaitBaseSettings

    def build(self, host: Host | None = None) -> nn.Module:
        return GaitBase.from_settings(self.settings)

    @property
    def class_count(self) -> int | None:
        return self.settings.class_num

    @property
    def loss_names(self) -> Mapping[str, Sequence[str]] | None:
        return {"triplet": ("embeddings", "labels"), "softmax": ("logits", "labels")}

    def signature(self, network: nn.Module, inputs: HostInputs) -> Tensor:
        assert isinstance(network, GaitBase)
        return network.signature(inputs.sequence(0, "silhouettes"), inputs.lengths)

    @property
    def frame_shapes(self) -> list[tuple[int, ...]] | None:
        channels = self.settings.in_channels
        return [(64, 44) if channels == 1 else (channels, 64, 44)]

    def run(self, network: nn.Module, inputs: HostInputs, *, training: bool) -> HostOutput:
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
