"""Pose estimators behind one small protocol, and the decoding of their heatmaps."""

from gaitext.pose.decoding import TEMPERATURE, decode_heatmaps, sharpened, soft_argmax
from gaitext.pose.estimator import (
    ESTIMATORS,
    HEATMAP_SHAPE,
    INPUT_SIZE,
    PoseEstimator,
    check_heatmaps,
    check_images,
    load_estimator,
    mirror_heatmaps,
)
from gaitext.pose.torch_estimator import Precision, TorchEstimator

__all__ = [
    "ESTIMATORS",
    "HEATMAP_SHAPE",
    "INPUT_SIZE",
    "PoseEstimator",
    "Precision",
    "TEMPERATURE",
    "TorchEstimator",
    "check_heatmaps",
    "check_images",
    "decode_heatmaps",
    "load_estimator",
    "mirror_heatmaps",
    "sharpened",
    "soft_argmax",
]
