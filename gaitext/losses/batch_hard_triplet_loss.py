"""Batch-hard triplet loss."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from gaitext.losses.triplet_base import TripletBase

__all__ = ["BatchHardTripletLoss"]


class BatchHardTripletLoss(TripletBase):
    """max(0, margin + d(anchor, farthest positive) − d(anchor, nearest negative)), mean over anchors.

    The mining that GaitHeat's summary describes (Hermans et al., 2017); the paper and its release
    use the batch-all :class:`~gaitext.losses.TripletLoss`.

    Args:
        margin: how much farther than the positive the negative shall be.
        loss_term_weight: see :class:`~gaitext.losses.Loss`.

    Example:
        >>> import torch
        >>> embeddings = torch.tensor([[0.0], [1.0], [1.5], [3.0]]).unsqueeze(2)
        >>> loss, _ = BatchHardTripletLoss(margin=0.2)(embeddings, torch.tensor([0, 0, 1, 1]))
        >>> round(float(loss), 4)  # (0 + 0.7 + 1.2 + 0) / 4: 1.0 - 0.5, 1.5 - 0.5
        0.475
    """

    def reduce(self, distances: Tensor, same: Tensor) -> tuple[Tensor, Tensor]:
        farthest = distances.masked_fill(~same, -1.0).amax(-1)
        nearest = distances.masked_fill(same, float("inf")).amin(-1)
        terms = F.relu(self.margin + farthest - nearest)  # [p, n]
        return terms.mean(-1), terms
