"""Video reading and writing: order, rotation, and every way a file can be bad."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gaitext.errors import MissingDependencyError, VideoError
from gaitext.video import probe, read_frames, write_video

av = pytest.importorskip("av")

IDENTITY = np.array([65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30], ">i4").tobytes()


def blocks(index: int, height: int = 64, width: int = 96) -> np.ndarray:
    """A frame whose four quarters and grey level tell orientation and number."""
    frame = np.full((height, width, 3), 40 + 4 * index, np.uint8)
    frame[: height // 2, : width // 2] = (220, 30, 30)
    frame[: height // 2, width // 2 :] = (30, 200, 30)
    return frame


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    assert write_video(path, (blocks(i) for i in range(40)), fps=25, crf=10, preset="ultrafast", gop=10) == 40
    return path


def noisy(path: Path, frames: int = 60) -> bytes:
    """A clip that compresses badly, so that cutting its bytes cuts frames."""
    noise = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    write_video(path, (np.roll(noise, i, 1) for i in range(frames)), crf=18, gop=10)
    return path.read_bytes()


def test_frames_come_in_order_and_in_colour(clip: Path) -> None:
    frames = list(read_frames(clip))
    assert [index for index, _ in frames] == list(range(40))
    for index, frame in frames:
        assert frame.dtype == np.uint8
        assert np.abs(frame.astype(int) - blocks(index)).mean() < 4
    info = probe(clip)
    assert (info.width, info.height, info.fps, info.frames) == (96, 64, 25.0, 40)


def test_only_the_frames_asked_for(clip: Path) -> None:
    frames = dict(read_frames(clip, {3, 17}))
    assert sorted(frames) == [3, 17]
    assert abs(int(frames[17][50, 50, 0]) - (40 + 4 * 17)) < 4
    assert list(read_frames(clip, set())) == []


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((0, 1, -1, 0), lambda f: np.rot90(f, -1)),  # (x, y) -> (-y, x): a quarter turn clockwise
        ((0, -1, 1, 0), lambda f: np.rot90(f, 1)),
        ((-1, 0, 0, -1), lambda f: np.rot90(f, 2)),
        ((-1, 0, 0, 1), np.fliplr),
        ((0, 1, 1, 0), lambda f: f.swapaxes(0, 1)),
    ],
)
def test_rotation_metadata_is_honoured(clip: Path, tmp_path: Path, matrix: tuple[int, ...], shown) -> None:
    a, b, c, d = (65536 * m for m in matrix)
    content = clip.read_bytes()
    place = content.index(IDENTITY, content.index(b"tkhd"))
    turned = tmp_path / "turned.mp4"
    new = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], ">i4").tobytes()
    turned.write_bytes(content[:place] + new + content[place + 36 :])
    _, frame = next(read_frames(turned))
    expected = shown(blocks(0))
    assert frame.shape == expected.shape
    assert np.abs(frame.astype(int) - expected).mean() < 4
    info = probe(turned)
    assert (info.height, info.width) == expected.shape[:2]


def test_missing_file_and_no_video(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no such file"):
        next(read_frames(tmp_path / "none.mp4"))
    for name, content in (("text.mp4", b"hello"), ("empty.mp4", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(VideoError, match=rf"{name}.*(cannot be opened|is empty)"):
            probe(tmp_path / name)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_a_video_that_ends_early_is_reported_after_its_good_frames(tmp_path: Path, suffix: str) -> None:
    whole = noisy(tmp_path / f"a.{suffix}")
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(whole[: len(whole) * 6 // 10])
    seen = []
    # PyAV's versions differ in where they notice.
    ends = r"ends early: frame \d+ is the last of 60|frame \d+ is damaged|cannot be decoded after frame \d+"
    with pytest.raises(VideoError, match=rf"cut\.{suffix}.*({ends})"):
        seen.extend(index for index, _ in read_frames(cut))
    assert 20 < len(seen) < 60
    # What is not asked for may be missing.
    assert len(list(read_frames(cut, range(10)))) == 10


@pytest.mark.parametrize("suffix", ["mp4", "avi"])
def test_a_damaged_video_is_reported_with_the_frame(tmp_path: Path, suffix: str) -> None:
    content = bytearray(noisy(tmp_path / f"a.{suffix}"))
    for place in np.random.default_rng(1).integers(len(content) // 2, len(content) * 3 // 4, 200):
        content[place] ^= 0x5A
    bad = tmp_path / f"bad.{suffix}"
    bad.write_bytes(content)
    with pytest.raises(VideoError, match=r"cannot be decoded after frame \d+|frame \d+ is damaged"):
        list(read_frames(bad))


def test_a_clip_trimmed_by_an_edit_list_is_whole(tmp_path: Path) -> None:
    content = noisy(tmp_path / "a.mp4")
    place = content.index(b"elst") + 12  # version and flags, count, then the segment's duration
    assert int.from_bytes(content[place : place + 4], "big") == 2400
    trimmed = tmp_path / "trimmed.mp4"
    trimmed.write_bytes(content[:place] + (1600).to_bytes(4, "big") + content[place + 4 :])
    assert 38 <= len(list(read_frames(trimmed))) <= 42


def test_write_video_refuses_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with pytest.raises(VideoError, match="no frames"):
        write_video(path, [])
    with pytest.raises(VideoError, match="even"):
        write_video(path, [np.zeros((63, 96, 3), np.uint8)])
    with pytest.raises(VideoError, match="frame 2 is 96×32"):
        write_video(path, [np.zeros((64, 96, 3), np.uint8), np.zeros((32, 96, 3), np.uint8)])
    with pytest.raises(VideoError, match="float64"):
        write_video(path, [np.zeros((64, 96, 3))])
    assert list(tmp_path.iterdir()) == []


def test_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch, clip: Path) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingDependencyError, match=r"gaitext\[video\]"):
        next(read_frames(clip))


@pytest.mark.parametrize(
    ("modules", "unwanted"),
    [
        ("gaitext.video, gaitext.pose, gaitext.extraction", {"av", "PIL", "onnxruntime"}),
        ("gaitext.video, gaitext.making, gaitext.convert", {"torch"}),
        ("gaitext.cli", {"numpy", "pydantic"}),
    ],
)
def test_importing_costs_only_what_is_needed(modules: str, unwanted: set[str]) -> None:
    code = f"import sys, {modules}; print({unwanted} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
