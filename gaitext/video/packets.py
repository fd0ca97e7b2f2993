"""Every packet of a video must give its picture: decoding that notices what a decoder leaves out.

Decoders drop pictures they cannot make, and say nothing. Here each packet goes in with a number of its
own in place of its time, which comes out on its picture, so that the packets without one are known.

Decoding uses one thread. With several, FFmpeg reports damage later, elsewhere, or not at all, and what a
damaged file gives would depend on the machine.

Of H.264, the numbers that pictures carry say more. A decoder replaces a lost picture by its neighbour and does
not say so: what is predicted from it looks well and is wrong. But every slice holds ``frame_num``, which counts
the pictures that others are predicted from (ITU-T H.264, 7.4.3), so a lost one leaves a hole in the count.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from gaitext.errors import VideoError

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
        """Read the next packet in the order of decoding; ``key``: decoding may begin here, whatever came before.

        Returns whether pictures before it are missing, and whether it is the second field of a picture.
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
    """Bits of a unit, without the bytes that keep it from looking like a start code; IndexError beyond the end."""

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


REENCODE = "copy or download the file again, or re-encode what is left of it (ffmpeg -i IN -c:v libx264 OUT.mp4)"

#: Demuxers whose recordings may begin anywhere, because nothing in front lists what there is.
_LIVE = {"mpegts", "mpeg", "mpegvideo", "h264", "hevc", "m4v", "vc1", "obu", "flv", "dhav", "rtsp", "sdp"}
#: A packet is later than a picture by this many at most where times do not say which is first.
_REORDERED = 32
#: FFmpeg says of a picture that it is incomplete up to so many packets too early.
_LOOK_AHEAD = 2
_NOTHING = "its data give no picture"
#: An MPEG-4 picture of so few bytes says that nothing is coded.
_NOT_CODED = 20


@dataclass(frozen=True)
class Picture:
    """A decoded frame.

    Attributes:
        frame: PyAV's.
        seconds: when it is shown, by the file's own clock; None where the file does not say.
    """

    frame: Any
    seconds: Fraction | None


@dataclass
class _Packet:
    number: int
    era: int  # rises where times start anew, as at the joints of recordings put together
    time: int | None
    duration: int
    free: bool  # need not give a picture
    midway: bool = False  # of a recording that begins before its first key picture
    wrong: str = ""  # why what is decoded from here on cannot be trusted

    def shown_before(self, other: _Packet, timed: bool) -> bool:
        if self.era != other.era:
            return self.era < other.era
        if timed and self.time is not None and other.time is not None:
            return self.time < other.time
        return self.number < other.number - _REORDERED


