"""Reading and writing video frame by frame: files through PyAV, folders of pictures through Pillow.

Both (``pip install 'gaitext[video]'``) are imported when a function is called, so that the rest of
gaitext works without them.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitext.errors import GaitextError, VideoError, import_extra
from gaitext.frames import frame_files, frame_sizes, read_images
from gaitext.store import atomic_path

__all__ = ["VIDEO_SUFFIXES", "VideoInfo", "count_frames", "digest", "probe", "read_frames", "sha256", "write_video"]

logger = logging.getLogger(__name__)

Frame = npt.NDArray[np.uint8]

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
    """

    width: int
    height: int
    fps: float
    frames: int | None


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
        count = len(frame_files(path))
        ((width, height),) = frame_sizes(path, (0,))
        return VideoInfo(width, height, 0.0, count)
    with _open(path) as (container, stream):
        first = next(_decoded(container, stream, path), None)
        if first is None:
            raise VideoError("holds no frame that decodes", where=path, how=_REENCODE)
        height, width = (first.height, first.width)
        if _display(first)[0]:
            height, width = width, height
        return VideoInfo(width, height, float(stream.average_rate or 0), stream.frames or None)


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


def count_frames(path: str | Path) -> int:
    """How many frames :func:`read_frames` yields: the files of a folder; a video is decoded for it.

    Containers may say a number, but a clip trimmed without re-encoding has fewer.

    Raises:
        VideoError: as :func:`read_frames`.
    """
    path = Path(path)
    return len(frame_files(path)) if path.is_dir() else sum(1 for _ in _all_frames(path, None))


def _all_frames(path: Path, last: int | None) -> Iterator[tuple[int, Any]]:
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


def digest(path: str | Path) -> str:
    """Recognise a video wherever it is moved, without reading all of it.

    Of a file: a SHA-256 of its size, first and last mebibyte. Of a folder: of the names and sizes
    of its pictures, and of the first and the last picture whole.

    Raises:
        VideoError: nothing there, or a folder without pictures.
    """
    path = Path(path)
    if path.is_dir():
        files = frame_files(path)
        with _reading(path):
            listed = "".join(f"{file.name}\0{file.stat().st_size}\0" for file in files)
            hashed = hashlib.sha256(listed.encode(errors="surrogateescape"))
            for file in (files[0], files[-1]):
                hashed.update(file.read_bytes())
        return hashed.hexdigest()
    with _reading(path), path.open("rb") as stream:
        size = path.stat().st_size
        hashed = hashlib.sha256(str(size).encode())
        hashed.update(stream.read(1 << 20))
        stream.seek(max(size - (1 << 20), 0))
        hashed.update(stream.read())
    return hashed.hexdigest()


def sha256(path: str | Path) -> str:
    """SHA-256 of a video file (as ``sha256sum`` gives it), or of a folder's pictures.

    A folder's is of every picture's name, a zero byte, and the picture's own SHA-256 (64
    hexadecimal digits), in frame order.

    Raises:
        VideoError: nothing there, or a folder without pictures.
    """
    path = Path(path)
    hashed = hashlib.sha256()
    if path.is_dir():
        for file in frame_files(path):
            hashed.update(file.name.encode(errors="surrogateescape") + b"\0" + sha256(file).encode())
        return hashed.hexdigest()
    with _reading(path), path.open("rb") as stream:
        while block := stream.read(1 << 20):
            hashed.update(block)
    return hashed.hexdigest()


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise VideoError(f"cannot be read ({error.strerror})", where=path, how="check the path of the video") from error


def write_video(
    path: str | Path,
    frames: Iterable[npt.ArrayLike],
    *,
    fps: float | Fraction = 25,
    crf: float = 18,
    preset: str = "medium",
    gop: int | None = None,
    threads: int | None = None,
) -> int:
    """Encode frames as H.264 (libx264, yuv420p); the file appears whole or not at all.

    Args:
        path: its suffix chooses the container (``.mp4``, ``.mkv``, ``.avi``, …).
        frames: RGB uint8 [H, W, 3], all of one size, H and W even.
        fps: frames per second.
        crf: constant rate factor, 0 (lossless) to 51; larger is smaller and worse.
        preset: x264's trade of time for size.
        gop: frames between key frames; None leaves it to x264.
        threads: x264's; None lets it choose. Equal frames give equal files for equal numbers only.

    Returns:
        The number of frames written.

    Raises:
        VideoError: no frames, a frame of another size or type, an odd size, or a failing encoder.
        MissingDependencyError: PyAV is not installed.
    """
    av = import_extra("av", "video", "writing a video")
    path = Path(path)
    options = {"crf": f"{crf:g}", "preset": preset} | ({} if gop is None else {"g": str(gop)})
    options |= {} if threads is None else {"threads": str(threads)}
    # The index in front lets a file that was cut short be read up to the cut.
    container = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    stream: Any = None
    count = 0
    try:
        with atomic_path(path) as temporary, av.open(str(temporary), "w", options=container) as out:
            for array in frames:
                image = _checked(array, stream, count, path)
                if stream is None:
                    stream = out.add_stream("libx264", rate=Fraction(fps).limit_denominator(100_000))
                    stream.height, stream.width = image.shape[:2]
                    stream.pix_fmt = "yuv420p"
                    stream.options = options
                picture = av.VideoFrame.from_ndarray(image, format="rgb24")
                picture.pts = count
                picture.time_base = 1 / Fraction(stream.average_rate)
                out.mux(stream.encode(picture))
                count += 1
            if stream is None:
                raise VideoError("there are no frames to write", where=path)
            out.mux(stream.encode())
    except (av.error.FFmpegError, ValueError) as error:
        if isinstance(error, GaitextError):
            raise
        raise VideoError(f"frame {count + 1} cannot be written ({error})", where=path) from error
    return count


def _checked(array: npt.ArrayLike, stream: Any, count: int, path: Path) -> Frame:
    image = np.ascontiguousarray(array)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise VideoError(
            f"frame {count + 1} is {image.dtype} {list(image.shape)}", where=path, how="give RGB uint8 [H, W, 3]"
        )
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        raise VideoError(f"frames are {width}×{height}", where=path, how="yuv420p needs an even width and height")
    if stream is not None and (height, width) != (stream.height, stream.width):
        raise VideoError(
            f"frame {count + 1} is {width}×{height}, the first was {stream.width}×{stream.height}", where=path
        )
    return image


@contextmanager
def _open(path: Path) -> Iterator[tuple[Any, Any]]:
    av = import_extra("av", "video", "reading a video")
    if not path.is_file():
        raise VideoError("no such file", where=path, how="check the path of the video")
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(
            f"cannot be opened as a video ({error})", where=path, how="it is no video, or was cut short: " + _REENCODE
        ) from error
    with container:
        if not container.streams.video:
            raise VideoError("has no video stream", where=path, how="give a file with pictures in it")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        # Worker processes share the cores; this says how many are for each (0: as many as there are).
        threads = os.environ.get("OMP_NUM_THREADS", "")
        stream.codec_context.thread_count = int(threads) if threads.isdigit() else 0
        yield container, stream


def _decoded(container: Any, stream: Any, path: Path) -> Iterator[Any]:
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
            raise VideoError(f"cannot be decoded after frame {count} ({error})", where=path, how=_REENCODE) from error
        if frame.is_corrupt:
            # The decoder has guessed the missing parts: poses found there would be made up.
            raise VideoError(f"frame {count + 1} is damaged", where=path, how=_REENCODE)
        yield frame
        count += 1


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
