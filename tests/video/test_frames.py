"""Folders of pictures as videos: order, turning, sizes, digests, and what is no frame."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext.errors import VideoError
from gaitext.video import count_frames, digest, probe, read_frames, sha256, write_video
from gaitext.video.frames import frame_files, frame_sizes, natural_key

images = pytest.importorskip("PIL.Image")


def picture(value: int, height: int = 12, width: int = 8) -> np.ndarray:
    frame = np.full((height, width, 3), value, np.uint8)
    frame[: height // 2] = (200, value, 0)
    frame[0, 0] = (0, 0, 255)
    return frame


def save(path: Path, array: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    images.fromarray(array).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Frames 1, 2, 10 of different sizes and formats, and things that are no frames."""
    place = tmp_path / "walk"
    save(place / "f2.bmp", picture(20, 14, 6))
    save(place / "f10.webp", picture(100), lossless=True)
    save(place / "f1.PNG", picture(10))
    save(place / ".f3.png", picture(30))
    (place / "f4.txt").write_text("no picture")
    (place / "._f5.jpg").write_bytes(b"macOS")
    return place


def test_frames_come_in_natural_order_whatever_their_size(folder: Path) -> None:
    assert [file.name for file in frame_files(folder)] == ["f1.PNG", "f2.bmp", "f10.webp"]
    frames = list(read_frames(folder))
    assert [index for index, _ in frames] == [0, 1, 2]
    for (_, frame), expected in zip(frames, (picture(10), picture(20, 14, 6), picture(100))):
        assert frame.dtype == np.uint8
        assert np.array_equal(frame, expected)
    info = probe(folder)
    assert (info.width, info.height, info.fps, info.frames) == (8, 12, 0.0, 3)
    assert list(frame_sizes(folder)) == [(8, 12), (6, 14), (8, 12)]
    assert count_frames(folder) == 3


def test_unwanted_frames_are_not_opened(folder: Path) -> None:
    (folder / "f2.bmp").write_bytes(b"broken")
    assert [index for index, _ in read_frames(folder, {0, 2})] == [0, 2]
    assert list(read_frames(folder, ())) == []
    seen = []
    with pytest.raises(VideoError, match=r"f2\.bmp: frame 2 cannot be read"):
        seen.extend(index for index, _ in read_frames(folder))
    assert seen == [0]
    with pytest.raises(VideoError, match=r"f2\.bmp: frame 2 cannot be read"):
        list(frame_sizes(folder))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_picture_cut_short_is_an_error(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 48, 3), dtype=np.uint8)
    path = save(tmp_path / f"1.{suffix}", noise)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(VideoError, match=rf"1\.{suffix}: frame 1 cannot be read"):
        list(read_frames(tmp_path))


#: EXIF orientation -> what a viewer does to the stored pixels, by the standard's own words.
UPRIGHT = {
    1: lambda f: f,
    2: np.fliplr,
    3: lambda f: np.rot90(f, 2),
    4: np.flipud,
    5: lambda f: f.swapaxes(0, 1),
    6: lambda f: np.rot90(f, -1),
    7: lambda f: np.rot90(f, 2).swapaxes(0, 1),
    8: lambda f: np.rot90(f, 1),
}


@pytest.mark.parametrize("orientation", sorted(UPRIGHT))
def test_exif_orientation_is_honoured(tmp_path: Path, orientation: int) -> None:
    exif = images.Exif()
    exif[0x0112] = orientation
    stored = picture(90)
    save(tmp_path / "1.png", stored, exif=exif)
    ((_, frame),) = read_frames(tmp_path)
    expected = UPRIGHT[orientation](stored)
    assert np.array_equal(frame, expected)
    assert list(frame_sizes(tmp_path)) == [(expected.shape[1], expected.shape[0])]
    assert (probe(tmp_path).height, probe(tmp_path).width) == expected.shape[:2]


def test_kinds_of_pixels(tmp_path: Path) -> None:
    grey = picture(50)[..., 1]
    save(tmp_path / "1.png", grey)
    save(tmp_path / "2.png", np.dstack((picture(60), grey)))
    frames = dict(read_frames(tmp_path))
    assert np.array_equal(frames[0], np.dstack((grey,) * 3))
    assert np.array_equal(frames[1], picture(60))
    save(tmp_path / "3.png", grey.astype(np.uint16) * 200)
    with pytest.raises(VideoError, match=r"3\.png: frame 3 is a picture of kind I;16"):
        list(read_frames(tmp_path))


def test_folders_that_are_no_video(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for function in (probe, count_frames, digest, sha256, lambda path: list(read_frames(path))):
        with pytest.raises(VideoError, match="empty: holds no pictures"):
            function(tmp_path / "empty")
    save(tmp_path / "masks" / "7.png", picture(1))
    save(tmp_path / "masks" / "7.jpg", picture(1))
    with pytest.raises(VideoError, match=r"holds 7\.jpg and 7\.png: which is the frame"):
        probe(tmp_path / "masks")


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**25), unique=True), st.text("ab_", max_size=3))
def test_natural_order_is_the_order_of_the_numbers(numbers: list[int], text: str) -> None:
    ordered = sorted((f"{text}{number}.jpg" for number in numbers), key=natural_key)
    assert ordered == [f"{text}{number}.jpg" for number in sorted(numbers)]


@settings(deadline=None)
@given(st.permutations(["", "1", "01", "a", "a1", "a01", "a1b", "1a", "10", "²"]))
def test_natural_order_does_not_depend_on_the_order_given(names: list[str]) -> None:
    assert sorted(names, key=natural_key) == ["", "01", "1", "1a", "10", "a", "a01", "a1", "a1b", "²"]


def test_digests_tell_videos_apart_and_follow_them(folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    folder.rename(moved)
    before = digest(moved), sha256(moved)
    (moved / "notes.txt").write_text("does not count")
    assert (digest(moved), sha256(moved)) == before
    middle = moved / "f2.bmp"
    content = bytearray(middle.read_bytes())
    content[-1] ^= 1
    middle.write_bytes(content)
    changed = digest(moved), sha256(moved)
    assert changed[0] != before[0]  # in the middle, too
    assert changed[1] != before[1]
    middle.rename(moved / "f3.bmp")
    assert digest(moved) not in (before[0], changed[0])


def test_digests_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    content = np.random.default_rng(0).integers(0, 255, 3 << 20, dtype=np.uint8).tobytes()
    path.write_bytes(content)
    assert sha256(path) == hashlib.sha256(content).hexdigest()
    assert digest(path) == hashlib.sha256(content).hexdigest()
    for function in (digest, sha256):
        with pytest.raises(VideoError, match="cannot be read"):
            function(tmp_path / "none.mp4")


def test_frames_of_a_video_are_counted_by_decoding(tmp_path: Path) -> None:
    pytest.importorskip("av")
    write_video(tmp_path / "a.mkv", (picture(i) for i in range(7)), preset="ultrafast")
    assert probe(tmp_path / "a.mkv").frames is None
    assert count_frames(tmp_path / "a.mkv") == 7
