"""COCO-style boxes: which frame, which track, which person, and every way an entry can be wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from gaitext.errors import DataError
from gaitext.extraction.boxes import is_json, read_boxes
from gaitext.extraction.coco import read_all_boxes, read_coco


def write(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def coco(names: list[str], boxes: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Images with ids 100, 101, …; boxes [k, 0, 2, 3] unless given."""
    images = [{"id": 100 + index, "file_name": name} for index, name in enumerate(names)]
    annotations = [{"bbox": [index, 0, 2, 3]} | box for index, box in enumerate(boxes)]
    return {"images": images, "annotations": annotations} | more


def test_frames_are_numbered_by_the_numbers_in_their_names_where_nothing_else_is_said(tmp_path: Path) -> None:
    content = coco(["v/10.jpg", "v/2.jpg", "v/1.jpg"], [{"image_id": 100}, {"image_id": 102}])
    tracks = read_boxes(write(tmp_path, content))
    assert list(tracks) == [1]
    assert tracks[1].frames.tolist() == [1, 10]
    assert tracks[1].boxes.tolist() == [[1, 0, 2, 3], [0, 0, 2, 3]]
    assert tracks[1].scores is None


@pytest.mark.parametrize(
    ("frame_ids", "numbers"), [((1, 2, 5), [1, 2, 5]), ((0, 2, 5), [1, 3, 6]), ((7, 8, 9), [7, 8, 9])]
)
def test_frame_ids_count_from_0_if_there_is_a_0(tmp_path: Path, frame_ids: tuple[int, ...], numbers: list[int]) -> None:
    content = coco(["c.jpg", "b.jpg", "a.jpg"], [{"image_id": 100 + i} for i in range(3)])
    for image, number in zip(content["images"], frame_ids):
        image["frame_id"] = number
    assert read_boxes(write(tmp_path, content))[1].frames.tolist() == numbers


def test_files_of_a_frame_folder_are_found_by_name(tmp_path: Path) -> None:
    content = coco(["x/b.png", "x/d.png"], [{"image_id": 100}, {"image_id": 101}])
    path = write(tmp_path, content)
    assert read_boxes(path, ["a.png", "b.png", "c.png", "d.png"])[1].frames.tolist() == [2, 4]
    with pytest.raises(DataError, match=r"images\[1\] \('x/d\.png'\) has a file_name that is no frame of the folder"):
        read_boxes(path, ["a.png", "b.png"])


def test_tracks_categories_scores_and_crowds(tmp_path: Path) -> None:
    boxes = [
        {"image_id": 100, "track_id": 5, "category_id": 3, "score": 0.5},
        {"image_id": 100, "instance_id": 2, "category_id": 3},
        {"image_id": 101, "attributes": {"track_id": 5}, "category_id": 3, "score": 0.25},
        {"image_id": 101, "track_id": 9, "category_id": 1},
        {"image_id": 101, "track_id": 9, "category_id": 3, "iscrowd": 1},
    ]
    categories = [{"id": 1, "name": "car"}, {"id": 3, "name": "Person"}]
    tracks = read_boxes(write(tmp_path, coco(["1.jpg", "2.jpg"], boxes, categories=categories)))
    assert list(tracks) == [2, 5]
    assert tracks[2].scores is None
    assert tracks[5].scores is not None
    assert tracks[5].scores.tolist() == [0.5, 0.25]
    assert tracks[5].frames.tolist() == [1, 2]


