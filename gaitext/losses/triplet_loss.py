"""Batch-all triplet loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gaitext.losses.distances import check_embeddings, pairwise_distances
from gaitext.losses.loss import Info, Loss, gather, world_size

__all__ = ["TripletLoss"]


class TripletLoss(Loss):
    """max(0, margin + d(anchor, positive) − d(anchor, negative)), averaged over its non-zero terms.

    Every ordered triplet of the batch counts, an anchor paired with itself among the positives
    included; each part averages over its own non-zero terms (GaitHeat, Eq. 9; spec §1). Equal to
    OpenGait's ``TripletLoss``; unlike it, identities may have different numbers of sequences.
    With several processes the batch is gathered first and the loss multiplied by their number.

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

    def __init__(self, margin: float = 0.2, loss_term_weight: float = 1.0) -> None:
        super().__init__(loss_term_weight)
        self.margin = margin

    def forward(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Info]:
        """Compute the loss of each part.

        Args:
            embeddings: [n, c, p], any float type; computed in float32.
            labels: [n].

        Returns:
            The loss [p], and ``loss``, ``hard_loss`` (the largest term), ``loss_num`` (how many
            terms are not zero) and ``mean_dist``, each [p] and detached.

        Raises:
            ShapeError: other shapes.
            ConfigError: all labels are the same.
        """
        embeddings, labels = gather(embeddings), gather(labels)
        check_embeddings(embeddings, labels)
        distances = pairwise_distances(embeddings)  # [p, n, n]
        same = labels.unsqueeze(1) == labels.unsqueeze(0)
        anchors, positives = same.nonzero(as_tuple=True)
        # [p, pairs, n] -> the pairs' negatives -> [p, triplets]
        differences = distances[:, anchors, positives].unsqueeze(2) - distances[:, anchors]
        terms = F.relu(differences[:, ~same[anchors]] + self.margin)
        count = (terms != 0).sum(-1).float()
        loss = torch.where(count > 0, terms.sum(-1) / (count + 1e-9), 0.0)
        info = {
            "loss": loss.detach().clone(),
            "hard_loss": terms.detach().amax(-1),
            "loss_num": count,
            "mean_dist": distances.detach().mean((1, 2)),
        }
        return loss * world_size(), info
