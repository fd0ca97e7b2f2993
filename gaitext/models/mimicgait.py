"""MimicGait: a student of occluded walkers, whose teacher sees them whole (WACV 2025; compared with in RG-Gait)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gaitext.errors import ConfigError
from gaitext.models.occlusion_evaluator import OcclusionEvaluator
from gaitext.models.rg_gait import RGGait

__all__ = ["MimicGait", "MimicGaitOutput"]


@dataclass(frozen=True)
class MimicGaitOutput:
    """What training needs.

    Attributes:
        student: [n, c, p], of the occluded walkers.
        teacher: [n, c, p], of the same walkers whole; no gradient.
    """

    student: Tensor
    teacher: Tensor

    def pairs(self, labels: Tensor) -> dict[str, Tensor]:
        """Both together, as :class:`~gaitext.losses.AllTripletsLoss` takes them.

        Args:
            labels: [n]. Those of identities: a positive is any sequence of the same person, seen by
                either; a number for each sequence: the same one alone, as the other sees it.

        Returns:
            ``embeddings`` [2n, c, p], the student's first, and their ``labels`` [2n].
        """
        return {"embeddings": torch.cat((self.student, self.teacher)), "labels": labels.repeat(2)}


class MimicGait(RGGait):
    """The student W[FRN(x); o], which learns to say of an occluded walk x what the teacher says of it whole.

    The student is RG-Gait's restoration without a residual ("Occ Aware"): ``frn``, ``mix`` and the
    frozen ``occlusion_evaluator``. The teacher is the frozen ``gse``; at test it is not run. There
    is no BNNeck and no cross-entropy: the 2n embeddings of both go into one triplet loss
    (:class:`~gaitext.losses.AllTripletsLoss`, margin 0.2).

    Args:
        gse: the teacher: a :class:`~gaitext.models.signature.SignatureExtractor`, or one of
            gaitext's networks, trained on whole walkers.
        occlusion_evaluator: whose feature the student is given.
        frn: the student's extractor; None: a copy of the GSE, and so initialised from it.
        shape: (c, p) of the GSE's embeddings; None: as its BNNeck says.

    >>> from gaitext.models import GaitBase
    >>> base = GaitBase(class_num=3, channels=(4, 4, 8, 8), embedding_size=6)
    >>> whole = torch.rand(2, 5, 64, 44)
    >>> output = MimicGait(base, OcclusionEvaluator())(whole * 0.5, whole=whole)
    >>> output.pairs(torch.tensor([0, 1]))["embeddings"].shape
    torch.Size([4, 6, 16])
    """

    def __init__(
        self,
        gse: nn.Module,
        occlusion_evaluator: OcclusionEvaluator,
        frn: nn.Module | None = None,
        *,
        shape: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(gse, occlusion_evaluator, frn, shape=shape, neck=None, residual=False, adaptive=False)

    def forward(  # type: ignore[override]
        self,
        inputs: Any,
        seqL: Tensor | Sequence[int] | None = None,
        *,
        frames: Tensor | None = None,
        whole: Any = None,
    ) -> MimicGaitOutput | Tensor:
        """Recognise walks, or learn to.

        Args:
            inputs, seqL, frames: see :meth:`RGGait.forward`; occluded.
            whole: the same before it was occluded, for the teacher; in training only.

        Returns:
            In training :class:`MimicGaitOutput`; in evaluation the student's embedding [n, c, p].

        Raises:
            ConfigError: in training, there is no ``whole``.
        """
        output = super().forward(inputs, seqL, frames=frames)
        if isinstance(output, Tensor):
            return output
        if whole is None:
            raise ConfigError(
                "the teacher has nothing to see", where="MimicGait", how="give whole=, the inputs before occlusion"
            )
        with torch.no_grad():
            teacher = self.gse(whole, seqL)
        return MimicGaitOutput(output.embeddings, teacher)
