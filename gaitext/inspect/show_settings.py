"""What ``gaitext show`` can be told."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from gaitext.config import Settings
from gaitext.errors import ConfigError, suggest
from gaitext.inspect.views import VIEWS, Drawing, View
from gaitext.models.gaitheat_settings import AlignmentSettings
from gaitext.occlusion import OCCLUSION_TYPES, Occlusion, OcclusionSettings, draw_occlusion, sequence_generator
from gaitext.skeleton import PartitionLike, resolve_partition

_RESIZED = ":resized"


class ShowSettings(Settings):
    """What is shown.

    Attributes:
        what: columns, of ``rgb``, ``silhouette``, ``keypoints``, ``heatmap``, ``aligned``, ``parts`` and ``bins``;
            a text of names with commas between will do. None: the first five, as far as they are there.
        frames: how many; None: 4 in a picture, all in a video.
        occlusions: what a frame is shown under, of ``none``, ``top``, ``bottom``, ``middle``, ``dynamic``, ``pole``;
            ``top:resized`` and ``bottom:resized`` stretch the rows that are left. Likewise a text.
        seed: of the occlusions' sizes, which are drawn as in a test: a function of the seed and the sequence's name.
        partition: whose parts ``parts`` shows.
        bins: how many horizontal bins ``bins`` shows.
        threshold: γ: frames leaning less, in degrees, are not aligned. GaitHeat's 5; 0 aligns all.
        min_score: neck and hip of a frame are trusted where their joints' heatmaps are higher than this at their peaks.
        enlarge: pixels of the picture a heatmap pixel.
    """

    what: tuple[View, ...] | None = None
    frames: int | None = Field(None, ge=1)
    occlusions: tuple[str, ...] = ()
    seed: int = Field(0, ge=0)
    partition: PartitionLike = "upper_lower"
    bins: int = Field(16, ge=1, le=64)
    threshold: float = Field(5.0, ge=0, le=180)
    min_score: float = Field(0.0, ge=0, le=1)
    enlarge: int = Field(4, ge=1, le=16)

    @field_validator("what", mode="before")
    @classmethod
    def _known_views(cls, value: Any) -> Any:
        listed = _listed(value)
        for name in listed or ():
            if name not in VIEWS:
                raise ConfigError(f"there is no view {name!r}", how=suggest(str(name), VIEWS))
        return listed

    @field_validator("occlusions", mode="before")
    @classmethod
    def _known_occlusions(cls, value: Any) -> Any:
        listed = _listed(value)
        for name in listed or ():
            kind = name.removesuffix(_RESIZED)
            if kind not in OCCLUSION_TYPES:
                raise ConfigError(f"no occlusion {name!r}", how=suggest(kind, OCCLUSION_TYPES))
            if kind != name and kind not in ("top", "bottom"):
                raise ConfigError(f"{kind} leaves no rows to resize", how=f"write {kind}, or top:resized")
        return listed

    @field_validator("partition", mode="before")
    @classmethod
    def _known_partition(cls, value: Any) -> Any:
        resolve_partition(value, where="partition")
        return value

    @property
    def drawing(self) -> Drawing:
        """How frames are drawn."""
        alignment = AlignmentSettings(threshold=self.threshold, min_score=self.min_score)
        return Drawing(self.partition, alignment, self.bins, lines=self.what is None or "aligned" in self.what)

    def drawn_occlusions(self, name: str) -> dict[str, Occlusion]:
        """Each row's occlusion of the sequence of this name: a function of the seed and the name."""
        return {
            each: draw_occlusion(
                OcclusionSettings.parse(
                    {"types": {each.removesuffix(_RESIZED): 1.0}, "resize_visible": each.endswith(_RESIZED)},
                    where="occlusions",
                ),
                sequence_generator(self.seed, name),
            )
            for each in self.occlusions
        }


def _listed(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value