ONE: list[dict[str, Any]] = [{"image_id": 100}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"image_id": 1, "bbox": [0, 0, 1, 1]}], "is a bare list"),
        ({"images": []}, 'has no list "annotations"'),
        ({"images": [3], "annotations": []}, r"images\[0\] is 3"),
        (coco(["1.jpg"], []), "holds no boxes of persons"),
        (coco(["1.jpg"], [{"image_id": 7}]), r"annotations\[0\] image_id is 7, which is no image's id"),
        (coco(["1.jpg"], [{}]), r"annotations\[0\] image_id is None"),
        (coco(["1.jpg"], [{"image_id": 100, "bbox": [1, 2, 3]}]), r"annotations\[0\] bbox is \[1, 2, 3\]"),
        (coco(["1.jpg"], [{"image_id": 100, "bbox": [1, 2, 3, "4"]}]), r"annotations\[0\] bbox is .*'4'"),
        (coco(["1.jpg"], [{"image_id": 100, "bbox": [1, 2, 3, float("nan")]}]), r"annotations\[0\] bbox is .*nan"),
        (coco(["1.jpg"], [{"image_id": 100, "bbox": [1, 2, 0, 4]}]), r"annotations\[0\] the box is 0 wide"),
        (coco(["1.jpg"], [{"image_id": 100, "track_id": 1.5}]), r"annotations\[0\] track_id is 1\.5"),
        (coco(["1.jpg"], [{"image_id": 100, "score": "high"}]), r"annotations\[0\] score is 'high'"),
        (coco(["1.jpg"], ONE * 2), r"annotations\[0\] has no track_id, and 1\.jpg holds 2 boxes[\s\S]*tracker"),
        (
            coco(["1.jpg"], [{"image_id": 100, "track_id": 4}] * 2),
            r"annotations\[1\] is a second box of track 4 in frame 1 \(the first is annotations\[0\]\)",
        ),
        (coco(["1.jpg", "1.jpg"], ONE), r"images\[1\] has no frame_id, and the same file_name as images\[0\]"),
        (coco(["a/1.jpg", "b/1.jpg"], ONE), r"holds images of 2 videos \(a, b, …\)"),
        (coco(["1.jpg"], ONE, categories=[{"id": 1, "name": "dog"}]), "has no category named person: dog"),
        ({"images": [{"id": 1}, {"id": 1}], "annotations": []}, r"images\[1\] has the id 1 of images\[0\]"),
        ({"images": [{"file_name": "a"}], "annotations": []}, r"images\[0\] id is None"),
        ({"images": [{"id": [1]}], "annotations": []}, r"images\[0\] id is \[1\]"),
        ({"images": [{"id": True}], "annotations": []}, r"images\[0\] id is True"),
        ({"images": [{"id": 1, "file_name": 3}], "annotations": []}, r"images\[0\] file_name is 3, not a path"),
        ({"images": [{"id": 1, "video_id": [1]}], "annotations": []}, r"images\[0\] video_id is \[1\]"),
        ({"images": [{"id": 1, "frame_id": 10**400}], "annotations": []}, r"images\[0\] frame_id is a number of many"),
        ({"images": [], "annotations": [], "videos": 5}, "videos is 5, not a list"),
        ({"images": [], "annotations": [], "videos": [{"id": [2]}]}, r"videos\[0\] is .*, not an id and a name"),
        (coco(["1.jpg"], ONE, categories=5), "categories is 5, not a list"),
        (coco(["1.jpg"], ONE, categories=[{"id": {}, "name": "person"}]), r"categories\[0\] is"),
        (coco(["1.jpg"], [{"image_id": [100]}]), r"annotations\[0\] image_id is \[100\], which is no image's id"),
        (coco(["1.jpg"], [{"image_id": True}]), r"annotations\[0\] image_id is True"),
        (coco(["1.jpg"], [{"image_id": 100, "category_id": [1]}]), r"annotations\[0\] category_id is \[1\]"),
        (coco(["1.jpg"], [{"image_id": 100, "iscrowd": [0]}]), r"annotations\[0\] iscrowd is \[0\]"),
        (coco(["1.jpg"], [{"image_id": 100, "track_id": 1e300}]), r"annotations\[0\] track_id is 1e\+300"),
        (coco(["1.jpg"], [{"image_id": 100, "track_id": True}]), r"annotations\[0\] track_id is True"),
        (coco(["1.jpg"], [{"image_id": 100, "bbox": [1, 2, True, 4]}]), r"annotations\[0\] bbox is"),
        (coco(["1.jpg"], [{"image_id": 100, "bbox": [1, 2, 10**400, 4]}]), r"annotations\[0\] bbox is"),
        (coco(["1.jpg"], [{"image_id": 100, "bbox": [1, 2, 1e300, 4]}]), r"annotations\[0\] the box .* is larger"),
        (coco(["1.jpg"], [{"image_id": 100, "bbox": [[1, 2, 3, 4]] * 4}]), r"annotations\[0\] bbox is"),
        (coco(["1.jpg"], [{"image_id": 100, "bbox": [0.1, 0.1, 0.2, 0.5]}]), "they are shares of the picture"),
        ({"images": [{"id": 1, "frame_id": "x"}], "annotations": []}, r"images\[0\] frame_id is 'x'"),
        (
            {"images": [{"id": 1, "frame_id": 3}, {"id": 2}], "annotations": []},
            r"images\[1\] \(''\) has no frame_id, unlike others",
        ),
        (
            {"images": [{"id": 1, "frame_id": 3}, {"id": 2, "frame_id": 3}], "annotations": []},
            r"images\[1\] is frame 3, as images\[0\] is",
        ),
    ],
)
def test_entries_that_are_wrong_are_named(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_boxes(write(tmp_path, content))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "is not valid json"),
        ('{"images": ' + "[" * 900 + "]" * 900 + ', "annotations": []}', r"images\[0\] is"),
        ('{"images": [], "images": [], "annotations": []}', "has the key 'images' twice"),
        ('{"images": [{"id": ' + "9" * 5000 + '}], "annotations": []}', "is not valid json"),
        ("\x00", "the header names no frame"),
    ],
)
def test_a_text_that_is_no_such_json_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "boxes.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        read_boxes(path)
    assert "boxes.json" in str(caught.value)


