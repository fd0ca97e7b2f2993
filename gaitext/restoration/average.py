"""Weights averaged over the iterations of training, which small batches and an L1 loss make restless."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["Average"]


class Average:
    """An exponential moving average of a network's weights and statistics.

    Early on it counts the last iterations only: the share kept is at most (1 + t) / (10 + t) at iteration t.

    Args:
        network: whose; its tensors are changed in place while :meth:`in_use`.
        decay: the share kept; 0 averages nothing.

    Attributes:
        weights: the average, under the network's names; empty where nothing is averaged.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network, self.decay = network, decay
        self.weights: dict[str, Tensor] = {}

    def add(self, iteration: int) -> None:
        """Count the network's weights after ``iteration`` (from 1)."""
        if not self.decay:
            return
        now = self.network.state_dict()
        if not self.weights:
            self.weights = {name: value.detach().clone() for name, value in now.items()}
            return
        kept = min(self.decay, (1 + iteration) / (10 + iteration))
        for name, value in now.items():
            mean = self.weights[name]
            if mean.is_floating_point():
                mean.lerp_(value.detach().to(mean), 1 - kept)
            else:
                mean.copy_(value)

    def restore(self, weights: Mapping[str, Tensor]) -> None:
        """Go on from an average that was saved."""
        if self.decay:
            now = self.network.state_dict()
            self.weights = {name: value.to(now[name].device, copy=True) for name, value in weights.items()}

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """The network has the average's weights meanwhile."""
        if not self.weights:
            yield
            return
        now = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        with torch.no_grad():
            self.network.load_state_dict(self.weights)
            try:
                yield
            finally:
                self.network.load_state_dict(now)
