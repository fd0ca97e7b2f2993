"""Multi-head attention over short sequences with small heads.

GaitPT attends over 3 to 18 tokens of a frame and 61 frames of a token, with heads of 4 to 32
features: thousands of tiny matrices, for which a CPU's library routines are not made. On other
devices torch's fused kernels do it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from gaitext.models.dropout import dropout as drop
from gaitext.models.linear import eager_on_cpu

__all__ = ["attend", "self_attention"]

#: Up to so many tokens, attention is computed with the batch as the innermost dimension.
_FEW = 24


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
    if tokens <= _FEW and dropout == 0 and eager_on_cpu(qkv) and not (torch.is_grad_enabled() and qkv.requires_grad):
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
