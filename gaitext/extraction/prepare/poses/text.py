"""Poses with one text a frame, as GREW and Gait3D are released: numbers with commas between.

* GREW's 2D poses are ``<number>_2d_pose.txt`` beside the silhouettes of train, gallery and probe;
* Gait3D's are ``2D_Poses/<id>/<camid_videoid>/<seq>/human_crop_f<number>.txt``.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from gaitext.errors import DataError
from gaitext.extraction.prepare.items import Clip, Found, folders, views
from gaitext.extraction.prepare.poses.frames import JOINTS, Array, FrameError, Poses, Unusable, joints, read_source
from gaitext.video.frames import natural_key

#: How the names of the frames' texts end.
GREW, GAIT3D = "_2d_pose.txt", ".txt"
#: Of a frame's text, bytes.
_LARGEST = 1 << 16


def parse_joints(text: bytes, before: int = 0) -> Array:
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


def _texts(folder: Path, ending: str) -> list[str]:
    """Names of the frames' texts in a folder, in frame order."""
    try:
        names = [n for n in os.listdir(folder) if n.endswith(ending) and not n.startswith(".")]
    except OSError as error:
        raise DataError(f"cannot be listed ({error.strerror})", where=folder) from error
    return sorted(names, key=natural_key)


def read_texts(clip: Clip, ending: str) -> Poses:
    """The frames of a folder, in natural order of their names.

    A text holds 51 numbers, or two more in front of them (of the picture; not used). An empty one
    is an empty frame.
    """
    poses = Poses()
    frames = []
    for name in _texts(clip.source, ending):
        path = clip.source / name
        try:
            text = read_source(path, _LARGEST)
            if text.strip():
                frames.append(parse_joints(text, before=2))
            else:
                poses.counts["empty frames"] += 1
        except FrameError as error:
            poses.note("malformed frames", f"{path} {error}")
        except Unusable as error:
            poses.note("malformed frames", error)
    if frames:
        poses.frames = np.stack(frames)
    return poses


def find_grew_poses(root: Path) -> Found:
    """The sequences of ``train``, ``test/gallery`` and ``test/probe``, under the toolboxes' names.

    ``train/<id>/<seq>`` becomes ``<id>train/00/<seq>``; ``test/gallery/<id>/<seq>`` becomes
    ``<id>/01/<seq>``, ``<id>/02/<seq>``, … in the order of the sequences' names; ``test/probe/<seq>``
    becomes ``probe/03/<seq>``. Distractors are left out, as the toolboxes leave them.
    """
    train, gallery, probe = (
        folders(part) if part.is_dir() else []
        for part in (root / "train", root / "test" / "gallery", root / "test" / "probe")
    )
    clips = [Clip(f"{person.name}train", "00", walk.name, walk) for person in train for walk in folders(person)]
    for person in gallery:
        clips += [Clip(person.name, f"{place:02d}", walk.name, walk) for place, walk in enumerate(folders(person), 1)]
    clips += [Clip("probe", "03", walk.name, walk) for walk in probe]
    left_out = {str(clip.source): f"holds no *{GREW}" for clip in clips if not _texts(clip.source, GREW)}
    found = [clip for clip in clips if str(clip.source) not in left_out]
    if not found:
        raise DataError(
            f"holds no poses as train/<id>/<seq>/*{GREW} or test/gallery/<id>/<seq>/*{GREW}",
            where=root,
            how="give the folder that holds train and test, unpacked",
        )
    if (root / "distractor").is_dir():
        left_out = {str(root / "distractor"): "distractors are in neither set", **left_out}
    return Found(found, left_out=left_out)


def find_gait3d_poses(root: Path) -> Found:
    """The sequences below ``2D_Poses``, or below ``root`` itself; their coordinates are pixels of the person's crop."""
    found = list(views(root / "2D_Poses" if (root / "2D_Poses").is_dir() else root))
    left_out = {str(clip.source): "holds no text" for clip in found if not _texts(clip.source, GAIT3D)}
    clips = [clip for clip in found if str(clip.source) not in left_out]
    if not clips:
        raise DataError(
            "holds no poses as <id>/<camid_videoid>/<seq>/*.txt", where=root, how="give the folder 2D_Poses"
        )
    return Found(clips, left_out=left_out)
