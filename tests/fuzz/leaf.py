"""Mutated sequences: pickles of every version and form, and the compact form."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import pickletools
import random
import struct
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gaitext.errors import GaitextError
from gaitext.inspect.contents import inspect_file
from gaitext.store import map_sequence, open_sequence, read_sequence, write_sequence
from gaitext.store.compact import PREFIX

from .damage import NUMBERS, damaged, sentence

__all__ = ["check", "mutate"]

_ID = slice(len(PREFIX), len(PREFIX) + 16)
_NAMES = (
    *("numpy ndarray", "numpy dtype", "numpy memmap", "numpy float32", "numpy.core.multiarray _reconstruct"),
    *("numpy._core.numeric _frombuffer", "numpy.core.multiarray scalar", "builtins bytearray", "_codecs encode"),
    *("builtins list", "torch._utils _rebuild_tensor_v2", "torch.storage _load_from_bytes", "collections OrderedDict"),
)
_DTYPES = (
    "f4",
    "<f2",
    ">f8",
    "O",
    "O8",
    "V4",
    "c8",
    "U1",
    "S4",
    "M8[s]",
    "u1",
    "?",
    "f16",
    "f3",
    "2f4",
    "(3,)f4",
    "f4,f4",
    "",
)


@lru_cache
def sources() -> tuple[list[bytes], dict[bytes, np.ndarray]]:
    """Sound files; and what those that carry a hash hold, by their hash."""
    maps = np.random.default_rng(0).uniform(0, 1, (4, 3, 8, 6)).astype(np.float16)
    maps[maps < 0.7] = 0
    boxes, masks = np.arange(16, dtype=np.float64).reshape(4, 4), maps[:, 0] > 0
    values: list[Any] = [maps, np.asfortranarray(maps), list(maps), boxes, masks, boxes.astype(">f4"), list(boxes)]
    values += [np.ma.masked_array(boxes), torch.from_numpy(maps), [torch.from_numpy(frame) for frame in maps]]
    found = [pickle.dumps(value, protocol=protocol) for value in values for protocol in range(6)]
    found += [content.replace(b"numpy._core", b"numpy.core") for content in found[2:40:6]]
    hashed = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.pkl")
        for form, array in (
            ("plain", maps),
            ("plain", masks),
            ("compact", maps),
            ("lossless", maps),
            ("lossless", boxes),
        ):
            write_sequence(path, array, form)  # type: ignore[arg-type]
            content = path.read_bytes()
            if form != "plain":
                hashed[content[_ID]] = read_sequence(path)
                # Without this machine's path, whose length would be another elsewhere.
                before = _path_end(content)
                head = content[: _ID.stop] + b"X" + struct.pack("<I", 1) + b"x" + b"\x86R."
                at, length = struct.unpack("<QQ", content[before : before + 16])
                shift = len(head) - before
                content = head + struct.pack("<QQ", at + shift, length) + content[before + 16 :]
            found.append(content)
    return found, hashed


def _path_end(content: bytes) -> int:
    return _ID.stop + 5 + int(struct.unpack("<I", content[_ID.stop + 1 : _ID.stop + 5])[0]) + 3


def mutate(rng: random.Random) -> tuple[bytes, str]:
    """A sequence's file with some damage, and its suffix."""
    content = rng.choice(sources()[0])
    if content.startswith(PREFIX):
        return (_other_header(content, rng) if rng.random() < 0.5 else damaged(content, rng)), ".pkl"
    kind = rng.random()
    if kind < 0.35:
        return damaged(content, rng), ".pkl"
    pieces = _operations(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        _edit(pieces, rng)
    content = b"".join(pieces)
    return (damaged(content, rng) if rng.random() < 0.15 else content), ".pkl"


def _operations(content: bytes) -> list[bytes]:
    starts = [at for _, _, at in pickletools.genops(content) if at is not None]
    return [content[at:end] for at, end in zip(starts, [*starts[1:], len(content)])]


def _edit(pieces: list[bytes], rng: random.Random) -> None:
    """One operation changed as the format allows it."""
    at, kind = rng.randrange(len(pieces)), rng.randrange(9)
    if kind == 0:
        del pieces[at]
        pieces = pieces or [b"."]
    elif kind == 1:
        pieces.insert(at, rng.choice(pieces))
    elif kind == 2:
        other = rng.randrange(len(pieces))
        pieces[at], pieces[other] = pieces[other], pieces[at]
    elif kind == 3:
        begin = rng.randrange(len(pieces))
        pieces[at:at] = pieces[begin : begin + rng.choice((2, 5, 20))] * rng.choice((1, 2, 50))
    elif kind == 4:
        number = rng.choice(NUMBERS)
        signed = rng.choice((number, -number, number % 256))
        coded = pickle.dumps(signed, 2)[2:-1] if abs(signed) < 1 << 63 else b"N"
        pieces[at : at + rng.randrange(2)] = [coded]
    elif kind == 5:
        module, name = rng.choice(_NAMES).split()
        pieces[at : at + rng.randrange(2)] = [f"c{module}\n{name}\n".encode()]
    elif kind == 6:
        name = rng.choice(_DTYPES).encode()
        pieces[at : at + rng.randrange(2)] = [b"X" + struct.pack("<I", len(name)) + name]
    elif kind == 7:
        code = rng.choice([operation.code for operation in pickletools.opcodes]).encode("latin-1")
        argument = bytes(rng.randrange(256) for _ in range(rng.choice((0, 1, 1, 2, 4, 8))))
        pieces.insert(at, code + argument)
    else:
        other = rng.choice(sources()[0])
        if not other.startswith(PREFIX):
            theirs = _operations(other)
            begin = rng.randrange(len(theirs))
            pieces[at : at + rng.randrange(12)] = theirs[begin : begin + rng.randrange(1, 12)]
    if not pieces:
        pieces.append(b".")


_FIELDS: dict[str, tuple[Any, ...]] = {
    "version": (0, 2, "1", None),
    "dtype": ("<f4", "<f8", "O", "<c8", "|u1", [["x", "<f4"]], "f2,f2", 5, None),
    "shape": (
        *([], [1], [3, 8], [3, 6, 8], [3, 8, 7], [1 << 20, 1 << 20], [-3, -8, 6], [0, 8, 6]),
        *([3, 8, "6"], [True, 8, 6], 3, None),
    ),
    "bits": (0, 4, 8, 16, 32, "8", True, None, 8.0),
    "floor": (-1, 1e308, "x", None, [], float("nan")),
    "segment": (0, 4, 16, None),
}  # fmt: skip


def _other_header(content: bytes, rng: random.Random) -> bytes:
    """A header or index that says something else; often with the hash that fits."""
    begun = _path_end(content)
    at, length = struct.unpack("<QQ", content[begun : begun + 16])
    frames, trailer = content[begun + 16 : at], content[at : at + length]
    header, _, index = trailer[:-1].partition(b"\n")
    if rng.random() < 0.7:
        fields = json.loads(header)
        for name in rng.sample(sorted(_FIELDS), rng.choice((1, 1, 2))):
            fields[name] = rng.choice(_FIELDS[name])
        header = json.dumps(fields).encode()
    else:
        lengths = list(struct.unpack(f"<{len(index) // 4}I", index))
        place = rng.randrange(len(lengths))
        lengths[place] = rng.choice((0, lengths[place] - 8, lengths[place] + 8, (1 << 32) - 1)) % (1 << 32)
        index = struct.pack(f"<{len(lengths)}I", *lengths)
    if rng.random() < 0.3:
        frames = damaged(frames, rng)
    trailer = header + b"\n" + index + b"."
    made = content[:begun] + struct.pack("<QQ", begun + 16 + len(frames), len(trailer)) + frames + trailer
    if rng.random() < 0.6:
        made = made[: _ID.start] + hashlib.sha256(frames + trailer).digest()[:16] + made[_ID.stop :]
    return made


def check(path: Path) -> str:
    """Read it in every way.

    Raises:
        AssertionError: an error that names no file, or other numbers than were written.
    """
    size = path.stat().st_size
    read = None
    for reader in (read_sequence, map_sequence, open_sequence, inspect_file):
        try:
            found = reader(path)
        except GaitextError as error:
            sentence(error, path)
            if read is not None and reader is map_sequence:
                raise AssertionError(f"read and not mapped: {error}") from error
            continue
        if reader is read_sequence:
            read = np.asarray(found)
        elif reader is map_sequence and isinstance(found, np.ndarray):
            assert read is not None, "mapped and not read"
            assert np.array_equal(found, read, equal_nan=read.dtype.kind == "f")
    if read is None:
        return "refused"
    assert read.dtype.kind in "fiub", read.dtype
    assert read.size
    content = path.read_bytes()
    if content.startswith(PREFIX):
        known = sources()[1].get(content[_ID])
        assert known is None or np.array_equal(read, known), "other numbers than its hash says"
        return "read"
    assert read.nbytes <= max(1 << 26, 8 * size)
    _compare(content, read)
    return "read"


class _Numpy(pickle.Unpickler):
    """Python's own, for what gaitext's has read: nothing in it is called but what is known."""

    def find_class(self, module: str, name: str) -> Any:
        assert module.split(".")[0] in ("numpy", "torch", "_codecs", "builtins", "__builtin__", "collections"), module
        return super().find_class(module, name)


def _compare(content: bytes, read: np.ndarray) -> None:
    try:
        if {"POP", "POP_MARK"} & {operation.name for operation, _, _ in pickletools.genops(content)}:
            return  # what is thrown away may have been anything
        theirs = _Numpy(io.BytesIO(content), encoding="latin1").load()
        frames = theirs if isinstance(theirs, (list, tuple)) else [theirs]
        arrays = [np.asarray(frame) for frame in frames]
    except Exception:  # stricter than gaitext in something, which is its right
        return
    expected = np.stack(arrays) if isinstance(theirs, (list, tuple)) else arrays[0]
    assert expected.shape == read.shape, (expected.shape, read.shape)
    assert np.array_equal(expected, read, equal_nan=read.dtype.kind == "f"), "other numbers than pickle reads"
