"""Silhouettes as pictures, a folder for each sequence, as CASIA-B, OUMVLP and others release them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gaitext.errors import DataError
from gaitext.extraction.prepare.items import Clip, Found, find_own
from gaitext.extraction.prepare.poses.frames import Poses
from gaitext.segmentation import pretreat
from gaitext.store.contract import SILHOUETTES
from gaitext.video.frames import frame_files, read_images

#: Where CASIA-B's pictures lie.
PATTERN = "{id}/{type}/{view}"


def find_silhouettes(root: Path, pattern: str = PATTERN) -> Found:
    """The folders of pictures below ``root`` whose path fits ``pattern``, as :func:`find_own` reads it.

    OUMVLP's are ``Silhouette_{view}-{type}/{id}``. Videos are left out.

    Raises:
        ConfigError: a pattern without ``{id}``, or with other fields.
        DataError: nothing fits; a name that can be read in two ways; two folders for one sequence.
    """
    found = find_own(root, pattern)
    clips = [clip for clip in found.clips if clip.source.is_dir()]
    left_out = {str(clip.source): "is a video" for clip in found.clips if not clip.source.is_dir()}
    if not clips:
        raise DataError(
            f"holds no folders of pictures that fit {pattern}", where=root, how="give --pattern, such as '{id}/{view}'"
        )
    return Found(clips, left_out={**found.left_out, **left_out})


def read_silhouettes(clip: Clip) -> Poses:
    """A sequence's silhouettes by OpenGait's rule (:func:`gaitext.segmentation.pretreat`), uint8 [T, 64, 64].

    Pictures are read in natural order of their names; ``gei.png`` is passed over, as the average of the others.
    Frames that show nobody are left out and counted. A picture of 0 and 1 is taken for one of 0 and 255, and counted.

    Raises:
        VideoError: a picture cannot be read, or two stand for one frame.
    """
    result, frames = Poses(), []
    files = frame_files(clip.source)
    averages = {index for index, file in enumerate(files) if os.path.splitext(file.name)[0].lower() == "gei"}
    for index, picture in read_images(clip.source, frozenset(range(len(files))) - averages):
        grey = _grey(picture)
        if grey.max(initial=0) == 1:
            result.note("frames of 0 and 1, not 255", files[index])
            grey = grey * np.uint8(255)
        silhouette = pretreat(grey)
        if silhouette is None:
            result.note("frames that show nobody", files[index])
        else:
            frames.append(silhouette)
    result.frames = np.array(frames, np.uint8).reshape(-1, *SILHOUETTES.frame)  # type: ignore[assignment]
    return result


def _grey(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """RGB [H, W, 3] as grey [H, W], by the weights of ITU-R BT.601, as OpenCV reads pictures in grey."""
    if (picture == picture[..., :1]).all():
        return np.ascontiguousarray(picture[..., 0])
    weighted: npt.NDArray[np.float64] = picture @ np.array([0.299, 0.587, 0.114])
    return np.rint(weighted).astype(np.uint8)
