"""Sequences written a batch at a time, whose length is not known beforehand."""

from __future__ import annotations

import math
import re
import struct
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from gaitext.errors import DataError
from gaitext.store.array_pickles import PLAIN_KINDS, plain_dtype
from gaitext.store.files import disk_errors, publish, temporary_beside

Self = TypeVar("Self", bound="FrameWriter")

#: Behind the frames of a file that :class:`SequenceWriter` wrote: TUPLE3, REDUCE, STOP.
PLAIN_TAIL = b"\x87R."


class FrameWriter(ABC):
    """Appends frames to a file that appears at ``path`` when it is closed, or never.

    As a context manager it closes itself, or abandons the file on an exception. No descriptor is
    held between calls, so that any number of writers may be open.

    Args:
        path: of the file; an old one is replaced at the end.
        written: where the file is going to be moved, if it is not to stay at ``path``; errors name it.

    Attributes:
        frames: appended so far.
    """

    def __init__(self, path: str | Path, *, written: str | Path | None = None) -> None:
        self.path = Path(path)
        self.written = self.path if written is None else Path(written)
        self.frames = 0
        self._ended = False
        self._temporary: Path | None = None
        self._dtype: np.dtype[Any] | None = None
        self._shape: tuple[int, ...] = ()

    def append(self, frames: npt.NDArray[Any]) -> None:
        """Append frames [n, …], of the dtype and shape of the first ones.

        Raises:
            DataError: they are unlike the first ones, hold other than numbers, or the disk is full.
        """
        if self._ended:
            raise DataError("was closed or abandoned: nothing can be appended", where=self.written)
        frames = np.asarray(frames)
        if frames.ndim == 0 or frames.dtype.kind not in PLAIN_KINDS:
            raise DataError(
                f"frames must be an array of numbers with a time axis, not {frames.dtype} {list(frames.shape)}",
                where=self.written,
            )
        if self._dtype is None:
            self._dtype, self._shape = frames.dtype, frames.shape[1:]
            with disk_errors(self.written):
                self._temporary = temporary_beside(self.path)
                self._write(0, self._start(self._dtype, self._shape))
        if (frames.dtype, frames.shape[1:]) != (self._dtype, self._shape):
            raise DataError(
                f"frames {frames.dtype} {list(frames.shape[1:])} follow frames {self._dtype} {list(self._shape)}",
                where=self.written,
            )
        if len(frames):
            self._write(None, *self._encode(frames))
            self.frames += len(frames)

    def close(self) -> None:
        """Finish the file and move it to its place.

        Raises:
            DataError: no frame was appended, or the disk is full.
        """
        if self._ended:
            return
        if self.frames == 0 or self._temporary is None:
            self.abandon()
            raise DataError("has no frames", where=self.written)
        tail, patches = self._finish()
        self._write(None, tail)
        for position, patch in patches:
            self._write(position, patch)
        with disk_errors(self.written):
            publish(self._temporary, self.path)
        self._temporary, self._ended = None, True

    def abandon(self) -> None:
        """Remove what was written; ``path`` is left as it was. Does nothing to a closed one."""
        self._ended = True
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)
            self._temporary = None

    def _write(self, position: int | None, *blocks: Any) -> None:
        """Write at ``position``, or at the end."""
        assert self._temporary is not None
        with disk_errors(self.written), self._temporary.open("r+b", buffering=0) as stream:
            stream.seek(0, 2) if position is None else stream.seek(position)
            for block in blocks:
                rest = memoryview(block).cast("B")
                while rest:
                    rest = rest[stream.write(rest) :]

    @abstractmethod
    def _start(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
        """What stands before the frames."""

    @abstractmethod
    def _encode(self, frames: npt.NDArray[Any]) -> list[Any]:
        """The bytes of some frames, in blocks."""

    @abstractmethod
    def _finish(self) -> tuple[bytes, list[tuple[int, bytes]]]:
        """What stands behind the frames, and (position, bytes) of what is known only now."""

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            self.abandon()


class SequenceWriter(FrameWriter):
    """Writes the toolboxes' own form: a pickle of ``numpy.ndarray(shape, dtype, bytearray)``.

    numpy's own pickles name ``numpy._core`` (2.x) or ``numpy.core`` (1.x); this one names only
    ``numpy.ndarray``, so that any numpy reads what any numpy wrote, and Python 3.8 or newer reads
    it straight into the array's memory. The number of frames and of bytes stand in opcodes of
    fixed width and are filled in at the end.
    """

    def _start(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
        name = dtype.str.encode()
        head = b"\x80\x05cnumpy\nndarray\n("  # PROTO 5, GLOBAL, MARK
        self._count_at = len(head) + 1
        head += b"".join(b"J" + struct.pack("<i", size) for size in (0, *shape)) + b"t"  # BININT each, TUPLE
        head += b"X" + struct.pack("<I", len(name)) + name + b"\x96"  # BINUNICODE, BYTEARRAY8
        self._bytes_at = len(head)
        self._frame_bytes = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        return head + bytes(8)

    def _encode(self, frames: npt.NDArray[Any]) -> list[Any]:
        contiguous = np.ascontiguousarray(frames)
        return [contiguous.reshape(-1).view(np.uint8)] if contiguous.size else []

    def _finish(self) -> tuple[bytes, list[tuple[int, bytes]]]:
        count = struct.pack("<i", self.frames)
        size = struct.pack("<Q", self.frames * self._frame_bytes)
        return PLAIN_TAIL, [(self._count_at, count), (self._bytes_at, size)]


def plain_layout(head: bytes) -> tuple[np.dtype[Any], tuple[int, ...], int] | None:
    """Of a file that :class:`SequenceWriter` wrote, by its first bytes: dtype, shape, and where the frames begin."""
    match = re.match(rb"\x80\x05cnumpy\nndarray\n\(((?:J.{4})+)tX(.{4})", head, re.DOTALL)
    if match is None:
        return None
    shape = struct.unpack("<" + "xi" * (len(match[1]) // 5), match[1])
    at = match.end() + int(struct.unpack("<I", match[2])[0])
    name = head[match.end() : at]
    dtype = plain_dtype(name)
    if head[at : at + 1] != b"\x96" or dtype is None or min(shape) <= 0:
        return None
    if int.from_bytes(head[at + 1 : at + 9], "little") != math.prod(shape) * dtype.itemsize:
        return None
    return dtype, tuple(map(int, shape)), at + 9
