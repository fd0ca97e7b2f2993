"""What all losses share: a weight, and what to do with several processes."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn

__all__ = ["Info", "Loss", "gather", "rank", "world_size"]

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
