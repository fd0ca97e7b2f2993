"""Batch-all and batch-hard triplet loss."""

from __future__ import annotations

from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from gaitext.losses.loss import Info, Loss, check_embeddings, gather, pairwise_distances, world_size


class TripletBase(Loss):
    """A triplet loss on Euclidean distances, part by part; those below differ in which triplets count.

    With several processes the batch is gathered first and the loss multiplied by their number.

    Args:
        margin: how much farther than the positive the negative shall be.
        loss_term_weight: see :class:`~gaitext.losses.Loss`.
    """

    def __init__(self, margin: float = 0.2, loss_term_weight: float = 1.0) -> None:
        super().__init__(loss_term_weight)
        self.margin = margin

    @abstractmethod
    def reduce(self, distances: Tensor, same: Tensor) -> tuple[Tensor, Tensor]:
        """Choose triplets and average them.

        Args:
            distances: [p, n, n], float32.
            same: [n, n], whether two sequences are one identity's.

        Returns:
            The loss [p] and its terms [p, m], none of them negative.
        """

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
        distances = pairwise_distances(embeddings)
        loss, terms = self.reduce(distances, labels.unsqueeze(1) == labels.unsqueeze(0))
        info = {
            "loss": loss.detach().clone(),
            "hard_loss": terms.detach().amax(-1),
            "loss_num": (terms.detach() != 0).sum(-1).float(),
            "mean_dist": distances.detach().mean((1, 2)),
        }
        return loss * world_size(), info


class TripletLoss(TripletBase):
    """max(0, margin + d(anchor, positive) − d(anchor, negative)), averaged over its non-zero terms.

    Every ordered triplet of the batch counts, an anchor paired with itself among the positives
    included; each part averages over its own non-zero terms (GaitHeat, Eq. 9; docs/gaitheat.md). Equal to
    OpenGait's ``TripletLoss``; unlike it, identities may have different numbers of sequences.

    Args: see :class:`TripletBase`.

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


class BatchHardTripletLoss(TripletBase):
    """max(0, margin + d(anchor, farthest positive) − d(anchor, nearest negative)), mean over anchors.

    The mining that GaitHeat's summary describes (Hermans et al., 2017); the paper and its release
    use the batch-all :class:`~gaitext.losses.TripletLoss`.

    Args: see :class:`TripletBase`.

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
