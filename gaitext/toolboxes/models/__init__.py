"""One adapter per network, each in a file of its own: what it reads from a host's batch and which losses it feeds."""

from gaitext.toolboxes.models.gaitheat import GaitHeatAdapter
from gaitext.toolboxes.models.gaitpt import GaitPTAdapter

__all__ = ["GaitHeatAdapter", "GaitPTAdapter"]
