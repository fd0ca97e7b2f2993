"""Which frame a picture's name means, and when nobody can tell."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from gaitext.errors import DataError
from gaitext.extraction.boxes import read_boxes
from gaitext.extraction.coco import numbers_in, read_all_boxes


def write(tmp_path: Path, names: Sequence[str]) -> Path:
    content = {
        "images": [{"id": index, "file_name": name} for index, name in enumerate(names)],
        "annotations": [{"image_id": index, "bbox": [5, 5, 20 + index, 40]} for index in range(len(names))],
    }
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("names", "frames"),
    [
        ([f"frame_{n:06d}.PNG" for n in range(0, 40, 2)], list(range(1, 40, 2))),  # CVAT's, every second
        ([f"frame_{n:06d}.jpg" for n in range(1, 41)], list(range(1, 41))),
        (["1.jpg", "2.jpg", "10.jpg"], [1, 2, 10]),
        (["0.jpg", "7.jpg"], [1, 8]),
        (["cam3_0001_color.jpg", "cam3_0004_color.png"], [1, 4]),
        (["v/x/0003.jpg", "v/x/0001.jpg"], [3, 1]),
        (["000000.png"], [1]),
        (["1.png"], [1]),
        (["cam3_1.png"], [1]),
    ],
)
def test_the_numbers_are_used(tmp_path: Path, names: list[str], frames: list[int]) -> None:
    track = read_boxes(write(tmp_path, names))[1]
    widths = dict(zip(track.frames.tolist(), track.boxes[:, 2].tolist()))
    assert widths == {frame: 20 + index for index, frame in enumerate(frames)}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.jpg", "b.jpg"], "differ in more than a number"),
        (["a1.jpg", "b2.jpg"], "differ in more than a number"),
        (["x.jpg"], "'x.jpg' holds no number"),
        (["5.jpg", "7.jpg"], "begin with 5, so that nothing says whether they count from 0 or 1"),
        ([f"frame_{n:06d}.PNG" for n in range(1, 40)], "like CVAT's, which count from 0"),
        (["cam1_1.jpg", "cam2_2.jpg"], "differ in 2 numbers"),
        (["2020_1588888888123.jpg", "2020_1588888888223.jpg"], "too large for a frame's"),
        (["1.jpg", "01.jpg"], r"images\[1\] has no frame_id, and the number of images\[0\]"),
        (["1.jpg", ""], r"images\[1\] has neither frame_id nor file_name"),
        (["9" * 900 + ".jpg", "1.jpg"], "too large for a frame's"),
    ],
)
def test_names_that_leave_it_open_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_boxes(write(tmp_path, names))
    assert "boxes.json" in str(caught.value)
    assert "frame_id" in str(caught.value.how)


def test_of_several_videos_each_has_numbers_of_its_own_and_one_0_counts_for_all(tmp_path: Path) -> None:
    names = ["001/nm/000/0.jpg", "001/nm/000/2.jpg", "001/nm/090/4.jpg", "001/nm/090/6.jpg"]
    found = read_all_boxes(write(tmp_path, names), {"001/nm/000": None, "001/nm/090": None})
    assert {name: tracks[1].frames.tolist() for name, tracks in found.items()} == {
        "001/nm/000": [1, 3],
        "001/nm/090": [5, 7],
    }


def test_numbers_that_differ_in_one_place() -> None:
    assert numbers_in(["a1_05", "a1_06", "a1_07"]) == [5, 6, 7]
    assert numbers_in([]) == []
