import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from gaitext import geometry
from gaitext.errors import ShapeError

point = st.tuples(st.floats(0, 47), st.floats(0, 63))


@given(neck=point, hip=point)
def test_alignment_is_equations_1_to_3(neck, hip) -> None:
    if math.dist(neck, hip) < 1e-3:
        return
    matrix = geometry.alignment_matrices(np.array([neck]), np.array([hip]), (24, 16))[0]
    theta = math.atan2(neck[0] - hip[0], hip[1] - neck[1])
    mid = np.add(neck, hip) / 2
    c, s = math.cos(-theta), math.sin(-theta)
    eq2 = np.array([[c, -s, (1 - c) * mid[0] + s * mid[1]], [s, c, -s * mid[0] + (1 - c) * mid[1]]])
    bias = np.array([24, 16]) - eq2 @ [*neck, 1]
    expected = eq2 + np.array([[0, 0, bias[0]], [0, 0, bias[1]]])
    assert matrix == pytest.approx(expected, abs=1e-9)
    assert geometry.lean_angle(matrix) == pytest.approx(math.degrees(theta), abs=1e-6)


def test_leaning_right_is_positive() -> None:
    right = geometry.alignment_matrices(np.array([[30.0, 10.0]]), np.array([[24.0, 30.0]]), (24, 16))
    assert geometry.lean_angle(right)[0] > 0


@given(st.lists(st.floats(-2, 2), min_size=12, max_size=12))
def test_numpy_and_torch_agree_and_inverses_undo(values) -> None:
    a = np.array(values).reshape(2, 2, 3)
    a[:, :, :2] += 5 * np.eye(2)
    ta = torch.from_numpy(a)
    points = np.array([[1.0, 2.0], [3.0, -1.0]])
    moved = geometry.apply(a, points)
    assert np.allclose(moved[1], points @ a[1, :, :2].T + a[1, :, 2])
    assert np.allclose(geometry.apply(ta, torch.from_numpy(points)).numpy(), moved)
    assert np.allclose(geometry.apply(geometry.invert(a), moved), points)
    assert np.allclose(geometry.invert(ta).numpy(), geometry.invert(a))


def test_normalised_is_what_affine_grid_means_by_pixels() -> None:
    matrix = torch.tensor([[[0.9, 0.2, 3.0], [-0.1, 1.1, -2.0]]], dtype=torch.float64)
    grid = F.affine_grid(geometry.normalised(matrix, 8, 6), [1, 1, 8, 6], align_corners=False)
    for y in range(8):
        for x in range(6):
            sx, sy = (matrix[0] @ torch.tensor([x, y, 1.0], dtype=torch.float64)).tolist()
            assert grid[0, y, x].tolist() == pytest.approx([(2 * sx + 1) / 6 - 1, (2 * sy + 1) / 8 - 1])


@given(st.floats(-50, 500), st.floats(-50, 500), st.floats(1, 300), st.floats(1, 300))
def test_crops_hold_the_box_at_three_to_four_and_grow_by_a_quarter(x, y, w, h) -> None:
    cx, cy, cw, ch = geometry.crop_boxes(np.array([[x, y, w, h]]))[0]
    assert cw / ch == pytest.approx(0.75)
    assert (cx + cw / 2, cy + ch / 2) == pytest.approx((x + w / 2, y + h / 2), abs=1e-6)
    assert cw >= 1.25 * w - 1e-6
    assert ch >= 1.25 * h - 1e-6
    assert cw == pytest.approx(1.25 * w) or ch == pytest.approx(1.25 * h)


def test_crop_matrices_map_edges_to_edges() -> None:
    crop = np.array([[10.0, 20.0, 30.0, 40.0]])
    matrix = geometry.crop_matrices(crop, 64, 48)
    # The left edge of pixel 10 is at 9.5 in pixel-centre coordinates, and so on.
    corners = geometry.apply(matrix, np.array([[[9.5, 19.5], [39.5, 59.5]]]))[0]
    assert corners == pytest.approx(np.array([[-0.5, -0.5], [47.5, 63.5]]))
    assert geometry.crop_matrices(torch.from_numpy(crop), 64, 48).numpy() == pytest.approx(matrix)


def test_spine_needs_all_four_joints() -> None:
    keypoints = np.ones((2, 17, 3))
    keypoints[1, 12, 2] = 0
    neck, _, valid = geometry.spine(keypoints)
    assert neck[0].tolist() == [1, 1]
    assert valid.tolist() == [True, False]
    with pytest.raises(ShapeError, match="17, 3"):
        geometry.spine(np.ones((2, 17, 2)))
