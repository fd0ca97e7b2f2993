"""Transforms that a host's YAML can name, and the functions behind them."""

from gaitext.transforms.correction import ArtifactCorrection
from gaitext.transforms.crop import CropInput
from gaitext.transforms.heatmap import HeatmapFlip, HeatmapInput, HeatmapMerge
from gaitext.transforms.heatmap_generation import HeatmapRegenerate, PoseToHeatmap
from gaitext.transforms.heatmap_pretreatment import HeatmapPretreatment
from gaitext.transforms.occlusion import OcclusionHeatmaps, OcclusionPoses, OcclusionSilhouettes
from gaitext.transforms.pose import PoseBoxInput, PoseFlip, PoseInput, PoseToAlignment
from gaitext.transforms.pose_augmentation import PoseJointNoise, PoseMirror, PosePointNoise
from gaitext.transforms.pose_layout import PoseNormalize, PoseOrder
from gaitext.transforms.silhouette import SilhouetteInput
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
