"""GREW's 2D poses: ``<number>_2d_pose.txt`` beside the silhouettes of train, gallery and probe."""

from __future__ import annotations

from pathlib import Path

from gaitext.errors import DataError
from gaitext.extraction.prepare.found import Clip, Found, folders
from gaitext.extraction.prepare.poses.frames import Poses
from gaitext.extraction.prepare.poses.text import read_frames, text_frames

__all__ = ["find_grew_poses", "read_grew_poses"]

_ENDING = "_2d_pose.txt"


def find_grew_poses(root: Path) -> Found:
    """The sequences of ``train``, ``test/gallery`` and ``test/probe``, under the toolboxes' names.

    ``train/<id>/<seq>`` becomes ``<id>train/00/<seq>``; ``test/gallery/<id>/<seq>`` becomes
    ``<id>/01/<seq>``, ``<id>/02/<seq>``, … in the order of the sequences' names; ``test/probe/<seq>``
    becomes ``probe/03/<seq>``. Distractors are left out, as the toolboxes leave them.

    Raises:
        DataError: none there.
    """
    clips: list[Clip] = []
    left_out: dict[str, str] = {}
    for identity in _inside(root / "train"):
        for sequence in folders(identity):
            clips.append(Clip(f"{identity.name}train", "00", sequence.name, sequence))
    for identity in _inside(root / "test" / "gallery"):
        for place, sequence in enumerate(folders(identity), 1):
            clips.append(Clip(identity.name, f"{place:02d}", sequence.name, sequence))
    clips += [Clip("probe", "03", sequence.name, sequence) for sequence in _inside(root / "test" / "probe")]
    if (root / "distractor").is_dir():
        left_out[str(root / "distractor")] = "distractors are in neither set"
    found = []
    for clip in clips:
        if text_frames(clip.source, _ENDING):
            found.append(clip)
        else:
            left_out[str(clip.source)] = f"holds no *{_ENDING}"
    if not found:
        raise DataError(
            f"holds no poses as train/<id>/<seq>/*{_ENDING} or test/gallery/<id>/<seq>/*{_ENDING}",
            where=root,
            how="give the folder that holds train and test, unpacked",
        )
    return Found(found, [], left_out)


def _inside(folder: Path) -> list[Path]:
    return folders(folder) if folder.is_dir() else []


def read_grew_poses(clip: Clip) -> Poses:
    """See :func:`~gaitext.extraction.prepare.poses.text.read_frames`."""
    return read_frames(clip, _ENDING)
