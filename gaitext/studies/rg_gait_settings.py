"""Typed settings of studies of kind ``rg-gait``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from gaitext.config import Settings
from gaitext.occlusion import OcclusionSettings, OcclusionType
from gaitext.studies.settings import StudySettings

__all__ = ["Occluded", "RGGaitSettings", "ReleaseSettings", "StageConfigs", "TableName"]

TableName = Literal["retention", "ablation", "generalisation"]
Occluded = Literal["probes", "all"]
_TABLES: tuple[TableName, ...] = ("retention", "ablation", "generalisation")


class StageConfigs(Settings):
    """Files, relative to the study's: stage 1 (``RGGaitOEM``), 2 (the signature extractor), 3 (``RGGait``)."""

    oem: str
    gse: str
    rg_gait: str


class AdaptationSettings(Settings):
    """How long evaluator and recognition are trained on with a new occlusion; None: as long as before."""

    oem_iterations: Annotated[int, Field(ge=1)] | None = None
    iterations: Annotated[int, Field(ge=1)] | None = None


class ReleaseSettings(Settings):
    """How RG-Gait's release evaluates: some sequences, probes and gallery alike, have lost their top or bottom.

    Attributes:
        probability: of a sequence's being occluded; its configs for Gait3D have 1.
        rows: bounds of the share that is hidden; its configs for Gait3D have [0.4, 0.6].
    """

    probability: Annotated[float, Field(ge=0, le=1)] = 0.5
    rows: tuple[float, float] = (0.1, 0.6)

    @model_validator(mode="after")
    def _drawable(self) -> ReleaseSettings:
        OcclusionSettings.parse({"types": self.types, "rows": self.rows}, where="release")
        return self

    @property
    def types(self) -> dict[str, float]:
        return dict.fromkeys(("top", "bottom"), self.probability / 2)


class RGGaitSettings(StudySettings):
    """A study of kind ``rg-gait``.

    Attributes:
        stages: the three configs. Their checkpoints' places and ``save_name`` are the study's own.
        occlusions: to test under, one at a time: every test sequence has it. ``unoccluded`` is tested in any case.
        seen: of them, those in training; others are unseen. The ablation's numbers are their mean.
        new: of the unseen ones, those to adapt to.
        occluded: at test, the ``probes`` alone, before a gallery of whole walkers, or ``all`` sequences, each by an
            occlusion of its own; with several, there is a table of each. The poster is silent. A toolbox knows ``all``
            only.
        release: the release's way to evaluate, the condition ``release``; None: leave it out.
        mimicgait_labels: of MimicGait's loss: ``identity``, or ``instance`` ("intra only").
        options: other settings of test occlusions, such as ``rows``; None: stage 3's of training.
        test_seed: of the occlusions at test, the same for every system and seed.
        transform: the transform that occludes, put behind the configs' own.
        adaptation: see there.
        standard: which of the poster's tables to make; in the YAML their names stand in ``tables``, beside tables of
            one's own. They decide what is trained and tested.
    """

    KIND: ClassVar[str] = "rg-gait"

    stages: StageConfigs
    occlusions: tuple[OcclusionType, ...] = ("top", "bottom", "middle", "dynamic", "pole")
    seen: tuple[OcclusionType, ...] = Field(("top", "bottom"), min_length=1)
    new: tuple[OcclusionType, ...] = ("middle", "dynamic")
    occluded: tuple[Occluded, ...] = Field(("probes", "all"), min_length=1)
    release: ReleaseSettings | None = ReleaseSettings()
    mimicgait_labels: Literal["identity", "instance"] = "identity"
    options: dict[str, Any] | None = None
    test_seed: Annotated[int, Field(ge=0)] = 0
    transform: Literal["OcclusionSilhouettes", "OcclusionHeatmaps", "OcclusionPoses"] = "OcclusionSilhouettes"
    adaptation: AdaptationSettings = AdaptationSettings()
    standard: tuple[TableName, ...] = Field(_TABLES, min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _split(cls, values: Any) -> Any:
        """Tables by name apart from the others."""
        tables = values.get("tables") if isinstance(values, Mapping) else None
        if isinstance(tables, (list, tuple)):
            named = [table for table in tables if isinstance(table, str)]
            values = {**values, "standard": named, "tables": [t for t in tables if not isinstance(t, str)]}
        return values

    @model_validator(mode="after")
    def _consistent(self) -> RGGaitSettings:
        for name, chosen in (("seen", self.seen), ("new", self.new)):
            if not set(chosen) <= set(self.occlusions):
                raise ValueError(f"{name}: names an occlusion that occlusions does not")
        if set(self.seen) & set(self.new):
            raise ValueError("new: an occlusion that is seen in training is not new")
        if "generalisation" in self.standard and not self.new:
            raise ValueError("new: the table 'generalisation' is of new occlusions, and there are none")
        for name in ("occlusions", "seen", "new", "occluded", "standard"):
            if len(set(getattr(self, name))) != len(getattr(self, name)):
                raise ValueError(f"{'tables' if name == 'standard' else name}: one is there twice")
        return self

    @property
    def unseen(self) -> tuple[OcclusionType, ...]:
        """Occlusions to test under that are not in training."""
        return tuple(name for name in self.occlusions if name not in self.seen)
