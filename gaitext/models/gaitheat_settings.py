"""Typed settings of GaitHeat: every size and switch, with the published value as default."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from gaitext.config import Settings
from gaitext.skeleton import PartitionLike, joint_mirror, part_mirror, resolve_partition

#: The three heads of GaitHeat (Eq. 9).
Branch = Literal["local", "global", "fusion"]
Positive = Annotated[int, Field(ge=1)]


class AlignmentSettings(Settings):
    """Pose-guided heatmap alignment (PGHA, Eqs. 1–4).

    Attributes:
        enabled: False leaves every frame where it is (Table 5, "w/o PGHA").
        threshold: γ in degrees: frames leaning at least this much are aligned. 5 for CASIA-B
            and SUSTech1K, 20 for CCPG.
        probability: chance that a frame leaning less than γ is aligned too; in training only.
        anchor: P_align as (x, y) in heatmap pixels: where the neck lands.
        padding: what is sampled outside the map, ``border`` (release) or ``zeros``.
        keypoints: where neck and hip are read from: the ``heatmaps``' own maxima (paper), a
            stored pose sequence (``poses``), or ``matrices`` made by the transform
            ``PoseToAlignment``, whose anchor and min_score then count.
        pose_pixels: what stored poses are measured in: pixels of the ``heatmap``, or of the
            ``frame``, from which they are mapped through the crop boxes.
        merge: ``after`` aligns all joints' heatmaps, then merges them into parts (paper);
            ``before`` merges first, so that K + 1 maps are aligned and not 17; ``offline``
            takes K maps that the transform ``HeatmapMerge`` made (release). Maximum and
            bilinear sampling do not commute, so the three differ slightly.
        min_score: joints must score more than this to be trusted (a stored pose's score, or the
            height of a heatmap's peak as it comes from the estimator); a frame whose neck or
            hip cannot be trusted is left as it is. At 0 that is a channel without a peak; estimators
            leave small peaks for joints they did not find, so 0.1 to 0.2 may suit real data.
        attention: the summary's learned variant: keypoint-conditioned spatial attention per
            channel and a residual of the unaligned heatmap. Needs ``merge: after``.
    """

    enabled: bool = True
    threshold: float = Field(5.0, ge=0, le=180)
    probability: float = Field(0.2, ge=0, le=1)
    anchor: tuple[float, float] = (24.0, 16.0)
    padding: Literal["border", "zeros"] = "border"
    keypoints: Literal["heatmaps", "poses", "matrices"] = "heatmaps"
    pose_pixels: Literal["heatmap", "frame"] = "heatmap"
    merge: Literal["after", "before", "offline"] = "after"
    min_score: float = 0.0
    attention: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> AlignmentSettings:
        if self.enabled and self.merge == "offline" and self.keypoints == "heatmaps":
            raise ValueError(
                "maps merged offline hold no joints to align by: set keypoints to 'poses' or 'matrices', "
                "or enabled to false"
            )
        if self.attention and (self.merge != "after" or self.keypoints == "matrices" or not self.enabled):
            raise ValueError("attention needs merge: after, keypoints: heatmaps or poses, and enabled: true")
        return self

    @property
    def needs(self) -> Literal["poses", "matrices"] | None:
        """The second input that alignment reads, if any."""
        return self.keypoints if self.enabled and self.keypoints != "heatmaps" else None


class AugmentationSettings(Settings):
    """Random changes of whole sequences, in training only.

    They are drawn here, where all inputs of a sequence and its length are known, because the
    toolboxes transform heatmaps and poses independently and several sequences as one
    (docs/transforms.md).

    Attributes:
        mirror: chance that a sequence is mirrored, left and right joints swapped.
        reverse: chance that a sequence runs backwards. (GaitHeat itself is blind to order.)
    """

    mirror: float = Field(0.0, ge=0, le=1)
    reverse: float = Field(0.0, ge=0, le=1)


class GaitHeatSettings(Settings):
    """GaitHeat's ``model_cfg``.

    Attributes:
        class_num: identities in training, for the classifiers.
        partition: named partition (``gaitext.skeleton.PARTITIONS``), ``{part: [joints]}`` or
            ``[[joints], …]``. The release uses K = 2.
        branches: heads to train. ``fusion`` needs ``local`` or ``global`` beside it.
        alignment: see :class:`AlignmentSettings`.
        augmentation: see :class:`AugmentationSettings`.
        joints: heatmap channels V.
        map_size: heatmap (H, W).
        channels, blocks, strides: the four stages of the shared ResNet9.
        embedding_size: features of a part's embedding.
        bins: horizontal pyramid; the sum is the number of parts p.
        inference: the embedding compared at test, after the BNNeck (``bnneck``, release) or
            before it (``fc``).
        chunk: frames that go through the network at once in evaluation; bounds memory whatever
            the sequence's length. None: 16 on a CPU, whose caches hold them, 256 elsewhere.
    """

    class_num: int = Field(74, ge=1)
    partition: PartitionLike = "upper_lower"
    branches: tuple[Branch, ...] = ("local", "global", "fusion")
    alignment: AlignmentSettings = AlignmentSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    joints: int = Field(17, ge=1)
    map_size: tuple[Positive, Positive] = (64, 48)
    channels: tuple[Positive, Positive, Positive, Positive] = (64, 128, 256, 512)
    blocks: tuple[Positive, Positive, Positive, Positive] = (1, 1, 1, 1)
    strides: tuple[Positive, Positive, Positive, Positive] = (1, 2, 2, 1)
    embedding_size: int = Field(256, ge=1)
    bins: tuple[Positive, ...] = Field((16,), min_length=1)
    inference: Literal["bnneck", "fc"] = "bnneck"
    chunk: Positive | None = None

    @field_validator("bins", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int) else value

    @field_validator("partition", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        resolve_partition(value, where="model_cfg.partition")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> GaitHeatSettings:
        if not {"local", "global"} & set(self.branches):
            raise ValueError("branches must name 'local' or 'global': fusion fuses what they compute")
        if len(set(self.branches)) != len(self.branches):
            raise ValueError("branches are named twice")
        resolve_partition(self.partition, self.joints, where="model_cfg.partition")
        height = self.map_size[0]
        for stride in self.strides:
            height = -(-height // stride)
        wrong = [b for b in self.bins if height % b]
        if wrong:
            raise ValueError(f"bins: {wrong[0]} does not divide the last stage's {height} rows")
        if self.augmentation.mirror > 0:
            _ = self.mirror_order  # an error now, not at the first step
        return self

    @property
    def mirror_order(self) -> tuple[int, ...]:
        """How a mirrored walk's channels are permuted: joints, or parts merged offline."""
        if self.alignment.merge == "offline":
            return part_mirror(self.partition)
        return joint_mirror(self.joints)

    @property
    def parts(self) -> int:
        """p, the number of horizontal parts."""
        return sum(self.bins)
