"""Which occlusions are drawn, how often and how large: typed settings with the published ranges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, field_validator, model_validator

from gaitext.config import Settings
from gaitext.errors import ConfigError, suggest

__all__ = ["OCCLUSION_TYPES", "OcclusionSettings", "OcclusionType"]

OcclusionType = Literal["none", "top", "bottom", "middle", "dynamic", "pole"]
#: Every type, named after what is hidden: ``top`` hides the head. Published labels (0 none, 1 top
#: visible, 2 bottom visible) name what is seen, so there 1 is ``bottom`` and 2 is ``top``.
OCCLUSION_TYPES: tuple[OcclusionType, ...] = get_args(OcclusionType)


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"is {list(bounds)}: write the smaller bound first")
    return bounds


Fraction = Annotated[float, Field(ge=0, le=1)]
#: Bounds of a uniform draw; equal bounds fix the value.
Shares = Annotated[tuple[Fraction, Fraction], AfterValidator(_ordered)]
Speed = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Speeds = Annotated[tuple[Speed, Speed], AfterValidator(_ordered)]


class OcclusionSettings(Settings):
    """What :func:`~gaitext.occlusion.draw_occlusion` draws (spec of RG-Gait; at most one type a sequence).

    Attributes:
        types: probability of each type; what is left to 1 is ``none``. Default: one sequence in two,
            top or bottom, as RG-Gait is trained.
        rows: share of the rows that ``top`` and ``bottom`` hide: U(0.1, 0.6) for RG-Gait; the
            occlusion evaluator is trained with [0.4, 0.6].
        middle_rows: share of the rows that ``middle`` hides, about the middle.
        patch_width, patch_height: size of the ``dynamic`` patch as shares of the frame's; it stands
            on the bottom edge.
        pole_width: of the ``pole``, as a share of the frame's; it is as high as the frame.
        dynamic_poles: how many of the ``dynamic`` occlusions are poles in place of patches, of type
            ``dynamic`` all the same. The release's "dynamic" is a patch or a pole, in shares that are
            not known: 0.5 for that. The default is patches alone, as ``pole`` is a type by itself.
        speed: of patch and pole to the right, in pixels of a 64-row map per frame, from x = 0 at the
            sequence's first frame (as handed over: of the sampled frames). In maps of other heights
            it scales with the height, so that a pose in a box of 256 rows sees the same occlusion.
        resize_visible: ``top`` and ``bottom`` only: stretch the remaining rows to the full height, as
            a detector's box around what is seen would; off: zeros are left in their place. Poses are
            never resized, so turn it off where heatmaps and poses go together.
        seed: of evaluation, where an occlusion is a function of (seed, sequence). Training ignores it.
    """

    types: dict[OcclusionType, Fraction] = Field({"top": 0.25, "bottom": 0.25})
    rows: Shares = (0.1, 0.6)
    middle_rows: Shares = (0.5, 0.5)
    patch_width: Shares = (0.4, 0.6)
    patch_height: Shares = (0.3, 0.5)
    pole_width: Shares = (0.4, 0.6)
    dynamic_poles: Fraction = 0.0
    speed: Speeds = (0.5, 2.0)
    resize_visible: bool = True
    seed: int = Field(0, ge=0)

    @field_validator("types", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        for name in value if isinstance(value, Mapping) else ():
            if name not in OCCLUSION_TYPES:
                raise ConfigError(f"no occlusion {name!r}", how=suggest(str(name), OCCLUSION_TYPES))
        return value

    @model_validator(mode="after")
    def _consistent(self) -> OcclusionSettings:
        total = sum(self.types.values())
        if total > 1 + 1e-9:
            raise ValueError(f"types: the probabilities add up to {total:g}, more than 1")
        if self.resize_visible and self.rows[1] == 1 and {"top", "bottom"} & set(self.types):
            raise ValueError("rows: with resize_visible something must be left to see; give an upper bound below 1")
        return self
