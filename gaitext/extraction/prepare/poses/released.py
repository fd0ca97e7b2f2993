"""The datasets that release poses: what finds their sequences, what reads one, who trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from gaitext.errors import ConfigError, DataError
from gaitext.extraction.prepare.items import Clip, Found
from gaitext.extraction.prepare.poses.casia_b import find_casia_b_poses, read_casia_b_poses
from gaitext.extraction.prepare.poses.frames import JOINTS, Poses, Unusable, read_source
from gaitext.extraction.prepare.poses.psymo import find_psymo, read_psymo
from gaitext.extraction.prepare.poses.split import PSYMO_SPLIT, Split, psymo_identity, read_split, toolbox_split
from gaitext.extraction.prepare.poses.text import GAIT3D, GREW, find_gait3d_poses, find_grew_poses, read_texts
from gaitext.extraction.prepare.published import CASIA_B_SPLIT
from gaitext.store import leaves, read_sequence
from gaitext.store.contract import POSES_FRAME

__all__ = ["POSES", "Released", "find_heatmap_poses", "read_heatmap_poses"]


def find_heatmap_poses(root: Path) -> Found:
    """The poses beside heatmaps, below ``root/sequences`` or ``root``: leaves that extract or walkers made."""
    tree = root / "sequences" if (root / "sequences").is_dir() else root
    clips, left_out = [], {}
    for leaf in leaves(tree):
        file = leaf.path / POSES_FRAME.file
        if file.is_file() or file.is_symlink():
            clips.append(Clip(leaf.identity, leaf.type, leaf.view, file))
        else:
            left_out[str(leaf.path)] = f"has no {POSES_FRAME.file}"
    if not clips:
        raise DataError(
            f"holds no poses as <id>/<type>/<view>/{POSES_FRAME.file}",
            where=root,
            how="give the sequences that extract made",
        )
    return Found(clips, left_out=left_out)


def read_heatmap_poses(clip: Clip) -> Poses:
    """A leaf's poses; nothing in the file is run."""
    read_source(clip.source)
    try:
        frames = np.asarray(read_sequence(clip.source))
    except DataError as error:
        raise Unusable(error.what, where=error.where, how=error.how) from error
    if frames.ndim != 3 or frames.shape[1:] != (JOINTS, 3) or frames.dtype.kind not in "fiu":
        raise Unusable(f"holds {frames.dtype} {list(frames.shape)}, not poses [T, {JOINTS}, 3]", where=clip.source)
    return Poses(frames.astype(np.float32))


@dataclass(frozen=True)
class Released:
    """One of them.

    Attributes:
        find: the sequences below a folder.
        read: one of them. Raises DataError where it cannot, Unusable where it is malformed.
        split: the sets by default, given the folder. Raises ConfigError where there are none.
        min_frames: sequences of fewer frames are left out by default. Where a protocol wants an
            answer for every sequence it is 1.
        takes_file: whether a file may stand for the folder.
    """

    find: Callable[[Path], Found]
    read: Callable[[Clip], Poses]
    split: Callable[[Path], Split]
    min_frames: int
    takes_file: bool = False


def _toolbox_file(name: str) -> Callable[[Path], Split]:
    def split(root: Path) -> Split:
        raise ConfigError(
            f"{name} needs a partition",
            where="prepare",
            how=f"give --partition; both toolboxes have one in datasets/{name}/{name}.json",
        )

    return split


def _beside(root: Path) -> Split:
    """The partition that `gaitext walkers` and `prepare` write beside their tree."""
    for folder in (root, root.parent):
        if (folder / "partition.json").is_file():
            return toolbox_split(folder / "partition.json")
    raise ConfigError(f"there is no partition.json in {root} or beside it", where="prepare", how="give --partition")


POSES: dict[str, Released] = {
    "psymo": Released(find_psymo, read_psymo, lambda root: read_split(PSYMO_SPLIT, psymo_identity), 10),
    "casia-b-poses": Released(
        find_casia_b_poses, read_casia_b_poses, lambda root: Split(*CASIA_B_SPLIT), 10, takes_file=True
    ),
    "grew-poses": Released(find_grew_poses, partial(read_texts, ending=GREW), _toolbox_file("GREW"), 1),
    "gait3d-poses": Released(find_gait3d_poses, partial(read_texts, ending=GAIT3D), _toolbox_file("Gait3D"), 1),
    "heatmap-poses": Released(find_heatmap_poses, read_heatmap_poses, _beside, 1),
}
