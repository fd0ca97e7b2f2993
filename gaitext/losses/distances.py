"""Distances inside a batch, part by part."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gaitext.errors import ConfigError, ShapeError

__all__ = ["check_embeddings", "pairwise_distances"]


def pairwise_distances(embeddings: Tensor) -> Tensor:
    """Euclidean distances between all pairs, in float32.

    Computed as √max(0, |x|² + |y|² − 2x·y), as OpenGait does, so that values agree to the last
    bit. Where a distance is exactly zero its gradient is zero.

    Args:
        embeddings: [n, c, p].

    Returns:
        [p, n, n].
    """
    parts = embeddings.permute(2, 0, 1).contiguous().float()
    squares = torch.sum(parts**2, -1)
    with torch.autocast(parts.device.type, enabled=False):  # it would take the product in half precision
        inner = parts.matmul(parts.transpose(1, 2))
    squared = squares.unsqueeze(2) + squares.unsqueeze(1) - 2 * inner
    return torch.sqrt(F.relu(squared))


def check_embeddings(embeddings: Tensor, labels: Tensor) -> None:
    """Check that ``embeddings`` is [n, c, p], ``labels`` [n], and that triplets exist.

    Raises:
        ShapeError: the shapes are different ones.
        ConfigError: all labels are the same, so that no triplet has a negative.
    """
    if embeddings.ndim != 3 or labels.ndim != 1 or len(embeddings) != len(labels):
        raise ShapeError(
            f"embeddings must be [n, c, p] and labels [n], not {list(embeddings.shape)} and {list(labels.shape)}"
        )
    if bool((labels == labels[0]).all()):
        raise ConfigError(
            "all sequences of the batch belong to one identity, so no triplet has a negative",
            where="trainer_cfg.sampler.batch_size",
            how="draw at least two identities a batch",
        )
