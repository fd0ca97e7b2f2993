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


def _eq_2(theta: float, middle: np.ndarray) -> np.ndarray:
    """M_R as printed, [3, 3]."""
    c, s = math.cos(-theta), math.sin(-theta)
    x, y = middle
    return np.array([[c, -s, (1 - c) * x + s * y], [s, c, -s * x + (1 - c) * y], [0, 0, 1]])


def _eq_3(matrix: np.ndarray, neck: np.ndarray, align: np.ndarray) -> np.ndarray:
    """M_T as printed, [3, 3]."""
    bias = align - (matrix @ (*neck, 1))[:2]
    return np.array([[1, 0, -bias[0]], [0, 1, -bias[1]], [0, 0, 1]])


@pytest.mark.parametrize("lean", [-40.0, -6.0, 5.0, 20.0, 33.0])
def test_the_papers_equations_under_each_reading_of_eq_1(lean: float) -> None:
    """What Eq. 4's look-up does to a person who leans right by so many degrees (y points down)."""
    phi, length, align = math.radians(lean), 17.0, np.array([24.0, 16.0])
    hip = np.array([26.0, 40.0])
    neck = hip + length * np.array([math.sin(phi), -math.cos(phi)])
    middle = (neck + hip) / 2

    def seen(theta: float) -> tuple[float, float]:
        """Lean (degrees) afterwards, and how far the neck is from P_align."""
        rotate = _eq_2(theta, middle)
        look_up = rotate @ _eq_3(rotate, neck, align)  # x^s = M x^t: what is at x^s comes to be seen at x^t
        after = [np.linalg.solve(look_up, (*point, 1.0))[:2] for point in (neck, hip)]
        spine = after[0] - after[1]
        return math.degrees(math.atan2(spine[0], -spine[1])), float(np.linalg.norm(after[0] - align))

    x, y = neck - hip
    # θ positive when leaning right: Eq. 4 doubles the lean.
    with_y_up = math.atan2(x, -y)
    assert with_y_up == pytest.approx(phi)
    assert seen(with_y_up)[0] == pytest.approx(2 * lean)
    # Eq. 1's quotient in pixels: Eq. 4 turns upright, and Eq. 3 misses P_align by L·sin φ.
    quotient = math.atan(x / y)
    assert quotient == pytest.approx(-phi)
    assert seen(quotient) == pytest.approx((0.0, length * abs(math.sin(phi))), abs=1e-9)
    # The same with y up in Eqs. 1 and 2 alike: a mirrored plane turns the other way.
    mirror = np.diag([1.0, -1.0, 1.0])
    assert mirror @ _eq_2(with_y_up, middle * (1, -1)) @ mirror == pytest.approx(_eq_2(quotient, middle))
    # A two-argument arctangent in pixels: upside down, and no lean is below a threshold.
    two_arguments = math.atan2(x, y)
    assert abs(math.degrees(two_arguments)) > 90
    assert abs(seen(two_arguments)[0]) == pytest.approx(180)
    # gaitext: the first reading looked up by its inverse, which is the second with Eq. 3's neck where it really is.
    ours = geometry.alignment_matrices(neck, hip, (24.0, 16.0))
    first = _eq_2(with_y_up, middle)
    forward = np.linalg.inv(_eq_3(first, neck, align)) @ first
    second = _eq_2(quotient, middle)
    mended = np.linalg.inv(second @ _eq_3(np.linalg.inv(second), neck, align))
    assert ours == pytest.approx(forward[:2])
    assert ours == pytest.approx(mended[:2])
    upright = [ours[:, :2] @ point + ours[:, 2] for point in (neck, hip)]
    assert upright[0] == pytest.approx(align)
    assert upright[1] == pytest.approx(align + np.array([0, length]))
