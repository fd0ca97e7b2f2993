"""Typed settings of tools/rg_gait_study.py."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from gaitext.config import Settings
from gaitext.occlusion import OcclusionType

__all__ = ["StudySettings"]

TableName = Literal["retention", "ablation", "generalisation"]


class StageConfigs(Settings):
    """Files, relative to the study's: stage 1 (``RGGaitOEM``), 2 (the signature extractor), 3 (``RGGait``)."""

    oem: str
    gse: str
    rg_gait: str


class AdaptationSettings(Settings):
    """How long evaluator and recognition are trained on with a new occlusion; None: as long as before."""

    oem_iterations: Annotated[int, Field(ge=1)] | None = None
    iterations: Annotated[int, Field(ge=1)] | None = None


class StudySettings(Settings):
    """What a study does.

    Attributes:
        stages: the three configs. Their checkpoints' places and ``save_name`` are the study's own.
        seeds: of the trainings; all stages of a seed belong together.
        occlusions: to test under, one at a time: every test sequence has it. ``unoccluded`` is
            tested in any case.
        seen: of them, those in training; others are unseen. The ablation's numbers are their mean.
        new: of the unseen ones, those to adapt to.
        occluded: at test, the ``probes`` alone, before a gallery of whole walkers, or ``all`` sequences,
            each by an occlusion of its own; with several, there is a table of each. The poster is
            silent. A toolbox knows ``all`` only.
        options: other settings of test occlusions, such as ``rows``; None: stage 3's of training.
        test_seed: of the occlusions at test, the same for every system and seed.
        transform: the transform that occludes, put behind the configs' own.
        tables: which to make.
        adaptation: see there.
    """

    stages: StageConfigs
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1)
    occlusions: tuple[OcclusionType, ...] = ("top", "bottom", "middle", "dynamic", "pole")
    seen: tuple[OcclusionType, ...] = ("top", "bottom")
    new: tuple[OcclusionType, ...] = ("middle", "dynamic")
    occluded: tuple[Literal["probes", "all"], ...] = Field(("probes", "all"), min_length=1)
    options: dict[str, Any] | None = None
    test_seed: Annotated[int, Field(ge=0)] = 0
    transform: Literal["OcclusionSilhouettes", "OcclusionHeatmaps", "OcclusionPoses"] = "OcclusionSilhouettes"
    tables: tuple[TableName, ...] = ("retention", "ablation", "generalisation")
    adaptation: AdaptationSettings = AdaptationSettings()

    @model_validator(mode="after")
    def _consistent(self) -> StudySettings:
        for name, chosen in (("seen", self.seen), ("new", self.new)):
            if not set(chosen) <= set(self.occlusions):
                raise ValueError(f"{name}: names an occlusion that occlusions does not")
        if set(self.seen) & set(self.new):
            raise ValueError("new: an occlusion that is seen in training is not new")
        return self
