"""Transforms that a host's YAML can name, and the functions behind them."""

from gaitext.transforms.heatmap import HeatmapFlip, HeatmapInput, HeatmapMerge
from gaitext.transforms.occlusion import OcclusionHeatmaps, OcclusionPoses, OcclusionSilhouettes
from gaitext.transforms.pose import PoseBoxInput, PoseFlip, PoseInput, PoseToAlignment
from gaitext.transforms.silhouette import SilhouetteInput
from gaitext.transforms.temporal import HeatmapReverse, PoseReverse

__all__ = [
    "PoseBoxInput",
    "HeatmapFlip",
    "HeatmapInput",
    "HeatmapMerge",
    "HeatmapReverse",
    "OcclusionHeatmaps",
    "OcclusionPoses",
    "OcclusionSilhouettes",
    "PoseFlip",
    "PoseInput",
    "PoseReverse",
    "PoseToAlignment",
    "SilhouetteInput",
]
