"""The compact form: a pkl that unchanged toolboxes load, and that is read a frame at a time.

    a pickle of some hundred bytes     "call gaitext.store.compact.reopen(id, path)"
    uint64 [2]                         where the trailer stands, and its length
    the frames                         see :mod:`gaitext.store.coding`
    the trailer                        json header, newline, uint32 [T] bytes of each frame, "."

``pickle.load`` stops at the end of the pickle, having made a :class:`CompactSequence`, which
reads the frames it is asked for. ``id`` is a hash of frames and trailer; ``path`` is where the
file was written, and is not needed where the file can be found otherwise.

A few files stay open and are read by position, which is safe for threads and for processes forked at any time.
"""

from __future__ import annotations

import gc
import hashlib
import io
import json
import os
import struct
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitext.errors import DataError
from gaitext.store.array_pickles import plain_dtype
from gaitext.store.coding import SEGMENT, FrameCoder
from gaitext.store.writing import FrameWriter

#: Sequences of a batch are loaded first and read afterwards; more than a batch need not stay open.
_OPEN = 128
#: Readahead would fetch nearly all of such a file, but one frame after another.
_SMALL = 1 << 20
_seeking = threading.Lock()


def _read_at(file: int, count: int, position: int) -> bytes:
    """Up to ``count`` bytes of an open file at ``position``; where the file stands is left as it was."""
    if hasattr(os, "pread"):
        return os.pread(file, count, position)
    with _seeking:  # Windows
        stood = os.lseek(file, 0, os.SEEK_CUR)
        try:
            os.lseek(file, position, os.SEEK_SET)
            return os.read(file, count)
        finally:
            os.lseek(file, stood, os.SEEK_SET)


class Descriptor:
    """An open file, closed when nobody holds it any more. Whoever uses it may note in ``checked`` what it found."""

    __slots__ = ("_number", "checked")

    def __init__(self, path: str) -> None:
        self._number = -1
        self.checked: bytes | None = None
        self._number = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))

    def read(self, count: int, position: int) -> bytes:
        """Up to ``count`` bytes at ``position``; fewer at the end of the file."""
        block = _read_at(self._number, count, position)
        if len(block) == count or not block:
            return block
        return block + self.read(count - len(block), position + len(block))

    def size(self) -> int:
        return os.fstat(self._number).st_size

    def expect(self) -> None:
        """Ask the system to fetch a small file as a whole: cheaper than frame by frame from a disk."""
        if hasattr(os, "posix_fadvise") and self.size() <= _SMALL:
            os.posix_fadvise(self._number, 0, 0, os.POSIX_FADV_WILLNEED)

    def __del__(self) -> None:
        if self._number >= 0:
            os.close(self._number)


_files: OrderedDict[str, Descriptor] = OrderedDict()
_lock = threading.Lock()


def descriptor(path: str, *, fresh: bool = False) -> Descriptor:
    """The file at an absolute path, open; the least recently used one is let go.

    With ``fresh`` the file that is there now is opened, even if one was opened before.
    """
    with _lock:
        file = None if fresh else _files.get(path)
        if file is not None:
            _files.move_to_end(path)
            return file
    file = Descriptor(path)
    with _lock:
        _files[path] = file
        _files.move_to_end(path)
        while len(_files) > _OPEN:
            _files.popitem(last=False)
    return file


def _forked() -> None:
    # Another thread of the parent may have held the lock.
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


Array = npt.NDArray[Any]

VERSION = 1
#: PROTO 4, GLOBAL reopen, SHORT_BINBYTES of 16 bytes (the id), which follow.
PREFIX = b"\x80\x04cgaitext.store.compact\nreopen\nC\x10"
_ID = len(PREFIX)
_PATH = _ID + 16  # BINUNICODE: X, uint32 length, utf-8
_STREAMS = (io.BufferedReader, io.BufferedRandom, io.FileIO)
_AGAIN = "make it again"


def is_compact(start: bytes) -> bool:
    """Whether a file that starts so is of the compact form."""
    return start.startswith(PREFIX)


