"""Contact sheets and overlays: what is drawn, and exactly where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gaitext.errors import ConfigError, DataError
from gaitext.extraction import crop_images
from gaitext.geometry import apply, crop_matrices, invert
from gaitext.inspect.contact_sheet import contact_sheet, draw_tile, write_contact_sheet
from gaitext.inspect.footage import load_footage
from gaitext.inspect.overlay import draw_overlay, write_overlay
from gaitext.inspect.paint import draw_heat, draw_skeleton, groups_of
from gaitext.skeleton import COCO_JOINTS, LIMBS
from gaitext.store import write_sequence
from gaitext.video import probe, read_frames, write_video
from tests.inspect.data import SIZE, boxes, heatmaps, make_leaf, make_record, peak, poses

pytest.importorskip("av")
Image = pytest.importorskip("PIL.Image")

NAME = "7/nm-01/090"


def grey(index: int) -> np.ndarray:
    """A frame that tells its number: 20, 35, 50, …, wherever one looks."""
    return np.full((*SIZE, 3), 20 + 15 * index, np.uint8)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "walk.mp4"
    write_video(path, (grey(i) for i in range(9)), crf=1, fps=10)
    return path


@pytest.fixture
def out(tmp_path: Path, video: Path) -> Path:
    """A leaf of 6 frames, made of frames 2, 4, 5, 6, 8 and 9."""
    make_leaf(tmp_path, NAME)
    make_record(tmp_path, NAME, video, "2,4-6,8-9", 6)
    return tmp_path


@pytest.mark.parametrize("size", [(64, 48), (96, 72), (16, 12)])
@pytest.mark.parametrize(
    "crop",
    [
        (10.0, 5.0, 96.0, 128.0),
        (-17.3, -11.8, 97.5, 130.0),  # leaves the frame
        (33.37, 20.71, 48.0, 64.0),  # about one frame pixel a heatmap pixel, or fewer
        (50.2, 40.4, 30.0, 40.0),  # smaller than the heatmap
    ],
)
def test_peak_lies_where_geometry_says(crop: tuple[float, ...], size: tuple[int, int]) -> None:
    back = invert(crop_matrices(np.array([crop]), *size))[0]
    scale = crop[2] / size[1]
    for row, column in [(size[0] // 2, size[1] // 2), (size[0] // 2 + 3, size[1] - 3), (size[0] - 2, size[1] // 3)]:
        maps = np.zeros((17, *size), np.float16)
        maps[4, row, column] = 0.9
        image = np.zeros((*SIZE, 3), np.uint8)
        draw_heat(image, maps, crop, groups_of(list(COCO_JOINTS)), full=0.9)
        light = image.astype(float).sum(-1)
        x, y = apply(back, np.array([[column, row]], float))[0]
        brightest = np.argwhere(light == light.max())
        # The nearest pixel is the brightest, or as bright as the next in 8 bits; a frame pixel that
        # covers several heatmap pixels averages over a little more than itself.
        reach = 0.5 + scale / 255 if scale >= 1 else 0.75
        assert np.abs(brightest - (y, x)).max() <= reach
        centre = (light[..., None] * np.moveaxis(np.indices(SIZE), 0, -1)).sum((0, 1)) / light.sum()
        np.testing.assert_allclose(centre, (y, x), atol=0.3)


def test_colours_say_which_side() -> None:
    groups = groups_of(list(COCO_JOINTS))
    for joint, side in ((5, "left"), (6, "right"), (0, "middle")):
        maps = np.zeros((17, 64, 48))
        maps[joint, 30, 20] = 1.0
        image = np.zeros((256, 192, 3), np.uint8)
        draw_heat(image, maps, (0, 0, 192, 256), groups, strength=1.0)
        brightest = np.unravel_index(image.sum(-1).argmax(), image.shape[:2])
        (group,) = (group for group in groups if group.name == side)
        assert joint in group.channels
        np.testing.assert_allclose(
            image[brightest] / image[brightest].max(), np.array(group.colour) / max(group.colour), atol=0.02
        )


def test_what_is_nowhere_or_outside_leaves_the_image() -> None:
    image = np.full((20, 30, 3), 7, np.uint8)
    maps = np.ones((17, 64, 48), np.float16)
    draw_heat(image, maps, (40, 0, 30, 40), groups_of(list(COCO_JOINTS)))
    draw_heat(image, maps * 0, (0, 0, 30, 40), groups_of(list(COCO_JOINTS)))
    draw_heat(image, maps * np.nan, (0, 0, 30, 40), groups_of(list(COCO_JOINTS)))
    draw_skeleton(image, np.full((17, 2), 10.0), np.zeros(17))
    draw_skeleton(image, np.full((17, 2), 1e9), np.ones(17))
    draw_skeleton(image, np.full((17, 2), np.nan), np.ones(17))
    assert (image == 7).all()


def test_skeleton_by_distance() -> None:
    """Every pixel near a limb is painted, none that is far from all, to a fraction of a pixel."""
    points = poses(1)[0][0, :, :2].astype(float) * 3 + 0.37
    image = np.zeros((200, 150, 3), np.uint8)
    draw_skeleton(image, points, np.ones(17), width=2.0)
    y, x = np.mgrid[:200, :150]
    nearest = np.full((200, 150), np.inf)
    for a, b in LIMBS:
        for share in np.linspace(0, 1, 120):
            cx, cy = points[a] * (1 - share) + points[b] * share
            nearest = np.minimum(nearest, np.hypot(x - cx, y - cy))
    painted = image.any(-1)
    assert painted[nearest < 1.2].all()
    joints = np.hypot(x[..., None] - points[:, 0], y[..., None] - points[:, 1]).min(-1)
    assert not painted[(nearest > 1.8) & (joints > 3.2)].any()


def test_overlay_draws_on_the_right_frames(out: Path, video: Path, tmp_path: Path) -> None:
    footage = load_footage(out / "sequences" / NAME)
    assert footage.video == video
    seen = []
    film = tmp_path / "overlay.mp4"
    assert write_overlay(footage, film, progress=lambda done, total: seen.append((done, total))) == 6
    assert seen == [(i, 6) for i in range(1, 7)]
    assert probe(film).fps == pytest.approx(10)
    for (_, drawn), number in zip(read_frames(film), (2, 4, 5, 6, 8, 9)):
        assert drawn.shape == (*SIZE, 3)
        assert abs(int(drawn[-3, -3].mean()) - int(grey(number - 1)[0, 0, 0])) <= 3  # a corner nothing is drawn on
        assert np.ptp(drawn.astype(int)) > 100


def test_overlay_frame_by_frame(out: Path) -> None:
    """Heat, skeleton and box of one frame lie where the boxes file says; the frame itself is left."""
    footage = load_footage(out / "sequences" / NAME)
    footage.poses = footage.poses_frame = None
    frame = np.zeros((*SIZE, 3), np.uint8)
    position = 3
    drawn = draw_overlay(footage, position, frame, text=False)
    assert not frame.any()
    crop = boxes(6)[position]
    back = invert(crop_matrices(crop[None], 64, 48))[0]
    for joint in range(17):
        row, column = peak(position, joint)
        x, y = apply(back, np.array([[column, row]], float))[0].round().astype(int)
        assert drawn[y, x].max() > 0.35 * 255 * (0.5 + 0.02 * joint)
    left, bottom = round(crop[0] - 0.5), round(crop[1] + crop[3] - 0.5)
    assert (drawn[10:130, left].max(-1) > 60).all()
    assert (drawn[bottom, left + 2 : left + 90].max(-1) > 60).all()
    outside = drawn.copy()
    outside[int(crop[1]) - 2 : bottom + 2, left - 2 : left + 101] = 0
    assert not outside.any()


def test_tile_is_the_crop_with_peaks_on_it(out: Path) -> None:
    footage = load_footage(out / "sequences" / NAME)
    frame = np.random.default_rng(0).integers(0, 255, (*SIZE, 3)).astype(np.uint8)
    maps, footage.heatmaps = footage.heatmaps, np.zeros((6, 17, 64, 48), np.float16)
    footage.poses = footage.poses_frame = None
    bare = draw_tile(footage, 2, frame)
    crop = crop_images(frame, boxes(6)[2:3], (256, 192))[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(bare - crop).max() <= 1.01
    footage.heatmaps = maps
    changed = np.abs(draw_tile(footage, 2, frame).astype(int) - bare).sum(-1)
    for joint in range(17):
        row, column = peak(2, joint)
        assert changed[4 * row + 1 : 4 * row + 3, 4 * column + 1 : 4 * column + 3].mean() > 20
    lit = np.zeros((256, 192), bool)
    for joint in range(17):
        row, column = peak(2, joint)
        lit[max(0, 4 * row - 4) : 4 * row + 8, max(0, 4 * column - 4) : 4 * column + 8] = True
    assert not changed[~lit].any()
    assert changed[lit].mean() > 10


def test_sheet_spreads_frames_and_reads_only_those(out: Path, tmp_path: Path) -> None:
    footage = load_footage(out / "sequences" / NAME)
    asked = []
    inner = footage.frames
    footage.frames = lambda positions: (asked.append(list(positions)), inner(positions))[1]  # type: ignore[method-assign]
    sheet = contact_sheet(footage, frames=3, columns=2)
    assert asked == [[0, 2, 5]]
    written = np.asarray(Image.open(write_contact_sheet(footage, tmp_path / "sheet.png", frames=3)))
    assert written.shape[0] < sheet.shape[0] < written.shape[0] + 300
    assert contact_sheet(footage, frames=50).shape[0] == written.shape[0]  # 6 frames, in one row
    # The ground of each tile is its frame: 2, then 5.
    for left, number in ((4, 2), (4 + 196, 5)):
        ground = sheet[48 + 250, left + 3 : left + 190].mean(-1)
        assert np.median(ground) == pytest.approx(20 + 15 * (number - 1), abs=4)
    with pytest.raises(ConfigError, match="suffix"):
        write_contact_sheet(footage, tmp_path / "sheet.xyz")


@pytest.mark.parametrize("form", ["plain", "compact", "lossless"])
def test_other_forms_draw_the_same(tmp_path: Path, form: str) -> None:
    plain = load_footage(make_leaf(tmp_path / "a", NAME))
    other = load_footage(make_leaf(tmp_path / "b", NAME, form=form))
    difference = contact_sheet(plain).astype(int) - contact_sheet(other)
    assert np.abs(difference).max() <= (2 if form == "compact" else 0)


def test_merged_heatmaps_are_coloured_by_part(tmp_path: Path, video: Path) -> None:
    maps = heatmaps(6, joints=2, size=(32, 24))
    leaf = make_leaf(tmp_path, NAME, maps=maps, posed=False)
    assert [group.name for group in load_footage(leaf).groups] == ["channel 0", "channel 1"]
    make_record(tmp_path, NAME, video, "1-6", 6, merge="upper_lower")
    footage = load_footage(leaf)
    assert [group.name for group in footage.groups] == ["upper", "lower"]
    assert footage.score(0) == pytest.approx(0.51, abs=1e-3)
    assert contact_sheet(footage).any()
    footage = load_footage(make_leaf(tmp_path, "8/nm-01/090", maps=heatmaps(6, joints=7), posed=False))
    assert len({group.colour for group in footage.groups}) == 7
    assert contact_sheet(footage).any()


def test_without_the_video_heatmaps_alone(tmp_path: Path) -> None:
    leaf = make_leaf(tmp_path, NAME)
    make_record(tmp_path, NAME, tmp_path / "gone.mp4", "2,4-6,8-9", 6)
    footage = load_footage(leaf)
    assert footage.video is None
    assert footage.numbers.tolist() == [2, 4, 5, 6, 8, 9]
    film = tmp_path / "overlay.mp4"
    assert write_overlay(footage, film) == 6
    assert (probe(film).width, probe(film).height) == (288, 384)
    _, frame = next(read_frames(film))
    row, column = peak(0, 8)
    assert frame[6 * row + 3, 6 * column + 3].max() > 150
    assert contact_sheet(footage).any()


def test_poses_and_silhouettes_alone(tmp_path: Path) -> None:
    for name, sequence in (("poses", poses(3)[1]), ("sils", np.tri(64, 44, dtype=np.uint8)[None].repeat(3, 0) * 255)):
        leaf = tmp_path / "sequences/1/nm-01" / name
        write_sequence(leaf / f"{name}.pkl", sequence)
        footage = load_footage(leaf)
        tile = draw_tile(footage, 1, None)
        assert tile.shape[0] == 256
        if name == "sils":
            assert (tile[:100, 120:] < 5).all()
            assert (tile[204:250, 6:100] > 250).all()
        else:
            assert (tile.max(-1) > 120).sum() > 300
        assert write_overlay(footage, tmp_path / "film.mp4") == 3


def test_pictures_in_the_leaf_alone(tmp_path: Path) -> None:
    """A picture that is wider than a tile is shown whole, with black above and below."""
    leaf = tmp_path / "sequences/1/nm-01/000"
    write_sequence(leaf / "rgb.pkl", np.full((2, 3, 60, 90), 200, np.uint8))
    tile = draw_tile(load_footage(leaf), 1, None)
    assert tile.shape == (256, 192, 3)
    assert (tile[70:186, 1:-1] == 200).all()
    assert (tile[:60] == 0).all()
    assert (tile[-60:] == 0).all()


def test_frame_folder_of_different_sizes(tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    for i in range(4):
        Image.fromarray(np.full((101 + i, 150, 3), 90, np.uint8)).save(frames / f"{i}.png")
    leaf = make_leaf(tmp_path, NAME, 3)
    make_record(tmp_path, NAME, frames, "1,3-4", 3)
    film = tmp_path / "overlay.mp4"
    assert write_overlay(load_footage(leaf), film) == 3
    assert (probe(film).width, probe(film).height) == (150, 104)


def test_another_video_is_refused(out: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    leaf = out / "sequences" / NAME
    other = tmp_path / "other.mp4"
    write_video(other, (grey(i) for i in range(9)), crf=30)
    with pytest.raises(DataError, match="not the video that"):
        load_footage(leaf, video=other)
    assert load_footage(leaf, video=other, check=False).video == other
    assert "not the video that" in caplog.text
    short = tmp_path / "short.mp4"
    write_video(short, (grey(i) for i in range(5)))
    with pytest.raises(DataError, match="ends before frame 6"):
        write_overlay(load_footage(leaf, video=short, check=False), tmp_path / "overlay.mp4")
    assert not (tmp_path / "overlay.mp4").exists()


def test_a_video_that_moved(out: Path, video: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere.mp4"
    moved.write_bytes(video.read_bytes())
    make_record(out, NAME, video, "2,4-6,8-9", 6, video="gone/walk.mp4")
    leaf = out / "sequences" / NAME
    assert load_footage(leaf).video is None
    assert load_footage(leaf, video=moved).video == moved
    # Relative to OUT, if it is there.
    (out / "gone").mkdir()
    moved.rename(out / "gone/walk.mp4")
    assert load_footage(leaf).video == out / "gone/walk.mp4"


def test_walkers_find_their_film(tmp_path: Path, video: Path) -> None:
    leaf = make_leaf(tmp_path, NAME, 9)
    film = tmp_path / "videos" / f"{NAME}.mp4"
    film.parent.mkdir(parents=True)
    film.write_bytes(video.read_bytes())
    footage = load_footage(leaf)
    assert footage.video == film
    assert footage.numbers.tolist() == list(range(1, 10))
    with pytest.raises(DataError, match="no record says which"):
        load_footage(make_leaf(tmp_path, "7/nm-02/090", 5), video=film)


def test_a_file_is_drawn_alone(out: Path) -> None:
    footage = load_footage(out / "sequences" / NAME / "0_heatmaps.pkl")
    assert footage.poses is None
    assert footage.boxes is not None
    with pytest.raises(DataError, match="nothing that can be drawn"):
        load_footage(out / "sequences" / NAME / "3_boxes.pkl")


def test_lengths_must_agree(out: Path, video: Path) -> None:
    leaf = out / "sequences" / NAME
    make_record(out, NAME, video, "2,4-6,8", 5)
    with pytest.raises(DataError, match="holds 6 frames, but"):
        load_footage(leaf)
    write_sequence(leaf / "1_poses.pkl", poses(5)[0])
    with pytest.raises(DataError, match="different lengths"):
        load_footage(leaf)


def test_skeleton_from_either_kind_of_poses(out: Path) -> None:
    leaf = out / "sequences" / NAME
    both = load_footage(leaf)
    in_map, in_frame = poses(6)
    identity = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    for gone, kept in (("1_poses", "2_poses_frame"), ("2_poses_frame", "1_poses")):
        for name, sequence in zip(("1_poses", "2_poses_frame"), poses(6)):
            write_sequence(leaf / f"{name}.pkl", sequence)
        (leaf / f"{gone}.pkl").unlink()
        footage = load_footage(leaf)
        assert (footage.poses is None, footage.poses_frame is None) == (gone == "1_poses", kept == "1_poses")
        for position in (0, 4):
            points, scores = footage.skeleton(position, identity)
            np.testing.assert_allclose(points, in_frame[position, :, :2], atol=1e-4)
            np.testing.assert_allclose(scores, in_map[position, :, 2])
            points, _ = footage.skeleton_in_map(position, 4.0)
            np.testing.assert_allclose(points, (in_map[position, :, :2] + 0.5) * 4 - 0.5, atol=1e-3)
        frame = np.full((*SIZE, 3), 50, np.uint8)
        difference = draw_overlay(footage, 4, frame).astype(int) - draw_overlay(both, 4, frame)
        assert np.abs(difference).max() <= 2


def test_nan_is_drawn_as_nothing(tmp_path: Path) -> None:
    maps = heatmaps(6)
    maps[2] = np.nan
    footage = load_footage(make_leaf(tmp_path, NAME, maps=maps, posed=False))
    assert footage.score(2) == 0
    assert contact_sheet(footage).any()


def test_a_video_needs_boxes(out: Path, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leaf = out / "sequences" / NAME
    monkeypatch.chdir(leaf)
    assert load_footage(".").video == video  # names come from the whole path
    for name in ("2_poses_frame", "3_boxes"):
        (leaf / f"{name}.pkl").unlink()
    assert load_footage(leaf).video is None
    with pytest.raises(DataError, match="has no boxes"):
        load_footage(leaf, video=video)
