"""Whether a video file is whole, by the sizes that its container's own parts state.

FFmpeg's demuxers step over damaged parts and stop at the end of a file without a word. Each part says
how long it is, so the place where the chain of parts breaks can be found without decoding anything.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

#: Matroska's elements that hold others: a Segment, and the Clusters in it.
_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675
_EBML = b"\x1a\x45\xdf\xa3"
#: What may stand at Matroska's top level, in a Segment, and (one or two bytes long) in a Cluster.
_TOP = {_SEGMENT, 0x1A45DFA3, 0xEC, 0xBF}
_IN_SEGMENT = {0x114D9B74, 0x1549A966, _CLUSTER, 0x1654AE6B, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367, 0xEC, 0xBF}
_IN_CLUSTER = {0xE7, 0x5854, 0xA7, 0xAB, 0xA3, 0xA0, 0xAF, 0xEC, 0xBF}
#: What may stand beside the fragments of an mp4.
_IN_FRAGMENTED = {b"moof", b"mdat", b"sidx", b"styp", b"emsg", b"prft", b"mfra", b"free", b"skip", b"uuid", b"ssix"}


@dataclass
class Wholeness:
    """What a look at a file's parts has shown.

    Attributes:
        broken: the first byte of the part that is damaged or cut off; None where all fit, or the format
            does not state sizes.
        empty: chunks of an AVI that say "nothing new is shown" and hold no picture.
    """

    broken: int | None = None
    empty: int = 0


def look_over(path: Path) -> Wholeness:
    """Follow the parts of an mp4 or mov, a Matroska or WebM, an AVI, an Ogg or a transport stream."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(12)
        found = Wholeness()
        if head[:4] == _EBML:
            found.broken = _matroska(stream, size)
        elif head[:4] == b"RIFF" and head[8:] == b"AVI ":
            _riff(stream, 0, size, found)
        elif head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"):
            found.broken = _boxes(stream, size)
        elif head[:4] == b"OggS":
            found.broken = _ogg(stream, size)
        elif head[:1] == b"\x47" and (length := _packet_length(stream, size)) and size % length:
            found.broken = size - size % length
    return found


def _boxes(stream: BinaryIO, size: int) -> int | None:
    at, fragments = 0, False
    while at < size:
        stream.seek(at)
        head = stream.read(16)
        fragments |= head[4:8] == b"moof"
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        elif length == 0:  # as far as the file goes; or zeros
            return at if fragments and head[4:8] not in _IN_FRAGMENTED else None
        if length < 8 or at + length > size:
            if head[4:8] == b"mdat":  # in which the index says where pictures lie
                return size
            # Zeros or a few bytes that other programs append are no part of it.
            return at if fragments or head[4:8] in (b"moof", b"moov") else None
        if fragments and head[4:8] not in _IN_FRAGMENTED:
            return at
        at += length
    return None


def _riff(stream: BinaryIO, at: int, end: int, found: Wholeness, depth: int = 0) -> None:
    before = at
    while at + 8 <= end and found.broken is None:
        stream.seek(at)
        head = stream.read(12)
        kind, length = head[:4], int.from_bytes(head[4:8], "little")
        inside = head[8:12]
        if kind == b"RIFF" and length == 0:  # never finished: it promises nothing
            return
        if not all(32 <= byte < 127 for byte in kind):
            if kind != b"\0\0\0\0":  # padding
                found.broken = before  # which may be where the wrong length stands
            return
        # A file, its movie, and records in it: deeper is no AVI.
        holds = depth < 3 and (kind == b"RIFF" or (kind == b"LIST" and inside in (b"movi", b"rec ")))
        if holds:
            _riff(stream, at + 12, min(at + 8 + length, end), found, depth + 1)
        elif kind[2:] in (b"dc", b"db") and length == 0:
            found.empty += 1
        if found.broken is None and at + 8 + length > end:
            found.broken = end if holds else at
            return
        before, at = at, at + 8 + length + length % 2


def _matroska(stream: BinaryIO, size: int) -> int | None:
    """Elements side by side; a Segment's and a Cluster's children count as their neighbours."""
    at, before, segment_end = 0, 0, size
    while at < size:
        stream.seek(at)
        head = stream.read(12)
        element, id_length = _number(head, keep=True)
        length, length_length = _number(head[id_length:], keep=False)
        begin = at + id_length + length_length
        unknown = length == (1 << 7 * length_length) - 1
        if element == _SEGMENT and not unknown:
            segment_end = begin + length
        if not id_length or not length_length or element not in _TOP | _IN_SEGMENT | _IN_CLUSTER:
            # Behind the Segment there may be anything.
            return None if at >= segment_end else before  # which may be where the wrong length stands
        if element not in (_SEGMENT, _CLUSTER) and begin + length > size:
            return at
        before, at = at, begin if element in (_SEGMENT, _CLUSTER) else begin + length
    return size if segment_end > size else None


def _ogg(stream: BinaryIO, size: int) -> int | None:
    """Pages side by side, each with a sum of its bytes; every stream's last is marked."""
    at = 0
    open_streams: set[bytes] = set()
    while at < size:
        stream.seek(at)
        head = stream.read(27)
        lengths = stream.read(head[26]) if len(head) == 27 else b""
        if head[:4] != b"OggS" or len(head) < 27 or len(lengths) < head[26]:
            return at
        content = stream.read(sum(lengths))
        page = head[:22] + bytes(4) + head[26:] + lengths + content
        if len(content) < sum(lengths) or _checksum(page) != int.from_bytes(head[22:26], "little"):
            return at
        (open_streams.discard if head[5] & 4 else open_streams.add)(head[14:18])
        at += len(page)
    return size if open_streams else None


#: Each byte's bits the other way round.
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _checksum(page: bytes) -> int:
    """Ogg's: zlib's polynomial, the other way round and from 0."""
    mirrored = zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)


def _number(data: bytes, *, keep: bool) -> tuple[int, int]:
    """EBML's number of variable length, and its length; (0, 0) where there is none."""
    if not data or not data[0]:
        return 0, 0
    length = 9 - data[0].bit_length()
    if len(data) < length:
        return 0, 0
    value = int.from_bytes(data[:length], "big")
    return (value if keep else value & ((1 << 7 * length) - 1)), length


def _packet_length(stream: BinaryIO, size: int) -> int:
    """188, or 204 with check bytes; 0 where it is no transport stream."""
    for length in (188, 204):
        if size >= 5 * length and all(_at(stream, length * number) == b"\x47" for number in range(5)):
            return length
    return 0


def _at(stream: BinaryIO, place: int) -> bytes:
    stream.seek(place, os.SEEK_SET)
    return stream.read(1)
