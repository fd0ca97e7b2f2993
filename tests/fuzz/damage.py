"""Damage that any file can take: bits, cuts, doubled stretches, numbers where lengths stand."""

from __future__ import annotations

import random
import struct
from pathlib import Path

from gaitext.errors import GaitextError

__all__ = ["NUMBERS", "damaged", "sentence"]

#: Sizes that are wrong in an interesting way.
NUMBERS = (0, 1, 2, 3, 7, 8, 255, 256, 65535, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 40, (1 << 63) - 1)


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, moved, doubled, left out or cut off."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 6))):
        at, kind = rng.randrange(len(data) + 1), rng.randrange(7)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 2:
            del data[at : at + rng.choice((1, 2, 8, 100))]
        elif kind == 3:
            other = rng.randrange(len(data) + 1)
            data[at:at] = data[other : other + rng.choice((1, 2, 8, 100))]
        elif kind == 4:
            del data[at:]
        elif kind == 5:
            form, bits = rng.choice((("<I", 32), ("<Q", 64), ("<H", 16), ("B", 8)))
            number = struct.pack(form, rng.choice(NUMBERS) % (1 << bits))
            data[at : at + len(number)] = number
        else:
            data += bytes(rng.randrange(256) for _ in range(rng.choice((1, 3, 50))))
    return bytes(data)


def sentence(error: GaitextError, path: Path) -> None:
    """See that an error names the file and is a sentence.

    Raises:
        AssertionError: it is not.
    """
    assert str(path) in str(error), f"names no file: {error}"
    assert "\n" not in error.what, f"more than a sentence: {error.what}"
    assert len(error.what) < 1000, f"no short sentence: {error.what[:300]}"
