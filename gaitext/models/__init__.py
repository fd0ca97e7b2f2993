"""Plain-torch gait networks: usable in a notebook, with no toolbox, no YAML, no GPU."""

from gaitext.models.fbcnn import FBCNN, FixedFBCNN, load_fbcnn
from gaitext.models.gaitbase import GaitBase, GaitBaseOutput
from gaitext.models.gaitheat import GaitHeat, GaitHeatOutput
from gaitext.models.gaitpt import GaitPT
from gaitext.models.occlusion_evaluator import OcclusionEstimate, OcclusionEvaluator
from gaitext.models.pretrained import from_pretrained
from gaitext.models.rg_gait import MimicGait, MimicGaitOutput, RGGait, RGGaitOutput
from gaitext.models.tiling import Tiles

__all__ = [
    "FBCNN",
    "FixedFBCNN",
    "GaitBase",
    "GaitBaseOutput",
    "GaitHeat",
    "GaitHeatOutput",
    "GaitPT",
    "MimicGait",
    "MimicGaitOutput",
    "OcclusionEstimate",
    "OcclusionEvaluator",
    "RGGait",
    "RGGaitOutput",
    "Tiles",
    "from_pretrained",
    "load_fbcnn",
]
