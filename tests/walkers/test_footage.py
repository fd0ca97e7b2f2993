"""Footage: silhouettes in the toolboxes' form, videos and boxes."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext.errors import ShapeError
from gaitext.extraction import read_boxes
from gaitext.video import probe, read_frames
from gaitext.walkers import CameraSettings, Scene, VideoSettings, WalkerSettings, make_walk, normalise_silhouette
from gaitext.walkers.dataset import write_footage

SMALL = WalkerSettings(frames=5, camera=CameraSettings(width=96, height=72, focal=96.0, distance=4.2, elevation=1.1))


def slow(mask: np.ndarray, size: int) -> np.ndarray:
    """Covered share of each cell, by 20 × 20 samples of it."""
    y = np.nonzero(mask)[0]
    step = (y.max() + 1 - y.min()) / size
    per_column = mask.sum(0).astype(float)
    left, half = 0, mask.sum() / 2
    while per_column[: left + 1].sum() < half:
        left += 1
    middle = left + (half - per_column[:left].sum()) / per_column[left]
    out = np.zeros((size, size))
    inner = (np.arange(20) + 0.5) / 20
    for row, column in np.ndindex(size, size):
        at_y = np.floor(y.min() + (row + inner) * step).astype(int)
        at_x = np.floor(middle + (column - size / 2 + inner) * step).astype(int)
        inside = (at_x >= 0) & (at_x < mask.shape[1])
        out[row, column] = np.where(inside, mask[at_y][:, np.clip(at_x, 0, mask.shape[1] - 1)], 0).mean()
    return out


def test_a_bar_by_hand() -> None:
    mask = np.zeros((200, 100), bool)
    mask[20:148, 60:92] = True  # 128 high, 32 wide: half as large, about column 32
    expected = np.zeros((64, 64), np.uint8)
    expected[:, 24:40] = 255
    np.testing.assert_array_equal(normalise_silhouette(mask), expected)


def test_the_middle_is_where_half_of_the_body_is_on_either_side() -> None:
    mask = np.zeros((64, 64), bool)
    mask[:, 10:14] = True
    mask[:4, 14:50] = True  # an arm held out: little mass, far away
    out = normalise_silhouette(mask)
    columns = np.flatnonzero(out[10])  # 4 columns of 64 and 36 of 4: half of 400 is in the 4th of the 64s
    assert list(columns) == [29, 30, 31, 32]


@pytest.mark.parametrize("view", ["000", "054", "090"])
def test_silhouettes_cover_as_the_slow_way_says(view: str) -> None:
    mask = Scene(make_walk(SMALL, 1, "nm-01", view), 0).silhouette(2)
    share, out = slow(mask, 32), normalise_silhouette(mask, 32)
    clear = np.abs(share - 0.5) > 0.06
    np.testing.assert_array_equal((out > 0)[clear], (share > 0.5)[clear])
    assert set(np.unique(out)) == {0, 255}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 20), st.integers(0, 20), st.integers(1, 3))
def test_neither_place_nor_scale_matters(seed: int, down: int, right: int, scale: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((int(rng.integers(1, 50)), int(rng.integers(1, 40)))) < rng.uniform(0.05, 1)
    moved = np.pad(np.kron(mask, np.ones((scale, scale))), ((down, 3), (right, 5)))
    one, other = normalise_silhouette(mask), normalise_silhouette(moved)
    # Where a cell is covered by half exactly, rounding decides.
    assert (one != other).mean() < 0.01 or mask.sum() < 4


def test_nothing_and_no_image() -> None:
    assert normalise_silhouette(np.zeros((5, 5))).max() == 0
    with pytest.raises(ShapeError):
        normalise_silhouette(np.zeros((2, 5, 5)))


def test_video_and_boxes_are_the_scenes(tmp_path: Path) -> None:
    walk = make_walk(SMALL, 1, "bg-01", "072")
    scene = Scene(walk, 0)
    frames = [scene.frame(t)[0] for t in range(len(scene))]
    write_footage(tmp_path, ("001", "bg-01", "072"), iter(frames), walk.boxes, walk.fps, VideoSettings(crf=10))
    film = tmp_path / "videos" / "001" / "bg-01" / "072.mp4"
    info = probe(film)
    assert (info.width, info.height, info.fps) == (96, 72, 25.0)
    decoded = [frame for _, frame in read_frames(film)]
    assert len(decoded) == 5
    for sent, got in zip(frames, decoded):
        # Chroma is stored at half the resolution: what counts is the green, mostly brightness.
        error = sent[..., 1].astype(float) - got[..., 1]
        assert np.sqrt((error**2).mean()) < 8
    (track,) = read_boxes(tmp_path / "boxes" / "001" / "bg-01" / "072.csv").values()
    assert track.id == 1
    np.testing.assert_array_equal(track.frames, np.arange(1, 6))
    np.testing.assert_allclose(track.boxes, walk.boxes, atol=0.006)
