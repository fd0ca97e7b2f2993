"""What a frame is shown as: pixels worked out anew, alignment against the network's own, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gaitext.errors import ConfigError, DataError
from gaitext.extraction import Correction, crop_images
from gaitext.inspect.footage import load_footage
from gaitext.inspect.moments import DARK, HIDDEN, Moment, estimated, moment, occluded
from gaitext.inspect.paint import groups_of
from gaitext.inspect.show import show
from gaitext.inspect.show_settings import ShowSettings
from gaitext.inspect.show_sheet import sheet
from gaitext.inspect.views import Drawing, align, draw
from gaitext.models import GaitHeat
from gaitext.models.gaitheat_settings import AlignmentSettings
from gaitext.occlusion import Occlusion
from gaitext.skeleton import COCO_JOINTS, PARTITIONS
from gaitext.store import write_leaf, write_sequence
from gaitext.transforms import PoseToHeatmap
from gaitext.video import probe, read_frames, write_video
from gaitext.walkers import Scene, WalkerSettings, make_walk
from tests.inspect.data import boxes, make_leaf, make_record

pytest.importorskip("av")
Image = pytest.importorskip("PIL.Image")

NAME = "7/nm-01/090"
GROUPS = tuple(groups_of(list(COCO_JOINTS)))


def person(lean: float, at: tuple[float, float] = (20.0, 30.0)) -> np.ndarray:
    """A pose [17, 3] in heatmap pixels that leans by so many degrees about its hip, to the right if positive."""
    y = np.array([-28, -29, -29, -28, -28, -20, -20, -12, -12, -4, -4, 0, 0, 11, 11, 22, 22], float)
    x = np.array([0, 1, -1, 2, -2, 5, -5, 7, -7, 8, -8, 3, -3, 3, -3, 3, -3], float)
    angle = np.deg2rad(lean)
    turned = np.stack((x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)), -1)
    return np.concatenate((turned + at, np.full((17, 1), 0.8)), 1)


def a_moment(lean: float = 20.0, **changes: Any) -> Moment:
    pose = person(lean)
    maps = PoseToHeatmap()(pose[None].astype(np.float32))[0]
    ground = np.random.default_rng(0).integers(0, 255, (256, 192, 3)).astype(np.uint8)
    return replace(Moment(5, 3, ground, heatmaps=maps, pose=pose, groups=GROUPS, full=0.8), **changes)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "walk.mp4"
    noise = np.random.default_rng(1).integers(0, 255, (20, 26, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    write_video(path, (np.roll(noise, 8 * i, 1) for i in range(9)), crf=1, fps=10)
    return path


@pytest.fixture
def leaf(tmp_path: Path, video: Path) -> Path:
    """A leaf of 6 frames, made of frames 2, 4, 5, 6, 8 and 9."""
    folder = make_leaf(tmp_path, NAME)
    write_sequence(folder / "4_silhouettes.pkl", np.tri(64, 64, dtype=np.uint8)[None].repeat(6, 0) * 255)
    make_record(tmp_path, NAME, video, "2,4-6,8-9", 6)
    return folder


# Alignment ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lean", [-62.0, -5.2, 4.9, 5.1, 33.0])
def test_alignment_is_the_networks_own(lean: float) -> None:
    was = a_moment(lean)
    network = GaitHeat(class_num=2, channels=(2, 2, 2, 2), embedding_size=2, branches=("global", "local")).eval()
    assert was.heatmaps is not None
    theirs = network.part_maps(torch.from_numpy(was.heatmaps)[None])[0].detach().numpy()
    after = align(was, AlignmentSettings())
    np.testing.assert_array_equal(after.heatmaps.max(0), theirs[0])
    for part, joints in enumerate(PARTITIONS["upper_lower"].values()):
        np.testing.assert_array_equal(after.heatmaps[list(joints)].max(0), theirs[1 + part])
    assert after.moved == (after.lean is not None and abs(after.lean) >= 5)
    # Peaks are whole pixels, so that the angle is not exactly the pose's.
    assert after.lean == pytest.approx(lean, abs=2)


def test_alignment_pixel_by_pixel() -> None:
    """Turned about the middle of neck and hip, then moved: looked up by hand, bilinearly, edges going on."""
    was = a_moment(31.0)
    assert was.heatmaps is not None
    peaks = [np.unravel_index(was.heatmaps[j].argmax(), (64, 48)) for j in (5, 6, 11, 12)]
    (y0, x0), (y1, x1), (y2, x2), (y3, x3) = peaks
    neck, hip = np.array([(x0 + x1) / 2, (y0 + y1) / 2]), np.array([(x2 + x3) / 2, (y2 + y3) / 2])
    lean = np.arctan2(neck[0] - hip[0], hip[1] - neck[1])
    cos, sin = np.cos(lean), np.sin(lean)
    maps = was.heatmaps.max(0).astype(np.float64)
    joint_maps = was.heatmaps.astype(np.float64)
    expected = np.zeros((64, 48))
    for row in range(64):
        for column in range(48):
            dx, dy = column - 24.0, row - 16.0
            x, y = np.clip(neck[0] + cos * dx - sin * dy, 0, 47), np.clip(neck[1] + sin * dx + cos * dy, 0, 63)
            left, top = min(int(x), 46), min(int(y), 62)
            a, b = x - left, y - top
            four = joint_maps[:, top : top + 2, left : left + 2]
            expected[row, column] = (
                (four[:, 0, 0] * (1 - a) + four[:, 0, 1] * a) * (1 - b)
                + (four[:, 1, 0] * (1 - a) + four[:, 1, 1] * a) * b
            ).max()
    assert np.abs(align(was, AlignmentSettings()).heatmaps.max(0) - expected).max() < 1e-5
    assert np.abs(maps - expected).max() > 0.3


def test_the_person_moves_as_the_heatmaps_do() -> None:
    """White squares where the joints are come to lie under the aligned heatmaps' peaks, upright below P_align."""
    was = a_moment(-28.0, groups=())
    assert was.pose is not None
    assert was.heatmaps is not None
    for joint in (5, 6, 11, 12, 13):
        ground = np.zeros((256, 192, 3), np.uint8)
        row, column = np.unravel_index(was.heatmaps[joint].argmax(), (64, 48))
        ground[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 255
        one = replace(was, ground=ground)
        after = align(one, AlignmentSettings())
        (tile,) = draw("bins", replace(one, full=1e9, groups=GROUPS), Drawing(bins=1))
        light = tile.sum(-1).astype(float)
        assert light.max() > 100
        centre = np.array([(light * np.arange(192)).sum(), (light * np.arange(256)[:, None]).sum()]) / light.sum()
        x, y = after.matrix @ (column, row, 1)
        np.testing.assert_allclose(centre, (4 * x + 1.5, 4 * y + 1.5), atol=0.1)
    neck = sum(after.matrix @ (*was.pose[j, :2], 1) for j in (5, 6)) / 2
    hip = sum(after.matrix @ (*was.pose[j, :2], 1) for j in (11, 12)) / 2
    np.testing.assert_allclose(neck, (24, 16), atol=0.7)
    assert hip[0] == pytest.approx(24, abs=1.2)


def test_threshold_and_missing_joints() -> None:
    was = a_moment(12.0)
    assert align(was, AlignmentSettings(threshold=20)).moved is False
    np.testing.assert_array_equal(align(was, AlignmentSettings(threshold=20)).heatmaps, was.heatmaps)
    assert was.heatmaps is not None
    gone = was.heatmaps.copy()
    gone[11] = 0
    after = align(replace(was, heatmaps=gone), AlignmentSettings())
    assert (after.moved, after.lean) == (False, None)
    # Merged maps hold no joints: the keypoints tell, and without those nothing is moved.
    merged = replace(was, heatmaps=was.heatmaps[:2])
    assert align(merged, AlignmentSettings()).lean == pytest.approx(12, abs=1e-6)
    assert align(replace(merged, pose=None), AlignmentSettings()).moved is False


# Views ----------------------------------------------------------------------------------------------


def test_parts_show_their_joints_and_no_others() -> None:
    was = a_moment(0.0, ground=np.zeros((256, 192, 3), np.uint8))
    assert was.pose is not None
    for name, partition in PARTITIONS.items():
        tiles = draw("parts", was, Drawing(partition=name))
        assert len(tiles) == len(partition)
        for tile, joints in zip(tiles, partition.values()):
            lit = tile.max(-1) > 100
            for joint in range(17):
                x, y = (4 * was.pose[joint, :2] + 1.5).round().astype(int)
                near = [np.hypot(*(was.pose[joint, :2] - was.pose[other, :2])) for other in joints]
                if min(near) > 6:
                    assert not lit[y, x]
                elif joint in joints:
                    assert lit[y, x]


def test_bins_are_of_equal_height() -> None:
    was = a_moment(0.0, ground=np.zeros((256, 192, 3), np.uint8), full=1e9)
    (tile,) = draw("bins", was, Drawing(bins=8))
    rows = np.flatnonzero(tile.max(-1).min(1) > 20)
    # A line one pixel wide on the edge of two rows lights both.
    assert {int(row) for row in rows} == {32 * i + step for i in range(1, 8) for step in (-1, 0)}


def test_heatmap_view_is_the_darkened_person_where_nothing_is_hot() -> None:
    was = a_moment(0.0, heatmaps=np.zeros((17, 64, 48), np.float32))
    (tile,) = draw("heatmap", was, Drawing())
    expected = (was.ground * 0.55).round()
    away = np.ones((256, 192), bool)
    away[64:69], away[:, 96:101] = False, False  # the lines through P_align: 4 · 16 + 1.5 and 4 · 24 + 1.5
    assert np.abs(tile[away] - expected[away]).max() <= 1
    assert (tile[65:67, :90].astype(int) - expected[65:67, :90]).mean() > 20
    (rgb,) = draw("rgb", was, Drawing())
    np.testing.assert_array_equal(rgb, was.ground)


# Occlusions -----------------------------------------------------------------------------------------


def test_occluded_by_hand() -> None:
    was = a_moment(0.0, silhouette=np.ones((64, 64), np.float32))
    assert was.heatmaps is not None
    assert was.pose is not None
    after = occluded(was, Occlusion("dynamic", width=0.5, height=0.25, speed=2.0), "dynamic")
    # Frame 3 at 2 pixels a frame: columns 6 to 30 of 48, rows 48 to 64.
    expected = was.heatmaps.copy()
    expected[:, 48:, 6:30] = 0
    np.testing.assert_array_equal(after.heatmaps, expected)
    for before, joint in zip(was.pose, after.pose):
        inside = 47.5 <= before[1] < 63.5 and 5.5 <= before[0] < 29.5
        np.testing.assert_array_equal(joint, np.zeros(3) if inside else before)
    ground = was.ground.copy()
    ground[4 * 48 :, 4 * 6 : 4 * 30] = HIDDEN
    np.testing.assert_array_equal(after.ground, ground)
    silhouette = np.ones((64, 64), np.float32)
    silhouette[48:, 6:38] = 0
    np.testing.assert_array_equal(after.silhouette, silhouette)
    (tile,) = draw("silhouette", after, Drawing())
    painted = (tile == HIDDEN).all(-1)
    assert painted[4 * 48 :, 4 * 6 : 4 * 38].all()
    assert painted.sum() == 64 * 128


def test_resized_rows_fill_the_picture_but_keypoints_stay() -> None:
    was = a_moment(0.0)
    assert was.heatmaps is not None
    occlusion = Occlusion("top", rows=0.5, resize=True)
    after = occluded(was, occlusion, "top:resized")
    # Each of the lower 32 rows becomes two; the last stays itself.
    assert after.heatmaps is not None
    assert after.heatmaps[15].argmax() // 48 == pytest.approx(2 * (was.heatmaps[15].argmax() // 48 - 32), abs=1)
    np.testing.assert_array_equal(after.ground[-1, 4:], was.ground[-1, 4:])
    plain = occluded(was, replace(occlusion, resize=False), "top")
    np.testing.assert_array_equal(draw("keypoints", after, Drawing())[0], draw("keypoints", plain, Drawing())[0])
    assert (after.ground[: 2 * 64 - 1, :4] == HIDDEN).all()


def test_occlusions_are_drawn_of_seed_and_name() -> None:
    settings = ShowSettings.parse({"occlusions": "none,top,top:resized,pole", "seed": 3}, where="show")
    drawn = settings.drawn_occlusions("1/nm-01/000")
    assert list(drawn) == ["none", "top", "top:resized", "pole"]
    assert drawn["none"] == Occlusion()
    assert replace(drawn["top:resized"], resize=False) == drawn["top"]
    assert 0.1 <= drawn["top"].rows <= 0.6
    assert drawn == settings.drawn_occlusions("1/nm-01/000")
    assert drawn["top"] != settings.drawn_occlusions("2/nm-01/000")["top"]


# Correction -----------------------------------------------------------------------------------------


class Brightness:
    """Heatmaps that hold the mean brightness of the crop's upper and lower half in two channels."""

    def __init__(self) -> None:
        self.input_size, self.heatmap_size, self.differentiable = (256, 192), (64, 48), False
        self.settings: dict[str, Any] = {"estimator": "brightness"}

    def heatmaps(self, images: torch.Tensor) -> torch.Tensor:
        maps = torch.zeros(len(images), 17, 64, 48)
        maps[:, 0, 8, 20] = images[:, :, :128].mean((1, 2, 3))
        maps[:, 1, 40, 20] = images[:, :, 128:].mean((1, 2, 3))
        return maps


@pytest.mark.parametrize("at", ["input", "native"])
def test_corrected_frames_are_estimated_anew(at: str) -> None:
    frame = np.random.default_rng(2).integers(60, 255, (160, 208, 3)).astype(np.uint8)
    box, was = np.array([40.0, 20.0, 90.0, 120.0]), a_moment(0.0)
    halved = Correction(lambda images: images / 2, {"correct_at": at})
    before = estimated(was, frame, box, Brightness(), state="as it is")
    after = estimated(was, frame, box, Brightness(), halved, "corrected")
    crop = crop_images(frame, box[None], (256, 192))[0].numpy()
    assert before.heatmaps is not None
    assert after.heatmaps is not None
    assert before.heatmaps[0, 8, 20] == pytest.approx(crop[:, :128].mean(), abs=1e-5)
    assert after.heatmaps[1, 40, 20] == pytest.approx(crop[:, 128:].mean() / 2, abs=2e-3)
    assert np.abs(after.ground - crop.transpose(1, 2, 0) * 255 / 2).max() <= 2
    assert after.pose is not None
    assert tuple(after.pose[1, :2]) == (20, 40)
    assert (after.silhouette, after.state, before.state) == (None, "corrected", "as it is")
    assert frame.min() >= 60


# Pictures and videos --------------------------------------------------------------------------------


def test_picture_of_a_leaf(leaf: Path, video: Path, tmp_path: Path) -> None:
    shown = show(leaf, tmp_path / "a.png", ShowSettings(frames=2))
    assert shown.columns == ["RGB", "silhouette", "keypoints", "heatmap", "aligned heatmap"]
    assert (shown.rows, shown.notes) == (2, [])
    picture = np.asarray(Image.open(shown.path))
    assert picture.shape[0] % 2 == picture.shape[1] % 2 == 0
    # The first column's tiles are the crops of the middles of both halves: positions 1 and 4, frames 4 and 8.
    frames = dict(read_frames(video, frozenset({3, 7})))
    for number, (position, index) in enumerate(((1, 3), (4, 7))):
        crop = crop_images(frames[index], boxes(6)[position : position + 1].astype(np.float32), (256, 192))[0]
        tile = (crop.permute(1, 2, 0) * 255).round().byte().numpy()
        top, left = find(picture, tile)
        assert top // 256 == number
    # All columns of that row, in their places.
    footage = load_footage(leaf)
    was = moment(footage, 4, frames[7])
    tiles = [draw(view, was, Drawing())[0] for view in ("rgb", "silhouette", "keypoints", "heatmap", "aligned")]
    for tile in tiles:
        np.testing.assert_array_equal(picture[top : top + 256, left : left + tile.shape[1]], tile)
        left += tile.shape[1] + 6


def test_occlusions_side_by_side(leaf: Path, tmp_path: Path) -> None:
    settings = ShowSettings.parse(
        {"what": "silhouette,heatmap", "occlusions": "none,middle", "frames": 1, "enlarge": 2}, where="show"
    )
    shown = show(leaf, tmp_path / "a.png", settings)
    assert (shown.rows, shown.columns) == (2, ["none", "middle"])
    picture = np.asarray(Image.open(shown.path))
    ((_, frame),) = read_frames(load_footage(leaf).video, frozenset({5}))  # position 3 is frame 6
    was = moment(load_footage(leaf), 3, frame, rows=2)
    bare, hidden = occluded(was, Occlusion(), "none"), occluded(was, Occlusion("middle", rows=0.5), "middle")
    plain = Drawing(lines=False)  # without aligned heatmaps beside them
    for one, other in ((draw(view, bare, plain)[0], draw(view, hidden, plain)[0]) for view in settings.what):
        at = [find(picture, tile) for tile in (one, other)]
        assert at[0][0] == at[1][0]
        assert at[1][1] - at[0][1] == 128 + 6


def find(picture: np.ndarray, tile: np.ndarray) -> tuple[int, int]:
    """The one place of a tile in a picture."""
    height, width = tile.shape[:2]
    found = [
        (y, x)
        for y in range(picture.shape[0] - height + 1)
        for x in range(picture.shape[1] - width + 1)
        if (picture[y, x : x + width] == tile[0]).all() and (picture[y : y + height, x : x + width] == tile).all()
    ]
    assert len(found) == 1
    return found[0]


def test_sheet_of_tiles_of_several_widths() -> None:
    tiles = [np.full((20, width, 3), (colour, 0, 9), np.uint8) for width, colour in ((12, 90), (300, 120), (8, 150))]
    picture = sheet(["a", "bb", "c"], [(["frame 1"], tiles), (["frame 2", "top"], tiles[::-1])])
    assert picture.shape[0] % 2 == picture.shape[1] % 2 == 0
    columns = [np.flatnonzero((picture == (colour, 0, 9)).all(-1).any(0)) for colour in (90, 120, 150)]
    assert [len(np.unique(places)) for places in columns] == [24, 300, 16]  # twice, in the first and last column
    assert (picture == (120, 0, 9)).all(-1).sum() == 2 * 20 * 300
    taller = sheet(["a"], [(["x"], [np.full((20, 12, 3), (9, 0, 90), np.uint8)]), (["y"], [tiles[0].repeat(3, 0)])])
    assert (taller == (90, 0, 9)).all(-1).sum() == 3 * 20 * 12
    assert (taller == (9, 0, 90)).all(-1).sum() == 20 * 12


def test_video_of_a_leaf(leaf: Path, tmp_path: Path) -> None:
    settings = ShowSettings.parse({"what": "rgb,heatmap", "occlusions": "none,top,pole"}, where="show")
    asked: list[tuple[int, int | None]] = []
    shown = show(leaf, tmp_path / "a.mp4", settings, progress=lambda done, total: asked.append((done, total)))
    info = probe(shown.path)
    assert (info.frames, shown.rows, info.fps) == (6, 6, pytest.approx(10))
    assert asked == [(i, 6) for i in range(1, 7)]
    still = np.asarray(Image.open(show(leaf, tmp_path / "a.png", settings.model_copy(update={"frames": 1})).path))
    # As high as two views, as wide as three occlusions.
    assert still.shape[0] == pytest.approx(2 * 256, abs=60)
    assert still.shape[1] == pytest.approx(3 * 192, abs=140)
    assert shown.columns == ["none", "top", "pole"]
    assert (info.height, info.width) == (still.shape[0], pytest.approx(still.shape[1], abs=4))
    first = show(leaf, tmp_path / "b.mp4", ShowSettings(frames=2, what=("heatmap",)))
    assert probe(first.path).frames == 2


def test_a_dataset_shares_its_rows(leaf: Path, tmp_path: Path) -> None:
    make_leaf(tmp_path, "8/nm-01/090")
    shown = show(tmp_path, tmp_path / "a.png", ShowSettings(frames=4))
    assert shown.rows == 4
    assert shown.columns == ["keypoints", "heatmap", "aligned heatmap"]  # which both have
    assert "8/nm-01/090" in shown.notes[0]
    with pytest.raises(DataError, match=r"2 sequences, and a video is of one"):
        show(tmp_path, tmp_path / "a.mp4")


def test_pictures_of_the_leaf_itself(tmp_path: Path) -> None:
    colours = np.random.default_rng(3).integers(0, 255, (4, 3, 128, 96)).astype(np.uint8)
    folder = write_leaf(
        tmp_path / "r", "1", "a", "0", {"rgb": colours, "heatmaps": np.ones((4, 17, 64, 48), "f2")}
    ).path
    footage = load_footage(folder)
    was = moment(footage, 2, None)
    assert was.placed
    np.testing.assert_array_equal(
        (crop_images(colours[2].transpose(1, 2, 0), np.array([[0, 0, 96.0, 128]]), (256, 192))[0] * 255).round().byte(),
        was.ground.transpose(2, 0, 1),
    )
    assert show(folder, tmp_path / "a.png").columns == ["RGB", "keypoints", "heatmap", "aligned heatmap"]
    square = write_leaf(tmp_path / "r", "1", "a", "1", {"rgb": colours[:, :, :96]}).path
    was = moment(load_footage(square), 0, None)
    assert not was.placed
    assert (was.ground[:31] == 0).all()  # whole, on black
    assert show(square, tmp_path / "b.png").columns == ["RGB"]


def test_without_a_video_the_ground_is_dark(tmp_path: Path) -> None:
    footage = load_footage(make_leaf(tmp_path, NAME))
    assert (moment(footage, 0, None).ground == DARK).all()
    shown = show(tmp_path / "sequences" / NAME, tmp_path / "a.png")
    assert shown.columns == ["keypoints", "heatmap", "aligned heatmap"]
    assert "--video" in shown.notes[0]


def test_a_video_itself(tmp_path: Path) -> None:
    """A rendered walker, found, estimated and masked by the networks in the package."""
    walk = make_walk(WalkerSettings(frames=9, fps=25, seed=3), 1, "nm-01", "090")
    scene = Scene(walk, 3)
    write_video(tmp_path / "walk.mp4", (scene.frame(t)[0] for t in range(9)), crf=18)
    shown = show(tmp_path / "walk.mp4", tmp_path / "a.png", ShowSettings(frames=1))
    assert (shown.rows, len(shown.columns)) == (1, 5)
    film = show(tmp_path / "walk.mp4", tmp_path / "a.mp4", ShowSettings(what=("rgb", "aligned"), frames=3))
    assert probe(film.path).frames == 3
    (tmp_path / "two" / "1" / "nm-01").mkdir(parents=True)
    for view in ("000.mp4", "090.mp4"):
        (tmp_path / "two/1/nm-01" / view).write_bytes((tmp_path / "walk.mp4").read_bytes())
    with pytest.raises(DataError, match=r"holds 2 videos[\s\S]*give one of them"):
        show(tmp_path / "two", tmp_path / "b.png")


# What is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"what": "rgb,heatmpa"}, "no view 'heatmpa'[\\s\\S]*did you mean 'heatmap'"),
        ({"occlusions": "top,botom"}, "no occlusion 'botom'[\\s\\S]*did you mean 'bottom'"),
        ({"occlusions": "pole:resized"}, "pole leaves no rows to resize"),
        ({"partition": "uper_lower"}, "did you mean 'upper_lower'"),
        ({"bins": 0}, "bins"),
        ({"frames": 0}, "frames"),
        ({"threshold": 181}, "threshold"),
    ],
)
def test_wrong_settings(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ShowSettings.parse(values, where="show")


def test_what_is_not_there(tmp_path: Path, video: Path) -> None:
    leaf, out = make_leaf(tmp_path, NAME), tmp_path / "a.png"
    with pytest.raises(DataError, match=r"no RGB, which 'rgb' shows; it has heatmaps, poses, boxes[\s\S]*--video"):
        show(leaf, out, ShowSettings(what=("rgb",)))
    with pytest.raises(DataError, match=r"no silhouettes[\s\S]*--content"):
        show(leaf, out, ShowSettings(what=("keypoints", "silhouette")))
    sils = write_leaf(tmp_path / "s", "1", "a", "0", {"sils": np.ones((3, 64, 44), np.uint8)}).path
    for view in ("keypoints", "heatmap", "aligned", "parts", "bins"):
        with pytest.raises(DataError, match=rf"which '{view}' shows; it has silhouettes"):
            show(sils, out, ShowSettings(what=(view,)))  # type: ignore[arg-type]
    correction = Correction(lambda images: images, {"correct_at": "input"})
    with pytest.raises(DataError, match="no video of it, whose frames could be corrected"):
        show(leaf, out, correction=correction, estimator=Brightness())
    with pytest.raises(ConfigError, match="silhouettes are not made anew"):
        show(leaf, out, ShowSettings(what=("silhouette",)), correction=correction)
    with pytest.raises(ConfigError, match="suffix"):
        show(leaf, tmp_path / "a.xyz")
    with pytest.raises(ConfigError, match="is a video itself"):
        show(video, out, video=video)
    with pytest.raises(DataError, match="no such file or folder"):
        show(tmp_path / "gone", out)
    assert not out.exists()


def test_corrected_rows_of_a_leaf(leaf: Path, tmp_path: Path) -> None:
    halved = Correction(lambda images: images / 2, {"correct_at": "native"})
    shown = show(leaf, tmp_path / "a.png", ShowSettings(frames=2), correction=halved, estimator=Brightness())
    assert shown.columns == ["RGB", "keypoints", "heatmap", "aligned heatmap"]
    assert shown.rows == 4
