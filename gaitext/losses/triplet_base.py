"""What the triplet losses share: they differ in which triplets count."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from gaitext.losses.distances import check_embeddings, pairwise_distances
from gaitext.losses.loss import Info, Loss, gather, world_size

__all__ = ["TripletBase"]


class TripletBase(Loss):
    """A triplet loss on Euclidean distances, part by part.

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
