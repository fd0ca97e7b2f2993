"""Video made worse on purpose, and made better for a pose estimator (artifact correction)."""

from gaitext.restoration.appearance import PictureChange
from gaitext.restoration.apply import (
    ApplyReport,
    ApplySettings,
    correct_dataset,
    correct_frames,
    correction_of_crops,
    load_correction,
)
from gaitext.restoration.corrector import Corrector, load_corrector
from gaitext.restoration.crops import CropReport, prepare_crops
from gaitext.restoration.degrade import Degraded, DegradeSettings, degrade_frames, degrade_video
from gaitext.restoration.objective import CorrectionObjective, CorrectionOutput
from gaitext.restoration.restored import Measured
from gaitext.restoration.restorer import RestorerRun, train_restorer
from gaitext.restoration.restorer_settings import RestorerConfig
from gaitext.restoration.settings import CorrectionConfig, CropSettings
from gaitext.restoration.targets import Pair, Targets, find_targets, pair_up
from gaitext.restoration.train import CorrectionRun, prepare_correction, prepare_crop_dataset, train_correction
from gaitext.restoration.videos import DegradeReport, degrade_dataset

__all__ = [
    "ApplyReport",
    "ApplySettings",
    "CorrectionConfig",
    "CorrectionObjective",
    "CorrectionOutput",
    "CorrectionRun",
    "Corrector",
    "CropReport",
    "CropSettings",
    "DegradeReport",
    "DegradeSettings",
    "Degraded",
    "Measured",
    "Pair",
    "PictureChange",
    "RestorerConfig",
    "RestorerRun",
    "Targets",
    "correct_dataset",
    "correct_frames",
    "correction_of_crops",
    "degrade_dataset",
    "degrade_frames",
    "degrade_video",
    "find_targets",
    "load_correction",
    "load_corrector",
    "pair_up",
    "prepare_correction",
    "prepare_crop_dataset",
    "prepare_crops",
    "train_correction",
    "train_restorer",
]
