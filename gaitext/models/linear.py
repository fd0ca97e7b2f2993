"""Linear layers on the CPU by way of oneDNN, with what follows them fused in."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

__all__ = ["eager_on_cpu", "linear"]

#: The operator to which torch's own compiler lowers a linear layer. torch.nn.functional.linear
#: calls MKL instead, which reaches half of its speed on processors that are not Intel's.
_FUSED: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None


def linear(x: Tensor, weight: Tensor, bias: Tensor, *, gelu: bool = False, residual: Tensor | None = None) -> Tensor:
    """``x @ weight.T + bias``, then GELU, or ``residual`` added.

    Args:
        x: [..., in].
        weight: [out, in].
        bias: [out].
        gelu: apply GELU (the exact one).
        residual: [..., out], added to the result. Not together with ``gelu``.
    """
    fast = _FUSED is not None and torch.backends.mkldnn.enabled and eager_on_cpu(x, weight)
    if fast and not (torch.is_grad_enabled() and any(t.requires_grad for t in (x, weight, bias))):
        if residual is not None:
            return _FUSED.binary(x, residual, weight, bias, "add")
        return _FUSED(x, weight, bias, "gelu" if gelu else "none", [], "none")
    y = _Linear.apply(x, weight, bias) if fast else F.linear(x, weight, bias)
    if gelu:
        return F.gelu(y)
    return y if residual is None else residual + y


def eager_on_cpu(*tensors: Tensor) -> bool:
    """Whether these are plain float32 tensors on the CPU, with no autocast, compiler or tracer at work."""
    return (
        all(t.device.type == "cpu" and t.dtype == torch.float32 for t in tensors)
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
    )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return _FUSED(x, weight, bias, "none", [], "none")


class _Linear(torch.autograd.Function):
    """The operator with the gradient that it lacks."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        need_x, need_weight, need_bias = ctx.needs_input_grad
        to_x = _product(grad, weight.t()) if need_x else None
        rows, x = grad.flatten(0, -2), x.flatten(0, -2)
        to_weight = None
        if need_weight:  # the smaller of the two is turned about
            wide = rows.shape[1] > x.shape[1]
            to_weight = _product(x.t(), rows.t()).t().contiguous() if wide else _product(rows.t(), x.t())
        return to_x, to_weight, rows.sum(0) if need_bias else None
