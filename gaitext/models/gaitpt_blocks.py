"""GaitPT's blocks: transformer encoders over the joints of a frame and the frames of a joint.

GaitPT attends over 3 to 18 tokens of a frame and 61 frames of a token, with heads of 4 to 32 features: thousands of
tiny matrices, for which a CPU's library routines are not made. On other devices torch's fused kernels do it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

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


#: Up to so many tokens, attention is computed with the batch as the innermost dimension.
_FEW_TOKENS = 24


def self_attention(qkv: Tensor, heads: int, dropout: float = 0.0) -> Tensor:
    """Attention of every token to every token.

    Args:
        qkv: [B, L, 3 · d], queries, keys and values side by side, each head by head.
        heads: how many.
        dropout: chance that an attention weight is zeroed.

    Returns:
        [B, L, d].
    """
    batch, tokens, _ = qkv.shape
    split = qkv.view(batch, tokens, 3, heads, -1)
    # On a CPU, few tokens and no gradient
    if (
        tokens <= _FEW_TOKENS
        and dropout == 0
        and eager_on_cpu(qkv)
        and not (torch.is_grad_enabled() and qkv.requires_grad)
    ):
        return _attend_batch_last(split)
    q, k, v = split.permute(2, 0, 3, 1, 4).unbind(0)
    return attend(q, k, v, dropout)


def attend(q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
    """Scaled dot-product attention, heads merged.

    Args:
        q: [B, h, Q, d / h].
        k, v: [B, h, L, d / h].
        dropout: chance that an attention weight is zeroed.

    Returns:
        [B, Q, d].
    """
    batch, heads, queries, size = q.shape
    if not eager_on_cpu(q):
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout).transpose(1, 2).reshape(batch, queries, -1)
    q, k, v = (part.reshape(batch * heads, -1, size) for part in (q, k, v))
    unused = q.new_empty(1).expand(len(q), queries, k.shape[1])
    weights = torch.baddbmm(unused, q, k.transpose(1, 2), beta=0, alpha=size**-0.5).softmax(-1)
    weights = drop(weights, dropout)
    # The transposed product is three times as fast: its rows are as long as the sequence, not the head.
    merged = torch.bmm(v.transpose(1, 2), weights.transpose(1, 2))
    return merged.view(batch, heads * size, queries).transpose(1, 2).contiguous()


def _attend_batch_last(split: Tensor) -> Tensor:
    """Attention over few tokens [B, L, 3, h, d / h] by long vectors over the batch in place of small matrices."""
    batch, tokens, _, heads, size = split.shape
    q, k, v = split.permute(2, 1, 4, 3, 0).reshape(3, tokens, size, heads * batch).unbind(0)
    scores = q[:, None, 0] * k[None, :, 0]
    for i in range(1, size):
        scores.addcmul_(q[:, None, i], k[None, :, i])
    weights = scores.mul_(size**-0.5).softmax(1)
    out = weights[:, None, 0] * v[0]
    for j in range(1, tokens):
        out.addcmul_(weights[:, None, j], v[j])
    return out.view(tokens, size, heads, batch).permute(3, 0, 2, 1).reshape(batch, tokens, -1)


def drop(x: Tensor, chance: float) -> Tensor:
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


class EncoderLayer(nn.Module):
    """A pre-norm transformer layer: attention and a feed-forward net, each added to what it reads.

    The same function as torch's ``TransformerEncoderLayer(norm_first=True, activation="gelu")``.
    """

    def __init__(self, size: int, heads: int, mlp_ratio: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.attention_norm = nn.LayerNorm(size)
        self.qkv = nn.Linear(size, 3 * size)
        self.merge = nn.Linear(size, size)
        self.mlp_norm = nn.LayerNorm(size)
        self.expand = nn.Linear(size, mlp_ratio * size)
        self.contract = nn.Linear(mlp_ratio * size, size)
        # torch's own start for attention
        nn.init.xavier_uniform_(self.qkv.weight)
        nn.init.zeros_(self.qkv.bias)
        nn.init.zeros_(self.merge.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, d] -> [B, L, d]."""
        qkv = linear(self.attention_norm(x), self.qkv.weight, self.qkv.bias)
        return self._rest(x, self_attention(qkv, self.heads, self._chance))

    def first(self, x: Tensor) -> Tensor:
        """The first token's result alone, [B, L, d] -> [B, 1, d]: one query, one feed-forward."""
        y = self.attention_norm(x)
        size = x.shape[-1]
        q = linear(y[:, :1], self.qkv.weight[:size], self.qkv.bias[:size])
        kv = linear(y, self.qkv.weight[size:], self.qkv.bias[size:])
        k, v = kv.unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return self._rest(x[:, :1], attend(q.unflatten(-1, (self.heads, -1)).transpose(1, 2), k, v, self._chance))

    @property
    def _chance(self) -> float:
        return self.dropout if self.training else 0.0

    def _rest(self, x: Tensor, attended: Tensor) -> Tensor:
        x = self._add(x, attended, self.merge)
        hidden = linear(self.mlp_norm(x), self.expand.weight, self.expand.bias, gelu=True)
        return self._add(x, drop(hidden, self._chance), self.contract)

    def _add(self, x: Tensor, y: Tensor, layer: nn.Linear) -> Tensor:
        if self._chance:
            return x + drop(linear(y, layer.weight, layer.bias), self._chance)
        return linear(y, layer.weight, layer.bias, residual=x)


