"""Poses with one text a frame, as GREW and Gait3D are released: numbers with commas between.

GREW's 2D poses: ``<number>_2d_pose.txt`` beside the silhouettes of train, gallery and probe.

Gait3D's 2D poses: ``2D_Poses/<id>/<camid_videoid>/<seq>/human_crop_f<number>.txt``.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from gaitext.errors import DataError
from gaitext.extraction.prepare.items import Clip, Found, folders
from gaitext.extraction.prepare.poses.frames import JOINTS, Array, FrameError, Poses, Unusable, joints, read_source
from gaitext.video.frames import natural_key

__all__ = [
    "find_gait3d_poses",
    "find_grew_poses",
    "parse",
    "read_frames",
    "read_gait3d_poses",
    "read_grew_poses",
    "text_frames",
]


#: Of a frame's text.
_LARGEST = 1 << 16


def parse(text: bytes, before: int = 0) -> Array:
    """Joints [17, 3] of numbers with commas or white space between; an empty field is NaN.

    Args:
        before: how many numbers may stand in front of the 51.

    Raises:
        FrameError: another count, or what is no number.
    """
    fields = [field.strip(b" \t\r\n\"'") for field in text.strip().split(b",")]
    if len(fields) == 1:
        fields = text.split()
    try:
        numbers = [float(field) if field else float("nan") for field in fields]
    except ValueError as error:
        raise FrameError(f"holds what is no number ({str(error)[:60]})") from error
    if len(numbers) == before + 3 * JOINTS:
        numbers = numbers[before:]
    return joints(numbers)


def text_frames(folder: Path, ending: str) -> list[str]:
    """Names of the frames' texts in a folder, in frame order.

    Raises:
        DataError: it cannot be listed.
    """
    try:
        names = [n for n in os.listdir(folder) if n.endswith(ending) and not n.startswith(".")]
    except OSError as error:
        raise DataError(f"cannot be listed ({error.strerror})", where=folder) from error
    return sorted(names, key=natural_key)


def read_frames(clip: Clip, ending: str) -> Poses:
    """The frames of a folder, in natural order of their names.

    A text holds 51 numbers, or two more in front of them (of the picture; not used). An empty one
    is an empty frame.

    Raises:
        DataError: a text cannot be read.
    """
    poses = Poses(np.zeros((0, JOINTS, 3), np.float32))
    frames = []
    for name in text_frames(clip.source, ending):
        path = clip.source / name
        try:
            text = read_source(path, _LARGEST)
            if text.strip():
                frames.append(parse(text, before=2))
            else:
                poses.counts["empty frames"] += 1
        except FrameError as error:
            poses.note("malformed frames", f"{path} {error}")
        except Unusable as error:
            poses.note("malformed frames", error)
    if frames:
        poses.frames = np.stack(frames)
    return poses


_GREW = "_2d_pose.txt"


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
        if text_frames(clip.source, _GREW):
            found.append(clip)
        else:
            left_out[str(clip.source)] = f"holds no *{_GREW}"
    if not found:
        raise DataError(
            f"holds no poses as train/<id>/<seq>/*{_GREW} or test/gallery/<id>/<seq>/*{_GREW}",
            where=root,
            how="give the folder that holds train and test, unpacked",
        )
    return Found(found, [], left_out)


def _inside(folder: Path) -> list[Path]:
    return folders(folder) if folder.is_dir() else []


def read_grew_poses(clip: Clip) -> Poses:
    """See :func:`~gaitext.extraction.prepare.poses.text.read_frames`."""
    return read_frames(clip, _GREW)


_GAIT3D = ".txt"


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
                if text_frames(sequence, _GAIT3D):
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
    return read_frames(clip, _GAIT3D)
