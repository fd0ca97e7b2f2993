"""What RG-Gait asks of a gait model: its part embeddings before the BNNeck."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gaitext.errors import ConfigError, ShapeError
from gaitext.models.pgha import PoseGuidedAlignment


class SignatureExtractor(nn.Module, ABC):
    """A gait model, seen as a map from a batch to embeddings [n, c, p] before the BNNeck.

    The model itself never leaves evaluation mode, whose forward pass is asked for embeddings only;
    in training the modules inside it are in training mode, so that a trainable twin learns and
    its normalisations see the batch.

    Args:
        network: the model. Its weights lie under ``network.`` in a state dict.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @abstractmethod
    def extract(self, inputs: Any, seqL: Any) -> Tensor:
        """Embeddings [n, c, p] or [n, c] of a batch."""

    @abstractmethod
    def neck(self) -> nn.Module | None:
        """A copy of the model's BNNeck: ``embed(x)``, and called ``(embedding, logits)``; None if it has none."""

    def remove_neck(self) -> None:
        """Drop what only stands behind the embeddings: a twin has no use for it."""

    def forward(self, inputs: Any, seqL: Tensor | Sequence[int] | None = None) -> Tensor:
        """Embeddings [n, c, p]; p = 1 for a model that has one embedding per sequence.

        Raises:
            ShapeError: the model returns something else.
        """
        embeddings = self.extract(inputs, seqL)
        if embeddings.ndim == 2:
            embeddings = embeddings[:, :, None]
        if embeddings.ndim != 3:
            raise ShapeError(
                f"{type(self.network).__name__}'s embeddings have shape {tuple(embeddings.shape)}",
                where="RGGait",
                how="the signature extractor must give [n, c, p] or [n, c]",
            )
        return embeddings

    def train(self, mode: bool = True) -> SignatureExtractor:
        super().train(mode)
        self.network.training = False
        for module in self.modules():
            if isinstance(module, PoseGuidedAlignment):
                module.eval()  # its coin would show the twin other frames than the extractor
        return self


class NetworkSignature(SignatureExtractor):
    """One of gaitext's networks: it has ``signature(…)``, and ``signature_neck`` if there is a BNNeck.

    Args:
        network: GaitHeat, GaitBase, …
    """

    def __init__(self, network: nn.Module) -> None:
        if not hasattr(network, "signature"):
            raise ConfigError(
                f"{type(network).__name__} has no signature()",
                where="RGGait.gse",
                how="give one of gaitext's gait networks, or a SignatureExtractor of your own",
            )
        super().__init__(network)

    def extract(self, inputs: Any, seqL: Any) -> Tensor:
        found: Tensor = self.network.signature(inputs, seqL)  # type: ignore[operator]
        return found

    def neck(self) -> nn.Module | None:
        return copy.deepcopy(getattr(self.network, "signature_neck", None))

    def remove_neck(self) -> None:
        if hasattr(self.network, "remove_neck"):
            self.network.remove_neck()  # type: ignore[operator]


def freeze_unused(extractor: SignatureExtractor, inputs: Any, seqL: Any = None) -> tuple[tuple[int, int], list[str]]:
    """Run a batch once, to learn the embeddings' size and which weights have no part in them.

    A trainable weight that never gets a gradient stops DDP at the second iteration, so those are
    frozen. The run is in evaluation mode: statistics and random states stay as they are.

    Returns:
        (c, p), and the names of the weights that were frozen.
    """
    mode = extractor.training
    extractor.eval()
    weights = [(name, weight) for name, weight in extractor.named_parameters() if weight.requires_grad]
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            embeddings = extractor(inputs, seqL)
            gradients = [None] * len(weights)
            if embeddings.requires_grad:
                gradients = torch.autograd.grad(embeddings.sum(), [w for _, w in weights], allow_unused=True)  # type: ignore[assignment]
    finally:
        extractor.train(mode)
    frozen = []
    for (name, weight), gradient in zip(weights, gradients):
        if gradient is None:
            weight.requires_grad_(False)
            frozen.append(name)
    return (int(embeddings.shape[1]), int(embeddings.shape[2])), frozen
