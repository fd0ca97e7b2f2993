"""The poses beside heatmaps, from a tree that `gaitext extract` or `gaitext walkers` made."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gaitext.errors import DataError
from gaitext.extraction.prepare.found import Clip, Found
from gaitext.extraction.prepare.poses.frames import JOINTS, Poses, Unusable, read_source
from gaitext.store import leaves, read_sequence
from gaitext.walkers.settings import SEQUENCE_NAMES

__all__ = ["find_heatmap_poses", "read_heatmap_poses"]

_FILE = f"{SEQUENCE_NAMES['poses_frame']}.pkl"


def find_heatmap_poses(root: Path) -> Found:
    """The leaves below ``root/sequences``, or ``root``, that hold ``2_poses_frame.pkl``.

    Raises:
        DataError: none does.
    """
    tree = root / "sequences" if (root / "sequences").is_dir() else root
    clips, left_out = [], {}
    for leaf in leaves(tree):
        file = leaf.path / _FILE
        if file.is_file() or file.is_symlink():
            clips.append(Clip(leaf.identity, leaf.type, leaf.view, file))
        else:
            left_out[str(leaf.path)] = f"has no {_FILE}"
    if not clips:
        raise DataError(
            f"holds no poses as <id>/<type>/<view>/{_FILE}", where=root, how="give the sequences that extract made"
        )
    return Found(clips, [], left_out)


def read_heatmap_poses(clip: Clip) -> Poses:
    """A leaf's poses; nothing in the file is run.

    Raises:
        DataError: it cannot be read. Unusable: it holds something else than poses.
    """
    read_source(clip.source)
    try:
        frames = np.asarray(read_sequence(clip.source))
    except DataError as error:
        raise Unusable(error.what, where=error.where, how=error.how) from error
    if frames.ndim != 3 or frames.shape[1:] != (JOINTS, 3) or frames.dtype.kind not in "fiu":
        raise Unusable(f"holds {frames.dtype} {list(frames.shape)}, not poses [T, {JOINTS}, 3]", where=clip.source)
    return Poses(frames.astype(np.float32))
