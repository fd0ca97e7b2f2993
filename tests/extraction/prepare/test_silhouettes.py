"""Folders of silhouettes to leaves: layouts, what is left out, and OpenGait's own pickles beside ours."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from gaitext.errors import ConfigError, DataError, VideoError
from gaitext.extraction.prepare import prepare
from gaitext.inspect.inspect import inspect_file
from gaitext.segmentation import pretreat
from gaitext.store import leaves, read_leaf, read_partition
from tests.segmentation.people import draw_person

Image = pytest.importorskip("PIL.Image")


def masks(count: int, size: int = 96) -> list[np.ndarray]:
    return [draw_person(size, 0.02 * t)[1].astype(np.uint8) * 255 for t in range(count)]


def tree(root: Path, sequences: dict[str, list[np.ndarray]], mode: str | None = None) -> Path:
    for name, pictures in sequences.items():
        folder = root / name
        folder.mkdir(parents=True)
        for index, picture in enumerate(pictures, 1):
            image = Image.fromarray(picture)
            (image if mode is None else image.convert(mode)).save(folder / f"{index:03d}.png")
    return root


def made(out: Path) -> dict[str, np.ndarray]:
    return {leaf.name: read_leaf(leaf)[0] for leaf in leaves(out / "sequences")}


@pytest.mark.parametrize("mode", [None, "RGB", "1"])
def test_casia_bs_layout(tmp_path: Path, mode: str | None) -> None:
    pictures = masks(6)
    empty = np.zeros_like(pictures[0])
    tree(tmp_path / "in", {"001/nm-01/090": [*pictures[:3], empty, *pictures[3:]], "002/nm-01/090": pictures}, mode)
    Image.fromarray(pictures[0]).save(tmp_path / "in/002/nm-01/090/gei.png")
    report = prepare("silhouettes", tmp_path / "in", tmp_path / "out", quiet=True)
    assert (report.written, report.train, report.test) == (2, 1, 1)
    assert report.counts == {"frames": 12, "frames that show nobody": 1}
    assert any(note.endswith("001/nm-01/090/004.png") for note in report.notes)
    found = made(tmp_path / "out")
    expected = np.stack([pretreat(picture) for picture in pictures])
    for name in ("001/nm-01/090", "002/nm-01/090"):
        np.testing.assert_array_equal(found[name], expected)
    assert [file.name for file in leaves(tmp_path / "out/sequences")[0].files()] == ["4_silhouettes.pkl"]
    again = prepare("silhouettes", tmp_path / "in", tmp_path / "out", quiet=True)
    assert (again.written, again.standing) == (0, 2)
    Image.fromarray(pictures[0]).save(tmp_path / "in/001/nm-01/090/004.png")  # a source that changed is made again
    assert prepare("silhouettes", tmp_path / "in", tmp_path / "out", quiet=True).written == 1
    assert len(made(tmp_path / "out")["001/nm-01/090"]) == 7


def test_oumvlps_layout_and_a_partition(tmp_path: Path) -> None:
    names = [
        f"Silhouette_{view}-{kind}/{who}" for view in ("000", "015") for kind in ("00", "01") for who in ("00001",)
    ]
    tree(tmp_path / "in", {name: masks(2) for name in names})
    partition = tmp_path / "OUMVLP.json"
    partition.write_text(json.dumps({"TRAIN_SET": ["00001"], "TEST_SET": ["00002"]}))
    report = prepare(
        "silhouettes",
        tmp_path / "in",
        tmp_path / "out",
        pattern="Silhouette_{view}-{type}/{id}",
        partition=partition,
        quiet=True,
    )
    assert sorted(made(tmp_path / "out")) == ["00001/00/000", "00001/00/015", "00001/01/000", "00001/01/015"]
    assert read_partition(report.partition) == (["00001"], ["00002"])
    with pytest.raises(ConfigError, match="pattern"):
        prepare(
            "silhouettes", tmp_path / "in", tmp_path / "out", partition=partition, pattern="{id}/{view}", quiet=True
        )


def test_masks_of_0_and_1_count_as_white_and_are_named(tmp_path: Path) -> None:
    pictures = masks(3)
    tree(tmp_path / "in", {f"00{i}/a/b": [picture // 255 for picture in pictures] for i in (1, 2)})
    report = prepare("silhouettes", tmp_path / "in", tmp_path / "out", quiet=True)
    assert report.counts["frames of 0 and 1, not 255"] == 6
    np.testing.assert_array_equal(made(tmp_path / "out")["001/a/b"][1], pretreat(pictures[1]))


def test_what_cannot_be_used(tmp_path: Path) -> None:
    pictures = masks(3)
    empty = [np.zeros_like(pictures[0])] * 3
    tree(tmp_path / "in", {"001/a/b": pictures, "002/a/b": pictures, "003/a/b": empty, "004/a/b": pictures})
    (tmp_path / "in/004/a/b/002.png").write_bytes(b"\x89PNG no more")
    with pytest.raises(VideoError, match=r"004/a/b/002\.png.* cannot be read"):
        prepare("silhouettes", tmp_path / "in", tmp_path / "out", quiet=True)
    assert sorted(made(tmp_path / "out")) == ["001/a/b", "002/a/b"]
    left_out = json.loads((tmp_path / "out/prepared.json").read_text())["left_out"]
    assert "0 frames can be used" in left_out["003/a/b"]
    with pytest.raises(DataError, match="fits"):
        prepare("silhouettes", tmp_path / "in/001", tmp_path / "o2", quiet=True)
    with pytest.raises(ConfigError, match="takes no --split"):
        prepare("silhouettes", tmp_path / "in", tmp_path / "o3", split=tmp_path, quiet=True)


def test_opengaits_own_pickles_are_read(tmp_path: Path) -> None:
    """``<view>.pkl``, numpy's own pickle, in any protocol; or, as some scripts leave it, a list of frames."""
    frames = np.stack([pretreat(picture) for picture in masks(4)])
    for number, (protocol, content) in enumerate(((2, frames), (4, frames), (5, frames), (4, list(frames))), 1):
        folder = tmp_path / f"00{number}/nm-01/090"
        folder.mkdir(parents=True)
        (folder / "090.pkl").write_bytes(pickle.dumps(content, protocol))
        (read,) = read_leaf(folder)
        np.testing.assert_array_equal(read, frames)
        assert inspect_file(folder / "090.pkl").kind == "silhouettes"
