"""Reading video frame by frame: files through PyAV, folders of pictures through Pillow. Writing: gaitext.encoding.

Both (``pip install 'gaitext[video]'``) are imported when a function is called, so that the rest of
gaitext works without them.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Union

import numpy as np
import numpy.typing as npt

from gaitext.digests import digest, sha256
from gaitext.encoding import write_video
from gaitext.errors import VideoError, import_extra
from gaitext.frames import frame_files, frame_sizes, has_alpha, read_images

__all__ = [
    "VIDEO_SUFFIXES",
    "VideoInfo",
    "count_frames",
    "decode",
    "digest",
    "frame_times",
    "probe",
    "read_frames",
    "read_timed",
    "sha256",
    "write_video",
]

logger = logging.getLogger(__name__)

Frame = npt.NDArray[np.uint8]
#: A file, or one in memory.
_Readable = Union[Path, io.BytesIO]

#: Suffixes (lower case) by which a video is found in a folder; any file may be given by name.
VIDEO_SUFFIXES = frozenset(
    {".mp4", ".avi", ".mkv", ".mov", ".m4v", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".mts", ".3gp"}
)

_REENCODE = "copy or download the file again, or re-encode what is left of it (ffmpeg -i IN -c:v libx264 OUT.mp4)"


@dataclass(frozen=True)
class VideoInfo:
    """What a container says about its first video stream.

    Attributes:
        width, height: of the first frame as :func:`read_frames` returns it, that is after the
            rotation the file asks for. In a folder other frames may have other sizes.
        fps: average frames per second; 0.0 when the file does not say, and for folders.
        frames: number of frames, None when the file does not say (mkv, webm, raw streams).
        rate: ``fps`` exactly; 0 likewise.
        time_base: seconds a tick of its clock; 0 for folders.
        bits: of a sample; 8 in most videos. Frames are read as 8 bits whatever it is.
        alpha: whether there is transparency, which is dropped in reading; in a folder, in its first picture.
        audio: whether there is sound.
    """

    width: int
    height: int
    fps: float
    frames: int | None
    rate: Fraction = Fraction(0)
    time_base: Fraction = Fraction(0)
    bits: int = 8
    alpha: bool = False
    audio: bool = False


def probe(path: str | Path) -> VideoInfo:
    """Read a video's size, rate and length without decoding more than its first frame.

    Args:
        path: a video file, or a folder of pictures (:mod:`gaitext.frames`).

    Raises:
        VideoError: no such file, not a video, or the first frame does not decode.
        MissingDependencyError: PyAV is not installed.
    """
    path = Path(path)
    if path.is_dir():
        files = frame_files(path)
        ((width, height),) = frame_sizes(path, (0,))
        return VideoInfo(width, height, 0.0, len(files), alpha=has_alpha(files[0]))
    with _open(path) as (container, stream):
        first = next(_decoded(container, stream, path), None)
        if first is None:
            raise VideoError("holds no frame that decodes", where=path, how=_REENCODE)
        height, width = (first.height, first.width)
        if _display(first)[0]:
            height, width = width, height
        components = first.format.components
        return VideoInfo(
            width,
            height,
            float(stream.average_rate or 0),
            stream.frames or None,
            rate=stream.average_rate or Fraction(0),
            time_base=stream.time_base or Fraction(0),
            bits=max(component.bits for component in components),
            # FFmpeg's own decoders of VP8 and VP9 leave alpha out; WebM says that it is there.
            alpha=any(component.is_alpha for component in components) or stream.metadata.get("alpha_mode") == "1",
            audio=bool(container.streams.audio),
        )


def read_frames(path: str | Path, indices: Collection[int] | None = None) -> Iterator[tuple[int, Frame]]:
    """Decode a video in presentation order, one frame in memory at a time.

    Rotation and mirroring that the container asks for (phones) are applied. Colours are converted
    with the matrix the stream names.

    Args:
        path: any file FFmpeg reads; its first video stream is used. Or a folder of pictures in
            natural order of their names (:func:`gaitext.frames.read_images`).
        indices: yield only these frames (counted from 0) and stop after the last of them; the
            others are decoded, which in a video they must be, but not converted. None yields all.

    Yields:
        (index, RGB uint8 [H, W, 3]), index counted from 0.

    Raises:
        VideoError: no such file; not a video; a frame that does not decode or decodes damaged; an
            end before the container's own frame count or duration. Each names the file and the
            frame reached. What was yielded before is good.
        MissingDependencyError: PyAV is not installed.

    Example:
        >>> for index, frame in read_frames("walk.mp4"):  # doctest: +SKIP
        ...     print(index, frame.shape)
    """
    path = Path(path)
    if path.is_dir():
        yield from read_images(path, indices)
        return
    last = None if indices is None else max(indices, default=-1)
    for index, frame in _all_frames(path, last):
        if indices is None or index in indices:
            yield index, _upright(frame)


def read_timed(path: str | Path) -> Iterator[tuple[Fraction | None, Frame]]:
    """:func:`read_frames` with the time at which each frame is shown.

    Yields:
        (seconds since the first frame, RGB uint8 [H, W, 3]). The time is None where the file does
        not say it, and in folders.

    Raises:
        VideoError, MissingDependencyError: as :func:`read_frames`.
    """
    path = Path(path)
    if path.is_dir():
        yield from ((None, frame) for _, frame in read_images(path))
        return
    for seconds, frame in _timed(path):
        yield seconds, _upright(frame)


def frame_times(path: str | Path) -> Iterator[Fraction | None]:
    """The times of :func:`read_timed` alone; the frames are decoded for it, but not converted."""
    path = Path(path)
    yield from (None for _ in frame_files(path)) if path.is_dir() else (seconds for seconds, _ in _timed(path))


def _timed(path: Path) -> Iterator[tuple[Fraction | None, Any]]:
    begin = None
    for _, frame in _all_frames(path, None):
        shown = None if frame.pts is None or frame.time_base is None else frame.pts * Fraction(frame.time_base)
        begin = shown if begin is None else begin
        yield None if shown is None or begin is None else shown - begin, frame


def decode(content: bytes) -> Iterator[Frame]:
    """The frames of a video in memory, as :func:`read_frames` gives those of a file: RGB uint8 [H, W, 3].

    Raises:
        VideoError: not a video, or a frame that does not decode.
        MissingDependencyError: PyAV is not installed.
    """
    for _, frame in _all_frames(io.BytesIO(content), None):
        yield _upright(frame)


def count_frames(path: str | Path) -> int:
    """How many frames :func:`read_frames` yields: the files of a folder; a video is decoded for it.

    Containers may say a number, but a clip trimmed without re-encoding has fewer.

    Raises:
        VideoError: as :func:`read_frames`.
    """
    path = Path(path)
    return len(frame_files(path)) if path.is_dir() else sum(1 for _ in _all_frames(path, None))


def _all_frames(path: _Readable, last: int | None) -> Iterator[tuple[int, Any]]:
    """(index, PyAV frame) up to ``last``, or of all frames, which must be as many as promised."""
    count, end = 0, None
    with _open(path) as (container, stream):
        for frame in _decoded(container, stream, path):
            if last is not None and count > last:
                return
            yield count, frame
            if frame.pts is not None:
                end = frame.pts + (getattr(frame, "duration", None) or 0)
            count += 1
        if count == 0:
            raise VideoError("holds no frame that decodes", where=path, how=_REENCODE)
        if last is not None and count > last:
            return
        stated = _ended_early(container, stream, count, end)
        if stated:
            raise VideoError(f"ends early: frame {count} is the last of {stated}", where=path, how=_REENCODE)


@contextmanager
def _open(path: _Readable) -> Iterator[tuple[Any, Any]]:
    av = import_extra("av", "video", "reading a video")
    if isinstance(path, Path):
        if not path.is_file():
            raise VideoError("no such file", where=path, how="check the path of the video")
        if path.stat().st_size == 0:
            raise VideoError("is empty", where=path, how="copy or download the file again")
    try:
        container = av.open(str(path) if isinstance(path, Path) else path)
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(
            f"cannot be opened as a video ({_why(error)})",
            where=path,
            how="it is no video, or was cut short: " + _REENCODE,
        ) from error
    with container:
        if not container.streams.video:
            raise VideoError("has no video stream", where=path, how="give a file with pictures in it")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        if stream.codec_context.name == "mjpeg":
            # This decoder marks no frame as damaged: it fails, or conceals.
            stream.codec_context.options = {"err_detect": "explode"}
        # Worker processes share the cores; this says how many are for each (0: as many as there are).
        threads = os.environ.get("OMP_NUM_THREADS", "")
        stream.codec_context.thread_count = int(threads) if threads.isdigit() else 0
        yield container, stream


def _decoded(container: Any, stream: Any, where: object) -> Iterator[Any]:
    """The stream's frames, decoding errors turned into ours."""
    av = import_extra("av", "video", "reading a video")
    frames = container.decode(stream)
    count = 0
    while True:
        try:
            frame = next(frames)
        except StopIteration:
            return
        except (av.error.FFmpegError, OSError) as error:
            what = f"cannot be decoded after frame {count} ({_why(error)})"
            raise VideoError(what, where=where, how=_REENCODE) from error
        if frame.is_corrupt:
            # The decoder has guessed the missing parts: poses found there would be made up.
            raise VideoError(f"frame {count + 1} is damaged", where=where, how=_REENCODE)
        yield frame
        count += 1


