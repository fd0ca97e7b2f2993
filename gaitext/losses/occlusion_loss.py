"""The occlusion evaluator's loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gaitext.errors import ConfigError, ShapeError
from gaitext.losses.loss import Info, Loss


class OcclusionLoss(Loss):
    """Cross-entropy on the type's logits + λ × squared error of the amount (RG-Gait, stage 1).

    The cross-entropy takes logits; the release feeds it softmax outputs, which flattens its
    gradient. Processes are not gathered: DDP's averaging gives the same gradient.

    Args:
        amount_weight: λ.
        loss_term_weight: see :class:`~gaitext.losses.Loss`.

    Example:
        >>> import torch
        >>> logits, amount = torch.tensor([[0.0, 0.0]]), torch.tensor([0.25])
        >>> loss, _ = OcclusionLoss()(logits, torch.tensor([1]), amount, torch.tensor([0.5]))
        >>> round(float(loss), 4)  # ln 2 + 10 × 0.25²
        1.3181
    """

    def __init__(self, amount_weight: float = 10.0, loss_term_weight: float = 1.0) -> None:
        super().__init__(loss_term_weight)
        self.amount_weight = amount_weight

    def forward(self, logits: Tensor, types: Tensor, amount: Tensor, true_amount: Tensor) -> tuple[Tensor, Info]:
        """Compute the loss, in float32.

        Args:
            logits: [N, k].
            types: [N], int64, the true class, or -1 where no class is right; only the amount counts there.
            amount: [N], predicted occluded share.
            true_amount: [N].

        Returns:
            The loss, a scalar, and ``loss``, ``type_loss``, ``amount_loss`` (not yet weighted) and
            ``accuracy``, detached.

        Raises:
            ShapeError: other shapes.
            ConfigError: a type has no class.
        """
        if logits.ndim != 2 or not (types.shape == amount.shape == true_amount.shape == logits.shape[:1]):
            shapes = ", ".join(str(list(value.shape)) for value in (logits, types, amount, true_amount))
            raise ShapeError(f"logits must be [N, k] and types, amount and true_amount [N], not {shapes}")
        if int(types.max()) >= logits.shape[1]:
            raise ConfigError(
                f"type {int(types.max())} does not fit {logits.shape[1]} classes", where="model_cfg.types"
            )
        logits, known = logits.float(), types >= 0
        each = F.cross_entropy(logits, types, ignore_index=-1, reduction="none")
        count = known.sum().clamp_min(1)
        type_loss = each.sum() / count
        amount_loss = F.mse_loss(amount.float(), true_amount.float())
        loss = type_loss + self.amount_weight * amount_loss
        right = ((logits.argmax(1) == types) & known).sum() / count
        info = {"loss": loss, "type_loss": type_loss, "amount_loss": amount_loss, "accuracy": right.to(torch.float32)}
        return loss, {name: value.detach().clone() for name, value in info.items()}
