"""RG-Gait's occlusion evaluator (OEM): what hides how much of a frame (Gupta et al., IJCB 2025)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gaitext.errors import CheckpointError, ConfigError, ShapeError
from gaitext.models.packing import mean_over_time
from gaitext.models.published_keys import OEM_KEYS

#: The published weights' classes: unoccluded, top visible, bottom visible.
_PUBLISHED_TYPES = ("none", "bottom", "top")


class OcclusionEstimate(NamedTuple):
    """What the evaluator says of N frames, or of n sequences.

    Attributes:
        feature: [N, 64], the occlusion feature.
        logits: [N, types].
        amount: [N], the occluded share in 0..1.
    """

    feature: Tensor
    logits: Tensor
    amount: Tensor


class OcclusionEvaluator(nn.Module):
    """A small per-frame CNN: three convolutions, global average, an embedding, two heads.

    Each convolution is 3×3 with padding 1, followed by ReLU and 2×2 max pooling with stride 2; the
    last pooling is padded by 1. Default construction is the published network (101,188 parameters).

    The published code trained it on frames in 0..255, and its second head to predict 0 for an
    unoccluded frame and the *visible* share of an occluded one: only with the type does that say how
    much is hidden. Its weights load through :func:`gaitext.checkpoints.load` and set the buffer
    ``published``: frames in 0..1 are then multiplied by 255 inside, and ``amount`` is
    (1 − the probability of ``none``) · (1 − what the head predicts), so that callers see no
    difference. The buffer is saved with the weights, which stay as they are.

    Args:
        types: names of the classes, in the logits' order. ``top`` is an occluded top.
        channels: of the three convolutions.
        feature_size: size of the occlusion feature.
        in_channels: of a frame.
        chunk: frames that :meth:`sequences` passes through at once when no gradient is wanted.

    >>> OcclusionEvaluator()(torch.rand(2, 1, 64, 44)).feature.shape
    torch.Size([2, 64])
    """

    published_keys = OEM_KEYS
    published: Tensor

    def __init__(
        self,
        types: Sequence[str] = ("none", "top", "bottom"),
        *,
        channels: Sequence[int] = (32, 64, 128),
        feature_size: int = 64,
        in_channels: int = 1,
        chunk: int = 512,
    ) -> None:
        super().__init__()
        if len(channels) != 3 or min(*channels, feature_size, in_channels, chunk) < 1:
            raise ConfigError(
                f"channels are {list(channels)}, feature_size {feature_size}",
                where="OcclusionEvaluator",
                how="give three positive numbers of channels and a positive size",
            )
        if not types or len(set(types)) != len(types):
            raise ConfigError(f"types are {list(types)}", where="OcclusionEvaluator.types", how="name each once")
        self.types = tuple(types)
        self.chunk = chunk
        sizes = zip((in_channels, *channels[:-1]), channels)
        self.convolutions = nn.ModuleList(nn.Conv2d(*size, 3, padding=1) for size in sizes)
        self.embed = nn.Linear(channels[-1], feature_size)
        self.type_head = nn.Linear(feature_size, len(self.types))
        self.amount_head = nn.Linear(feature_size, 1)
        self.register_buffer("published", torch.zeros(()))

    def forward(self, frames: Tensor) -> OcclusionEstimate:
        """Judge each frame by itself.

        Args:
            frames: [N, 1, H, W] in 0..1, any size of at least 4×4.

        Raises:
            ShapeError: frames of another shape.
        """
        wanted = self.convolutions[0].in_channels
        if frames.ndim != 4 or frames.shape[1] != wanted or min(frames.shape[2:]) < 4:
            raise ShapeError(
                f"frames have shape {tuple(frames.shape)}", where="OcclusionEvaluator", how=f"give [N, {wanted}, H, W]"
            )
        # Arithmetic in place of branches, which would wait for the GPU at every call.
        x = frames * (1 + 254 * self.published)
        for index, convolution in enumerate(self.convolutions):
            x = F.max_pool2d(F.relu(convolution(x)), 2, 2, padding=int(index == 2))
        feature = F.relu(self.embed(x.mean((2, 3))))
        logits = self.type_head(feature)
        share = torch.sigmoid(self.amount_head(feature)).squeeze(1)
        if "none" in self.types:  # all published weights have it
            hides = 1 - logits.softmax(1)[:, self.types.index("none")]
            share = torch.where(self.published > 0, hides.to(share.dtype) * (1 - share), share)
        return OcclusionEstimate(feature, logits, share)

    def sequences(self, frames: Tensor, lengths: Sequence[int]) -> OcclusionEstimate:
        """Judge whole sequences: means over their frames, whatever they are packed with.

        Args:
            frames: [ΣT, 1, H, W], the frames of all sequences one after another.
            lengths: frames of each.
        """
        if torch.is_grad_enabled():
            parts = self(frames)
        else:
            parts = OcclusionEstimate(*map(torch.cat, zip(*(self(piece) for piece in frames.split(self.chunk)))))
        return OcclusionEstimate(*(mean_over_time(part, lengths) for part in parts))

    def adapt_published(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Complete published weights, renamed already: flag them, and sort their classes as :attr:`types`.

        Raises:
            CheckpointError: the types are not the published three.
        """
        if set(self.types) != set(_PUBLISHED_TYPES):
            raise CheckpointError(
                f"published weights know {', '.join(sorted(_PUBLISHED_TYPES))}, the model {', '.join(self.types)}",
                where="OcclusionEvaluator.types",
                how="build it with the published types, or train one of your own (RGGaitOEM)",
            )
        order = [_PUBLISHED_TYPES.index(name) for name in self.types]
        sorted_rows = {key: weights[key][order] for key in weights if key.startswith("type_head.")}
        return {**weights, **sorted_rows, "published": torch.ones(())}
