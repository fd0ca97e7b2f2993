"""Transforms that a host's YAML can name, and the functions behind them."""

from gaitext.transforms.heatmap import (
    HeatmapFlip,
    HeatmapInput,
    HeatmapMerge,
    HeatmapPretreatment,
    HeatmapRegenerate,
    PoseToHeatmap,
)
from gaitext.transforms.images import ArtifactCorrection, CropInput, SilhouetteInput
from gaitext.transforms.occlusion import OcclusionHeatmaps, OcclusionPoses, OcclusionSilhouettes
from gaitext.transforms.pose import (
    PoseBoxInput,
    PoseFlip,
    PoseInput,
    PoseJointNoise,
    PoseMirror,
    PoseNormalize,
    PoseOrder,
    PosePointNoise,
    PoseToAlignment,
)
from gaitext.transforms.temporal import HeatmapReverse, PosePace, PoseReverse, PoseWindow

__all__ = [
    "ArtifactCorrection",
    "CropInput",
    "PoseBoxInput",
    "HeatmapFlip",
    "HeatmapInput",
    "HeatmapMerge",
    "HeatmapPretreatment",
    "HeatmapRegenerate",
    "HeatmapReverse",
    "OcclusionHeatmaps",
    "OcclusionPoses",
    "OcclusionSilhouettes",
    "PoseFlip",
    "PoseInput",
    "PoseJointNoise",
    "PoseMirror",
    "PoseNormalize",
    "PoseOrder",
    "PosePace",
    "PosePointNoise",
    "PoseReverse",
    "PoseToAlignment",
    "PoseToHeatmap",
    "PoseWindow",
    "SilhouetteInput",
]
