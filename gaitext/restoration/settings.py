"""How video is made worse."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from gaitext.config import Settings
from gaitext.encoding import h264_options

__all__ = ["CRF", "DegradeSettings"]

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