class Encoder(nn.Module):
    """Layers in a row, and the norm that both kinds of attention put behind them."""

    def __init__(self, size: int, depth: int, heads: int, mlp_ratio: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(size, heads, mlp_ratio, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(size)

    def forward(self, x: Tensor, *, first_only: bool = False) -> Tensor:
        """[B, L, d] -> [B, L, d], or [B, 1, d] with ``first_only``."""
        *front, last = self.layers
        for layer in front:
            x = layer(x)
        assert isinstance(last, EncoderLayer)
        return self.norm(last.first(x) if first_only else last(x))


class SpatialAttention(nn.Module):
    """Attention over the tokens of a frame."""

    def __init__(self, tokens: int, encoder: Encoder, size: int) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.zeros(1, tokens, size))
        self.encoder = encoder
        nn.init.trunc_normal_(self.position, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """[n, T, V, d] -> [n, T, V, d]: p + LN(encoder(p)), p = x + position."""
        placed = x + self.position
        return placed + self.encoder(placed.flatten(0, 1)).view_as(placed)


class TemporalAttention(nn.Module):
    """Attention over the frames of a token, and a class token that sums them up."""

    def __init__(self, frames: int, encoder: Encoder, size: int) -> None:
        super().__init__()
        self.cls = nn.Parameter(torch.zeros(1, 1, size))
        self.position = nn.Parameter(torch.zeros(1, frames + 1, size))
        self.encoder = encoder
        nn.init.trunc_normal_(self.cls, std=0.02)
        nn.init.trunc_normal_(self.position, std=0.02)

    def forward(self, x: Tensor, *, cls_only: bool = False) -> tuple[Tensor, Tensor]:
        """y = LN(encoder([CLS; x] + position)).

        Args:
            x: [n, T, V, d]; fewer frames than there are positions use the first of them.
            cls_only: nobody reads the frames' results.

        Returns:
            The class tokens y₀ [n, V, d], and x + y₁ … y_T [n, T, V, d], where x is without its
            position (x itself with ``cls_only``).
        """
        n, frames, tokens, size = x.shape
        position = self.position[0, : frames + 1]
        first = (self.cls + position[:1]).expand(n, tokens, 1, size)
        placed = torch.cat((first, x.transpose(1, 2) + position[1:]), 2)
        y = self.encoder(placed.flatten(0, 1), first_only=cls_only).unflatten(0, (n, tokens))
        return y[:, :, 0], x if cls_only else x + y[:, :, 1:].transpose(1, 2)


class Stage(nn.Module):
    """Patch embedding, spatial attention if there is more than one token, temporal attention."""

    def __init__(
        self,
        tokens: int,
        patch: int,
        channels: int,
        size: int,
        *,
        depth: int,
        heads: int,
        mlp_ratio: int,
        dropout: float,
        frames: int,
    ) -> None:
        super().__init__()

        def encoder() -> Encoder:
            return Encoder(size, depth, heads, mlp_ratio, dropout)

        self.patch = patch
        self.embedding = nn.Linear(channels * patch, size)
        self.spatial = SpatialAttention(tokens, encoder(), size) if tokens > 1 else None
        self.temporal = TemporalAttention(frames, encoder(), size)

    def forward(self, x: Tensor, *, last: bool) -> tuple[Tensor, Tensor]:
        """[n, T, V · patch, c] -> class tokens [n, V, d] and [n, T, V, d]."""
        n, frames, joints, channels = x.shape
        weight = self.embedding.weight
        if self.patch > 1:
            # A patch's features lie channel by channel in the weights, joint by joint in memory:
            # turning the weights about is cheaper than turning every frame.
            weight = weight.unflatten(1, (channels, self.patch)).transpose(1, 2).flatten(1)
        x = linear(x.reshape(n, frames, joints // self.patch, -1), weight, self.embedding.bias)
        if self.spatial is not None:
            x = self.spatial(x)
        cls, x = self.temporal(x, cls_only=last)
        return cls, x
