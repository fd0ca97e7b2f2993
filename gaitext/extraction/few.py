"""A few frames of a video, extracted to be looked at."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import get_args

import numpy as np

from gaitext.errors import DataError
from gaitext.execution.stages import ahead
from gaitext.extraction.clips import Content, ExtractSettings
from gaitext.extraction.detect import Detector, load_detector
from gaitext.extraction.extract import extract_video
from gaitext.extraction.tracker import Track
from gaitext.pose import PoseEstimator
from gaitext.segmentation import Segmenter
from gaitext.video import count_frames, read_frames
from gaitext.video.frames import middles

#: Frames looked at for every one that is wanted: in some of them there is nobody.
_LOOKED_AT = 3


def extract_few(
    video: str | Path,
    out: str | Path,
    frames: int = 4,
    *,
    content: tuple[Content, ...] = get_args(Content),
    estimator: str | PoseEstimator = "movenet",
    detector: str | Detector = "bundled",
    segmenter: str | Segmenter = "bundled",
    progress: Callable[[int, int | None], None] | None = None,
) -> Path:
    """Extract some frames of the largest person in each, without following anybody: a leaf to look at, not to train on.

    Persons are looked for in three times as many frames, evenly spread over the video, and of those in which somebody
    is found, ``frames`` are taken, evenly spread again. Who is largest may be somebody else in another frame.

    Args:
        video: a video file, or a folder of pictures.
        out: folder to write to, as :func:`~gaitext.extraction.extract_video` does.
        frames: how many, at most.
        content: which of a leaf's files are written.
        estimator, detector, segmenter: as for :func:`~gaitext.extraction.extract_dataset`.
        progress: called with (frames done, frames to do).

    Returns:
        The leaf's folder.

    Raises:
        DataError: nobody is found, or no frame's keypoints score enough.
        VideoError: the video cannot be read.
    """
    count = count_frames(video)
    wanted = _spread(list(range(count)), _LOOKED_AT * frames)
    finder = load_detector(detector) if isinstance(detector, str) else detector
    boxes: dict[int, tuple[tuple[float, ...], float | None]] = {}
    with closing(ahead(read_frames(video, frozenset(wanted)))) as read:
        for done, (index, frame) in enumerate(read, 1):
            found = np.asarray(finder.detect([frame])[0], np.float64).reshape(-1, 5)
            if len(found):
                largest = found[(found[:, 2] * found[:, 3]).argmax()]
                boxes[index + 1] = (tuple(largest[:4].tolist()), float(largest[4]))
            if progress is not None:
                progress(done, len(wanted))
    if not boxes:
        raise DataError(
            f"nobody was found in {len(wanted)} of its {count} frames",
            where=video,
            how="extract it with boxes of your own (gaitext extract --boxes), and show what that writes",
        )
    track = Track.of(1, {number: boxes[number] for number in _spread(sorted(boxes), frames)})
    settings = ExtractSettings(min_frames=1, content=content)
    report = extract_video(video, {1: track}, estimator, out, settings, segmenter=segmenter)
    return Path(out) / "sequences" / next(iter(report.written))


def _spread(numbers: list[int], most: int) -> list[int]:
    """At most so many of the numbers: the middles of equal parts."""
    return [numbers[place] for place in middles(len(numbers), min(most, len(numbers)))]
