"""Sequences on disk, in the layout both toolboxes read.

A dataset is ``<root>/<id>/<type>/<view>/*.pkl``. Each pkl holds one array whose first axis is
time; all pkls of a leaf have the same length; a leaf's files are sorted by name and chosen by
position (spec §5). Files are written under a temporary name and renamed, so that a killed job
leaves either the whole file or none, and are read with an unpickler that knows arrays only.
"""

from gaitext.store.arrays import Array, read_sequence, write_sequence
from gaitext.store.files import atomic_path, write_json
from gaitext.store.leaf import Leaf, choose, clear_staging, leaves, read_leaf, write_leaf
from gaitext.store.partition import read_partition

__all__ = [
    "Array",
    "Leaf",
    "atomic_path",
    "choose",
    "clear_staging",
    "leaves",
    "read_leaf",
    "read_partition",
    "read_sequence",
    "write_json",
    "write_leaf",
    "write_sequence",
]
