"""Videos whose frames carry their number in blocks that survive any compression, and other kinds of video."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

BITS = 6


def numbered(index: int, height: int = 64, width: int = 96) -> np.ndarray:
    """A frame with its number as a row of black and white blocks above moving texture."""
    frame = np.random.default_rng(0).integers(60, 190, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    frame = np.roll(frame, index, 1).repeat(4, 0).repeat(4, 1)[:height, :width].copy()
    step = width // BITS
    for bit in range(BITS):
        frame[: height // 2, bit * step : (bit + 1) * step] = 235 if index >> bit & 1 else 20
    return frame


def number(frame: np.ndarray) -> int:
    """What :func:`numbered` wrote."""
    height, width = frame.shape[:2]
    step = width // BITS
    means = [frame[4 : height // 2 - 4, bit * step + 3 : (bit + 1) * step - 3].mean() for bit in range(BITS)]
    assert all(abs(mean - 128) > 40 for mean in means), means
    return sum((mean > 128) << bit for bit, mean in enumerate(means))


def film(
    path: Path,
    count: int = 20,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    times: list[int] | None = None,
    time_base: Fraction = Fraction(1, 1000),
    size: tuple[int, int] = (64, 96),
    rate: int = 25,
    audio: bool = False,
    video: bool = True,
) -> Path:
    """Write a video of numbered frames, at ``times`` in ticks where given, with sound or sound alone."""
    import av

    with av.open(str(path), "w") as out:
        stream: Any = None
        if video:
            stream = out.add_stream(codec, rate=rate)
            stream.height, stream.width = size
            stream.pix_fmt = pix_fmt
            if times is not None:
                stream.codec_context.time_base = time_base
        sound: Any = out.add_stream("aac", rate=16000) if audio or not video else None
        for index in range(count if video else 0):
            picture = av.VideoFrame.from_ndarray(numbered(index, *size), format="rgb24").reformat(format=pix_fmt)
            picture.pts = index if times is None else times[index]
            picture.time_base = Fraction(1, rate) if times is None else time_base
            out.mux(stream.encode(picture))
        if stream is not None:
            out.mux(stream.encode())
        if sound is not None:
            for block in range(10):
                wave = np.zeros((1, 1024), np.float32)
                piece = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
                piece.rate, piece.pts = 16000, block * 1024
                out.mux(sound.encode(piece))
            out.mux(sound.encode())
    return path
