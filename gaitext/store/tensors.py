"""torch tensors in pickles, read as numpy arrays."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitext.pickles import Blob, Call, DamagedPickle, Name, Pairs, Persistent, Unread, read_pickle, words

__all__ = ["STORAGES", "read_tensor"]

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

    Args:
        call: what the pickle says.
        raw: how bytes are had from what stands for them.
        limit: bytes that the array may take: a tensor may show one value at many places.

    Raises:
        DamagedPickle: its storage does not hold what it shows.
        Unread: it takes more than ``limit``.
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
