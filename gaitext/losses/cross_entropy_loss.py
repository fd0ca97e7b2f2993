"""Cross-entropy on part-wise logits."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from gaitext.errors import ConfigError, ShapeError
from gaitext.losses.loss import Info, Loss


class CrossEntropyLoss(Loss):
    """Cross-entropy with scaled logits and label smoothing, mean over sequences and parts.

    Equal to OpenGait's ``CrossEntropyLoss`` (GaitHeat, Eq. 9; docs/gaitheat.md). The logits are cosines in
    -1..1, hence the scale. Processes are not gathered: DDP's averaging gives the same gradient.

    Args:
        scale: factor on the logits.
        label_smooth: whether to smooth the labels.
        eps: how much of the target is spread evenly over all classes.
        loss_term_weight: see :class:`~gaitext.losses.Loss`.
        log_accuracy: whether ``info`` has the share of (sequence, part) classified correctly.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).unsqueeze(2)
        >>> loss, _ = CrossEntropyLoss(label_smooth=False)(logits, torch.tensor([0, 1]))
        >>> float(loss) < 1e-6
        True
    """

    def __init__(
        self,
        scale: float = 16,
        label_smooth: bool = True,
        eps: float = 0.1,
        loss_term_weight: float = 1.0,
        log_accuracy: bool = False,
    ) -> None:
        super().__init__(loss_term_weight)
        self.scale = scale
        self.label_smooth = label_smooth
        self.eps = eps
        self.log_accuracy = log_accuracy

    def forward(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Info]:
        """Compute the loss.

        Args:
            logits: [n, c, p], any float type; computed in float32.
            labels: [n], int64, in 0..c − 1.

        Returns:
            The loss, a scalar, and ``loss`` (and ``accuracy``), detached.

        Raises:
            ShapeError: other shapes.
            ConfigError: a label has no class.
        """
        if logits.ndim != 3 or labels.ndim != 1 or len(logits) != len(labels):
            raise ShapeError(
                f"logits must be [n, c, p] and labels [n], not {list(logits.shape)} and {list(labels.shape)}"
            )
        classes, parts = logits.shape[1:]
        largest = int(labels.max())
        # On a GPU a label out of range is an assertion that kills the process without a name.
        if largest >= classes or int(labels.min()) < 0:
            raise ConfigError(
                f"label {largest} does not fit a classifier of {classes} classes",
                where="model_cfg.class_num",
                how=f"set class_num to the number of training identities, at least {largest + 1}",
            )
        logits = logits.float()
        targets = labels.unsqueeze(1).expand(-1, parts)
        smoothing = self.eps if self.label_smooth else 0.0
        loss = F.cross_entropy(logits * self.scale, targets, label_smoothing=smoothing)
        info = {"loss": loss.detach().clone()}
        if self.log_accuracy:
            info["accuracy"] = (logits.detach().argmax(1) == targets).float().mean()
        return loss, info
