"""Plain-torch gait networks: usable in a notebook, with no toolbox, no YAML, no GPU."""

from gaitext.models.fbcnn import FBCNN
from gaitext.models.fbcnn_fixed import FixedFBCNN
from gaitext.models.gaitheat import GaitHeat, GaitHeatOutput
from gaitext.models.gaitpt import GaitPT
from gaitext.models.tiling import Tiles

__all__ = ["FBCNN", "FixedFBCNN", "GaitHeat", "GaitHeatOutput", "GaitPT", "Tiles"]
