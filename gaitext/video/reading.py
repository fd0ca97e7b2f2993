"""Reading video frame by frame: files through PyAV, folders of pictures through Pillow.

Both (``pip install 'gaitext[video]'``) are imported when a function is called, so that the rest of
gaitext works without them.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Union

import numpy as np
import numpy.typing as npt

from gaitext.errors import VideoError, import_extra
from gaitext.video.containers import Wholeness, look_over
from gaitext.video.frames import frame_files, frame_sizes, has_alpha, pixel_aspect, read_images
from gaitext.video.packets import REENCODE, Picture, Pictures, reason

log = logging.getLogger(__name__)

Frame = npt.NDArray[np.uint8]
#: A file, or one in memory.
_Readable = Union[Path, io.BytesIO]

_VIDEOS = """
    .264 .265 .3g2 .3gp .asf .av1 .avc .avi .dav .divx .dv .f4v .flv .h264 .h265 .hevc .ivf .m1v .m2t .m2ts .m2v .m4v
    .mjpeg .mjpg .mk3d .mkv .mov .mp4 .mpe .mpeg .mpg .mpv .mts .mxf .nut .obu .ogm .ogv .qt .trp .ts .vob .webm .wmv
    .xvid .y4m
"""
#: Suffixes (lower case) by which a video is found in a folder without opening it. Others are tried
#: (:func:`is_video`), and any file may be given by name.
VIDEO_SUFFIXES = frozenset(_VIDEOS.split())
_OTHERS = """
    .7z .aac .ass .bak .bin .bz2 .c .cfg .conf .cpp .crdownload .css .csv .db .dll .doc .docx .exe .flac .gz .h .h5
    .hdf5 .html .ini .ipynb .js .json .jsonl .lnk .log .lst .m .m3u .m3u8 .m4a .mat .md .md5 .mp3 .npy .npz .onnx .part
    .pdf .pickle .pkl .ply .pt .pth .py .pyc .rar .rst .sha256 .sh .srt .sub .svg .tar .tex .tgz .tmp .toml .tsv .txt
    .vtt .wav .xls .xlsx .xml .yaml .yml .zip
"""
#: What certainly is no video, so that looking through a folder of it is quick.
_OTHER_SUFFIXES = frozenset(_OTHERS.split())
#: Demuxers that take text, or single pictures, for video.
_NO_VIDEO = {"tty", "image2", "image2pipe", "ico", "concat", "hls", "lavfi", "txd", "bin", "xbin", "idf", "adf"}

#: A frame of more is taken for a damaged header; twice a 16K video's.
_MOST_PIXELS = 1 << 28
_ATTACHED_PICTURE = 0x400
#: Of this many steps from frame to frame one may be a hole in an even rate.
_MANY = 10
#: (file, warning) that this process has given.
_warned: set[tuple[str, str]] = set()


@dataclass(frozen=True)
class VideoInfo:
    """What a container says about its first video stream.

    Attributes:
        width, height: of the first frame as :func:`read_frames` returns it, that is after the
            rotation the file asks for. In a folder other frames may have other sizes.
        fps: average frames per second; 0.0 when the file does not say, and for folders.
        frames: number of frames, None when the file does not say (mkv, webm, raw streams).
        rate: ``fps`` exactly; 0 likewise.
        pixel_aspect: width of a pixel as shown, divided by its height, after the rotation; 1 in most videos. Frames
            and boxes are in stored pixels; what is shown is ``pixel_aspect`` times as wide.
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
    pixel_aspect: Fraction = Fraction(1)


def probe(path: str | Path) -> VideoInfo:
    """Read a video's size, rate and length without decoding more than its first frame.

    Args:
        path: a video file, or a folder of pictures (:mod:`gaitext.video.frames`).

    Raises:
        VideoError: no such file, not a video, or the first frame does not decode.
        MissingDependencyError: PyAV is not installed.
    """
    path = Path(path)
    if path.is_dir():
        files = frame_files(path)
        ((width, height),) = frame_sizes(path, (0,))
        aspect = pixel_aspect(files[0])
        return VideoInfo(width, height, 0.0, len(files), alpha=has_alpha(files[0]), pixel_aspect=aspect)
    with _open(path) as (container, stream):
        found = next(iter(Pictures(container, stream, path)), None)
        if found is None:
            raise VideoError("holds no frame that decodes", where=path, how=REENCODE)
        first = found.frame
        width, height = _size(first)
        aspect = _pixel_aspect(stream)
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
            pixel_aspect=1 / aspect if _display(first)[0] else aspect,
        )


def is_video(path: str | Path) -> bool:
    """Whether a file that is not named as videos are is one all the same: its first frame decodes.

    Raises:
        MissingDependencyError: PyAV is not installed.
    """
    path = Path(path)
    if path.suffix.lower() in _OTHER_SUFFIXES:
        return False
    try:
        with _open(path) as (container, stream):
            names = set(container.format.name.split(","))
            if names & _NO_VIDEO or any(name.endswith("_pipe") for name in names):
                return False
            return next(iter(Pictures(container, stream, path)), None) is not None
    except VideoError:
        return False


