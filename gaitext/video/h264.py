"""Which pictures of an H.264 stream are missing, by the numbers that they carry.

A decoder replaces a lost picture by its neighbour and does not say so: what is predicted from it looks
well and is wrong. Every slice holds ``frame_num``, which counts the pictures that others are predicted
from (ITU-T H.264, 7.4.3), so a lost one leaves a hole in the count.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["FrameNumbers"]

#: Profiles whose parameter sets say more of the samples (7.3.2.1.1).
_HIGH = {44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244}
_SLICE, _IDR, _SPS, _PPS = 1, 5, 7, 8
#: Bytes of a slice that hold what is looked at.
_HEAD = 48


@dataclass(frozen=True)
class _Sequence:
    """What of a sequence parameter set reading a slice's head takes."""

    bits: int
    gaps_allowed: bool
    frames_only: bool
    planes: bool


class FrameNumbers:
    """Follows a stream packet by packet.

    Args:
        extradata: what the container says of the codec, which may hold parameter sets (avcC, or a byte
            stream); None where it says nothing.
    """

    def __init__(self, extradata: bytes | None) -> None:
        self._sequences: dict[int, _Sequence] = {}
        self._pictures: dict[int, int] = {}
        self._length_size = 0  # 0: a byte stream with start codes
        self._last: int | None = None  # frame_num of the last picture that others are predicted from
        self._field: tuple[int, bool] | None = None  # a first field whose second is awaited
        data = extradata or b""
        try:
            if data[:1] == b"\x01" and len(data) > 6:
                self._length_size = (data[4] & 3) + 1
                self._read_avcc(data)
            else:
                for unit in _split(data):
                    self._parameters(unit)
        except IndexError:  # damaged: the decoder will say so, if it matters
            pass

    def follow(self, data: bytes, key: bool) -> tuple[bool, bool]:
        """Read the next packet in the order of decoding.

        Args:
            data: the packet.
            key: whether decoding may begin here, so that what came before does not matter.

        Returns:
            Whether pictures before it are missing, and whether it is the second field of a picture.
        """
        try:
            for unit in self._units(data):
                kind = unit[0] & 31
                if kind in (_SLICE, _IDR):
                    return self._slice(unit, key or kind == _IDR)
                self._parameters(unit)
        except (IndexError, KeyError):
            self._last = None
        return False, False

    def _slice(self, unit: bytes, key: bool) -> tuple[bool, bool]:
        bits = _Bits(unit[1:_HEAD])
        bits.unsigned()
        bits.unsigned()
        sequence = self._sequences[self._pictures[bits.unsigned()]]
        if sequence.planes:
            bits.take(2)
        number = bits.take(sequence.bits)
        is_field = not sequence.frames_only and bool(bits.take(1))
        bottom = is_field and bool(bits.take(1))
        second = is_field and self._field == (number, not bottom)
        self._field = (number, bottom) if is_field and not second else None
        before, reference = self._last, bool(unit[0] >> 5 & 3)
        if reference:
            self._last = number
        elif key:
            self._last = None
        if key or second or before is None or sequence.gaps_allowed:
            return False, second
        # 0 and 1 may also follow an operation that starts the count anew, which stands further back.
        return number not in (before, (before + 1) % (1 << sequence.bits), 0, 1), second

    def _units(self, data: bytes) -> Iterator[bytes]:
        if not self._length_size:
            yield from _split(data)
            return
        at = 0
        while at + self._length_size < len(data):
            length = int.from_bytes(data[at : at + self._length_size], "big")
            at += self._length_size
            if length:
                yield data[at : at + length]
            at += length

    def _read_avcc(self, data: bytes) -> None:
        at = 5
        for mask in (31, 255):
            count = data[at] & mask
            at += 1
            for _ in range(count):
                length = int.from_bytes(data[at : at + 2], "big")
                self._parameters(data[at + 2 : at + 2 + length])
                at += 2 + length

    def _parameters(self, unit: bytes) -> None:
        kind = unit[0] & 31
        if kind == _SPS:
            profile, bits = unit[1], _Bits(unit[4:])
            name, planes = bits.unsigned(), False
            if profile in _HIGH:
                chroma = bits.unsigned()
                planes = chroma == 3 and bool(bits.take(1))
                bits.unsigned()
                bits.unsigned()
                bits.take(1)
                if bits.take(1):
                    for place in range(12 if chroma == 3 else 8):
                        if bits.take(1):
                            bits.scaling_list(16 if place < 6 else 64)
            length = bits.unsigned() + 4
            order = bits.unsigned()
            if order == 0:
                bits.unsigned()
            elif order == 1:
                bits.take(1)
                bits.unsigned()
                bits.unsigned()
                for _ in range(bits.unsigned()):
                    bits.unsigned()
            bits.unsigned()
            gaps = bool(bits.take(1))
            bits.unsigned()
            bits.unsigned()
            self._sequences[name] = _Sequence(length, gaps, bool(bits.take(1)), planes)
        elif kind == _PPS:
            bits = _Bits(unit[1:_HEAD])
            name = bits.unsigned()
            self._pictures[name] = bits.unsigned()


class _Bits:
    """Bits of a unit, without the bytes that keep it from looking like a start code.

    Raises:
        IndexError: read beyond the end.
    """

    def __init__(self, data: bytes) -> None:
        content = data.replace(b"\0\0\3", b"\0\0")
        self._value, self._left = int.from_bytes(content, "big"), 8 * len(content)

    def take(self, count: int) -> int:
        if count > self._left:
            raise IndexError("no more bits")
        self._left -= count
        return self._value >> self._left & ((1 << count) - 1)

    def unsigned(self) -> int:
        """Exp-Golomb (9.1). A signed number has the same length."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)

    def scaling_list(self, size: int) -> None:
        last = following = 8
        for _ in range(size):
            if following:
                code = self.unsigned()
                following = (last + ((code + 1) // 2 if code % 2 else -(code // 2))) % 256
            last = following or last


def _split(data: bytes) -> Iterator[bytes]:
    """Units of a byte stream."""
    at = data.find(b"\0\0\1")
    while at >= 0:
        end = data.find(b"\0\0\1", at + 3)
        unit = data[at + 3 : end if end >= 0 else len(data)]
        if unit:
            yield unit
        at = end
