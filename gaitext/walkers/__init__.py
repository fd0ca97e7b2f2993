"""Walkers: synthetic gait, from anthropometry and joint angles to heatmaps and video on disk.

:func:`make_walk` makes one walk, :func:`make_company` several that cross, :class:`Scene` their frames in pixels,
:func:`observe` what a pose estimator sees of a walk, and :func:`write_dataset` a data set in the toolboxes' layout.
Identity is in how a body is built and how it moves, and nowhere else: clothes, limb thickness, camera and noise are
drawn per walk from other generators.
"""

from gaitext.store.contract import PROTOCOLS
from gaitext.walkers.company import make_company
from gaitext.walkers.covariates import COVARIATES, Clothes
from gaitext.walkers.dataset import Written, dataset_bytes, normalise_silhouette, write_dataset
from gaitext.walkers.observation import Observation, observe
from gaitext.walkers.scene import Scene
from gaitext.walkers.settings import CONTENT, CameraSettings, VideoSettings, WalkerSettings
from gaitext.walkers.walk import Walk, make_walk

__all__ = [
    "CONTENT",
    "COVARIATES",
    "PROTOCOLS",
    "CameraSettings",
    "Clothes",
    "Observation",
    "Scene",
    "VideoSettings",
    "Walk",
    "WalkerSettings",
    "Written",
    "dataset_bytes",
    "make_company",
    "make_walk",
    "normalise_silhouette",
    "observe",
    "write_dataset",
]
