"""One seam for work over many sequences: extract, degrade, correct, prepare, walkers.

:func:`map_sequences` runs a picklable function over items, in this process, in a pool of processes
or over a Ray cluster, shows progress, and returns every outcome: nothing is skipped silently, and
nothing is lost with a worker that dies. Resuming is the caller's: it leaves out items whose output
already stands (outputs are written atomically, see :mod:`gaitext.store`).
"""

from gaitext.execution.actors import Engine, parse_engine
from gaitext.execution.processes import cores
from gaitext.execution.sequences import Shard, map_sequences, parse_shard, progress
from gaitext.execution.workers import Outcome, RemoteError, raise_failures, worker_index

__all__ = [
    "Engine",
    "Outcome",
    "RemoteError",
    "Shard",
    "cores",
    "map_sequences",
    "parse_engine",
    "parse_shard",
    "progress",
    "raise_failures",
    "worker_index",
]
