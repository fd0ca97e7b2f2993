"""Boxes of the originals, in every form that an extraction takes them in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gaitext.errors import DataError
from gaitext.restoration.targets import _Given

VIDEOS = {"001/nm-01/000": Path("videos/001/nm-01/000.mp4"), "001/nm-01/090": Path("videos/001/nm-01/090.mp4")}
LINES = "1,5,10,20,30,60\n2,5,11,20,30,60\n"


def coco(names: list[str]) -> str:
    images = [
        {"id": i, "file_name": f"{name}/{n}.jpg"} for i, (name, n) in enumerate((m, n) for m in names for n in (1, 2))
    ]
    boxes = [{"image_id": image["id"], "track_id": 5, "bbox": [10, 20, 30, 60]} for image in images]
    return json.dumps({"images": images, "annotations": boxes})


def test_the_file_of_a_lone_video_is_taken(tmp_path: Path) -> None:
    for name, text in (("b.csv", LINES), ("b.json", coco(["x"]))):
        (tmp_path / name).write_text(text)
        given = _Given(tmp_path / name, {"5/nm-01/000": Path("walk.mp4")})
        assert given.tracks("5/nm-01/000")[5].frames.tolist() == [1, 2]
    folder = tmp_path / "boxes"
    folder.mkdir()
    (folder / "walk.csv").write_text(LINES)
    assert list(_Given(folder, {"5/nm-01/000": Path("videos/walk.mp4")}).tracks("5/nm-01/000")) == [5]


def test_one_json_of_all_videos_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "all.json"
    path.write_text(coco(list(VIDEOS)))
    given = _Given(path, VIDEOS)
    assert [list(given.tracks(leaf)) for leaf in VIDEOS] == [[5], [5]]
    renamed = {"p1/nm/a": VIDEOS["001/nm-01/000"], "p1/nm/b": VIDEOS["001/nm-01/090"]}  # --id and others
    assert list(_Given(path, renamed).tracks("p1/nm/b")) == [5]


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.csv"
    path.write_text(LINES)
    with pytest.raises(DataError, match=r"one\.csv: is the boxes of one video, but there are 2"):
        _Given(path, VIDEOS).tracks("001/nm-01/000")
    with pytest.raises(DataError, match="no such file or folder"):
        _Given(tmp_path / "none", VIDEOS)
    with pytest.raises(DataError, match="holds 0 files of boxes for 001/nm-01/000"):
        _Given(tmp_path, VIDEOS).tracks("001/nm-01/000")
