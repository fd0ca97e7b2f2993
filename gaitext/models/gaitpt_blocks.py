"""GaitPT's blocks: transformer encoders over the joints of a frame and the frames of a joint."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gaitext.models.dropout import dropout
from gaitext.models.linear import linear
from gaitext.models.self_attention import attend, self_attention

__all__ = ["Encoder", "EncoderLayer", "SpatialAttention", "Stage", "TemporalAttention"]


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
        return self._add(x, dropout(hidden, self._chance), self.contract)

    def _add(self, x: Tensor, y: Tensor, layer: nn.Linear) -> Tensor:
        if self._chance:
            return x + dropout(linear(y, layer.weight, layer.bias), self._chance)
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