def read_frames(path: str | Path, indices: Collection[int] | None = None) -> Iterator[tuple[int, Frame]]:
    """Decode a video in presentation order, one frame in memory at a time.

    Rotation and mirroring that the container asks for (phones) are applied. Colours are converted
    with the matrix the stream names.

    Args:
        path: any file FFmpeg reads; its first video stream is used. Or a folder of pictures in
            natural order of their names (:func:`gaitext.video.frames.read_images`).
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
    for index, picture in _all_frames(path, last):
        if indices is None or index in indices:
            yield index, _upright(picture.frame, index, path)


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
    for index, (seconds, frame) in enumerate(_timed(path)):
        yield seconds, _upright(frame, index, path)


def frame_times(path: str | Path) -> Iterator[Fraction | None]:
    """The times of :func:`read_timed` alone; the frames are decoded for it, but not converted."""
    path = Path(path)
    yield from (None for _ in frame_files(path)) if path.is_dir() else (seconds for seconds, _ in _timed(path))


def _timed(path: Path) -> Iterator[tuple[Fraction | None, Any]]:
    begin = None
    for _, picture in _all_frames(path, None):
        shown = picture.seconds
        begin = shown if begin is None else begin
        yield None if shown is None or begin is None else shown - begin, picture.frame


def decode(content: bytes) -> Iterator[Frame]:
    """The frames of a video in memory, as :func:`read_frames` gives those of a file: RGB uint8 [H, W, 3].

    Raises:
        VideoError: not a video, or a frame that does not decode.
        MissingDependencyError: PyAV is not installed.
    """
    for index, picture in _all_frames(io.BytesIO(content), None):
        yield _upright(picture.frame, index, "a video in memory")


def count_frames(path: str | Path) -> int:
    """How many frames :func:`read_frames` yields: the files of a folder; a video is decoded for it.

    Containers may say a number, but a clip trimmed without re-encoding has fewer.

    Raises:
        VideoError: as :func:`read_frames`.
    """
    path = Path(path)
    return len(frame_files(path)) if path.is_dir() else sum(1 for _ in _all_frames(path, None))


def sizes(path: str | Path) -> Iterator[tuple[int, int]]:
    """Width and height of every frame as :func:`read_frames` yields it; a video is decoded, but not converted.

    Raises:
        VideoError: as :func:`read_frames`.
    """
    path = Path(path)
    yield from frame_sizes(path) if path.is_dir() else (_size(picture.frame) for _, picture in _all_frames(path, None))


def _all_frames(path: _Readable, last: int | None) -> Iterator[tuple[int, Picture]]:
    """(index, picture) up to ``last``, or of all, which must be as many as promised."""
    with _open(path) as (container, stream):
        whole = look_over(path) if isinstance(path, Path) else Wholeness()
        pictures = Pictures(container, stream, path, whole.broken)
        notes = _Notes(path, whole.empty)
        for index, picture in enumerate(pictures):
            if last is not None and index > last:
                notes.conclude(pictures)
                return
            yield index, picture
            notes.see(index, picture)
        notes.conclude(pictures)
        count = pictures.count
        if count == 0:
            raise VideoError("holds no frame that decodes", where=path, how=REENCODE)
        if last is not None and count > last:
            return
        stated = _ended_early(container, stream, pictures, whole)
        if stated:
            of = f"is the last of {stated}" if stated > count else f"is the last; byte {whole.broken} is missing"
            raise VideoError(f"ends early: frame {count} {of}", where=path, how=REENCODE)


@contextmanager
def _open(path: _Readable) -> Iterator[tuple[Any, Any]]:
    av = import_extra("av", "video", "reading a video")
    if isinstance(path, Path):
        if not path.is_file():
            raise VideoError("no such file", where=path, how="check the path of the video")
        if path.stat().st_size == 0:
            raise VideoError("is empty", where=path, how="copy or download the file again")
    try:
        # A path that begins as a protocol does is a path all the same.
        container = av.open(f"file:{path}" if isinstance(path, Path) else path, metadata_errors="replace")
    except Exception as error:  # damaged headers make PyAV raise nearly anything
        raise VideoError(
            f"cannot be opened as a video ({reason(error)})",
            where=path,
            how="it is no video, or was cut short: " + REENCODE,
        ) from error
    with container:
        stream = _stream(container)
        if stream is None:
            raise VideoError("has no video stream", where=path, how="give a file with pictures in it")
        context = stream.codec_context
        if context is None:
            cut = isinstance(path, Path) and look_over(path).broken is not None
            what = "cannot be opened as a video (cut off, or damaged)" if cut else "is coded in a way unknown to FFmpeg"
            raise VideoError(what, where=path, how=REENCODE)
        # Never more: what is decoded, and what is said of damage, must not depend on the machine.
        context.thread_count = 1
        context.options = {"max_pixels": str(_MOST_PIXELS)}
        if context.name == "mjpeg":
            # This decoder marks no frame as damaged: it fails, or conceals.
            context.options |= {"err_detect": "explode"}
        yield container, stream


def _stream(container: Any) -> Any:
    """The first video stream that is no cover picture; None where there is none."""
    for stream in container.streams.video:
        if not int(getattr(stream, "disposition", 0)) & _ATTACHED_PICTURE:
            return stream
    return None


@dataclass
class _Notes:
    """What is worth a warning, said once of each file."""

    path: _Readable
    empty: int
    interlaced: int = -1
    times: list[float] = field(default_factory=list)

    def see(self, index: int, picture: Picture) -> None:
        if self.interlaced < 0 and picture.frame.interlaced_frame:
            self.interlaced = index
        if picture.seconds is not None:
            self.times.append(float(picture.seconds))

    def conclude(self, pictures: Pictures) -> None:
        if self.interlaced >= 0:
            self._warn(
                "is interlaced: each frame shows two moments, combed where something moves; "
                "separate them first (ffmpeg -i IN -vf bwdif=send_frame OUT.mp4; send_field gives both)"
            )
        if pictures.undecodable:
            self._warn(
                f"begins in the middle of a recording: its first {pictures.undecodable} pictures cannot be decoded "
                "and are not counted"
            )
        steps = np.diff(self.times)
        if len(steps) < _MANY or self.empty:
            return
        usual = float(np.median(steps))
        # Matroska rounds to milliseconds.
        even = np.abs(steps - usual) <= max(0.0011, usual / 10)
        holes = np.flatnonzero(steps > 1.5 * usual)
        if usual > 0 and 0 < len(holes) <= len(steps) // _MANY and even.sum() + len(holes) == len(steps):
            first = int(holes[0])
            skipped = round(float(steps[first]) / usual) - 1
            more = f", and {len(holes) - 1} more times" if len(holes) > 1 else ""
            self._warn(
                f"shows nothing new for {skipped} frames' time after frame {first + 1}{more}: the camera paused, or "
                "packets were lost; frames are counted as they are there"
            )

    def _warn(self, what: str) -> None:
        key = (str(self.path), what)
        if isinstance(self.path, Path) and key not in _warned:
            _warned.add(key)
            log.warning("%s: %s", self.path, what)


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


def _size(frame: Any) -> tuple[int, int]:
    """Width and height upright."""
    return (frame.height, frame.width) if _display(frame)[0] else (frame.width, frame.height)


def _pixel_aspect(stream: Any) -> Fraction:
    """As stored, before any rotation. What no camera makes is taken for a damaged header."""
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    return aspect if Fraction(1, 16) <= aspect <= 16 else Fraction(1)


def _upright(frame: Any, index: int, where: object) -> Frame:
    try:
        image: Frame = frame.to_ndarray(format="rgb24")
    except Exception as error:  # a kind of pixels that FFmpeg cannot convert, or no memory for it
        raise VideoError(
            f"frame {index + 1} cannot be converted to RGB ({reason(error)})", where=where, how=REENCODE
        ) from error
    transpose, mirror, flip = _display(frame)
    if transpose:
        image = image.swapaxes(0, 1)
    if mirror:
        image = image[:, ::-1]
    if flip:
        image = image[::-1]
    return np.ascontiguousarray(image)


def _ended_early(container: Any, stream: Any, pictures: Pictures, whole: Wholeness) -> int:
    """The number of frames the container promised, or those decoded if it is only known to be cut; 0 if all are there.

    What is missing within is found packet by packet; this is about the end.
    """
    count, promised = pictures.count, stream.frames
    if promised and pictures.packets + whole.empty >= promised:
        return 0
    rate, end = stream.average_rate, _end(container, stream)
    missing = None  # frames' worth of time between the last frame's end and the stated end
    if rate and end is not None and pictures.end is not None:
        missing = float((end - pictures.end) * stream.time_base * rate)
    if missing is not None and missing < 0.5:
        # An edit list (a clip trimmed without re-encoding) leaves out frames that mp4's count includes.
        if promised:
            return 0 if "mp4" in container.format.name else promised
        # Of fragments, FFmpeg adds up those that are there.
        return count if whole.broken is not None and "mp4" in container.format.name else 0
    if promised:
        return max(promised, count + 1)
    if missing is not None and missing > 1.5:
        return count + round(missing)
    return count if whole.broken is not None else 0


def _end(container: Any, stream: Any) -> Any:
    """When the container says that the stream ends, ticks; None where it does not say."""
    names, start = container.format.name.split(","), stream.start_time or 0
    if "matroska" in names and "DURATION" in stream.metadata:
        try:
            hours, minutes, seconds = stream.metadata["DURATION"].split(":")
            stated = ((int(hours) * 60 + int(minutes)) * 60 + Fraction(seconds)) / stream.time_base
        except (ValueError, ZeroDivisionError):
            return None
        # FFmpeg writes when the stream ends; mkvmerge, how long it is.
        by_ffmpeg = any(
            key.lower() == "encoder" and value.startswith("Lavf") for key, value in container.metadata.items()
        )
        return stated if by_ffmpeg else stated + start
    # Of other formats FFmpeg works it out of what is there.
    if not {"mp4", "avi", "asf"} & set(names) or stream.duration is None:
        return None
    return stream.duration + start
