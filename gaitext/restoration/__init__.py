"""Video made worse on purpose, and made better for a pose estimator (artifact correction)."""

from gaitext.restoration.dataset import DegradeReport, degrade_dataset
from gaitext.restoration.degrade import Degraded, DegradeSettings, degrade_frames, degrade_video
from gaitext.restoration.objective import CorrectionObjective, CorrectionOutput
from gaitext.restoration.truth import Pair, pair_up

__all__ = [
    "CorrectionObjective",
    "CorrectionOutput",
    "DegradeReport",
    "DegradeSettings",
    "Degraded",
    "Pair",
    "degrade_dataset",
    "degrade_frames",
    "degrade_video",
    "pair_up",
]
