"""Plain-torch gait networks: usable in a notebook, with no toolbox, no YAML, no GPU."""

from gaitext.models.gaitheat import GaitHeat, GaitHeatOutput
from gaitext.models.gaitpt import GaitPT

__all__ = ["GaitHeat", "GaitHeatOutput", "GaitPT"]
