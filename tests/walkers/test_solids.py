"""Solids against a slow reference: true perspective rays and a sphere at every step of the segment."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from gaitext.walkers import CameraSettings
from gaitext.walkers.camera import camera_axes, project
from gaitext.walkers.solids import Solids, draw

CAMERA = CameraSettings(width=96, height=80, focal=110.0, distance=3.0, elevation=1.0)
TILTED = CAMERA.model_copy(update={"tilt": 12.0, "roll": 20.0})


def solids(*rows: tuple[object, ...]) -> Solids:
    """Rows of start, end, two radii, axis, stretch."""
    start, end, radii, axis, stretch = (np.array(column, dtype=float) for column in zip(*rows))
    axis = axis / np.linalg.norm(axis, axis=1, keepdims=True)
    return Solids(start, end, radii, axis, stretch, np.zeros(len(start), bool))


def reference(shapes: Solids, camera: CameraSettings, steps: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """How far inside the nearest solid's outline each ray passes, in pixels [P, H, W], and its depth.

    The depth is that of the first sphere the ray enters, infinite where it enters none.
    """
    x = (np.arange(camera.width) - (camera.width - 1) / 2) / camera.focal
    y = (np.arange(camera.height) - (camera.height - 1) / 2) / camera.focal
    local = np.stack((*np.meshgrid(x, y), np.ones((camera.height, camera.width))), -1)
    rays = local @ camera_axes(camera)  # world, one metre deep
    eye = np.array([0.0, 0.0, camera.elevation])
    inside, depth = [], []
    for p in range(len(shapes.start)):
        axis, stretch = shapes.axis[p], shapes.stretch[p]
        squeeze = np.eye(3) + (1 / stretch - 1) * np.outer(axis, axis)
        direction = rays @ squeeze
        best, near = np.full(rays.shape[:2], -np.inf), np.full(rays.shape[:2], np.inf)
        for share in np.linspace(0, 1, steps):
            centre = (shapes.start[p] + share * (shapes.end[p] - shapes.start[p]) - eye) @ squeeze
            radius = shapes.radii[p] @ [1 - share, share]
            square = (direction**2).sum(-1)
            middle = (direction @ centre) / square
            gap = (centre**2).sum() - middle**2 * square
            best = np.maximum(best, (radius - np.sqrt(np.maximum(gap, 0))) * camera.focal / np.maximum(middle, 0.1))
            hit = gap < radius**2
            enters = middle - np.sqrt(np.where(hit, (radius**2 - gap) / square, 0))
            near = np.where(hit, np.minimum(near, enters), near)
        inside.append(best)
        depth.append(near)
    return np.stack(inside), np.stack(depth)


def whole(shapes: Solids, camera: CameraSettings) -> tuple[np.ndarray, np.ndarray]:
    """``draw``'s pieces and depths as whole frames."""
    hits = draw(shapes, camera)
    piece = np.full((camera.height, camera.width), -1)
    depth = np.full(piece.shape, np.inf)
    piece[hits.rows, hits.columns], depth[hits.rows, hits.columns] = hits.piece, hits.depth
    return piece, depth


X = (1, 0, 0)
CASES = {
    "upright": ((0, 3, 0.7), (0, 3, 1.3), (0.12, 0.12), X, 1),
    "tapered and slanting": ((-0.4, 3, 0.8), (0.3, 2.8, 1.3), (0.16, 0.07), X, 1),
    "towards the camera": ((0.1, 3.2, 1.0), (0.15, 2.6, 1.05), (0.12, 0.12), X, 1),
    "along a ray": ((0, 3.2, 1.0), (0, 2.6, 1.0), (0.10, 0.14), X, 1),
    "a sphere": ((0.2, 3, 1.1), (0.2, 3, 1.1), (0.2, 0.2), X, 1),
    "a flat trunk seen from the front": ((0, 3, 0.8), (0.05, 3, 1.25), (0.10, 0.12), X, 1.9),
    "a flat trunk seen at a slant": ((0, 3, 0.8), (0.05, 3.1, 1.25), (0.10, 0.12), (1, 1, 0.2), 1.9),
    "a flat bag": ((0, 3, 0.9), (0.2, 3, 0.9), (0.2, 0.2), (1, 2, 0), 0.4),
    "out of the frame": ((0.9, 2.6, 0.2), (1.3, 2.6, 0.9), (0.15, 0.15), X, 1),
}


@pytest.mark.parametrize("camera", [CAMERA, TILTED], ids=["level", "tilted and rolled"])
@pytest.mark.parametrize("case", CASES)
def test_outline_and_depth_are_the_references(case: str, camera: CameraSettings) -> None:
    shapes = solids(CASES[case])
    inside, expected = reference(shapes, camera)
    piece, depth = whole(shapes, camera)
    # Within a pixel of the outline, perspective within the limb may decide.
    clear = np.abs(inside[0]) > 1
    np.testing.assert_array_equal((piece == 0)[clear], (inside[0] > 0)[clear])
    assert (piece == 0).any()
    well = inside[0] > 2
    assert np.abs(depth[well] - expected[0][well]).max(initial=0) < 0.05  # metres, of solids 0.2 thick


