"""Recognising inputs: nothing less than all of their bytes tells them apart."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from gaitext.errors import VideoError
from gaitext.video.digests import content_sha256, digest, sha256


def test_a_files_digest_is_its_sha256(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"x" * 3_000_000)
    assert digest(path) == sha256(path) == content_sha256(path) == hashlib.sha256(b"x" * 3_000_000).hexdigest()


def test_a_change_in_the_middle_is_seen_though_size_and_time_are_put_back(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    content = bytearray(3 << 20)
    path.write_bytes(content)
    os.utime(path, ns=(10**18, 10**18))
    first = digest(path)
    content[len(content) // 2] = 1  # between the first and the last mebibyte
    path.write_bytes(content)
    os.utime(path, ns=(10**18, 10**18))
    assert digest(path) != first


def test_an_unchanged_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gaitext.video import digests

    path = tmp_path / "a.mp4"
    path.write_bytes(b"abc")
    monkeypatch.setattr(digests, "_SETTLED", -(10**18))  # as if it had been lying there for long
    first = digest(path)
    if os.name == "posix":
        monkeypatch.setattr(digests.hashlib, "sha256", lambda *_: pytest.fail("read again"))
    assert digest(path) == first


def test_a_folders_pictures_count_with_names_and_contents(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(bytes([number]) * 10)
    found = [digest(tmp_path)]
    (tmp_path / "1.png").write_bytes(b"z" * 10)  # neither the first nor the last, of the same size
    found.append(digest(tmp_path))
    os.rename(tmp_path / "1.png", tmp_path / "11.png")
    found.append(digest(tmp_path))
    assert len(set(found)) == 3
    inner = hashlib.sha256()
    for name in ("0.png", "2.png", "3.png", "11.png"):
        inner.update(name.encode() + b"\0" + hashlib.sha256((tmp_path / name).read_bytes()).hexdigest().encode())
    assert found[-1] == inner.hexdigest()


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="cannot be read"):
        digest(tmp_path / "none.mp4")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    for read in (sha256, content_sha256):
        with pytest.raises(VideoError, match="is no file"):
            read(tmp_path / "pipe.mp4")
