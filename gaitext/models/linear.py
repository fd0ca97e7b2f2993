"""Linear layers on the CPU by way of oneDNN, with what follows them fused in."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["linear"]

#: The operator to which torch's own compiler lowers a linear layer. torch.nn.functional.linear
#: calls MKL instead, which reaches less than half of its speed on processors that are not Intel's.
_FUSED = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, gelu: bool = False, residual: Tensor | None = None
) -> Tensor:
    """``x @ weight.T + bias``, then GELU, or ``residual`` added.

    Args:
        x: [..., in].
        weight: [out, in].
        bias: [out].
        gelu: apply GELU (the exact one).
        residual: [..., out], added to the result. Not together with ``gelu``.
    """
    if _fusible(x, weight):
        if residual is not None:
            return _FUSED.binary(x, residual, weight, bias, "add")  # type: ignore[no-any-return, union-attr]
        return _FUSED(x, weight, bias, "gelu" if gelu else "none", [], "none")  # type: ignore[no-any-return, misc]
    y = F.linear(x, weight, bias)
    if gelu:
        return F.gelu(y)
    return y if residual is None else residual + y


def _fusible(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN's operator may be used: it has no gradient, and knows neither autocast nor tracing."""
    return (
        _FUSED is not None
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and torch.backends.mkldnn.enabled
        and not (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad))
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
    )
