"""L1 distance of keypoints."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from gaitext.errors import ConfigError, ShapeError
from gaitext.losses.loss import Info, Loss


class CoordinateL1Loss(Loss):
    """L_AC = Σ |p̂ − p| over the coordinates of all joints of all frames (artifact correction, Eq. 1).

    Args:
        reduction: ``sum``, the paper's, which grows with the batch; ``frame``, a frame's sum, mean over
            frames; ``mean``, the mean over coordinates by their weights.
        loss_term_weight: see :class:`~gaitext.losses.Loss`.

    Example:
        >>> import torch
        >>> found, true = torch.zeros(2, 17, 2), torch.ones(2, 17, 2)
        >>> float(CoordinateL1Loss()(found, true)[0]), float(CoordinateL1Loss("mean")(found, true)[0])
        (68.0, 1.0)
    """

    def __init__(self, reduction: Literal["sum", "frame", "mean"] = "sum", loss_term_weight: float = 1.0) -> None:
        super().__init__(loss_term_weight)
        if reduction not in ("sum", "frame", "mean"):
            raise ConfigError(
                f"unknown reduction {reduction!r}", where="CoordinateL1Loss", how="choose sum, frame or mean"
            )
        self.reduction = reduction

    def forward(self, coordinates: Tensor, targets: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Info]:
        """Compute the loss.

        Args:
            coordinates: p̂, [..., V, 2], any float type; computed in float32.
            targets: p, likewise. What has no weight may hold anything, NaN too.
            weights: [..., V]: 0 for joints that are not known, scores, or bool; None counts all alike.

        Returns:
            The loss, a scalar, and ``loss`` and ``l2`` (the weighted mean of the joints' Euclidean
            distances), detached.

        Raises:
            ShapeError: other shapes.
        """
        shape = coordinates.shape
        if coordinates.ndim < 2 or shape[-1] != 2 or targets.shape != shape:
            raise ShapeError(
                f"coordinates are {list(shape)}, targets {list(targets.shape)}",
                where="CoordinateL1Loss",
                how="give [..., V, 2] both",
            )
        if weights is not None and weights.shape != shape[:-1]:
            raise ShapeError(
                f"weights are {list(weights.shape)} for coordinates {list(shape)}",
                where="CoordinateL1Loss",
                how="give [..., V]",
            )
        counted = torch.ones(shape[:-1], device=coordinates.device) if weights is None else weights.float()
        known = counted > 0
        # Replaced before the difference: a NaN times 0, forwards or backwards, would still be NaN.
        apart = coordinates.float() - torch.where(known[..., None], targets.float(), coordinates.detach().float())
        total = (apart.abs().sum(-1) * counted).sum()
        if self.reduction == "frame":
            total = total / max(1, shape[:-2].numel())
        elif self.reduction == "mean":
            total = total / (2 * counted.sum()).clamp(min=torch.finfo(torch.float32).tiny)
        distances = torch.linalg.vector_norm(apart.detach(), dim=-1)
        l2 = (distances * counted).sum() / counted.sum().clamp(min=torch.finfo(torch.float32).tiny)
        return total, {"loss": total.detach().clone(), "l2": l2}
