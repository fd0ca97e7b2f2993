"""Dropout that draws its coins four at a time on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from gaitext.models.linear import eager_on_cpu

__all__ = ["dropout"]


def dropout(x: Tensor, chance: float) -> Tensor:
    """Zero entries with probability ``chance`` and scale the others up to keep the mean.

    On a CPU, torch's dropout costs more than the layer it stands behind, nearly all of it drawing
    a random number for each entry. Here one number of 64 bits makes four coins, so the
    chance is rounded to a multiple of 1/65536. Seeded by ``torch.manual_seed``, but the coins are
    not those of torch's dropout.
    """
    if not chance:
        return x
    if not eager_on_cpu(x):
        return F.dropout(x, chance)
    return _Dropout.apply(x, round(chance * 65536))


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dropped: int) -> Tensor:
        draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        coins = draws.view(torch.int16)[: x.numel()].view(x.shape)
        mask = coins >= dropped - 32768
        ctx.save_for_backward(mask)
        ctx.scale = 65536 / (65536 - dropped)
        return (x * mask).mul_(ctx.scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (mask,) = ctx.saved_tensors
        return (grad * mask).mul_(ctx.scale), None
