"""Typed settings of RG-Gait's two trained stages: the occlusion evaluator, and the whole system."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from gaitext.config import Settings
from gaitext.models.occluded_inputs import InputKind
from gaitext.occlusion import OCCLUSION_TYPES, OcclusionSettings, OcclusionType

Positive = Annotated[int, Field(ge=1)]
Types = tuple[OcclusionType, ...]


class _Evaluator(Settings):
    """Sizes of :class:`~gaitext.models.OcclusionEvaluator`.

    Attributes:
        types: classes, of ``gaitext.occlusion.OCCLUSION_TYPES``; ``top`` is an occluded top.
        channels: of its three convolutions.
        feature_size: of a frame's feature.
        chunk: frames that go through it at once, which bounds memory.
    """

    types: Types = ("none", "top", "bottom")
    channels: tuple[Positive, Positive, Positive] = (32, 64, 128)
    feature_size: Positive = 64
    chunk: Positive = 512

    @field_validator("types")
    @classmethod
    def _distinct(cls, value: Types) -> Types:
        if len(value) < 2 or len(set(value)) != len(value):
            raise ValueError(f"types: name at least two of {', '.join(OCCLUSION_TYPES)}, each once")
        return value

    @property
    def sizes(self) -> dict[str, Any]:
        """The evaluator's keywords."""
        return {name: getattr(self, name) for name in ("types", "channels", "feature_size", "chunk")}


class EvaluatorOcclusions(Settings):
    """What the occlusion evaluator sees; None: every one of its types alike, rows 0.4 to 0.6.

    Attributes:
        train: what is drawn in training, for each frame.
        test: what is drawn in a test, for each sequence.
    """

    train: OcclusionSettings | None = None
    test: OcclusionSettings | None = None


class RGGaitOEMSettings(_Evaluator):
    """``RGGaitOEM``'s ``model_cfg`` (stage 1).

    Attributes:
        occlusion: what is drawn, ``train`` for each frame and ``test`` for each sequence.
        inputs: what each input shows; None: told from its shape.
    """

    occlusion: EvaluatorOcclusions = EvaluatorOcclusions()
    inputs: tuple[InputKind, ...] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> RGGaitOEMSettings:
        unknown = [name for name in self.train_occlusion.types if name not in self.types]
        if unknown:
            raise ValueError(f"occlusion.train draws {', '.join(unknown)}, which types does not name")
        return self

    @property
    def train_occlusion(self) -> OcclusionSettings:
        return self.occlusion.train or self._uniform

    @property
    def test_occlusion(self) -> OcclusionSettings:
        return self.occlusion.test or self._uniform

    @property
    def _uniform(self) -> OcclusionSettings:
        share = 1 / len(self.types)
        return OcclusionSettings(types={name: share for name in self.types if name != "none"}, rows=(0.4, 0.6))


class OEMSettings(_Evaluator):
    """``oem``: the occlusion evaluator of stage 1, with the sizes it was trained with.

    Attributes:
        checkpoint: of ``RGGaitOEM``, or the published one; read when a training begins, and not
            when one goes on or is tested, as the system's own checkpoint then holds its weights.
    """

    checkpoint: str | None = None


class GseSettings(Settings):
    """``gse``: the signature extractor of stage 2.

    Attributes:
        model_cfg: as it was trained with: any model of the host, or of gaitext.
        checkpoint: as ``oem.checkpoint``.
        input_shapes: shape of one frame of each input, such as ``[[64, 44]]``: for a run at the
            start that learns the embeddings' size and which weights take no part. None: gaitext's
            models say it, and for others the usual shapes are tried.
    """

    model_cfg: dict[str, Any]
    checkpoint: str | None = None
    input_shapes: tuple[tuple[Positive, ...], ...] | None = None

    @field_validator("model_cfg")
    @classmethod
    def _named(cls, value: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(value.get("model"), str):
            raise ValueError("gse.model_cfg names no model")
        return value


class RGGaitOcclusions(Settings):
    """What RG-Gait is trained and tested on: half of the sequences in training, none at test.

    Attributes:
        train: what is drawn in training, for each sequence.
        test: what is drawn in a test, for each sequence.
    """

    train: OcclusionSettings = OcclusionSettings()
    test: OcclusionSettings = OcclusionSettings(types={})


class _System(Settings):
    """What RG-Gait and MimicGait share.

    Attributes:
        gse, oem: the earlier stages.
        init_from_gse: the FRN starts as the GSE (poster); off: as its model starts (the release).
        occlusion: what is drawn for each sequence.
        inputs: what each input shows; None: told from its shape.
    """

    gse: GseSettings
    oem: OEMSettings = OEMSettings()
    init_from_gse: bool = True
    occlusion: RGGaitOcclusions = RGGaitOcclusions()
    inputs: tuple[InputKind, ...] | None = None

    @property
    def needs_evaluator(self) -> bool:
        return True


class RGGaitSettings(_System):
    """``RGGait``'s ``model_cfg`` (stage 3).

    Attributes:
        class_num: identities in training, for the BNNeck's classifier.
        residual, adaptive, occlusion_aware: see :class:`~gaitext.models.RGGait`.
        mix_init: how the mixing FC starts, ``xavier`` (release) or ``zero``.
        neck: ``gse`` takes the GSE's BNNeck over, if it has one; ``new`` begins one; ``none``: triplet
            loss alone.
        inference: the embedding compared at test, before the BNNeck (``fc``) or behind it.
    """

    class_num: Positive
    residual: bool = True
    adaptive: bool = True
    occlusion_aware: bool = True
    mix_init: Literal["xavier", "zero"] = "xavier"
    neck: Literal["gse", "new", "none"] = "gse"
    inference: Literal["fc", "bnneck"] = "fc"

    @model_validator(mode="after")
    def _begins_apart(self) -> RGGaitSettings:
        if not self.residual and self.mix_init == "zero":
            raise ValueError("mix_init: without the residual, zero makes all embeddings alike; write xavier")
        return self

    @property
    def needs_evaluator(self) -> bool:
        return self.occlusion_aware or (self.adaptive and self.residual)


class MimicGaitSettings(_System):
    """``MimicGait``'s ``model_cfg`` (instead of stage 3).

    Attributes:
        gse: the teacher, and what the student's FRN starts as.
        labels: what makes a pair positive: the same ``identity``, or the same sequence, whole and
            occluded, alone (``instance``, "intra only").
    """

    labels: Literal["identity", "instance"] = "identity"

    @property
    def class_num(self) -> None:
        """There is no classifier."""
        return None
