"""Random generators that depend on what is drawn, not on when or where."""

from __future__ import annotations

import zlib
from enum import IntEnum

import numpy as np

__all__ = ["Stream", "identity_generator", "walk_generator"]


class Stream(IntEnum):
    """What a generator is for. Different streams share no random number.

    Who somebody is comes from :attr:`IDENTITY` and nothing else does; how one walk is clothed,
    filmed and observed comes from the other streams and never from that one. So clothes, limb
    thickness, camera and noise cannot give an identity away.
    """

    IDENTITY = 1
    SESSION = 2
    BODY = 3
    PLACE = 4
    OBSERVATION = 5
    LENGTH = 6
    LOOKS = 7


def identity_generator(seed: int, identity: int) -> np.random.Generator:
    """The generator of one identity's body and gait."""
    return np.random.default_rng(np.random.SeedSequence((seed, Stream.IDENTITY, identity)))


def walk_generator(stream: Stream, seed: int, identity: int, kind: str, view: str) -> np.random.Generator:
    """One of a walk's generators: a function of (stream, seed, identity, type, view) alone.

    The names enter as their CRC-32, which, unlike ``hash()``, is the same in every process.
    """
    names = (zlib.crc32(kind.encode()), zlib.crc32(view.encode()))
    return np.random.default_rng(np.random.SeedSequence((seed, stream, identity, *names)))
