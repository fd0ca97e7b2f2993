"""Placement, projection, visibility and boxes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext.errors import ConfigError
from gaitext.geometry import crop_boxes
from gaitext.skeleton import joint_mirror
from gaitext.walkers import PROTOCOLS, CameraSettings, WalkerSettings, make_walk
from gaitext.walkers.body import move
from gaitext.walkers.camera import boxes, place, project, visibility
from gaitext.walkers.gait import mean_gait
from tests.walkers.bodies import mean_body

VIEWS = sorted(set(PROTOCOLS["casia-b"][1]) | set(PROTOCOLS["psymo"][1]))


def project_by_hand(point: np.ndarray, camera: CameraSettings) -> tuple[float, float]:
    """A pinhole written out: shift, turn about x by the tilt, divide, turn the image by the roll."""
    x, y, z = point[0], point[1], point[2] - camera.elevation
    t, r = math.radians(camera.tilt), math.radians(camera.roll)
    ahead = y * math.cos(t) - z * math.sin(t)
    up = y * math.sin(t) + z * math.cos(t)
    u, v = camera.focal * x / ahead, -camera.focal * up / ahead
    # A camera turned clockwise by r sees the picture turned anticlockwise by r (y points down).
    u, v = u * math.cos(r) + v * math.sin(r), -u * math.sin(r) + v * math.cos(r)
    return u + camera.width / 2 - 0.5, v + camera.height / 2 - 0.5


@given(
    tilt=st.floats(-30, 30),
    roll=st.floats(-40, 40),
    elevation=st.floats(0, 4),
    seed=st.integers(0, 1000),
)
@settings(max_examples=25, deadline=None)
def test_projection_agrees_with_the_one_by_hand(tilt: float, roll: float, elevation: float, seed: int) -> None:
    camera = CameraSettings(tilt=tilt, roll=roll, elevation=elevation)
    points = np.random.default_rng(seed).uniform([-2, 5, 0], [2, 9, 2], (5, 3))
    expected = [project_by_hand(point, camera) for point in points]
    np.testing.assert_allclose(project(points, camera)[0], expected, atol=1e-8)


def test_a_camera_rolled_clockwise_sees_the_head_turn_left() -> None:
    low, high = project(np.array([[0, 7.0, 0], [0, 7.0, 2.0]]), CameraSettings(roll=10))[0]
    assert high[1] < low[1]
    assert high[0] < low[0]


def test_a_camera_tilted_down_sees_people_higher() -> None:
    point = np.array([0, 7.0, 1.0])
    assert project(point, CameraSettings(tilt=10))[0][1] < project(point, CameraSettings())[0][1]


@pytest.mark.parametrize("view", VIEWS)
def test_people_are_upright_and_their_sides_right(view: str) -> None:
    walk = make_walk(WalkerSettings(frames=30), 1, "nm-01", view)
    x, y = walk.keypoints[..., 0], walk.keypoints[..., 1]
    assert (y[:, 0] < y[:, 11]).all()
    assert (y[:, 11] < y[:, 15]).all()
    across = (x[:, 5] - x[:, 6]).mean()  # left shoulder to the right of the right one
    degrees = int(view)
    if degrees not in (90, 270):
        assert np.sign(across) == np.sign(math.cos(math.radians(degrees)))
    travelled = x[-1].mean() - x[0].mean()
    if degrees not in (0, 180):
        assert np.sign(travelled) == np.sign(math.sin(math.radians(degrees)))
        # Who walks to the right looks to the right.
        assert np.sign((x[:, 0] - x[:, 3:5].mean(1)).mean()) == np.sign(travelled)


def test_size_changes_as_people_come_and_go() -> None:
    config = WalkerSettings(frames=50, box_jitter=0)
    coming, going = (make_walk(config, 1, "nm-01", v).boxes[:, 3] for v in ("000", "180"))
    assert coming[-1] > 1.2 * coming[0]
    assert going[-1] < going[0] / 1.2


def test_side_views_are_wide_and_frontal_views_narrow() -> None:
    config = WalkerSettings(frames=50)
    spread = {v: np.abs(np.diff(make_walk(config, 1, "nm-01", v).keypoints[:, 15:, 0])).max() for v in ("000", "090")}
    assert spread["090"] > 3 * spread["000"]


@pytest.mark.parametrize(("view", "mirrored"), [("045", "315"), ("090", "270"), ("018", "342")])
def test_mirrored_views_show_the_mirror_image(view: str, mirrored: str) -> None:
    body, gait, camera = mean_body(), mean_gait(), CameraSettings()
    phase = np.linspace(0, 6, 12)
    progress = phase - phase.mean()

    def film(at: np.ndarray, degrees: int) -> tuple[np.ndarray, np.ndarray]:
        world = place(move(body, gait, at).joints, progress, degrees, camera)
        return project(world, camera)[0], visibility(world, body.stature, camera)

    (points, seen), (other, other_seen) = film(phase, int(view)), film(phase + np.pi, int(mirrored))
    swapped = other[:, joint_mirror()]
    swapped[..., 0] = camera.width - 1 - swapped[..., 0]
    np.testing.assert_allclose(points, swapped, atol=1e-8)
    np.testing.assert_allclose(seen, other_seen[:, joint_mirror()], atol=1e-8)


def test_the_far_side_and_the_back_of_the_head_are_hidden() -> None:
    config = WalkerSettings(frames=50)
    side = make_walk(config, 1, "nm-01", "090").visibility.mean(0)
    assert side[6] > 0.9 > 0.3 > side[5]
    assert side[12] > side[11]
    assert side[4] > 0.9 > 0.3 > side[3]
    other = make_walk(config, 1, "nm-01", "270").visibility.mean(0)
    assert other[5] > 0.9 > 0.3 > other[6]
    back = make_walk(config, 1, "nm-01", "180").visibility.mean(0)
    assert (back[:3] < 0.3).all()
    front = make_walk(config, 1, "nm-01", "000").visibility.mean(0)
    assert (front[:7] > 0.9).all()


@given(identity=st.integers(1, 500), view=st.sampled_from(VIEWS), roll=st.floats(-20, 20), offset=st.floats(-0.5, 0.5))
@settings(max_examples=25, deadline=None)
def test_keypoints_lie_inside_boxes_and_crops(identity: int, view: str, roll: float, offset: float) -> None:
    camera = CameraSettings(roll=roll, offset=offset, distance=8)
    still = make_walk(WalkerSettings(frames=20, camera=camera, box_jitter=0), identity, "nm-01", view)
    jittered = make_walk(WalkerSettings(frames=20, camera=camera), identity, "nm-01", view)
    np.testing.assert_array_equal(still.keypoints, jittered.keypoints)
    for box in (still.boxes, crop_boxes(jittered.boxes)):
        edge = still.keypoints + 0.5
        assert (edge >= box[:, None, :2]).all()
        assert (edge <= box[:, None, :2] + box[:, None, 2:]).all()


def test_boxes_end_at_the_frame() -> None:
    camera = CameraSettings()
    points = np.array([[[-50.0, 100], [30, 300]]])
    box = boxes(points, np.full((1, 2), 5.0), np.zeros(2), camera)[0]
    np.testing.assert_allclose(box, [0, 100.5, 30.5, 200])


def test_paths_that_leave_the_frame_are_refused() -> None:
    with pytest.raises(ConfigError, match="leaves the frame") as caught:
        make_walk(WalkerSettings(frames=300), 1, "nm-01", "090")
    assert caught.value.where == "camera"
