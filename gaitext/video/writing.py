"""Writing H.264: to a file that appears whole or not at all, or to memory."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Union

import numpy as np
import numpy.typing as npt

from gaitext.errors import GaitextError, VideoError, import_extra
from gaitext.store import atomic_path, is_full

Frame = npt.NDArray[np.uint8]
#: When a frame is shown, in ticks of a time base, and the frame.
Timed = tuple[int, npt.ArrayLike]


def write_video(
    path: str | Path,
    frames: Iterable[npt.ArrayLike],
    *,
    fps: float | Fraction = 25,
    crf: float = 18,
    preset: str = "medium",
    gop: int | None = None,
    threads: int | None = None,
    pixel_aspect: Fraction = Fraction(1),
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
        pixel_aspect: a pixel's width as it is to be shown, divided by its height.

    Returns:
        The number of frames written.

    Raises:
        VideoError: no frames, a frame of another size or type, an odd size, or a failing encoder.
        DataError: the disk is full.
        MissingDependencyError: PyAV is not installed.
    """
    path = Path(path)
    options = h264_options(crf=crf, preset=preset, gop=gop, threads=threads)
    rate = Fraction(fps).limit_denominator(100_000)
    with atomic_path(path) as temporary:
        return encode(
            temporary,
            enumerate(frames),
            rate=rate,
            time_base=1 / rate,
            options=options,
            where=path,
            pixel_aspect=pixel_aspect,
        )


def h264_options(
    *,
    crf: float | None = None,
    bitrate: int | None = None,
    preset: str = "medium",
    gop: int | None = None,
    threads: int | None = None,
) -> dict[str, str]:
    """x264's options as FFmpeg takes them; arguments as for :func:`write_video`.

    Args:
        crf: constant rate factor; None where the bitrate decides.
        bitrate: bits per second on average, in one pass.
    """
    import torch  # It knows the processor. Reading video and digests need none of it.

    options = {"preset": preset}
    options |= {} if crf is None else {"crf": f"{crf:g}"}
    options |= {} if bitrate is None else {"b": str(bitrate)}
    options |= {} if gop is None else {"g": str(gop)}
    options |= {} if threads is None else {"threads": str(threads)}
    # With AVX-512 some builds of x264 give another file from the same frames nearly every time (its
    # macroblock tree does; 165, on Zen 5); with AVX2 they give what the portable code gives.
    options |= {"x264-params": "asm=AVX2"} if torch.backends.cpu.get_cpu_capability() == "AVX512" else {}
    return options


def encode(
    target: Union[Path, io.BytesIO],
    frames: Iterable[Timed],
    *,
    rate: Fraction,
    time_base: Fraction,
    options: Mapping[str, str],
    where: object,
    pixel_aspect: Fraction = Fraction(1),
) -> int:
    """Encode timed frames as H.264 (libx264, yuv420p); arguments, result and errors as for :func:`write_video`.

    Args:
        target: a file, whose suffix chooses the container, or memory, which gets mp4.
        frames: times in ticks, rising, and RGB uint8 [H, W, 3].
        rate: frames per second on average, which x264 deals out bits by.
        time_base: seconds a tick.
        options: of :func:`h264_options`.
        where: what errors name.

    Raises:
        OSError: the disk is full; :func:`~gaitext.store.disk_errors` says it better.
    """
    av = import_extra("av", "video", "writing a video")
    memory = isinstance(target, io.BytesIO)
    # The index in front lets a file that was cut short be read up to the cut.
    container = {"movflags": "faststart"} if isinstance(target, Path) and target.suffix == ".mp4" else {}
    file = target if memory else str(target)
    stream: Any = None
    count = 0
    try:
        with av.open(file, "w", format="mp4" if memory else None, options=container) as out:
            for ticks, array in frames:
                image = _checked(array, stream, count, where)
                if stream is None:
                    stream = out.add_stream("libx264", rate=rate)
                    stream.height, stream.width = image.shape[:2]
                    stream.pix_fmt = "yuv420p"
                    stream.codec_context.time_base = time_base
                    if pixel_aspect != 1:
                        stream.codec_context.sample_aspect_ratio = pixel_aspect
                    stream.options = dict(options)
                picture = av.VideoFrame.from_ndarray(image, format="rgb24")
                picture.pts = ticks
                picture.time_base = time_base
                out.mux(stream.encode(picture))
                count += 1
            if stream is None:
                raise VideoError("there are no frames to write", where=where)
            out.mux(stream.encode())
    except (av.error.FFmpegError, ValueError) as error:
        if isinstance(error, GaitextError) or is_full(error):
            raise
        raise VideoError(f"frame {count + 1} cannot be written ({error})", where=where) from error
    return count


def _checked(array: npt.ArrayLike, stream: Any, count: int, where: object) -> Frame:
    image = np.ascontiguousarray(array)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise VideoError(
            f"frame {count + 1} is {image.dtype} {list(image.shape)}", where=where, how="give RGB uint8 [H, W, 3]"
        )
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        raise VideoError(f"frames are {width}×{height}", where=where, how="yuv420p needs an even width and height")
    if stream is not None and (height, width) != (stream.height, stream.width):
        raise VideoError(
            f"frame {count + 1} is {width}×{height}, the first was {stream.width}×{stream.height}", where=where
        )
    return image
