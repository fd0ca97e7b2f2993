"""SkeletonGait's maps, a pixel at a time, and against scikit-learn's and OpenCV's parts of OpenGait's tool."""

import math

import numpy as np
import pytest

from gaitext.errors import ShapeError
from gaitext.transforms.skeleton_maps import SKELETON, fill_missing, skeleton_maps


def walk(frames: int = 6, missing: float = 0.0) -> np.ndarray:
    """A body in frame pixels that moves, its scores 0.3 … 1."""
    rng = np.random.default_rng(0)
    body = np.array(
        [
            *((0, 0), (4, -4), (-4, -4), (8, -2), (-8, -2)),
            *((20, 25), (-20, 25), (27, 60), (-27, 60), (30, 92), (-30, 92)),
            *((13, 95), (-13, 95), (18, 145), (-10, 146), (30, 195), (-25, 190)),
        ]
    )
    poses = np.ones((frames, 17, 3))
    poses[..., :2] = body + (150, 80) + rng.normal(0, 3, (frames, 17, 2)) + np.arange(frames)[:, None, None] * (5, 0)
    poses[..., 2] = rng.uniform(0.3, 1, (frames, 17))
    poses[rng.random((frames, 17)) < missing] = 0
    return poses


def slow(pose: np.ndarray) -> list[np.ndarray]:
    """Both maps of a frame without missing coordinates, as float grey values before the last rounding."""
    hip = (pose[11, :2] + pose[12, :2]) / 2
    high = max(pose[:, 1]) - min(pose[:, 1])
    places = [((x - hip[0]) * 85 / high + 64, (y - hip[1]) * 85 / high + 64) for x, y, _ in pose]
    maps = []
    for strokes in (SKELETON, [(joint, joint) for joint in range(17)]):
        grey = np.zeros((128, 128))
        for one, two in strokes:
            (ax, ay), (bx, by), height = places[one], places[two], min(pose[one, 2], pose[two, 2])
            if height < 0.001:
                continue
            if (ax - bx) ** 2 + (ay - by) ** 2 < 1:  # a limb of less than a pixel is the point where it starts
                bx, by, height = ax, ay, pose[one, 2]
            for y in range(128):
                for x in range(128):
                    inside = int(min(ax, bx) - 24) <= x <= int(max(ax, bx) + 24)
                    if not (inside and int(min(ay, by) - 24) <= y <= int(max(ay, by) + 24)):
                        continue
                    length = (ax - bx) ** 2 + (ay - by) ** 2
                    share = 0.0 if length == 0 else ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length
                    share = min(max(share, 0.0), 1.0)
                    away = (x - ax - share * (bx - ax)) ** 2 + (y - ay - share * (by - ay)) ** 2
                    level = min(int(math.exp(-away / 128) * height * 256), 255)
                    grey[y, x] = max(grey[y, x], level)
        rows = [y for y in range(128) if grey[y].any()]
        half = len(range(rows[0], rows[-1] + 1)) // 2
        cut = grey[rows[0] : rows[-1] + 1, max(64 - half, 0) : 64 + half + 1]
        small = np.zeros((64, 64))
        for i in range(64):
            for j in range(64):
                total = 0.0
                for y in range(cut.shape[0]):
                    down = min(y + 1, (i + 1) * cut.shape[0] / 64) - max(y, i * cut.shape[0] / 64)
                    if down <= 0:
                        continue
                    for x in range(cut.shape[1]):
                        across = min(x + 1, (j + 1) * cut.shape[1] / 64) - max(x, j * cut.shape[1] / 64)
                        total += max(across, 0) * down * cut[y, x]
                small[i, j] = total * 64 * 64 / cut.size
        maps.append(small)
    return maps


def test_it_is_the_sum_of_its_steps() -> None:
    poses = walk(2)
    maps = skeleton_maps(poses)
    assert (maps.shape, maps.dtype) == ((2, 2, 64, 64), np.uint8)
    for found, expected in zip(maps[1], slow(poses[1])):
        # A level of 256 is a grey of 255 at most one lower, and the result is rounded down.
        assert np.abs(found - (expected - 0.5)).max() < 2
        assert expected.max() > 150


def test_missing_coordinates_are_filled_as_scikit_learn_does() -> None:
    impute = pytest.importorskip("sklearn.impute")
    poses = walk(30, missing=0.3)[..., :2]
    poses[4] = 0  # a frame that shows nobody
    assert (poses == 0).any()
    imputer = impute.KNNImputer(missing_values=0.0, n_neighbors=4, weights="distance")
    expected = imputer.fit_transform(poses.reshape(30, -1)).reshape(poses.shape)
    np.testing.assert_allclose(fill_missing(poses), expected, rtol=1e-9)
    assert (fill_missing(poses) != 0).all()


def test_what_is_there_or_missing_everywhere_is_left() -> None:
    whole = walk(5)[..., :2]
    np.testing.assert_array_equal(fill_missing(whole), whole)
    whole[:, 9] = 0
    whole[2, 3] = 0
    np.testing.assert_array_equal(fill_missing(whole), whole)  # as OpenGait does
    twins = np.repeat(walk(1), 4, 0)[..., :2]
    twins[3, 7] = 0
    np.testing.assert_allclose(fill_missing(twins)[3, 7], twins[0, 7])


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_the_last_step_is_opencvs(missing: float) -> None:
    cv2 = pytest.importorskip("cv2")
    from gaitext.transforms.skeleton_maps import _aligned

    rng = np.random.default_rng(1)
    for height in (128, 101, 77, 50):  # of 50 rows OpenCV enlarges
        drawn = np.zeros((128, 128), np.float32)
        drawn[5 : 5 + min(height, 123)] = rng.random((min(height, 123), 128)) * (rng.random((1, 128)) > missing)
        rows = np.flatnonzero(drawn.any(1))
        high = rows[-1] - rows[0] + 1
        grey = (np.linspace(0, 1, 256) * 255).astype(np.uint8)[(drawn * 256).astype(int)]
        cut = grey[rows[0] : rows[-1] + 1, 64 - high // 2 : 64 + high // 2 + 1] / 255
        expected = (cv2.resize(cut, (64, 64), interpolation=cv2.INTER_AREA) * 255).astype(np.uint8)
        assert np.abs(_aligned(drawn, 64).astype(int) - expected).max() <= 1


def test_frames_without_joints_are_black_and_others_do_not_care() -> None:
    poses = walk(4)
    poses[2, :, 2] = 0
    maps = skeleton_maps(poses)
    assert not maps[2].any()
    np.testing.assert_array_equal(maps[[0, 1, 3]], skeleton_maps(poses[[0, 1, 3]]))
    moved = poses * (2.5, 2.5, 1) + (40, 10, 0)
    assert np.abs(skeleton_maps(moved).astype(int) - maps).max() <= 1  # neither place nor size shows
    assert not skeleton_maps(np.zeros((3, 17, 3))).any()
    with pytest.raises(ShapeError, match=r"\[T, 17, 3\]"):
        skeleton_maps(np.zeros((3, 18, 3)))
