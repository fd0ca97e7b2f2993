"""Video to badly compressed video of the same frames, as surveillance stores it (artifact correction §III-A)."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator, model_validator

from gaitext.config import Settings
from gaitext.errors import ShapeError, VideoError, import_extra
from gaitext.execution.stages import ahead
from gaitext.making import Progress
from gaitext.store import atomic_path
from gaitext.video import VideoInfo, decode, frame_times, probe, read_timed
from gaitext.video.writing import encode, h264_options

#: The paper's constant rate factor (artifact correction §III-A).
CRF = 45.0
#: Pixels of a picture's side, x264's limit.
_LONGEST = 16_384
_UNITS = {"": 1, "k": 1_000, "m": 1_000_000}


class DegradeSettings(Settings):
    """What surveillance does to video: H.264 with few bits; and, on request, fewer pixels and frames.

    Attributes:
        crf: x264's constant rate factor, 0 to 51; None: 45 (the paper's), or what ``bitrate`` decides.
        bitrate: bits per second on average instead, as a number or as ``200k``, ``1.5M``.
        preset: x264's trade of time for size; the same crf looks worse in a faster one.
        gop: frames between key frames; None leaves it to x264 (250).
        resolution: (width, height) to shrink or enlarge to, or a height alone, whose width keeps the
            shape, as ``640x360`` or ``360``; None keeps it. Boxes and poses must be scaled alike.
        fps: frames per second to thin out to; None keeps all frames. None is ever doubled.
    """

    crf: float | None = Field(default=None, ge=0, le=51)
    bitrate: int | None = Field(default=None, ge=1000, le=1_000_000_000)
    preset: Literal[
        "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"
    ] = "medium"
    gop: int | None = Field(default=None, ge=1, le=1_000_000)
    resolution: tuple[int | None, int] | None = None
    fps: float | None = Field(default=None, ge=0.01, le=1000)

    @field_validator("bitrate", mode="before")
    @classmethod
    def _bits(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([km]?)(?:bit/s|bps)?", value.strip(), re.IGNORECASE)
        if match is None:
            raise ValueError(f"'{value}' is no bitrate: write 200k or 1.5M")
        return round(float(match[1]) * _UNITS[match[2].lower()])

    @field_validator("resolution", mode="before")
    @classmethod
    def _size(cls, value: Any) -> Any:
        if isinstance(value, int):
            return None, value
        if not isinstance(value, str):
            return value
        match = re.fullmatch(r"(?:(\d+)\s*[x×])?\s*(\d+)p?", value.strip(), re.IGNORECASE | re.ASCII)
        if match is None:
            raise ValueError(f"'{value}' is no resolution: write 640x360, or 360 for the height alone")
        return None if match[1] is None else int(match[1]), int(match[2])

    @model_validator(mode="after")
    def _consistent(self) -> DegradeSettings:
        if self.crf is not None and self.bitrate is not None:
            raise ValueError("crf and bitrate are two ways to say how much is lost: give one")
        for length in self.resolution or ():
            if length is not None and (length < 2 or length % 2):
                raise ValueError(f"resolution: {length} is not even; H.264 needs an even width and height")
            if length is not None and length > _LONGEST:
                raise ValueError(f"resolution: {length} is more than x264's {_LONGEST}")
        return self

    @property
    def rate_factor(self) -> float | None:
        """The constant rate factor; None where the bitrate decides."""
        return CRF if self.crf is None and self.bitrate is None else self.crf

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height that frames of ``width`` × ``height`` are brought to, before they are made even.

        >>> DegradeSettings(resolution="360").size(1920, 1080)
        (640, 360)
        """
        if self.resolution is None:
            return width, height
        wide, high = self.resolution
        return wide or max(2, round(width * high / height / 2) * 2), high

    def options(self) -> dict[str, str]:
        """x264's options. One thread: with others the result would depend on the machine's cores."""
        return h264_options(crf=self.rate_factor, bitrate=self.bitrate, preset=self.preset, gop=self.gop, threads=1)


Frames = npt.NDArray[np.uint8]
#: Of (ticks, frame), as many and in the same order.
Through = Callable[[Iterator[tuple[int, Frames]]], Iterator[tuple[int, Frames]]]

#: Frames per second of what does not say (folders of pictures).
DEFAULT_RATE = Fraction(25)
#: Seconds a tick, of whatever source: x264's choices depend on it. A whole number of ticks lies between
#: frames of all usual rates, 30000/1001 included.
TICK = Fraction(1, 90_000)
#: Said where times are made up.
EVEN = "times are missing or do not rise: frames follow one another evenly there"
_AHEAD = 8


@dataclass
class Degraded:
    """What became of a video.

    Attributes:
        frames: numbers (from 1) of the source's frames that the result holds, in order.
        original_size, size: width and height before and after.
        notes: what was dropped or changed beside the quality.
        pixel_aspect: the source's (:class:`~gaitext.video.VideoInfo`), which the result keeps.
    """

    frames: list[int] = field(default_factory=list)
    original_size: tuple[int, int] = (0, 0)
    size: tuple[int, int] = (0, 0)
    notes: list[str] = field(default_factory=list)
    pixel_aspect: Fraction = Fraction(1)