def test_the_format_is_told_by_the_content(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text("\ufeff \n" + json.dumps(coco(["1.jpg"], ONE)), encoding="utf-8")
    assert is_json(path)
    assert list(read_boxes(path)) == [1]
    path.write_text(" \n" * 5000 + "1,4,0,0,2,2\n")
    assert not is_json(path)
    assert list(read_boxes(path)) == [4]
    path.write_text("{ 1,4,0,0,2,2\n")
    with pytest.raises(DataError, match="is not valid json"):
        read_boxes(path)


def test_boxes_of_a_tree_find_their_videos(tmp_path: Path) -> None:
    content = {
        "videos": [{"id": 1, "name": "001/nm-01/000"}, {"id": 2, "name": "data/002/nm-01/018.avi"}],
        "images": [
            {"id": "a", "file_name": "whatever.jpg", "video_id": 1, "frame_id": 0},
            {"id": "b", "file_name": "whatever.jpg", "video_id": 2, "frame_id": 4},
            {"id": "c", "file_name": "003/cl-01/090/clip.mp4/000007.jpg", "frame_id": 6},
            {"id": "d", "file_name": "003\\cl-01\\108\\3.jpg", "frame_id": 9},
            {"id": "e", "file_name": "003/cl-01/126.mp4", "frame_id": 1},
        ],
        "annotations": [{"image_id": key, "bbox": [0, 0, 1, 1]} for key in "abcd"],
    }
    names = ["001/nm-01/000", "002/nm-01/018", "003/cl-01/090", "003/cl-01/126"]
    sources: dict[str, list[str] | None] = dict.fromkeys(names)
    sources["003/cl-01/108"] = ["2.jpg", "3.jpg"]  # a frame folder: the name wins over frame_id
    found = read_all_boxes(write(tmp_path, content), sources)
    # There is a 0 somewhere, so frame_id counts from 0 everywhere; without boxes there is no track.
    assert {name: tracks[1].frames.tolist() for name, tracks in found.items()} == {
        "001/nm-01/000": [1],
        "002/nm-01/018": [5],
        "003/cl-01/090": [7],
        "003/cl-01/108": [2],
    }
    with pytest.raises(DataError, match=r"for none of the videos: it names 001/nm-01/000, they are called x/y/z"):
        read_all_boxes(tmp_path / "boxes.json", {"x/y/z": None})


def test_a_json_without_images_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.json"
    path.write_text('{"images": [], "annotations": []}', encoding="utf-8")
    with pytest.raises(DataError, match=r"empty\.json: holds no boxes of persons"):
        read_coco(path)
