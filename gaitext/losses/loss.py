"""What losses share: a weight, what to do with several processes, distances inside a batch."""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from gaitext.errors import ConfigError, ShapeError

#: Detached scalars (or [p] tensors) for the log.
Info = dict[str, Tensor]


class Loss(nn.Module):
    """Base of the losses.

    Args:
        loss_term_weight: the factor with which the loss enters the sum. It is not applied here,
            but by whoever adds the losses up, as in the toolboxes.
    """

    def __init__(self, loss_term_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_term_weight = loss_term_weight


def world_size() -> int:
    """How many processes train together; 1 where torch.distributed is not in use."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number among them, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def gather(tensor: Tensor) -> Tensor:
    """Concatenate the processes' tensors [n, …] along the first axis: [n · processes, …].

    Gradients flow through this process's own part only, as in OpenGait: a loss on the gathered
    tensor, multiplied by the number of processes, has after DDP's averaging the gradient of
    that loss on the whole batch. All processes must hold the same shape.
    """
    processes = world_size()
    if processes == 1:
        return tensor
    parts = [torch.empty_like(tensor) for _ in range(processes)]
    dist.all_gather(parts, tensor.detach().contiguous())
    parts[rank()] = tensor
    return torch.cat(parts)


#: A part whose mean is so many times as long as its spread, squared, is centred before distances are taken.
_FAR = 16.0


def pairwise_distances(embeddings: Tensor) -> Tensor:
    """Euclidean distances between all pairs, in float32.

    Computed as √max(0, |x|² + |y|² − 2x·y), as OpenGait does, so that values agree to the last
    bit. Far from the origin that formula loses the distances in rounding: a part whose mean is long beside its spread
    is centred first, which changes neither distances nor gradients. Where a distance is exactly zero its gradient is
    zero.

    Args:
        embeddings: [n, c, p].

    Returns:
        [p, n, n].
    """
    parts = _centred_where_far(embeddings.permute(2, 0, 1).contiguous().float())
    squares = torch.sum(parts**2, -1)
    with torch.autocast(parts.device.type, enabled=False):  # it would take the product in half precision
        inner = parts.matmul(parts.transpose(1, 2))
    squared = squares.unsqueeze(2) + squares.unsqueeze(1) - 2 * inner
    return torch.sqrt(F.relu(squared))


def _centred_where_far(parts: Tensor) -> Tensor:
    """``parts`` [p, n, c], where need be without their mean; to the last bit as they are where not."""
    with torch.no_grad():  # distances do not change with what is taken from all, so neither does a gradient
        mean = parts.mean(1, keepdim=True)
        spread = (parts - mean).square().sum(2, keepdim=True).mean(1, keepdim=True)
        far = mean.square().sum(2, keepdim=True) > _FAR * spread
        offset = torch.where(far, mean, torch.zeros_like(mean))
    return parts - offset


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
