"""GaitPT in the hosts: its input, loss and checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from gaitext.errors import ConfigError, DataError
from gaitext.models.gaitpt import GaitPT, GaitPTSettings
from gaitext.skeleton import resolve_order
from gaitext.toolboxes.adapter import Host, HostInputs, HostOutput, ListedTransform, ModelAdapter

#: Coordinates divided by the frame's width or height hardly leave -1 … 2; pixels are in the hundreds.
_LARGEST = 10.0


class GaitPTAdapter(ModelAdapter):
    """GaitPT: normalised poses, ordered by the transform ``PoseOrder`` or, as COCO's joints, by the network.

    Loss: ``triplet`` on the embeddings, [n, c, 1] as the toolboxes' losses want them.
    """

    name = "GaitPT"
    settings_type = GaitPTSettings
    settings: GaitPTSettings

    def build(self, host: Host | None = None) -> nn.Module:
        return GaitPT.from_settings(self.settings)

    @property
    def loss_names(self) -> Mapping[str, Sequence[str]] | None:
        return {"triplet": ("embeddings", "labels")}

    def check_transforms(self, lists: Sequence[Sequence[ListedTransform]]) -> None:
        for transform in (transform for each in lists for transform in each):
            if transform.name != "PoseOrder":
                continue
            where = f"{transform.where}.partition"
            given = transform.argument("partition")
            # Of other joints than the network's, the network itself names the shape.
            joints = len(given) if isinstance(given, (list, tuple)) else 18
            if resolve_order(given, joints, where=where) != self.settings.order:
                raise ConfigError(
                    f"PoseOrder's partition is {given}, but model_cfg.partition is {self.settings.partition}",
                    where=where,
                    how="write the same in both places",
                )

    @torch.no_grad()
    def check_batch(self, network: nn.Module, inputs: HostInputs) -> None:
        points = inputs.sequence(0, "poses")[..., :2].flatten(0, -2)
        points = points[(points != 0).any(-1)].abs()  # a missing joint is (0, 0)
        if points.numel() and float(points.median()) > _LARGEST:
            raise DataError(
                f"the first batch's coordinates are around {float(points.median()):.0f}: pixels, it seems, "
                "not shares of the frame's width or height",
                where=f"{'trainer' if network.training else 'evaluator'}_cfg.transform",
                how="add PoseNormalize to the poses' list, before PoseOrder; in training and evaluation alike",
            )

    def signature(self, network: nn.Module, inputs: HostInputs) -> Tensor:
        assert isinstance(network, GaitPT)
        return network.signature(inputs.sequence(0, "poses"), inputs.lengths)

    @property
    def frame_shapes(self) -> list[tuple[int, ...]] | None:
        return [(self.settings.joints, self.settings.channels)]

    def run(self, network: nn.Module, inputs: HostInputs, *, training: bool) -> HostOutput:
        assert isinstance(network, GaitPT)
        embeddings = network(inputs.sequence(0, "poses"), inputs.lengths)[..., None]
        if not training:
            return HostOutput({}, {"embeddings": embeddings}, {})
        return HostOutput({"triplet": {"embeddings": embeddings, "labels": inputs.labels}}, {}, {})
