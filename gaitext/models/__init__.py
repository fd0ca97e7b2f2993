"""Plain-torch gait networks: usable in a notebook, with no toolbox, no YAML, no GPU."""

from gaitext.models.gaitbase import GaitBase, GaitBaseOutput
from gaitext.models.gaitheat import GaitHeat, GaitHeatOutput
from gaitext.models.gaitpt import GaitPT
from gaitext.models.occlusion_evaluator import OcclusionEstimate, OcclusionEvaluator
from gaitext.models.rg_gait import RGGait, RGGaitOutput

__all__ = [
    "GaitBase",
    "GaitBaseOutput",
    "GaitHeat",
    "GaitHeatOutput",
    "GaitPT",
    "OcclusionEstimate",
    "OcclusionEvaluator",
    "RGGait",
    "RGGaitOutput",
]
