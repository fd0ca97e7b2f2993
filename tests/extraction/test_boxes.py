"""The MOT reader and the naming of clips."""

from pathlib import Path

import numpy as np
import pytest

from gaitext.errors import ConfigError, DataError
from gaitext.extraction import ExtractSettings, Track, read_boxes
from gaitext.extraction.clips import plan_clips
from gaitext.making import frame_ranges


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "boxes.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_reads_tracks_in_order(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeffframe,id,x,y,w,h,conf\n3,7,1,2,3.5,4,0.9,-1,-1,-1\n1,7, 5,6,7,8\n\n1,2,0,0,1,1,1\n")
    tracks = read_boxes(path)
    assert list(tracks) == [2, 7]
    assert tracks[7].frames.tolist() == [1, 3]
    assert tracks[7].boxes.tolist() == [[5, 6, 7, 8], [1, 2, 3.5, 4]]
    assert list(read_boxes(write(tmp_path, "1,1,0,0,2,2\n"))) == [1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no boxes"),
        ("frame,id,x,y,w,h\n", "holds no boxes"),
        ("1,1,0,0,2\n", r"csv:1: has 5 columns"),
        ("1 1 0 0 2 2\n1 1 0 0 2 2\n", r"csv:2: track 1 has a second box"),
        ("1,1,0,0,2,2\n2,1,0,zero,2,2\n", r"csv:2: y is 'zero'"),
        ("1,1,0,0,2,2\nframe,id,x,y,w,h\n", r"csv:2: frame is 'frame'"),
        ("0,1,0,0,2,2\n", r"csv:1: frame is 0"),
        ("1.5,1,0,0,2,2\n", r"csv:1: frame is 1\.5"),
        ("1,1.5,0,0,2,2\n", r"csv:1: id is 1\.5"),
        ("1,1,0,0,-2,2\n", r"csv:1: the box is -2 wide"),
        ("1,1,0,0,nan,2\n", r"csv:1: width is 'nan'"),
        ("1,-1,0,0,2,2\n1,-1,9,0,2,2\n", r"csv:2: track -1 has a second box in frame 1 \(the first is in line 1\)"),
    ],
)
def test_malformed_files_are_named_with_the_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_boxes(write(tmp_path, text))


def test_no_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_boxes(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match="not a text file"):
        read_boxes(tmp_path / "b.csv")


def track(number: int, frames: int) -> Track:
    return Track(number, np.arange(1, frames + 1), np.ones((frames, 4)))


def test_clips_are_cut_and_named() -> None:
    settings = ExtractSettings(clip_frames=10, identity="{video}-{track:03d}", type="nm-{clip:02d}", view="090")
    clips = plan_clips([track(1, 25), track(2, 10)], Path("a/walk.mp4"), settings)
    assert [clip.leaf for clip in clips] == [
        "walk-001/nm-01/090",
        "walk-001/nm-02/090",
        "walk-001/nm-03/090",
        "walk-002/nm-01/090",
    ]
    assert [clip.frames[[0, -1]].tolist() for clip in clips] == [[1, 10], [11, 20], [21, 25], [1, 10]]
    assert [clip.leaf for clip in plan_clips([track(5, 30)], Path("w.mp4"), ExtractSettings())] == ["5/nm-01/000"]


def test_names_that_collide_or_cannot_be_folders() -> None:
    with pytest.raises(ConfigError, match=r"track 1 clip 1 and track 2 clip 1[\s\S]*\{track\}"):
        plan_clips([track(1, 5), track(2, 5)], Path("w.mp4"), ExtractSettings(identity="alice"))
    with pytest.raises(ConfigError, match=r"clip 1 and track 1 clip 2[\s\S]*\{clip\}"):
        plan_clips([track(1, 5)], Path("w.mp4"), ExtractSettings(type="nm", clip_frames=3))
    for identity in ("a/b", "", ".a", "..", "a "):
        with pytest.raises(ConfigError, match="cannot name a folder"):
            plan_clips([track(1, 5)], Path("w.mp4"), ExtractSettings(identity=identity))
    with pytest.raises(ConfigError, match="cannot be filled in"):
        plan_clips([track(1, 5)], Path("w.mp4"), ExtractSettings(view="{video:d}"))


def test_settings_name_the_wrong_key_and_template() -> None:
    with pytest.raises(ConfigError, match=r"extract\.clip_frame'[\s\S]*did you mean 'clip_frames'"):
        ExtractSettings.parse({"clip_frame": 3}, where="extract")
    for template in ("{trck}", "{", "{}"):
        with pytest.raises(ConfigError, match=r"extract\.type"):
            ExtractSettings.parse({"type": template}, where="extract")
    for key, value in (("clip_frames", 0), ("min_frames", 0), ("crop_scale", 0), ("batch_size", 0)):
        with pytest.raises(ConfigError, match=key):
            ExtractSettings.parse({key: value}, where="extract")


def test_frame_ranges() -> None:
    assert frame_ranges([]) == ""
    assert frame_ranges([4]) == "4"
    assert frame_ranges([1, 2, 4, 6, 7, 8]) == "1-2,4,6-8"
