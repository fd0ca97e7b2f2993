"""Finding videos in trees, and the boxes that belong to them."""

import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest

from gaitext.errors import DataError, VideoError
from gaitext.extraction import Track
from gaitext.extraction.boxes import Source, find_sources
from gaitext.video import write_video

images = pytest.importorskip("PIL.Image")


def video(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"not read here")
    return path


def frames(folder: Path, count: int = 2, size: tuple[int, int] = (8, 12)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, count + 1):
        images.new("RGB", size).save(folder / f"{number}.png")
    return folder


def mot(path: Path, x: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"1,7,{x},0,2,2\n")
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """One leaf of each form, and files that do not count."""
    root = tmp_path / "tree"
    video(root / "002/nm-01/090.avi")
    video(root / "001/nm-01/018.MP4")
    frames(root / "001/nm-01/000")
    video(root / "001/bg-01/000/anything.mkv")
    (root / "README.txt").write_text("hello")
    video(root / "001/nm-01/._018.MP4")
    (root / "001/.cache/x").mkdir(parents=True)
    return root


def names(sources: list[Source]) -> list[str]:
    return [source.name for source in sources]


def test_every_form_of_leaf_is_found_in_order(tree: Path) -> None:
    sources = find_sources(tree)
    assert names(sources) == ["001/bg-01/000", "001/nm-01/000", "001/nm-01/018", "002/nm-01/090"]
    assert [source.path.relative_to(tree).as_posix() for source in sources] == [
        "001/bg-01/000/anything.mkv",
        "001/nm-01/000",
        "001/nm-01/018.MP4",
        "002/nm-01/090.avi",
    ]
    assert (sources[0].identity, sources[0].type, sources[0].view) == ("001", "bg-01", "000")
    assert all(source.boxes is None and source.tracks() is None for source in sources)
    assert find_sources(str(tree)) == sources


def test_a_source_by_itself_has_no_name_of_its_own(tree: Path) -> None:
    for path, name in ((tree / "002/nm-01/090.avi", "090.avi"), (tree / "001/nm-01/000", "000")):
        (source,) = find_sources(path)
        assert source == Source(path)
        assert (source.identity, source.name) == (None, name)
    (any_name,) = find_sources(video(tree / "film.xyz"))
    assert any_name.path.name == "film.xyz"


def test_what_cannot_be_read_is_a_source_that_fails_not_one_that_is_lost(tree: Path) -> None:
    (tree / "001/nm-01/036").mkdir()
    (tree / "001/nm-01/054.mp4").symlink_to(tree / "gone.mp4")
    (tree / "001/nm-01/072").symlink_to(tree / "gone")
    found = {source.view: source for source in find_sources(tree, "full")}
    assert {"036", "054", "072"} <= set(found)
    for view in ("036", "054", "072"):
        with pytest.raises(VideoError):
            found[view].tracks()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda t: video(t / "a.mp4"), r"holds a\.mp4, 1 level deep; expected <id>/<type>/<view>"),
        (lambda t: video(t / "003/nm-01.mp4"), r"holds 003/nm-01\.mp4, 2 levels deep"),
        (lambda t: frames(t / "003"), r"holds 003/1\.png, 2 levels deep"),
        (lambda t: frames(t / "003/nm-01"), r"holds 003/nm-01/1\.png, 3 levels deep"),
        (lambda t: frames(t / "003/nm-01/000/RGB"), r"holds the folder 003/nm-01/000/RGB, which is a level too deep"),
        (lambda t: video(t / "001/bg-01/000/b.mp4"), r"holds 2 videos \(anything\.mkv, b\.mp4, …\)[\s\S]*bg-01-02/000"),
        (lambda t: video(t / "001/nm-01/000/b.mp4"), r"holds a video \(b\.mp4\) and pictures \(1\.png\)"),
        (lambda t: video(t / "001/nm-01/000.mp4"), r"nm-01/000 and .*000\.mp4 would both be 001/nm-01/000"),
        (lambda t: video(t / "001/nm-01/018.avi"), r"would both be 001/nm-01/018"),
        (lambda t: (t / "003").symlink_to(t / "gone"), r"003: is a link to nowhere"),
    ],
)
def test_trees_of_another_shape_are_named_with_an_example(tree: Path, make, message: str) -> None:
    make(tree)
    with pytest.raises(DataError, match=message):
        find_sources(tree)