def test_ends_lie_where_the_camera_projects_them() -> None:
    shapes = solids(CASES["tapered and slanting"])
    rolled = CAMERA.model_copy(update={"roll": 20.0})
    hits = draw(shapes, rolled)
    for end, share in ((shapes.start, 0.0), (shapes.end, 1.0)):
        x, y = np.rint(project(end, rolled)[0][0]).astype(int)
        assert hits.share[y - hits.top, x - hits.left] == pytest.approx(share, abs=0.1)
    # The outline reaches a radius beyond each end, and no farther.
    flat, depth = project(np.concatenate((shapes.start, shapes.end)), rolled)
    radius = shapes.radii[0] * rolled.focal / depth
    y, x = np.nonzero(hits.piece >= 0)
    assert x.min() + hits.left == pytest.approx((flat[:, 0] - radius).min(), abs=1)
    assert x.max() + hits.left == pytest.approx((flat[:, 0] + radius).max(), abs=1)
    assert y.min() + hits.top == pytest.approx((flat[:, 1] - radius).min(), abs=1)


def test_the_nearer_solid_hides_the_farther_in_any_order() -> None:
    rows = [
        ((-0.5, 2.5, 1.0), (0.5, 2.5, 1.0), (0.08, 0.08), X, 1),
        ((0, 3.0, 0.6), (0, 3.0, 1.4), (0.10, 0.10), X, 1),
        ((-0.4, 3.0, 0.7), (0.4, 2.5, 1.2), (0.06, 0.06), X, 1),  # passes behind one and before the other
    ]
    inside, depth = reference(solids(*rows), CAMERA)
    depth = np.where(inside > 0, depth, np.inf)
    nearest, second = np.sort(depth, 0)[:2]
    clear = (np.abs(inside) > 1).all(0) & np.isfinite(nearest) & (second > nearest + 0.1)
    expected = depth.argmin(0)
    for order in permutations(range(3)):
        piece, _ = whole(solids(*(rows[i] for i in order)), CAMERA)
        np.testing.assert_array_equal(np.array(order)[piece[clear]], expected[clear])
    assert set(np.unique(expected[clear])) == {0, 1, 2}


def test_a_smaller_frame_cuts_the_same_picture() -> None:
    shapes = solids(*CASES.values())
    wide, _ = whole(shapes, CAMERA)
    narrow, _ = whole(shapes, CAMERA.model_copy(update={"width": 56, "height": 40}))
    np.testing.assert_array_equal(narrow, wide[20:60, 20:76])


@pytest.mark.parametrize("case", ["upright", "a flat trunk seen from the front"])
def test_normals_and_places_point_outwards_from_the_axis(case: str) -> None:
    shapes = solids(CASES[case])
    hits = draw(shapes, CAMERA)
    seen = hits.piece == 0
    normal = hits.offset[seen] @ hits.normal_of[0]
    place = hits.offset[seen] @ hits.place_of[0]
    assert (normal[:, 2] <= 1e-6).all()  # towards the camera
    x = np.nonzero(seen)[1] + hits.left - (CAMERA.width - 1) / 2
    far = np.abs(x) > 3
    assert (np.sign(normal[far, 0]) == np.sign(x[far])).mean() > 0.95
    half = float(shapes.radii.max() * shapes.stretch[0])
    assert np.abs(place[:, 0]).max() == pytest.approx(half, abs=0.03)  # a pixel


def test_a_hollow_solid_ends_where_its_segment_does() -> None:
    shapes = solids(
        ((0, 3, 1.3), (0, 3, 0.8), (0.12, 0.12), X, 1), ((0, 3.05, 0.9), (0, 3.05, 0.5), (0.05, 0.05), X, 1)
    )
    level = CAMERA.model_copy(update={"elevation": 0.8})  # the eye is as high as the hem
    closed, _ = whole(shapes, level)
    hollow, depth = whole(replace(shapes, hollow=np.array([True, False])), level)
    hem = round((CAMERA.height - 1) / 2)
    np.testing.assert_array_equal(hollow[:hem], closed[:hem])
    assert (closed[hem + 1] == 0).any()
    assert not (hollow[hem + 1 :] == 0).any()
    assert (hollow[hem + 2] == 1).any()  # the leg shows below
    assert np.isinf(depth[hollow < 0]).all()


def test_what_is_behind_the_camera_is_left_out() -> None:
    hits = draw(solids(((0, -1, 1), (0, 1, 1), (0.1, 0.1), X, 1)), CAMERA)
    assert hits.piece.size == 0
