"""How the compact form codes a frame: short runs of pixels, only those that are not empty.

A frame is [C, H, W]; each channel's pixels are cut, in their order, into segments of eight. A bitmap
says which segments hold anything, and only those are stored:

    where each channel's numbers stand in the table of values   uint16 [C]  (8 bits only)
    how many segments of each channel are stored                uint16 [C]  (8 bits only)
    which ones are                                              a bit for each segment of the frame
    their pixels                                                [n, 8] of one byte, or of the dtype

With 8 bits, a pixel is ``(q - zero) · step``. The step is a power of two, per frame and channel,
so that every value is exact in float16, and one table of all steps turns numbers into values. It
is the smallest one, but at least 1/2048, with which the channel's values fit; ``zero`` is odd and
``q`` at most 254: then what was decoded is coded again with the same step and the same integers.

A loader's worker makes a thousand frames of 100 KB for a batch and drops them together. Taken one
by one from the C library, their pages are faulted in one by one, which costs several times what
decoding does. So they are cut from blocks that ask for huge pages.
"""

from __future__ import annotations

import math
import mmap
import threading
from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitext.errors import DataError
from gaitext.store.array_pickles import PLAIN_KINDS

_HUGE = 2 << 20
_BLOCK = 8 << 20
_ADVICE = getattr(mmap, "MADV_HUGEPAGE", None)


class _Current(threading.local):
    """The block that this thread cuts from. A block lives as long as any array cut from it."""

    block: npt.NDArray[np.uint8] = np.empty(0, np.uint8)
    taken = 0


_current = _Current()


