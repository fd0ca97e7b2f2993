"""Batch-all triplet loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gaitext.losses.triplet_base import TripletBase

__all__ = ["TripletLoss"]


class TripletLoss(TripletBase):
    """max(0, margin + d(anchor, positive) − d(anchor, negative)), averaged over its non-zero terms.

    Every ordered triplet of the batch counts, an anchor paired with itself among the positives
    included; each part averages over its own non-zero terms (GaitHeat, Eq. 9; spec §1). Equal to
    OpenGait's ``TripletLoss``; unlike it, identities may have different numbers of sequences.

    Args:
        margin: how much farther than the positive the negative shall be.
        loss_term_weight: see :class:`~gaitext.losses.Loss`.

    Example:
        >>> import torch
        >>> embeddings = torch.tensor([[0.0], [1.0], [1.1], [3.0]]).unsqueeze(2)
        >>> loss, info = TripletLoss(margin=0.2)(embeddings, torch.tensor([0, 0, 1, 1]))
        >>> loss.shape, int(info["loss_num"])
        (torch.Size([1]), 7)
    """

    def reduce(self, distances: Tensor, same: Tensor) -> tuple[Tensor, Tensor]:
        anchors, positives = same.nonzero(as_tuple=True)
        # [p, pairs, n] -> the pairs' negatives -> [p, triplets]
        differences = distances[:, anchors, positives].unsqueeze(2) - distances[:, anchors]
        terms = F.relu(differences[:, ~same[anchors]] + self.margin)
        count = (terms != 0).sum(-1).float()
        return torch.where(count > 0, terms.sum(-1) / (count + 1e-9), 0.0), terms