def _why(error: Exception) -> str:
    """FFmpeg's reason without its number and the name of its function."""
    return str(getattr(error, "strerror", None) or error)


def _display(frame: Any) -> tuple[bool, bool, bool]:
    """What brings a frame upright: transpose, then mirror left-right, then top-bottom.

    The display matrix maps stored (x, y) to shown (a·x + c·y, b·x + d·y), in 16.16 fixed point.
    It is read here rather than as an angle, which would lose a mirroring.
    """
    for data in frame.side_data:
        if getattr(data.type, "name", data.type) == "DISPLAYMATRIX":
            a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
            if abs(b) > abs(a):
                return True, c < 0, b < 0
            return False, a < 0, d < 0
    return False, False, False


def _upright(frame: Any) -> Frame:
    image: Frame = frame.to_ndarray(format="rgb24")
    transpose, mirror, flip = _display(frame)
    if transpose:
        image = image.swapaxes(0, 1)
    if mirror:
        image = image[:, ::-1]
    if flip:
        image = image[::-1]
    return np.ascontiguousarray(image)


def _ended_early(container: Any, stream: Any, count: int, end: int | None) -> int:
    """The number of frames the container promised, if fewer were decoded; else 0."""
    rate = stream.average_rate
    missing = None  # frames' worth of time between the last frame's end and the stated end
    if rate and end is not None:
        duration = stream.duration
        if duration is None and "DURATION" in stream.metadata:  # Matroska's per-stream tag
            hours, minutes, seconds = stream.metadata["DURATION"].split(":")
            duration = float((int(hours) * 60 + int(minutes)) * 60 + Fraction(seconds)) / stream.time_base
        if duration is not None:
            missing = float((duration + (stream.start_time or 0) - end) * stream.time_base * rate)
    if stream.frames:
        if count >= stream.frames:
            return 0
        # An edit list (a clip trimmed without re-encoding) hides frames that mp4's count includes;
        # the duration then says that all is there.
        trimmed = "mp4" in container.format.name and missing is not None and missing < 0.5
        return 0 if trimmed else stream.frames
    return count + round(missing) if missing is not None and missing > 1.5 else 0
