"""Video made worse on purpose, and made better for a pose estimator (artifact correction)."""

from gaitext.restoration.dataset import DegradeReport, degrade_dataset
from gaitext.restoration.degrade import Degraded, DegradeSettings, degrade_frames, degrade_video

__all__ = [
    "DegradeReport",
    "DegradeSettings",
    "Degraded",
    "degrade_dataset",
    "degrade_frames",
    "degrade_video",
]