def degrade_video(
    source: str | Path,
    path: str | Path,
    settings: DegradeSettings | None = None,
    *,
    through: Through | None = None,
    progress: Progress | None = None,
) -> Degraded:
    """Compress a video, or a folder of pictures, to H.264 of low quality.

    Every frame is kept, in order and at its time, unless ``settings.fps`` thins them out. The
    result is decoded again before it takes its place: it must hold as many frames, each at its
    time. Sound and transparency are dropped, more than 8 bits are rounded to 8, and where width or
    height is odd the last column or row is repeated; notes say so.

    Args:
        source: any video FFmpeg reads, constant or variable frame rate, or a folder of pictures.
        path: an ``.mp4``; it appears whole or not at all.
        settings: how much is lost.
        through: what is done to the frames, which it must keep in number, order and size, before they are
            encoded: a corrector, say.
        progress: called with (frames done, frames in all or None).

    Raises:
        VideoError: ``source`` is no video, has no frames or only sound, ends early or is damaged; or the
            encoder does not give its frames back.
        DataError: the disk is full.
        MissingDependencyError: PyAV is not installed.
    """
    source, path, settings = Path(source), Path(path), settings or DegradeSettings()
    info = probe(source)
    clock = _Clock(info)
    done = Degraded([], (info.width, info.height), notes=_notes(info, settings), pixel_aspect=info.pixel_aspect)
    shown: list[int] = []

    def watched(frames: Iterable[tuple[int, Frames]]) -> Iterator[tuple[int, Frames]]:
        for ticks, frame in frames:
            yield ticks, frame
            shown.append(ticks)
            if progress is not None:
                progress(done.frames[len(shown) - 1], info.frames)

    with closing(ahead(read_timed(source), _AHEAD)) as timed, atomic_path(path) as temporary:
        prepared = _prepared(clock.timed(timed), clock.rate, settings, done, source)
        encode(
            temporary,
            watched(prepared if through is None else through(prepared)),
            rate=clock.rate_of(settings),
            time_base=TICK,
            options=settings.options(),
            where=source,
            pixel_aspect=_aspect(info, settings),
        )
        _verify(temporary, shown, path)
    done.notes += [clock.note] if clock.note else []
    return done


def degrade_frames(frames: npt.ArrayLike, crf: float | None = None, *, rate: float = 25, **settings: Any) -> Frames:
    """Frames as they come back from a badly compressed video, all in memory.

    Equal to writing them to a video of constant frame rate, :func:`degrade_video`, and reading
    that, but for odd sizes, which stay as they are.

    Args:
        frames: RGB uint8 [T, H, W, 3].
        crf: x264's constant rate factor; None is 45, or what ``bitrate`` decides.
        rate: their frames per second.
        settings: further fields of :class:`DegradeSettings`.

    Returns:
        uint8 [T, H, W, 3]; of another size with ``resolution``, of fewer frames with ``fps``.

    Raises:
        ShapeError: other frames, or none.
        ConfigError: wrong settings.
        MissingDependencyError: PyAV is not installed.

    >>> degrade_frames(np.zeros((3, 33, 40, 3), np.uint8), crf=45).shape
    (3, 33, 40, 3)
    """
    images = np.asarray(frames)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape:
        raise ShapeError(
            f"frames are {images.dtype} {list(images.shape)}", where="degrade_frames", how="give RGB uint8 [T, H, W, 3]"
        )
    chosen = DegradeSettings.parse({"crf": crf, **settings}, where="degrade_frames")
    height, width = images.shape[1:3]
    fraction = Fraction(rate).limit_denominator(100_000)
    clock = _Clock(VideoInfo(width, height, rate, len(images), rate=fraction))
    done, memory = Degraded(), io.BytesIO()
    encode(
        memory,
        _prepared(clock.timed((None, image) for image in images), clock.rate, chosen, done),
        rate=clock.rate_of(chosen),
        time_base=TICK,
        options=chosen.options(),
        where="degrade_frames",
    )
    decoded = list(decode(memory.getvalue()))
    if len(decoded) != len(done.frames):
        raise VideoError(f"{len(done.frames)} frames came back as {len(decoded)}", where="degrade_frames")
    width, height = chosen.size(width, height)
    return np.stack(decoded)[:, :height, :width]


def timed_frames(source: Path, done: Degraded) -> Generator[tuple[int, Frames], None, None]:
    """A source's frames as they would be encoded, but of the size they have; ``done`` learns which they are."""
    info = probe(source)
    done.original_size, done.notes = (info.width, info.height), _dropped(info)
    done.pixel_aspect = info.pixel_aspect
    with closing(ahead(read_timed(source), _AHEAD)) as timed:
        for number, (ticks, frame) in enumerate(_Clock(info).timed(timed), 1):
            done.frames.append(number)
            done.size = (frame.shape[1], frame.shape[0])
            yield ticks, frame