def zeros(count: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """``numpy.zeros(count, dtype)``; large ones are numpy's own, and all where the system knows no huge pages."""
    size = count * dtype.itemsize
    if size > _BLOCK // 8 or _ADVICE is None:
        return np.zeros(count, dtype)
    if _current.taken + size > len(_current.block):
        _current.block, _current.taken = _new_block(), 0
    start = _current.taken
    _current.taken = start + -(-size // 64) * 64
    return _current.block[start : start + size].view(dtype)


def _new_block() -> npt.NDArray[np.uint8]:
    # Private, so that a forked worker writes into memory of its own; longer, to begin on a huge page.
    memory = mmap.mmap(-1, _BLOCK + _HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without them: ordinary pages
        memory.madvise(_ADVICE)  # type: ignore[arg-type]
    whole = np.frombuffer(memory, np.uint8)
    start = -whole.ctypes.data % _HUGE
    return whole[start : start + _BLOCK]


Array = npt.NDArray[Any]

#: Pixels in a segment. 8 float16 are 16 bytes, which numpy scatters as one item.
SEGMENT = 8
_LEAST, _GREATEST = -11, 8
#: The finest step: finer ones would spend bytes on an estimator's noise.
STEP_FLOOR = 2.0**_LEAST
_TOP = 254
_ROW = 512  # of the table: q - zero is -253 … 253
_FOUR = np.int64(0x0001_0001_0001_0001)
_LIMIT = 2.0**14


@lru_cache(maxsize=4)
def _table(dtype: str) -> Array:
    """All values of all steps, flat: entry ``512·i + 256 + k`` is ``k · 2^(i - 11)``."""
    steps = 2.0 ** np.arange(_LEAST, _GREATEST + 1)
    # The first number of a row is used by none; the clip keeps float16 from an infinity there.
    return (np.arange(-_ROW // 2, _ROW // 2).clip(-255, 255) * steps[:, None]).astype(dtype).ravel()


class FrameCoder:
    """Codes and decodes frames of one dtype and shape.

    Args:
        dtype: of the frames; with ``bits`` 8 a floating one.
        shape: of a frame, [C, H, W]; fewer than three axes count as one channel.
        bits: 8, or 16 for the values themselves (lossless, whatever the dtype).
        floor: with 8 bits, values nearer to 0 than this become 0.

    Raises:
        DataError: frames that cannot be coded so.
    """

    def __init__(self, dtype: np.dtype[Any], shape: tuple[int, ...], bits: int = 8, floor: float = 0.0) -> None:
        self.dtype, self.shape, self.bits, self.floor = dtype, shape, bits, floor
        self.size = math.prod(shape)
        self.channels = shape[0] if len(shape) > 2 else 1
        if bits == 8 and dtype.kind != "f":
            raise DataError(f"frames of {dtype} have no 8-bit form", how="take the lossless form")
        if dtype.kind not in PLAIN_KINDS or dtype.itemsize not in (1, 2, 4, 8, 16):
            raise DataError(f"frames of {dtype} have no compact form")
        if self.size == 0:
            raise DataError(f"frames of shape {shape} hold nothing")
        self.plane = self.size // self.channels
        self.per_channel = -(-self.plane // SEGMENT)
        if self.per_channel > np.iinfo(np.uint16).max:
            raise DataError(f"frames of shape {shape} are too large for the compact form")
        self._whole = self.per_channel * SEGMENT == self.plane
        self.segments = self.channels * self.per_channel
        self._head = 4 * self.channels if bits == 8 else 0
        self._payload = self._head + -(-self.segments // 8)
        self._bytes = SEGMENT * (1 if bits == 8 else dtype.itemsize)  # of a stored segment
        # A segment is moved as one item, or as a few.
        self._item = np.dtype(np.complex128 if dtype.itemsize > 1 else np.uint64)
        self._items = SEGMENT * dtype.itemsize // self._item.itemsize
        self._values = _table(dtype.str) if bits == 8 else None

    # Coding: a batch of frames at once.

    def encode(self, frames: Array) -> list[bytes]:
        """Code frames [n, …], each to bytes of its own.

        Raises:
            DataError: NaN, infinity or numbers beyond ±16384 in the 8-bit form.
        """
        planes = np.zeros((len(frames), self.channels, self.per_channel * SEGMENT), self.dtype)
        planes[..., : self.plane] = frames.reshape(len(frames), self.channels, self.plane)
        if self.bits != 8:
            cells = planes.reshape(len(frames), self.segments, SEGMENT)
            filled = np.asarray(cells.view(np.uint8).any(axis=-1))
            return [np.packbits(mask).tobytes() + cell[mask].tobytes() for cell, mask in zip(cells, filled)]
        numbers, starts = self._quantise(planes)
        cells = numbers.reshape(len(frames), self.segments, SEGMENT)
        filled = (cells != np.repeat(self._zeros(starts), self.per_channel, axis=1)[..., None]).any(axis=-1)
        counts = filled.reshape(len(frames), self.channels, self.per_channel).sum(-1).astype("<u2")
        return [
            start.tobytes() + count.tobytes() + np.packbits(mask).tobytes() + cell[mask].tobytes()
            for start, count, mask, cell in zip(starts.astype("<u2"), counts, filled, cells)
        ]

    @staticmethod
    def _zeros(starts: Array) -> Array:
        return (_ROW // 2 - starts % _ROW).astype(np.uint8)

    def _quantise(self, planes: Array) -> tuple[Array, Array]:
        """uint8 numbers of [n, C, P], and where each channel's number 0 stands in the table."""
        values = planes.astype(np.float32)
        if self.floor > 0:
            values[np.abs(values) < self.floor] = 0
        low, high = np.minimum(values.min(-1), 0), np.maximum(values.max(-1), 0)
        if not (np.isfinite(low).all() and np.isfinite(high).all() and max(high.max(), -low.min()) <= _LIMIT):
            raise DataError("holds NaN, infinity or numbers beyond ±16384", how="take the lossless form")
        # From a step that is certainly too fine to the first that is not.
        span = np.maximum(high - low, np.float32(1e-30))
        exponent = np.clip(np.floor(np.log2(span / _TOP)) - 1, _LEAST, _GREATEST).astype(np.int64)
        while True:
            scale = np.ldexp(np.float32(1), -exponent)
            below = np.rint(-low * scale).astype(np.int64)
            zero = below + (below % 2 == 0)
            wide = zero + np.rint(high * scale) > _TOP
            if not wide.any():
                break
            exponent += wide
        values *= scale[..., None]
        np.rint(values, out=values)
        values += zero[..., None]
        return values.astype(np.uint8), (exponent - _LEAST) * _ROW + _ROW // 2 - zero

    def possible(self, lengths: Array) -> bool:
        """Whether frames may take so many bytes [T]: what a damaged index claims is not made room for."""
        rest = lengths.astype(np.int64) - self._payload
        return bool(
            (rest >= 0).all() and (rest % self._bytes == 0).all() and (rest <= self._bytes * self.segments).all()
        )

    # Decoding: a frame at a time, for the toolboxes ask for one at a time.

    def decode(self, coded: bytes) -> Array:
        """One frame from its bytes; ValueError or IndexError where they are no frame's."""
        if (len(coded) - self._payload) % self._bytes:
            raise ValueError("a frame's bytes are no whole segments")
        bits = np.frombuffer(coded, np.uint8, self._payload - self._head, self._head)
        mask = np.unpackbits(bits, count=self.segments).view(np.bool_)
        if self._values is None:
            values = np.frombuffer(coded, self._item, offset=self._payload)
        else:
            head = np.frombuffer(coded, "<u2", 2 * self.channels).astype(np.int64)
            starts, counts = head[: self.channels], head[self.channels :]
            # Four uint16 are added at a time, as one int64: no sum overflows into its neighbour.
            if int(counts.sum()) * SEGMENT != len(coded) - self._payload:
                raise ValueError("its channels' counts do not fit its pixels")
            index = np.frombuffer(coded, np.uint8, offset=self._payload).astype(np.uint16).view(np.int64)
            index += (starts * _FOUR).repeat(counts + counts)
            values = self._values.take(index.view(np.uint16), mode="clip").view(self._item)
        out = zeros(self.segments * self._items, self._item)
        if self._items == 1:
            out[mask] = values
        else:
            out.reshape(-1, self._items)[mask] = values.reshape(-1, self._items)
        if self._whole:
            return out.view(self.dtype).reshape(self.shape)
        planes = out.view(self.dtype).reshape(self.channels, -1)
        return np.ascontiguousarray(planes[:, : self.plane]).reshape(self.shape)
