"""RG-Gait: residual correction of a gait signature under occlusion (Gupta, Huang, Chellappa, IJCB 2025).

It is compared with MimicGait (WACV 2025), made of the same parts: a student of occluded walkers, whose teacher sees
them whole.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gaitext.errors import ConfigError
from gaitext.models.exact_layers import exact_on_cpu
from gaitext.models.heads import SeparateFC
from gaitext.models.occluded_inputs import evaluator_frames, input_kinds
from gaitext.models.occlusion_evaluator import OcclusionEvaluator
from gaitext.models.packing import sequence_lengths
from gaitext.models.signature import NetworkSignature, SignatureExtractor


@dataclass(frozen=True)
class RGGaitOutput:
    """What training needs.

    Attributes:
        embeddings: f [n, c, p], before the BNNeck.
        logits: [n, classes, p]; None without a neck.
        amount: α [n]; None where it is not estimated.
    """

    embeddings: Tensor
    logits: Tensor | None
    amount: Tensor | None


class RGGait(nn.Module):
    """f = GSE(x) + α·r, where r is what the restoration network (FRN) makes of x.

    * GSE, the signature extractor: any gait model, trained on whole walkers; frozen, its
      normalisations' statistics included. It runs once per batch, without gradients.
    * FRN: a trainable twin of it. Its part embeddings [n, c, p] and the evaluator's feature,
      repeated over the parts [n, 64, p], are concatenated in that order and mixed by a separate FC
      without bias, c + 64 -> c: the residual r.
    * OEM, the occlusion evaluator, frozen: α is the mean of its amounts over a sequence's frames,
      and the feature their mean.

    The BNNeck starts as the GSE's and is trained. Triplet loss and inference take f before it,
    cross-entropy its logits. Embeddings [n, c] count as p = 1.

    Args:
        gse: a :class:`~gaitext.models.signature.SignatureExtractor`, or one of gaitext's networks.
        occlusion_evaluator: may be None if neither ``adaptive`` nor ``occlusion_aware`` is on.
        frn: the restoration network; None: a copy of the GSE, and so initialised from it.
        shape: (c, p) of the GSE's embeddings; None: as its BNNeck says.
        neck: ``embed(x)``, and called ``(embedding, logits)``. "gse": a copy of the GSE's.
        residual: False: f = r alone; the GSE is not run.
        adaptive: False: α = 1.
        occlusion_aware: False: r is mixed without the evaluator's feature, c -> c.
        mix_init: how the mixing FC starts: ``xavier``, as in the release, or ``zero``: f = GSE(x) then.
        inference: the embedding compared at test: f (``fc``, published), or behind the BNNeck.

    >>> from gaitext.models import GaitBase
    >>> base = GaitBase(class_num=3, channels=(4, 4, 8, 8), embedding_size=6)
    >>> RGGait(base, OcclusionEvaluator()).eval()(torch.rand(2, 5, 64, 44)).shape
    torch.Size([2, 6, 16])
    """

    def __init__(
        self,
        gse: nn.Module,
        occlusion_evaluator: OcclusionEvaluator | None,
        frn: nn.Module | None = None,
        *,
        shape: tuple[int, int] | None = None,
        neck: nn.Module | Literal["gse"] | None = "gse",
        residual: bool = True,
        adaptive: bool = True,
        occlusion_aware: bool = True,
        mix_init: Literal["xavier", "zero"] = "xavier",
        inference: Literal["fc", "bnneck"] = "fc",
    ) -> None:
        super().__init__()
        if occlusion_evaluator is None and ((adaptive and residual) or occlusion_aware):
            raise ConfigError(
                "there is no occlusion evaluator, which adaptive and occlusion_aware need",
                where="RGGait",
                how="give one, or switch both off",
            )
        self.residual, self.adaptive, self.occlusion_aware = residual, adaptive, occlusion_aware
        self.gse = _extractor(gse)
        self.frn = exact_on_cpu(_extractor(copy.deepcopy(gse).requires_grad_(True) if frn is None else frn))
        self.occlusion_evaluator = occlusion_evaluator
        self.neck = self.gse.neck() if neck == "gse" else neck
        if neck == "gse" and self.neck is not None:
            self.neck.requires_grad_(True)  # whoever froze the extractor did not mean the copy
        if inference == "bnneck" and self.neck is None:
            raise ConfigError("there is no BNNeck to compare behind", where="RGGait.inference", how="choose 'fc'")
        self.inference = inference
        self.frn.remove_neck()
        if shape is None:
            theirs = self.gse.neck() if self.neck is None else self.neck
            classifier: Any = getattr(theirs, "classifier", None)
            if classifier is None:
                raise ConfigError("the embeddings' size is not known", where="RGGait.shape", how="give (c, p)")
            parts, channels = classifier.shape[:2]
        else:
            channels, parts = shape
        extra = 0
        if occlusion_aware:
            assert occlusion_evaluator is not None
            extra = occlusion_evaluator.embed.out_features
        self.mix = SeparateFC(parts, channels + extra, channels)
        if mix_init == "zero":
            nn.init.zeros_(self.mix.weight)
        for part in (self.gse, self.occlusion_evaluator):
            if part is not None:
                part.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> RGGait:
        """Training mode for what is trained; the GSE and the evaluator stay in evaluation mode."""
        super().train(mode)
        for part in (self.gse, self.occlusion_evaluator):
            if part is not None:
                part.eval()
        return self

    def forward(
        self, inputs: Any, seqL: Tensor | Sequence[int] | None = None, *, frames: Tensor | None = None
    ) -> RGGaitOutput | Tensor:
        """Recognise walks.

        Args:
            inputs: what the GSE takes, occluded or not: a tensor [n, T, …], or packed [1, ΣT, …]
                with ``seqL``; a host's batch where the extractors are a host's.
            seqL: lengths [1, n]; for a host's batch, of all its sequences in any case.
            frames: [N, 1, H, W] in 0..1, what the evaluator sees: the frames of all sequences one
                after another. None: made of ``inputs``, a tensor
                (:func:`~gaitext.models.occluded_inputs.evaluator_frames`).

        Returns:
            In training :class:`RGGaitOutput`; in evaluation the embedding [n, c, p] alone.
        """
        estimate = self._judge(inputs, seqL, frames)
        residual = self.frn(inputs, seqL)
        amount = None if estimate is None else estimate[1]
        if self.occlusion_aware:
            assert estimate is not None
            feature = estimate[0].to(residual.dtype)[:, :, None].expand(-1, -1, residual.shape[2])
            residual = torch.cat((residual, feature), 1)
        embeddings = self.mix(residual)
        if self.residual:
            with torch.no_grad():
                signature = self.gse(inputs, seqL)
            strength = amount[:, None, None] if self.adaptive and amount is not None else 1.0
            embeddings = signature + strength * embeddings
        if not self.training:
            if self.inference == "fc" or self.neck is None:
                return embeddings
            behind: Tensor = self.neck.embed(embeddings)  # type: ignore[operator]
            return behind
        logits = None if self.neck is None else self.neck(embeddings)[1]
        return RGGaitOutput(embeddings, logits, amount)

    @torch.no_grad()
    def _judge(self, inputs: Any, seqL: Any, frames: Tensor | None) -> tuple[Tensor, Tensor] | None:
        """The evaluator's feature [n, 64] and amount [n] of each sequence, if either is used."""
        evaluator = self.occlusion_evaluator
        if evaluator is None or not (self.occlusion_aware or (self.adaptive and self.residual)):
            return None
        if isinstance(inputs, Tensor):
            lengths = sequence_lengths(inputs, seqL, where="RGGait")
            if frames is None:
                frames = evaluator_frames([inputs], input_kinds([inputs]))
        else:
            lengths = torch.as_tensor(seqL).reshape(-1).tolist()
        assert frames is not None
        estimate = evaluator.sequences(frames, lengths)
        return estimate.feature, estimate.amount


def _extractor(network: nn.Module) -> SignatureExtractor:
    return network if isinstance(network, SignatureExtractor) else NetworkSignature(network)


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
