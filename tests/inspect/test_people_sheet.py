"""A row a person: which frames are drawn, where, and what is said of those that are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from gaitext import cli
from gaitext.errors import ConfigError, DataError
from gaitext.inspect.contact_sheet import draw_silhouette, draw_tile
from gaitext.inspect.footage import load_footage
from gaitext.inspect.people_sheet import people_sheet, write_people_sheet
from gaitext.store import write_leaf

PIL = pytest.importorskip("PIL.Image")
HEIGHT = 96


def silhouettes(frames: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random((frames, 64, 64)) > 0.5).astype(np.uint8) * 255


def poses(frames: int) -> np.ndarray:
    points = np.random.default_rng(1).random((frames, 17, 3)) * [100, 200, 1]
    return points.astype(np.float32)


def heatmaps(frames: int) -> np.ndarray:
    return np.random.default_rng(2).random((frames, 17, 64, 48)).astype(np.float16)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three people: of silhouettes, of poses, of everything."""
    root = tmp_path / "out" / "sequences"
    for kind in ("a", "b", "c"):
        write_leaf(root, "1", kind, "0", {"4_silhouettes": silhouettes(10)})
    write_leaf(root, "2", "a", "0", {"2_poses_frame": poses(10)})
    write_leaf(root, "3", "a", "0", {"0_heatmaps": heatmaps(4), "4_silhouettes": silhouettes(4, 3)})
    return tmp_path / "out"


def inner(tile: np.ndarray) -> np.ndarray:
    """What no caption covers."""
    return tile[20 : HEIGHT - 20]


def test_tiles_lie_in_their_rows(data: Path) -> None:
    sheet = people_sheet(data, frames=2, height=HEIGHT)
    assert (sheet.people, sheet.more, sheet.tiles, sheet.bare, sheet.failed) == (3, 0, 6, 6, {})
    head, each = 26, 22 + HEIGHT + 8
    assert sheet.picture.shape[0] == head + 3 * each

    def there(row: int, left: int, tile: np.ndarray) -> bool:
        top = head + row * each + 22
        return np.array_equal(inner(sheet.picture[top : top + HEIGHT, left : left + tile.shape[1]]), inner(tile))

    # Two of three sequences, the middle frame of each.
    first, last = (load_footage(data / "sequences/1" / kind / "0") for kind in ("a", "c"))
    assert there(0, 4, draw_tile(first, 5, None, height=HEIGHT))
    assert there(0, 4 + HEIGHT + 4, draw_tile(last, 5, None, height=HEIGHT))
    # Two frames of one sequence, from the middles of its halves.
    one = load_footage(data / "sequences/2/a/0")
    assert there(1, 4, draw_tile(one, 2, None, height=HEIGHT))
    assert there(1, 4 + 72 + 4, draw_tile(one, 7, None, height=HEIGHT))
    # A silhouette stands beside its frame's heatmaps.
    both = load_footage(data / "sequences/3/a/0")
    wide = draw_tile(both, 1, None, height=HEIGHT)
    assert there(2, 4, wide)
    assert there(2, 4 + wide.shape[1], draw_silhouette(both, 1, HEIGHT))


def test_what_cannot_be_drawn_is_said_and_stops_nobody(data: Path) -> None:
    for kind in ("a", "b"):
        file = data / f"sequences/1/{kind}/0/4_silhouettes.pkl"
        file.write_bytes(file.read_bytes()[:200])
    sheet = people_sheet(data, people=2)
    assert sorted(sheet.failed) == ["1/a/0", "1/b/0"]
    assert (sheet.people, sheet.more) == (2, 1)
    said = str(sheet)
    assert said.count("NOT DRAWN: ") == 1
    assert "2 sequences, such as 1/a/0" in said
    assert "1/b/0" in said
    assert "1 people more are not drawn (--people)" in said
    (data.parent / "empty").mkdir()
    with pytest.raises(DataError, match="holds no sequences"):
        people_sheet(data.parent / "empty")


def test_the_command_and_suffixes(data: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        cli.app, ["inspect", str(data), "--sheet", str(tmp_path / "a.png"), "--frames", "3", "-q"]
    )
    assert done.exit_code == 0, done.output
    assert "3 people, 9 frames" in done.stderr
    with PIL.open(tmp_path / "a.png") as picture:
        assert np.array_equal(np.asarray(picture), people_sheet(data, frames=3).picture)
    with pytest.raises(ConfigError, match=r"call it \.png"):
        write_people_sheet(data, tmp_path / "a.text")
    done = CliRunner().invoke(cli.app, ["inspect", str(data), "--overlay", str(tmp_path / "a.mp4")])
    assert done.exit_code == 2
