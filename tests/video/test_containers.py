"""The chain of a file's parts, by hand-made files."""

from __future__ import annotations

from pathlib import Path

import pytest

from gaitext.video.containers import Wholeness, _checksum, look_over


def part(kind: bytes, content: bytes) -> bytes:
    return kind + len(content).to_bytes(4, "little") + content + bytes(len(content) % 2)


def avi(*chunks: bytes) -> bytes:
    return part(b"RIFF", b"AVI " + part(b"LIST", b"hdrl" + bytes(8)) + part(b"LIST", b"movi" + b"".join(chunks)))


def box(kind: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content


def looked(path: Path, content: bytes) -> Wholeness:
    path.write_bytes(content)
    return look_over(path)


def test_empty_chunks_of_an_avi_are_counted_at_its_end_too(tmp_path: Path) -> None:
    whole = avi(part(b"00dc", b"abc"), part(b"00dc", b""), part(b"01wb", b""), part(b"00dc", b"de"), part(b"00dc", b""))
    assert looked(tmp_path / "a", whole) == Wholeness(None, 2)
    assert looked(tmp_path / "a", whole[:-10]).broken is not None
    # A wrong length makes what follows no chunk; it is the chunk before that is damaged.
    at = whole.index(b"00dcab"[:4])
    assert looked(tmp_path / "a", whole[: at + 4] + b"\x05\0\0\0" + whole[at + 8 :]).broken == at


def test_lists_within_lists_without_end(tmp_path: Path) -> None:
    content = b""
    for _ in range(5000):
        content = part(b"LIST", b"movi" + content)
    looked(tmp_path / "a", part(b"RIFF", b"AVI " + content))


def test_boxes_of_an_mp4(tmp_path: Path) -> None:
    head, rest = box(b"ftyp", b"isom"), box(b"moov", bytes(20))
    assert looked(tmp_path / "a", head + rest + box(b"mdat", bytes(50))).broken is None
    assert looked(tmp_path / "a", head + rest + box(b"mdat", bytes(50)) + b"\0\0\0").broken is None  # appended
    cut = (head + rest + box(b"mdat", bytes(50)))[:-7]
    assert looked(tmp_path / "a", cut).broken == len(cut)
    assert looked(tmp_path / "a", (head + rest)[:-7]).broken == len(head)
    fragments = head + rest + box(b"moof", bytes(9)) + box(b"mdat", bytes(9))
    assert looked(tmp_path / "a", fragments + fragments[len(head + rest) :]).broken is None
    assert looked(tmp_path / "a", fragments + b"\x93" * 40).broken == len(fragments)


@pytest.mark.parametrize("content", [b"", b"\0", b"RIFF", b"OggS", b"\x1a\x45\xdf\xa3", b"text" * 9, b"\x47" * 3])
def test_what_is_none_of_them_is_no_trouble(tmp_path: Path, content: bytes) -> None:
    assert looked(tmp_path / "a", content).empty == 0


def test_oggs_sum_is_the_slow_one() -> None:
    page = bytes(range(256)) * 3
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value >> 31 else 0)) & 0xFFFFFFFF
    assert _checksum(page) == value