class Pictures:
    """Iterates over a stream's pictures in the order in which they are shown.

    Args:
        container, stream: PyAV's, just opened.
        where: what errors name.
        broken: the first byte of the file that is damaged or missing, if that is known.

    Attributes:
        count: pictures given so far.
        packets: read so far, empty ones and those that an edit list hides included.
        end: when the last picture so far ends, ticks.
        undecodable: packets at the beginning that a recording joined midway has no key picture for.

    Raises:
        VideoError: a picture that is missing or damaged; all before it have been given.
    """

    def __init__(self, container: Any, stream: Any, where: object, broken: int | None = None) -> None:
        self.container, self.stream, self.where, self.broken = container, stream, where, broken
        self.count = self.packets = self.undecodable = 0
        self.end: int | None = None
        names = set(container.format.name.split(","))
        self._live, self._transport = bool(names & _LIVE), "mpegts" in names
        # An AVI has no times of showing: FFmpeg counts its chunks.
        self._timed = "avi" not in names
        self._codec = stream.codec_context.name
        self._numbers = FrameNumbers(stream.codec_context.extradata) if self._codec == "h264" else None
        self._waiting: dict[int, _Packet] = {}
        self._times: list[tuple[int, int]] = []  # of untimed packets: (era, tick), the earliest first
        self._entry: _Packet | None = None  # the picture at which decoding began, in this era
        self._era, self._decoded_at = 0, -(1 << 63)
        self._shown: _Packet | None = None

    def __iter__(self) -> Iterator[Picture]:
        for packet, following, error in self._ahead():
            entry = None
            if packet is not None:
                entry = self._enter(packet, following)
                if packet.size == 0:  # a decoder would take it for the end
                    continue
                packet.pts, packet.dts = entry.number, None
            try:
                frames = self.stream.codec_context.decode(packet)
            except Exception as failure:
                if entry is None:
                    raise self._lost(reason(failure)) from failure
                entry.wrong = entry.wrong or reason(failure)
                continue
            for frame in frames:
                yield self._judge(frame, over=packet is None and (error is not None or self.broken is not None))
                self.count += 1
            if error is not None:
                raise self._lost(reason(error)) from error
        for left in self._waiting.values():
            if not left.free:
                raise self._lost(left.wrong or _NOTHING)

    def _ahead(self) -> Iterator[tuple[Any, Collection[Any], Exception | None]]:
        """Each packet with those after it; at the end None, and what ended it too early."""
        packets, error = self.container.demux(self.stream), None
        held: deque[Any] = deque()
        while True:
            try:
                packet = next(packets, None)
            except Exception as failure:  # FFmpeg's and PyAV's are of many kinds
                packet, error = None, failure
            if packet is None or (packet.size == 0 and packet.pts is None and packet.dts is None):
                break
            held.append(packet)
            if len(held) > _LOOK_AHEAD:
                yield held.popleft(), held, None
        while held:
            yield held.popleft(), held, None
        yield None, held, error

    def _enter(self, packet: Any, following: Collection[Any]) -> _Packet:
        if packet.dts is not None:
            if packet.dts < self._decoded_at:
                self._era, self._entry = self._era + 1, None
            self._decoded_at = packet.dts
        time = packet.pts
        entry = _Packet(self.packets, self._era, time, packet.duration or 0, getattr(packet, "is_discard", False))
        self.packets += 1
        if packet.size == 0:
            return entry
        place = packet.pos
        if self.broken is not None and place is not None and place >= self.broken:
            entry.wrong = f"the file is damaged or cut off at byte {self.broken}"
        # Where transport streams are put together, the count of their packets jumps, too.
        joint = self._transport and any(later.is_keyframe for later in following)
        if packet.is_corrupt and not joint:
            entry.wrong = entry.wrong or "a part of its data is missing"
        if self._entry is None and packet.is_keyframe:
            self._entry = entry
        elif self._entry is None:
            # Joined midway; of several recordings put together, only the first may be.
            entry.midway = self._live and self._era == 0
            entry.free |= entry.midway
        elif not packet.is_keyframe and (
            # Of an open group of pictures: shown before the picture at which decoding began.
            (time is None and self._timed and self._entry.time is not None)
            or (time is not None and self._timed and self._entry.time is not None and time < self._entry.time)
        ):
            entry.free = True
        entry.free |= self._hidden(packet)
        if self._numbers is not None:
            missing, second = self._numbers.follow(bytes(packet), packet.is_keyframe)
            entry.free |= second
            if missing and not entry.free:
                entry.wrong = entry.wrong or "pictures before it are missing"
        if not self._timed or time is None:
            tick = packet.dts if packet.dts is not None else time
            if tick is not None:
                heapq.heappush(self._times, (self._era, tick))
        self._waiting[entry.number] = entry
        return entry

    def _hidden(self, packet: Any) -> bool:
        """Whether a packet holds nothing to show: a picture for others to refer to, or "the same again"."""
        if self._codec == "mpeg4":
            return packet.size <= _NOT_CODED
        if self._codec not in ("vp8", "vp9", "libvpx", "libvpx-vp9"):
            return False
        data = bytes(packet)
        if "9" not in self._codec:
            return not data[0] & 16
        if data[-1] & 0xE0 == 0xC0:  # several in one, of which the last is shown
            return False
        profile = data[0] >> 5 & 1 | data[0] >> 3 & 2
        bits = data[0] << 8 | (data[1] if len(data) > 1 else 0)
        at = 11 - (profile == 3)  # show_existing_frame, then frame_type, then show_frame
        return not bits >> at & 1 and not bits >> at - 2 & 1

    def _judge(self, frame: Any, over: bool) -> Picture:
        """The next picture, if none before it is missing.

        ``over``: the file has ended too early, and the decoder gives what it still holds: pictures, too, that others
        which are gone stood in front of.
        """
        entry = self._waiting.pop(frame.pts, None) if frame.pts is not None else None
        if entry is not None:
            for other in self._waiting.values():
                if other.wrong and other.number < entry.number and not other.free:
                    raise self._lost(other.wrong)
                if not other.free and other.shown_before(entry, self._timed):
                    raise self._lost(other.wrong or _NOTHING)
            before = self._shown
            if (
                (over and self._timed and before is not None and before.duration and before.era == entry.era)
                and (before.time is not None and entry.time is not None)
                and entry.time - before.time > 1.5 * before.duration
            ):
                raise self._lost("the file is damaged or cut off")
            self._shown = entry
            if entry.wrong and not entry.free:
                raise self._lost(entry.wrong)
        if frame.is_corrupt:
            # The decoder has guessed the missing parts: poses found there would be made up.
            raise VideoError(f"frame {self.count + 1} is damaged", where=self.where, how=REENCODE)
        if entry is None:  # a codec that gives more pictures than packets
            return Picture(frame, None)
        if self.count == 0:
            self.undecodable = sum(other.midway for other in self._waiting.values())
        for number in [n for n, other in self._waiting.items() if other.free and n < entry.number - _REORDERED]:
            del self._waiting[number]
        time = entry.time
        if (time is None or not self._timed) and self._times:
            time = heapq.heappop(self._times)[1]
        if time is not None:
            self.end = max(self.end or time, time + entry.duration) if entry.era == 0 else time + entry.duration
        return Picture(frame, None if time is None else time * Fraction(self.stream.time_base))

    def _lost(self, why: str) -> VideoError:
        return VideoError(f"cannot be decoded after frame {self.count} ({why})", where=self.where, how=REENCODE)


def reason(error: Exception) -> str:
    """An error of FFmpeg's without its number and the name of its function, or of PyAV's."""
    text = str(getattr(error, "strerror", None) or error)
    return text or type(error).__name__
