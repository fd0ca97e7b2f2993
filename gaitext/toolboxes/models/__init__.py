"""One adapter per network, each in a file of its own: what it reads from a host's batch and which losses it feeds."""

from gaitext.toolboxes.models.artifact_corrector import ArtifactCorrectorAdapter
from gaitext.toolboxes.models.gaitbase import GaitBaseAdapter
from gaitext.toolboxes.models.gaitheat import GaitHeatAdapter
from gaitext.toolboxes.models.gaitpt import GaitPTAdapter
from gaitext.toolboxes.models.mimicgait import MimicGaitAdapter
from gaitext.toolboxes.models.rg_gait import RGGaitAdapter
from gaitext.toolboxes.models.rg_gait_oem import RGGaitOEMAdapter

__all__ = [
    "ArtifactCorrectorAdapter",
    "GaitBaseAdapter",
    "GaitHeatAdapter",
    "GaitPTAdapter",
    "MimicGaitAdapter",
    "RGGaitAdapter",
    "RGGaitOEMAdapter",
]