class CompactSequence:
    """A sequence [T, …] on disk, of which only the frames asked for are read.

    Has what the toolboxes use of an array: ``len()`` and ``sequence[j]``; and slices, index
    arrays, masks, iteration, ``numpy.asarray``, ``shape``, ``dtype`` and ``ndim``. Frames come as new
    arrays of the dtype that was stored. Forked and spawned workers and threads may share one; it
    is pickled by path.

    Args:
        path: of the file.

    Raises:
        DataError: not of the compact form, of a later gaitext, or truncated.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = os.path.abspath(path)
        try:
            self._load(descriptor(self.path, fresh=True))
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def _load(self, file: Descriptor) -> None:
        start = file.read(_PATH + 5, 0)
        if not is_compact(start) or len(start) < _PATH + 5:
            raise DataError("is not of the compact form", where=self.path)
        self.id = start[_ID:_PATH]
        after = _PATH + 5 + struct.unpack("<I", start[-4:])[0] + 3  # TUPLE2, REDUCE, STOP
        where = file.read(16, after)
        size = file.size()
        at, length = struct.unpack("<QQ", where) if len(where) == 16 else (0, 0)
        trailer = file.read(length, at) if 0 < at <= size and length < size else b""
        if at + length != size or len(trailer) != length or not trailer.endswith(b"."):
            raise DataError("is truncated", where=self.path, how=_AGAIN)
        header, newline, lengths = trailer[:-1].partition(b"\n")
        try:
            self._coder, self.bits, self.floor = _coder(header)
        except DataError as error:
            raise DataError(error.what, where=self.path, how=error.how) from error
        sizes = np.frombuffer(lengths, "<u4") if newline and len(lengths) % 4 == 0 else np.empty(0, "<u4")
        ends = sizes.cumsum(dtype=np.int64) + (after + 16)
        self._ends = [after + 16, *ends.tolist()]
        if len(sizes) == 0 or self._ends[-1] != at or not self._coder.possible(sizes):
            raise DataError("is damaged: its index does not fit its frames", where=self.path, how=_AGAIN)
        file.expect()

    def __len__(self) -> int:
        return len(self._ends) - 1

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self._coder.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._coder.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __repr__(self) -> str:
        return f"CompactSequence({str(self.path)!r}, shape={self.shape}, dtype={self.dtype}, bits={self.bits})"

    def __reduce__(self) -> tuple[Any, ...]:
        return CompactSequence, (self.path,)

    def __iter__(self) -> Iterator[Array]:
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("a compact sequence cannot be had without a copy")
        whole = self._frames(range(len(self)))
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def __getitem__(self, index: Any) -> Array:
        if isinstance(index, (int, np.integer)) and not isinstance(index, bool):
            j = int(index)
            count = len(self._ends) - 1
            if not -count <= j < count:
                raise IndexError(f"frame {j} of {count}")
            return self._frame(j % count)
        if isinstance(index, tuple):
            first, rest = index[:1], index[1:]
            if not first or not all(isinstance(i, (int, slice)) for i in rest) or first[0] is Ellipsis:
                return np.asarray(self)[index]
            kept = self[first[0]]
            return kept[(slice(None),) * (kept.ndim - len(self._coder.shape)) + rest]
        chosen = np.arange(len(self))[index]
        frames = self._frames(chosen.reshape(-1).tolist())
        return frames.reshape(*chosen.shape, *self._coder.shape)

    def _frame(self, j: int) -> Array:
        start, end = self._ends[j : j + 2]
        try:
            return self._coder.decode(self._file().read(end - start, start))
        except OSError as error:
            raise _unreadable(self.path, error) from error
        except (ValueError, IndexError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"is damaged in frame {j}", where=self.path, how=_AGAIN) from error

    def _frames(self, chosen: Sequence[int]) -> Array:
        frames = np.empty((len(chosen), *self.shape[1:]), self.dtype)
        for position, j in enumerate(chosen):
            frames[position] = self._frame(j)
        return frames

    def _file(self) -> Descriptor:
        file = descriptor(self.path)
        if file.checked != self.id:
            if file.read(16, _ID) != self.id:
                raise DataError(
                    "was replaced by another sequence while it was in use", where=self.path, how="run again"
                )
            file.checked = self.id
        return file

    def frame_bytes(self) -> int:
        """Bytes that all frames take on disk, without header and index."""
        return self._ends[-1] - self._ends[0]

    def verify(self) -> None:
        """Read all of the file and compare it with its hash.

        Raises:
            DataError: a byte of it changed, or it cannot be read.
        """
        try:
            file = self._file()
            digest, at, size = hashlib.sha256(), self._ends[0], file.size()
            while at < size:
                block = file.read(min(size - at, 1 << 22), at)
                digest.update(block)
                at += len(block)
                if not block:
                    break
        except OSError as error:
            raise _unreadable(self.path, error) from error
        if digest.digest()[:16] != self.id:
            raise DataError("is damaged: its contents do not fit its hash", where=self.path, how=_AGAIN)


def _unreadable(path: object, error: OSError) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError("no such file", where=path)
    return DataError(f"cannot be read ({error.strerror or error})", where=path)


@lru_cache(maxsize=64)
def _coder(header: bytes) -> tuple[FrameCoder, int, float]:
    """What a header describes; a data set has few different ones."""
    try:
        fields = json.loads(header)
        version, segment = fields["version"], fields["segment"]
        if version != VERSION or segment != SEGMENT:
            raise DataError(f"its compact form {version} is not known here", how="install a later gaitext")
        dtype, shape, bits, floor = plain_dtype(fields["dtype"]), fields["shape"], fields["bits"], fields["floor"]
        whole = isinstance(shape, list) and all(type(n) is int and 0 < n < 1 << 32 for n in shape)
        if dtype is None or not whole or type(bits) is not int or bits not in (8, 16):
            raise DataError("its header describes no frames", how=_AGAIN)
        return FrameCoder(dtype, tuple(shape), bits), bits, float(floor)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"its header cannot be read ({error})", how=_AGAIN) from error


def reopen(identity: bytes, written: str) -> CompactSequence:
    """What ``pickle.load`` calls: find the file that is being unpickled, and open it lazily.

    The file is looked for among the callers' local variables, then among all open files of this
    process, then where it was written; a file is taken only if it holds ``identity`` in its place.

    Raises:
        DataError: it is in none of these places (``pickle.loads`` of a moved file's bytes, say).
    """
    for candidates in (_among_callers, gc.get_objects):  # `pickle.load(open(path, "rb"))` binds it to no name
        for value in candidates():
            path = _path_of(value, identity)
            found = None if path is None else _opened(path, identity)
            if found is not None:
                return found
    found = _opened(written, identity)
    if found is not None:
        return found
    raise DataError(
        "a compact sequence was unpickled whose file is not known",
        where=written,
        how="open the file and give it to pickle.load, or read it with gaitext.store.read_sequence",
    )


def _among_callers() -> Iterator[object]:
    caller: FrameType | None = sys._getframe(2)
    while caller is not None:
        yield from list(caller.f_locals.values())
        caller = caller.f_back


def _path_of(value: object, identity: bytes) -> str | None:
    """The name of an open file that holds ``identity``; None for anything else."""
    # By type, not isinstance: what else lies among the variables may answer with code of its own.
    if type(value) not in _STREAMS:
        return None
    try:
        name = value.name  # type: ignore[attr-defined]
        start = _read_at(value.fileno(), _PATH, 0)  # type: ignore[attr-defined]
    except (OSError, ValueError, AttributeError):  # closed, or not of the file system
        return None
    return os.fsdecode(name) if start == PREFIX + identity and isinstance(name, (str, bytes)) else None


def _opened(path: str, identity: bytes) -> CompactSequence | None:
    try:
        found = CompactSequence(path)
    except DataError:
        # The right file, but damaged, is worth its own error; another one is just not it.
        if _starts_with(path, PREFIX + identity):
            raise
        return None
    return found if found.id == identity else None


def _starts_with(path: str, start: bytes) -> bool:
    try:
        return Descriptor(path).read(len(start), 0) == start
    except (OSError, ValueError):
        return False


class CompactWriter(FrameWriter):
    """Writes the compact form, frames appended as they come.

    Args:
        path, written: as in :class:`~gaitext.store.writing.FrameWriter`; the file records where it is written.
        bits: 8, or 16 for the values themselves (lossless).
        floor: with 8 bits, values nearer to 0 than this become 0: an estimator's noise.

    Raises (at append):
        DataError: frames that have no such form.
    """

    def __init__(
        self, path: str | Path, *, bits: int = 8, floor: float = 0.0, written: str | Path | None = None
    ) -> None:
        super().__init__(path, written=written)
        if bits not in (8, 16):
            raise DataError(f"{bits} bits are not offered", how="8 or 16")
        self.bits, self.floor = bits, floor if bits == 8 else 0.0
        self._coder: FrameCoder | None = None
        self._lengths: list[int] = []
        self._digest = hashlib.sha256()

    def _start(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
        try:
            self._coder = FrameCoder(dtype, shape, self.bits, self.floor)
        except DataError as error:
            raise DataError(error.what, where=self.written, how=error.how) from error
        name = os.path.abspath(self.written).encode("utf-8", "surrogatepass")
        head = PREFIX + bytes(16) + b"X" + struct.pack("<I", len(name)) + name + b"\x86R."
        self._data_at = len(head) + 16
        return head + bytes(16)

    def _encode(self, frames: Array) -> list[Any]:
        assert self._coder is not None
        try:
            coded = self._coder.encode(frames)
        except DataError as error:
            raise DataError(error.what, where=self.written, how=error.how) from error
        self._lengths += map(len, coded)
        joined = b"".join(coded)
        self._digest.update(joined)
        return [joined]

    def _finish(self) -> tuple[bytes, list[tuple[int, bytes]]]:
        assert self._dtype is not None
        header = {
            "version": VERSION,
            "dtype": self._dtype.str,
            "shape": list(self._shape),
            "bits": self.bits,
            "floor": self.floor,
            "segment": SEGMENT,
        }
        trailer = json.dumps(header).encode() + b"\n" + np.array(self._lengths, "<u4").tobytes() + b"."
        self._digest.update(trailer)
        where = struct.pack("<QQ", self._data_at + sum(self._lengths), len(trailer))
        return trailer, [(self._data_at - 16, where), (_ID, self._digest.digest()[:16])]
