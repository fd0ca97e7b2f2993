"""Plain-torch gait networks: usable in a notebook, with no toolbox, no YAML, no GPU."""

from gaitext.models.gaitheat import GaitHeat, GaitHeatOutput

__all__ = ["GaitHeat", "GaitHeatOutput"]