class _Clock:
    """When frames are shown, in whole ticks.

    Times are the source's own. Where it says none, or says the same or an earlier one twice, a
    frame comes one frame's time after the one before it.
    """

    def __init__(self, info: VideoInfo) -> None:
        self.rate = info.rate or DEFAULT_RATE
        self._timed = bool(info.time_base)
        self.note = ""

    def rate_of(self, settings: DegradeSettings) -> Fraction:
        """Frames per second after thinning out."""
        wanted = self.rate if settings.fps is None else Fraction(settings.fps).limit_denominator(100_000)
        return min(self.rate, wanted)

    def timed(self, frames: Iterable[tuple[Fraction | None, Frames]]) -> Iterator[tuple[int, Frames]]:
        """(ticks, frame), the ticks rising from 0."""
        before: Fraction | None = None
        for seconds, frame in frames:
            if seconds is None or (before is not None and round(seconds / TICK) <= round(before / TICK)):
                self.note = EVEN if self._timed else ""
                seconds = Fraction(0) if before is None else before + 1 / self.rate
            before = seconds
            yield round(seconds / TICK), frame


def _prepared(
    frames: Iterable[tuple[int, Frames]],
    rate: Fraction,
    settings: DegradeSettings,
    done: Degraded,
    where: object = None,
) -> Iterator[tuple[int, Frames]]:
    """The frames that are kept, resized and of even size; ``done`` learns which and how large they are."""
    slot, size = -1, (0, 0)
    for number, (ticks, frame) in enumerate(frames, 1):
        height, width = frame.shape[:2]
        if number == 1:
            size = (width, height)
        if size != (width, height):
            raise VideoError(
                f"frame {number} is {width}×{height}, the first was {size[0]}×{size[1]}",
                where=where,
                how="a video that is written has one size: scale it first (ffmpeg -i IN -vf scale=640:480 OUT.mp4); "
                "crops of persons are not degraded, but the video they are cut from",
            )
        if settings.fps is not None:
            # A quarter of a frame's time early, so that times rounded to milliseconds do not skip one.
            early = min(1 / rate, 1 / Fraction(settings.fps)) / 4
            here = floor((ticks * TICK + early) * Fraction(settings.fps))
            if here <= slot:
                continue
            slot = here
        done.frames.append(number)
        ready = _even(_resized(frame, settings.size(width, height)))
        done.size = (ready.shape[1], ready.shape[0])
        yield ticks, ready


def _aspect(info: VideoInfo, settings: DegradeSettings) -> Fraction:
    """The pixels' shape in the result, so that persons are shown as they were."""
    width, height = settings.size(info.width, info.height)
    stretched = Fraction(info.width * height, info.height * width)
    # A width that is rounded to be even is no other shape.
    return info.pixel_aspect * (stretched if abs(stretched - 1) > Fraction(1, 50) else 1)


def _resized(frame: Frames, size: tuple[int, int]) -> Frames:
    height, width = frame.shape[:2]
    if (width, height) == size:
        return frame
    av = import_extra("av", "video", "resizing video")
    # Averaging over areas skips no pixel when it shrinks; it does not interpolate when it enlarges.
    how = "AREA" if size[0] <= width and size[1] <= height else "BICUBIC"
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
    resized: Frames = picture.reformat(*size, format="rgb24", interpolation=how).to_ndarray()
    return resized


def _even(frame: Frames) -> Frames:
    height, width = frame.shape[:2]
    if height % 2 or width % 2:
        return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return frame


def _dropped(info: VideoInfo) -> list[str]:
    notes = []
    if info.audio:
        notes.append("sound is dropped")
    if info.alpha:
        notes.append("transparency is dropped")
    if info.bits > 8:
        notes.append(f"{info.bits} bits are rounded to 8")
    return notes


def _notes(info: VideoInfo, settings: DegradeSettings) -> list[str]:
    notes = _dropped(info)
    width, height = settings.size(info.width, info.height)
    if width % 2 or height % 2:
        notes.append(f"{width}×{height} is odd: the last row or column is repeated once")
    return notes


def _verify(path: Path, ticks: list[int], where: Path) -> None:
    """Raise unless the file gives back as many frames as were encoded, each at its time."""
    how = "report this with the video: the encoder reordered or lost a frame"
    times = list(frame_times(path))
    if len(times) != len(ticks):
        raise VideoError(f"{len(ticks)} frames were encoded, {len(times)} came back", where=where, how=how)
    for number, (seconds, tick) in enumerate(zip(times, ticks), 1):
        wanted = (tick - ticks[0]) * TICK
        if seconds is None or abs(seconds - wanted) > TICK / 2:
            raise VideoError(f"frame {number} of {len(ticks)} came back at another time", where=where, how=how)
