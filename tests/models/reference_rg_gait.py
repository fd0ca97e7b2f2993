"""RG-Gait over GaitBase as it is published, written plainly: for tools/bench_models.py.

Both extractors are whole recognition models, whose BNNeck and classifier run whatever is done with
them; frozen parts keep their graph, since the hosts' inputs require gradients; the whole pack goes
through at once. GaitBase's weights lie under the published names.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.models.reference_gaitheat import Backbone, Neck, ReferenceGaitHeat, Separate, framewise, pyramid


class Base(nn.Module):
    def __init__(self, class_num: int, channels: Sequence[int], embedding_size: int) -> None:
        super().__init__()
        self.Backbone = Backbone(channels, (1, 2, 3, 4), stem=True)
        self.FCs = Separate(16, channels[-1], embedding_size)
        self.BNNecks = Neck(16, embedding_size, class_num)

    def forward(self, silhouettes: Tensor, lengths: Sequence[int] | None) -> tuple[Tensor, Tensor, Tensor]:
        """[n, T, H, W] -> embeddings before and after the BNNeck, logits."""
        x = framewise(self.Backbone, silhouettes[:, None])
        before = self.FCs(pyramid(ReferenceGaitHeat.over_time(x, lengths)))
        return before, *self.BNNecks(before)


class Evaluator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(*size, 3, padding=1) for size in ((1, 32), (32, 64), (64, 128)))
        self.embed, self.type_head, self.amount_head = nn.Linear(128, 64), nn.Linear(64, 3), nn.Linear(64, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        for index, convolution in enumerate(self.convolutions):
            x = F.max_pool2d(F.relu(convolution(x)), 2, 2, padding=int(index == 2))
        x = F.relu(self.embed(F.adaptive_avg_pool2d(x, 1).flatten(1)))
        return x, self.type_head(x), torch.sigmoid(self.amount_head(x))[:, 0]


class ReferenceRGGait(nn.Module):
    """Silhouettes [n, T, H, W], or packed [1, ΣT, …] with lengths."""

    def __init__(
        self, class_num: int = 74, channels: Sequence[int] = (64, 128, 256, 512), embedding_size: int = 256
    ) -> None:
        super().__init__()
        self.gse, self.frn = (Base(class_num, channels, embedding_size) for _ in range(2))
        self.occlusion_evaluator = Evaluator()
        self.mix = Separate(16, embedding_size + 64, embedding_size)
        self.neck = Neck(16, embedding_size, class_num)
        self.gse.requires_grad_(False)
        self.occlusion_evaluator.requires_grad_(False)

    def train(self, mode: bool = True) -> ReferenceRGGait:
        super().train(mode)
        self.gse.eval()
        self.occlusion_evaluator.eval()
        return self

    def forward(self, silhouettes: Tensor, lengths: Sequence[int] | None = None) -> tuple[Tensor, Tensor] | Tensor:
        if self.training:
            silhouettes = silhouettes.detach().requires_grad_()
        n, frames = silhouettes.shape[:2]
        feature, _, amount = self.occlusion_evaluator(silhouettes.flatten(0, 1)[:, None])
        counts = list(lengths) if lengths is not None else [frames] * n
        feature, amount = (torch.stack([s.mean(0) for s in each.split(counts)]) for each in (feature, amount))
        signature = self.gse(silhouettes, lengths)[0]
        residual = self.frn(silhouettes, lengths)[0]
        mixed = torch.cat((residual, feature[:, :, None].expand(-1, -1, residual.shape[2]).to(residual.dtype)), 1)
        f = signature + amount[:, None, None] * self.mix(mixed)
        logits = self.neck(f)[1]
        return (f, logits) if self.training else f
