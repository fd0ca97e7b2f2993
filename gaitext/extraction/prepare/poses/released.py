"""The datasets that release poses: what finds their sequences, what reads one, who trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gaitext.errors import ConfigError
from gaitext.extraction.prepare.found import Clip, Found
from gaitext.extraction.prepare.poses.casia_b import find_casia_b_poses, read_casia_b_poses
from gaitext.extraction.prepare.poses.frames import Poses
from gaitext.extraction.prepare.poses.gait3d import find_gait3d_poses, read_gait3d_poses
from gaitext.extraction.prepare.poses.grew import find_grew_poses, read_grew_poses
from gaitext.extraction.prepare.poses.heatmaps import find_heatmap_poses, read_heatmap_poses
from gaitext.extraction.prepare.poses.psymo import find_psymo
from gaitext.extraction.prepare.poses.psymo_json import read_psymo
from gaitext.extraction.prepare.poses.split import PSYMO_SPLIT, Split, psymo_identity, read_split, toolbox_split
from gaitext.extraction.prepare.published import CASIA_B_SPLIT

__all__ = ["POSES", "Released"]


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
    "grew-poses": Released(find_grew_poses, read_grew_poses, _toolbox_file("GREW"), 1),
    "gait3d-poses": Released(find_gait3d_poses, read_gait3d_poses, _toolbox_file("Gait3D"), 1),
    "heatmap-poses": Released(find_heatmap_poses, read_heatmap_poses, _beside, 1),
}
