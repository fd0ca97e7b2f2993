"""Pose estimators behind one small protocol, and the decoding of their heatmaps."""

from gaitext.pose.decode import decode_heatmaps
from gaitext.pose.estimator import (
    ESTIMATORS,
    HEATMAP_SHAPE,
    INPUT_SIZE,
    PoseEstimator,
    check_heatmaps,
    load_estimator,
)

__all__ = [
    "ESTIMATORS",
    "HEATMAP_SHAPE",
    "INPUT_SIZE",
    "PoseEstimator",
    "check_heatmaps",
    "decode_heatmaps",
    "load_estimator",
]
