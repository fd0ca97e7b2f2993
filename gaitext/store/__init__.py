"""Sequences on disk, in the layout both toolboxes read.

A dataset is ``<root>/<id>/<type>/<view>/*.pkl``. Each pkl holds one array whose first axis is
time; all pkls of a leaf have the same length; a leaf's files are sorted by name and chosen by
position (docs/toolbox-contract.md). Files are written under a temporary name and renamed, so that a killed job
leaves either the whole file or none, and are read with an unpickler that knows arrays only. Besides the
toolboxes' own pickles there is a compact form, which they read as well (docs/storage.md).
"""

from gaitext.store.arrays import FORMS, Array, Form, map_sequence, open_sequence, read_sequence, write_sequence, writer
from gaitext.store.compact import CompactSequence, CompactWriter
from gaitext.store.files import (
    atomic_path,
    check_writable,
    clear_all_temporaries,
    clear_temporaries,
    disk_errors,
    is_full,
    is_unused,
    locked,
    locked_item,
    make_folder,
    only_one,
    write_json,
)
from gaitext.store.leaf import (
    Leaf,
    LeafWriter,
    choose,
    clear_staging,
    leaves,
    leaves_of_people,
    read_leaf,
    root_within,
    write_leaf,
)
from gaitext.store.partition import draw_partition, read_partition, write_partition
from gaitext.store.writing import FrameWriter, SequenceWriter

__all__ = [
    "FORMS",
    "Array",
    "CompactSequence",
    "CompactWriter",
    "Form",
    "FrameWriter",
    "Leaf",
    "LeafWriter",
    "SequenceWriter",
    "atomic_path",
    "check_writable",
    "choose",
    "clear_all_temporaries",
    "clear_staging",
    "clear_temporaries",
    "is_full",
    "is_unused",
    "leaves",
    "leaves_of_people",
    "locked",
    "locked_item",
    "make_folder",
    "map_sequence",
    "only_one",
    "open_sequence",
    "read_leaf",
    "read_partition",
    "read_sequence",
    "root_within",
    "write_json",
    "write_leaf",
    "write_sequence",
    "writer",
    "disk_errors",
    "draw_partition",
    "write_partition",
]
