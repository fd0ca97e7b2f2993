"""gaitext: gait recognition from pose-estimator heatmaps, for OpenGait or on its own.

The package is a set of plain-torch networks, the transforms that feed them and
the tools that make their data, plugged into the toolboxes by a thin adapter.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("gaitext")
except PackageNotFoundError:  # a checkout that is on the path, but not installed
    __version__ = "0+unknown"