def test_nothing_to_extract(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        find_sources(tmp_path / "none")
    for folder in ("empty", "only/001/nm-01/000"):
        (tmp_path / folder).mkdir(parents=True)
        with pytest.raises(DataError, match="holds no videos and no pictures"):
            find_sources(tmp_path / folder.split("/")[0])
    video(frames(tmp_path / "both") / "a.mp4")
    with pytest.raises(DataError, match=r"holds videos \(a\.mp4\) and pictures \(1\.png\)"):
        find_sources(tmp_path / "both")


def test_links_are_followed_but_not_in_circles(tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "001").symlink_to(tree / "001")
    assert names(find_sources(linked)) == names(find_sources(tree))[:3]
    before = find_sources(tree)
    (tree / "003").symlink_to(tree)
    (tree / "001/nm-02").symlink_to("..")
    (tree / "001/nm-01/loop").symlink_to("../..")
    os.symlink("self", tree / "002/nm-01/self")
    with caplog.at_level(logging.WARNING):
        after = find_sources(tree)
    assert names(after) == [*names(before), "002/nm-01/self"]  # reading that link fails and is reported
    warned = [tree / name for name in ("003", "001/nm-02", "001/nm-01/loop")]
    assert [record.args for record in caplog.records] == [(path,) for path in warned]


def test_boxes_beside_the_videos(tree: Path) -> None:
    mot(tree / "002/nm-01/090.csv", 3)
    mot(tree / "001/nm-01/000.txt", 4)
    mot(tree / "001/bg-01/000/anything.csv", 5)
    found = {source.name: source for source in find_sources(tree)}
    assert found["002/nm-01/090"].boxes == tree / "002/nm-01/090.csv"
    assert found["001/nm-01/018"].boxes is None
    for name, x in (("002/nm-01/090", 3), ("001/nm-01/000", 4), ("001/bg-01/000", 5)):
        tracks = found[name].tracks()
        assert tracks is not None
        assert tracks[7].boxes.tolist() == [[x, 0, 2, 2]]
    (single,) = find_sources(tree / "002/nm-01/090.avi")
    assert single.boxes == tree / "002/nm-01/090.csv"
    mot(tree / "002/nm-01/090.json")
    with pytest.raises(DataError, match=r"090\.csv and .*090\.json: which holds the boxes"):
        find_sources(tree)


def test_boxes_in_a_folder_that_mirrors_the_tree(tree: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "boxes"
    mirror.mkdir()
    mot(tree / "002/nm-01/090.csv")
    with pytest.raises(DataError, match=r"for none of the videos[\s\S]*001/bg-01/000\.csv"):
        find_sources(tree, mirror)
    mot(mirror / "001/bg-01/000.csv")
    boxes = {source.name: source.boxes for source in find_sources(tree, mirror)}
    assert boxes.pop("001/bg-01/000") == mirror / "001/bg-01/000.csv"
    assert set(boxes.values()) == {None}  # what lies beside the videos is not mixed in
    # `gaitext extract --detector` leaves such a note beside the boxes it found.
    (mirror / "001/bg-01/000.found.json").write_text("{}")
    assert find_sources(tree, mirror)[0].boxes == mirror / "001/bg-01/000.csv"
    mot(mirror / "090.csv")
    assert find_sources(tree / "002/nm-01/090.avi", mirror)[0].boxes == mirror / "090.csv"


def test_one_file_of_boxes(tree: Path, tmp_path: Path) -> None:
    file = mot(tmp_path / "b.csv")
    (single,) = find_sources(tree / "002/nm-01/090.avi", file)
    assert single.boxes == file
    with pytest.raises(DataError, match=r"is the boxes of one video, but .* holds 4"):
        find_sources(tree, file)
    with pytest.raises(DataError, match=r"none\.csv: no such file"):
        find_sources(tree, tmp_path / "none.csv")


def test_a_coco_json_of_all(tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    entries = [
        ("001/nm-01/000/2.png", 2),
        ("videos/001/nm-01/018.MP4/000001.jpg", 1),
        ("./002/nm-01/090/000003.jpg", 3),
        ("elsewhere/009/nm-01/090/000003.jpg", 3),
    ]
    content = {
        "images": [{"id": i, "file_name": name, "frame_id": n} for i, (name, n) in enumerate(entries)],
        "annotations": [{"image_id": i, "bbox": [i, 0, 2, 2]} for i in range(4)],
    }
    file = tmp_path / "all.json"
    file.write_text(json.dumps(content))
    with caplog.at_level(logging.WARNING):
        found = {source.name: source.tracks() for source in find_sources(tree, file)}
    assert "1 videos are not among the sources, such as elsewhere/009/nm-01/090" in caplog.text
    assert found["001/bg-01/000"] is None
    for name, frame, x in (("001/nm-01/000", 2, 0), ("001/nm-01/018", 1, 1), ("002/nm-01/090", 3, 2)):
        tracks = found[name]
        assert tracks is not None
        assert (tracks[1].frames.tolist(), tracks[1].boxes.tolist()) == ([frame], [[x, 0, 2, 2]])


def test_the_full_frame(tmp_path: Path) -> None:
    pytest.importorskip("av")
    folder = frames(tmp_path / "tree/001/nm-01/000", 2)
    images.new("RGB", (20, 30)).save(folder / "3.jpg")
    write_video(tmp_path / "tree/001/nm-01/018.mkv", [np.zeros((12, 8, 3), np.uint8)] * 4)
    one, two = (source.tracks() for source in find_sources(tmp_path / "tree", "full"))
    assert one is not None
    assert two is not None
    assert list(one) == list(two) == [1]
    assert isinstance(one[1], Track)
    assert one[1].frames.tolist() == [1, 2, 3]
    assert one[1].boxes.tolist() == [[0, 0, 8, 12], [0, 0, 8, 12], [0, 0, 20, 30]]
    assert two[1].frames.tolist() == [1, 2, 3, 4]
    assert two[1].boxes.tolist() == [[0, 0, 8, 12]] * 4
