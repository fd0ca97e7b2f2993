"""Gait3D's 2D poses: ``2D_Poses/<id>/<camid_videoid>/<seq>/human_crop_f<number>.txt``."""

from __future__ import annotations

from pathlib import Path

from gaitext.errors import DataError
from gaitext.extraction.prepare.found import Clip, Found, folders
from gaitext.extraction.prepare.poses.frames import Poses
from gaitext.extraction.prepare.poses.text import read_frames, text_frames

__all__ = ["find_gait3d_poses", "read_gait3d_poses"]

_ENDING = ".txt"


def find_gait3d_poses(root: Path) -> Found:
    """The sequences below ``2D_Poses``, or below ``root`` itself; their coordinates are pixels of the person's crop.

    Raises:
        DataError: none there.
    """
    poses = root / "2D_Poses" if (root / "2D_Poses").is_dir() else root
    clips, left_out = [], {}
    for identity in folders(poses):
        for camera in folders(identity):
            for sequence in folders(camera):
                if text_frames(sequence, _ENDING):
                    clips.append(Clip(identity.name, camera.name, sequence.name, sequence))
                else:
                    left_out[str(sequence)] = "holds no text"
    if not clips:
        raise DataError(
            "holds no poses as <id>/<camid_videoid>/<seq>/*.txt", where=root, how="give the folder 2D_Poses"
        )
    return Found(clips, [], left_out)


def read_gait3d_poses(clip: Clip) -> Poses:
    """See :func:`~gaitext.extraction.prepare.poses.text.read_frames`."""
    return read_frames(clip, _ENDING)
