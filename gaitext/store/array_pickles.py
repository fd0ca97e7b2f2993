"""Sequences in pickles that numpy and torch wrote, of any version: read without calling anything of theirs.

Read are arrays of floats, integers and booleans, also as memory maps, matrices, masked arrays that
mask nothing, and torch tensors on the CPU; and flat lists or tuples of such, one a frame.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from gaitext.store.pickles import (
    Blob,
    Call,
    DamagedPickle,
    Name,
    Pairs,
    Persistent,
    Unread,
    describe,
    read_pickle,
    words,
)

Array = npt.NDArray[Any]

#: What torch calls its storages: the dtype of their values as numpy has it. bfloat16 are read as their two bytes.
STORAGES = {
    "torch.FloatStorage": "f4",
    "torch.DoubleStorage": "f8",
    "torch.HalfStorage": "f2",
    "torch.BFloat16Storage": "u2",
    "torch.ByteStorage": "u1",
    "torch.CharStorage": "i1",
    "torch.ShortStorage": "i2",
    "torch.IntStorage": "i4",
    "torch.LongStorage": "i8",
    "torch.BoolStorage": "?",
}
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


def read_tensor(call: Call, raw: Callable[[Any], bytes | Blob], limit: int) -> Array | None:
    """The array of a tensor that ``pickle.dump`` wrote; None if the call makes no plain tensor.

    ``raw`` gives the bytes of what stands for them; the array may take ``limit`` bytes, since a tensor may show
    one value at many places.
    """
    if call.name == "torch._utils._rebuild_parameter" and len(call.arguments) == 3:
        inner = call.arguments[0]
        return read_tensor(inner, raw, limit) if isinstance(inner, Call) and inner.name != call.name else None
    if call.name != "torch._utils._rebuild_tensor_v2" or len(call.arguments) < 5:
        return None
    storage, offset, shape, strides = call.arguments[:4]
    if not isinstance(storage, Call) or storage.name != "torch.storage._load_from_bytes" or len(storage.arguments) != 1:
        return None
    values = _storage(bytes(raw(storage.arguments[0])))
    if values is None:
        return None
    if not isinstance(shape, tuple) or not isinstance(strides, tuple) or len(shape) != len(strides) or len(shape) > 32:
        raise DamagedPickle("a tensor's shape is none")
    numbers = (offset, *shape, *strides)
    if any(isinstance(n, bool) or not isinstance(n, int) or not 0 <= n < 1 << 48 for n in numbers):
        raise DamagedPickle("a tensor's shape is none")
    size = int(np.prod([int(n) for n in shape], dtype=object))
    if size * values.itemsize > limit:
        raise Unread("a tensor that shows its values many times over", "write tensor.clone().numpy()")
    if size and offset + sum((n - 1) * step for n, step in zip(shape, strides)) >= len(values):
        raise DamagedPickle("a tensor shows more than its storage holds")
    steps = [step * values.itemsize for step in strides]
    shown = np.lib.stride_tricks.as_strided(values[offset:] if size else values, shape, steps if size else None)
    return np.array(shown, order="C")


def _storage(data: bytes) -> Array | None:
    """What ``torch.save`` of a storage wrote in the old form: four pickles, a count, the values."""
    stream, left = io.BytesIO(data), len(data)
    parts = []
    for _ in range(5):
        part, used = read_pickle(stream, left, most=10_000)
        parts.append(part)
        left -= used
    magic, protocol, system, described, keys = parts
    if magic != _MAGIC or protocol != _PROTOCOL or not isinstance(system, Pairs):
        return None
    key = described.key if isinstance(described, Persistent) else None
    if not isinstance(key, tuple) or len(key) < 5 or words(key[0]) != "storage" or not isinstance(key[1], Name):
        return None
    form, count = STORAGES.get(key[1].text), key[4]
    if form is None or not isinstance(keys, list) or len(keys) != 1 or left < 8:
        return None
    written = int.from_bytes(stream.read(8), "little")
    little = next((value for name, value in system.items if name == "little_endian"), True)
    dtype = np.dtype(form).newbyteorder("<" if little is True else ">")
    if written != count or written * dtype.itemsize != left - 8:
        raise DamagedPickle(f"a tensor's storage claims {str(count)[:20]} values in {left - 8} bytes")
    values = np.frombuffer(stream.read(), dtype)
    if key[1].text == "torch.BFloat16Storage":  # float32 without its lower half
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(dtype.newbyteorder("="), copy=False)


#: Floats, integers and booleans: what a sequence's numbers are.
PLAIN_KINDS = "fiub"
_DTYPE = re.compile(r"[<>=|]?(?:f(?:2|4|8|16)|[iu][1248]|b1|\?)")
_DTYPES = ("numpy.dtype", "numpy.core.multiarray.dtype")
_ARRAYS = (
    "numpy.ndarray",
    "numpy.memmap",
    "numpy.core.memmap.memmap",
    "numpy.matrix",
    "numpy.matrixlib.defmatrix.matrix",
    "numpy.core.defmatrix.matrix",
)
_MASKED = ("numpy.ma.MaskedArray", "numpy.ma.core.MaskedArray")
#: Frames of a list. Longer recordings are written as one array.
_FRAMES = 200_000
#: What a list may hold though its file is smaller, in bytes, or in the file's sizes: one frame may stand many times.
_ROOM, _TIMES = 1 << 26, 8
_AXES = 32
_NUMPY = "of a file you trust: pickle.dump(tensor.detach().cpu().numpy(), file, protocol=4)"
_TAMPERED = "do not open it with pickle, and make it again"
_CONVERT = "of a file you trust, write it again as one array: pickle.dump(numpy.asarray(sequence), file, protocol=4)"

#: Files of other formats under the name of a pickle.
_OTHERS = (
    (b"PK", "a zip archive, as torch.save and numpy.savez write, no pickle", "pickle.dump the array in it"),
    (b"\x93NUMPY", "numpy's .npy format, no pickle", "pickle.dump(numpy.load(name), file, protocol=4)"),
    (b"\x1f\x8b", "compressed data (gzip), no pickle", "decompress it: the toolboxes read plain pickles alone"),
    (b"BZh", "compressed data (bzip2), no pickle", "decompress it: the toolboxes read plain pickles alone"),
    (b"\xfd7zXZ", "compressed data (xz), no pickle", "decompress it: the toolboxes read plain pickles alone"),
    (b"\x28\xb5\x2f\xfd", "compressed data (zstd), no pickle", "decompress it: the toolboxes read plain pickles alone"),
    (b"\x89HDF", "an HDF5 file, no pickle", "pickle.dump the array in it"),
    (b"version ", "a pointer of Git LFS, not the file", "git lfs pull"),
)


def plain_dtype(name: Any) -> np.dtype[Any] | None:
    """The dtype of a plain string, such as ``<f2``; None if it names no float, integer or boolean.

    >>> plain_dtype("<f2"), plain_dtype("O"), plain_dtype([("x", "<f4")])
    (dtype('float16'), None, None)
    """
    text = words(name)
    if text is None or len(text) > 4 or _DTYPE.fullmatch(text) is None:
        return None
    try:
        return np.dtype(text)
    except TypeError:  # this machine has no such float
        return None


def read_array(stream: BinaryIO, size: int) -> Array:
    """Read a sequence [T, …] from a pickle, into memory of its own, in this machine's byte order.

    Args:
        stream: at the beginning of the file.
        size: of the file, in bytes. No more memory than this is taken, some of it twice; a list
            that repeats its frames may take more, within bounds.

    Raises:
        DamagedPickle: truncated, damaged, or sizes that contradict each other.
        Unread: something else than arrays.
        OSError: it cannot be read.
    """
    start = stream.read(8)
    stream.seek(0)
    for magic, what, how in _OTHERS:
        if start.startswith(magic):
            raise Unread(what, how)
    value, used = read_pickle(stream, size)
    if used != size:
        raise DamagedPickle(f"{size - used} bytes follow its end")
    try:
        return _read(value, size)
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, MemoryError) as error:
        raise DamagedPickle(f"what it describes makes no sense: {error}") from error


def _read(value: Any, size: int) -> Array:
    arrays = _Arrays(size)
    if not isinstance(value, (list, tuple)):
        return _native(arrays.of(value))
    if len(value) > _FRAMES:
        raise Unread(f"a list of {len(value)} items", _CONVERT)
    frames = [arrays.of(item) for item in value]
    shapes = {frame.shape for frame in frames}
    if len(shapes) > 1:
        one, other = sorted(shapes)[:2]
        raise DamagedPickle(f"its frames have different shapes ({list(one)} and {list(other)})")
    if sum(frame.nbytes for frame in frames) > max(_ROOM, _TIMES * size):
        raise Unread("many frames that are one and the same", _CONVERT)
    return np.stack([_native(frame) for frame in frames]) if frames else np.empty(0)


def _native(array: Array) -> Array:
    return array.astype(array.dtype.newbyteorder("="), copy=False)


class _Arrays:
    """Makes arrays of what a pickle describes; what it describes once and names often, once."""

    def __init__(self, size: int) -> None:
        self._limit = max(_ROOM, _TIMES * size)
        self._made: dict[int, tuple[Any, Array]] = {}

    def of(self, value: Any) -> Array:
        if id(value) in self._made:
            return self._made[id(value)][1]
        if not isinstance(value, Call):
            raise Unread(f"{describe(value)} where an array is expected", _CONVERT)
        array = self._array(value)
        self._made[id(value)] = value, array  # kept alive: an id is one object's only as long as it lives
        return array

    def _array(self, call: Call) -> Array:
        arguments, state = call.arguments, call.state
        if call.name == "numpy.core.multiarray._reconstruct" or call.name == "numpy.ma.core._mareconstruct":
            return self._reconstructed(call)
        if call.name == "numpy.core.numeric._frombuffer" and 4 <= len(arguments) <= 5 and state is None:
            return self._from_buffer(*arguments)
        if call.name == "numpy.ndarray" and len(arguments) == 3 and state is None:
            shape, dtype, buffer = arguments
            return _shaped(_bytes(buffer), _dtype(dtype), shape, "C")
        if call.name in ("numpy.core.multiarray.scalar", *_DTYPES):
            raise Unread("numbers, not an array", _CONVERT)
        if call.name == "numpy.ndarray":
            raise DamagedPickle("an array has no buffer")
        if call.name.startswith("torch."):
            tensor = read_tensor(call, _bytes, self._limit)
            if tensor is None:
                raise Unread("a torch object that is no plain tensor on the CPU", _NUMPY)
            return tensor
        raise Unread(f"{describe(call)}; only numpy arrays are read", _CONVERT)

    def _reconstructed(self, call: Call) -> Array:
        """An array that numpy makes empty and then gives a state."""
        masked = call.name == "numpy.ma.core._mareconstruct"
        names, rest = call.arguments[: 1 + masked], call.arguments[1 + masked :]
        kinds = [name.text if isinstance(name, Name) else "?" for name in names] or ["?"]
        known = kinds[0] in _MASKED and kinds[1:] == ["numpy.ndarray"] if masked else kinds[0] in _ARRAYS
        if not known:
            raise Unread(f"an array of the class {kinds[0][:80]}", _CONVERT)
        if len(rest) != 2 or not isinstance(rest[0], tuple) or [type(n) for n in rest[0]] != [int] or rest[0][0] != 0:
            raise DamagedPickle("an array begins with a size")
        state = call.state
        if not isinstance(state, tuple):
            raise DamagedPickle("an array has no buffer")
        mask = None
        if masked:
            if len(state) != 7:
                raise DamagedPickle("a masked array's state is not numpy's")
            mask = state[5]
        state = (
            [0, *state] if len(state) == 4 else list(state[:5] if masked else state)
        )  # numpy before 1.0 has no version
        if len(state) != 5 or type(state[0]) is not int or state[0] not in (0, 1) or type(state[3]) not in (bool, int):
            raise DamagedPickle("an array's state is not numpy's")
        _, shape, dtype, fortran, buffer = state
        array = _shaped(_bytes(buffer), _dtype(dtype), shape, "F" if fortran else "C")
        if mask is not None:
            hidden = np.frombuffer(_bytes(mask), np.uint8)
            if len(hidden) != array.size:
                raise DamagedPickle("an array's mask does not fit it")
            if hidden.any():
                raise Unread(
                    f"a masked array in which {np.count_nonzero(hidden)} values are masked",
                    "write what is to stand there: pickle.dump(sequence.filled(0), file, protocol=4)",
                )
        return array

    def _from_buffer(self, buffer: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> Array:
        order = words(order)
        if order not in ("C", "F", "K"):
            raise DamagedPickle("an array's order is neither C nor F")
        array = _shaped(_bytes(buffer), _dtype(dtype), shape, "F" if order == "F" else "C")
        if order != "K":
            return array
        if not isinstance(axes, tuple) or sorted(map(str, axes)) != sorted(map(str, range(array.ndim))):
            raise DamagedPickle("an array's axes are not in order")
        return array.transpose(tuple(int(axis) for axis in axes))


def _dtype(value: Any) -> np.dtype[Any]:
    """A plain dtype from numpy's call, or from a plain string as gaitext's own files have it."""
    if isinstance(value, (str, bytes)):
        name, order = value, None
    else:
        if not isinstance(value, Call) or value.name not in _DTYPES or not 1 <= len(value.arguments) <= 3:
            raise Unread(f"{describe(value)} as an array's dtype", _TAMPERED)
        name, order = value.arguments[0], value.state
        flags = value.arguments[1:]  # not aligned, a copy: without one, the state would be another dtype's, too
        if not all(type(f) in (bool, int) for f in flags) or tuple(map(int, flags)) != (0, 1)[: len(flags)]:
            raise Unread("a dtype that numpy does not write so", _TAMPERED)
    dtype = plain_dtype(name)
    if dtype is None:
        text = words(name)
        shown = "no plain one" if text is None else repr(text[:40])
        what = {"O": "Python objects", "c": "complex numbers", "V": "structured values", "M": "dates", "m": "times"}
        named = what.get((text or "?").lstrip("<>=|")[:1])
        if named is None and (text or "?").lstrip("<>=|")[:1] in ("S", "U", "a"):
            named = "text"
        raise Unread(f"an array of {named or 'values'} (dtype {shown}), not of numbers", _CONVERT)
    if order is None:
        return dtype
    # numpy gives a plain dtype this state and no other; a dtype with more would hide fields.
    sign = words(order[1]) if isinstance(order, tuple) and len(order) == 8 else None
    sizes = [] if sign is None else [order[0], *order[5:]]
    plain = all(type(size) is int for size in sizes) and sizes == [3, -1, -1, 0]
    if sign not in ("<", ">", "|", "=") or not plain or any(field is not None for field in order[2:5]):
        raise Unread("a dtype whose state was tampered with", _TAMPERED)
    return dtype if sign == "|" else dtype.newbyteorder("<" if sign == "<" else ">" if sign == ">" else "=")


def _shaped(buffer: bytes | Blob, dtype: np.dtype[Any], shape: Any, order: str) -> Array:
    if isinstance(shape, int) and not isinstance(shape, bool):
        shape = (shape,)
    if (
        not isinstance(shape, tuple)
        or len(shape) > _AXES
        or any(isinstance(n, bool) or not isinstance(n, int) for n in shape)
    ):
        raise DamagedPickle("an array's shape is none")
    if min(shape, default=1) < 0 or math.prod(shape) * dtype.itemsize != len(buffer):
        shown = " × ".join(str(n)[:20] for n in shape)
        raise DamagedPickle(f"it claims {shown or 'one'} values of {dtype} in a buffer of {len(buffer)} bytes")
    if math.prod(shape) == 0:
        if max(shape, default=0) >= 1 << 40:
            raise DamagedPickle("an array's shape is none")
        return np.empty(shape, dtype)
    # Bytes are read-only and an own buffer is not: sequences may be written to.
    flat = np.frombuffer(bytearray(buffer) if isinstance(buffer, bytes) else buffer, dtype)
    return flat.reshape(shape, order=order)  # type: ignore[call-overload]


def _bytes(value: Any) -> bytes | Blob:
    """Bytes, however a protocol writes them."""
    if isinstance(value, bytes) or (isinstance(value, np.ndarray) and value.dtype == np.uint8):
        return value
    if isinstance(value, Call) and value.state is None:
        arguments = value.arguments
        latin = len(arguments) == 2 and words(arguments[1]) in ("latin1", "latin-1") and isinstance(arguments[0], str)
        if latin and value.name in ("_codecs.encode", "builtins.bytearray", "builtins.bytes"):
            try:
                return np.frombuffer(bytearray(arguments[0].encode("latin-1")), np.uint8)
            except UnicodeEncodeError as error:
                raise DamagedPickle("an array's bytes are none") from error
        if value.name in ("builtins.bytearray", "builtins.bytes"):
            if not arguments:
                return b""
            inner = arguments[0]
            direct = isinstance(inner, (bytes, np.ndarray)) or (
                isinstance(inner, Call) and inner.name == "_codecs.encode"
            )
            if len(arguments) == 1 and direct:
                return _bytes(inner)
    if isinstance(value, list):
        raise Unread("an array of Python objects, not of numbers", _CONVERT)
    raise DamagedPickle(f"an array's buffer is {describe(value)}")
