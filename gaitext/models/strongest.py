"""The largest value of several maps of a frame."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["strongest"]


def strongest(maps: Tensor, count: int) -> Tensor:
    """Maximum over each frame's maps: [N · count, …] -> [N, …], never a view, in the maps' memory format.

    Where several maps are equal, as all are that see nothing but the same part, they share the
    gradient evenly, as with ``amax``, whose own passes over memory cost several times as much.
    """
    return _Strongest.apply(maps, count) if torch.is_grad_enabled() and maps.requires_grad else _forward(maps, count)


def _forward(maps: Tensor, count: int) -> Tensor:
    first, *others = maps.unflatten(0, (-1, count)).unbind(1)
    if not others:
        return first.clone()
    top = torch.maximum(first, others[0])
    for other in others[1:]:
        torch.maximum(top, other, out=top)
    return top


class _Strongest(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, count: int) -> Tensor:
        top = _forward(maps, count)
        ctx.save_for_backward(maps, top)
        ctx.count = count
        return top

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        maps, top = ctx.saved_tensors
        winners = [each == top for each in maps.unflatten(0, (-1, ctx.count)).unbind(1)]
        ties = winners[0].to(torch.uint8)
        for winner in winners[1:]:
            ties += winner
        share = grad / ties
        out = torch.empty_like(maps)
        for winner, each in zip(winners, out.unflatten(0, (-1, ctx.count)).unbind(1)):
            torch.mul(share, winner, out=each)
        return out, None
