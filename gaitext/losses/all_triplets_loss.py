"""All-triplets margin loss of whole embeddings."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from gaitext.errors import ConfigError, ShapeError
from gaitext.losses.loss import Info, Loss, check_embeddings, gather, world_size

#: How many triplets are looked at at once.
_CHUNK = 1 << 22


class AllTripletsLoss(Loss):
    """max(0, margin + d(anchor, positive) − d(anchor, negative)), averaged over its non-zero terms.

    GaitPT's (docs/gaitpt.md). Every (anchor, another sequence of its identity, sequence of another
    identity) of the batch counts; distances are Euclidean between embeddings L2-normalised over
    all their features, parts together. Equal to pytorch-metric-learning's ``TripletMarginLoss``
    with its defaults but the margin. :class:`~gaitext.losses.TripletLoss` differs: part by part, not normalised, and
    an anchor is its own positive too.

    With several processes the batch is gathered first and the loss multiplied by their number.

    Args:
        margin: how much farther than the positive the negative shall be.
        loss_term_weight: see :class:`~gaitext.losses.Loss`.

    Example:
        >>> import torch
        >>> embeddings = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [-1.0, 0.0]])
        >>> loss, info = AllTripletsLoss()(embeddings, torch.tensor([0, 0, 1, 1]))
        >>> round(float(loss), 4)  # (√2 + 2 + 2 · (2 − √2) + 3 · 0) / 7 + 0.01; √2 − 2 is below −0.01
        0.6651
    """

    def __init__(self, margin: float = 0.01, loss_term_weight: float = 1.0) -> None:
        super().__init__(loss_term_weight)
        self.margin = margin

    def forward(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Info]:
        """Compute the loss.

        Args:
            embeddings: [n, c] or [n, c, p], any float type; computed in float32.
            labels: [n].

        Returns:
            The loss [1], and ``loss``, ``hard_loss`` (the largest term), ``loss_num`` (how many
            terms are not zero) and ``mean_dist``, each [1] and detached.

        Raises:
            ShapeError: other shapes.
            ConfigError: all labels are the same, or all are different.
        """
        if embeddings.ndim not in (2, 3):
            raise ShapeError(f"embeddings must be [n, c] or [n, c, p], not {list(embeddings.shape)}")
        embeddings, labels = gather(embeddings.flatten(1)), gather(labels)
        check_embeddings(embeddings.unsqueeze(2), labels)
        same = labels.unsqueeze(1) == labels.unsqueeze(0)
        if int(same.sum()) == len(labels):
            raise ConfigError(
                "every sequence of the batch is of another identity, so no triplet has a positive",
                where="trainer_cfg.sampler.batch_size",
                how="draw at least two sequences of each identity",
            )
        distances = _distances(F.normalize(embeddings.float(), dim=1))
        loss, hardest, count = _MeanOfViolations.apply(distances, same, self.margin)
        info = {
            "loss": loss.detach().clone(),
            "hard_loss": hardest,
            "loss_num": count.float(),
            "mean_dist": distances.detach().mean().reshape(1),
        }
        return loss * world_size(), info


def _distances(points: Tensor) -> Tensor:
    """Euclidean distances [n, n] of points [n, c], by differences.

    Not as √(|x|² + |y|² − 2x·y), whose error of 3e-4 at small distances is not small beside a
    margin of 0.01. The gradient of a distance of zero is zero.
    """
    with torch.autocast(points.device.type, enabled=False):
        return torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")


class _MeanOfViolations(torch.autograd.Function):
    """Mean, over its non-zero terms, of max(0, margin + d_ap − d_an); also the largest term and their number.

    Where a term is not zero its derivative is 1 for d_ap and −1 for d_an, so the gradient is a
    matter of counting, and the triplets need not be kept: they are looked at by some anchors'
    pairs at a time, and memory is n² and a chunk.
    """

    @staticmethod
    def forward(ctx: Any, distances: Tensor, same: Tensor, margin: float) -> tuple[Tensor, Tensor, Tensor]:
        size = len(distances)
        weights = torch.zeros_like(distances)
        total = distances.new_zeros(1, dtype=torch.float32)
        hardest = torch.zeros_like(total)
        count = torch.zeros(1, dtype=torch.int64, device=distances.device)
        itself = torch.eye(size, dtype=torch.bool, device=distances.device)
        pairs = (same & ~itself).nonzero()
        for anchors, positives in (chunk.unbind(1) for chunk in pairs.split(max(1, _CHUNK // size))):
            terms = F.relu(distances[anchors, positives].unsqueeze(1) + margin - distances[anchors])
            terms = terms.masked_fill(same[anchors], 0)
            violated = (terms > 0).to(distances.dtype)
            weights[anchors, positives] = violated.sum(1)
            weights.index_add_(0, anchors, -violated)
            total += terms.sum()
            hardest = torch.maximum(hardest, terms.max())
            count += violated.sum().long()
        shown = count.clamp(min=1)
        ctx.save_for_backward(weights / shown)
        ctx.mark_non_differentiable(hardest, count)
        return total / shown, hardest, count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor, None, None]:
        (weights,) = ctx.saved_tensors
        return gradient * weights, None, None
