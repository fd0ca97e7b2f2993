"""OpenGait's pretreatment of silhouettes, and whose parts of a mask are kept."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaitext.errors import ShapeError
from gaitext.segmentation import of_person, pretreat
from tests.segmentation.people import draw_person


def kernel(t: float, a: float = -0.75) -> float:
    """The cubic convolution kernel."""
    t = abs(t)
    if t < 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0


def resized(line: list[float], length: int) -> list[float]:
    """One row or column, a pixel at a time; beyond the ends it goes on as it ends."""
    result = []
    for i in range(length):
        centre = (i + 0.5) * len(line) / length - 0.5
        first = math.floor(centre) - 1
        taps = [(line[min(max(k, 0), len(line) - 1)], kernel(centre - k)) for k in range(first, first + 4)]
        result.append(sum(value * weight for value, weight in taps))
    return result


def slow(picture: np.ndarray, size: int = 64) -> np.ndarray | None:
    """The rule, a step at a time."""
    if int(picture.astype(int).sum()) <= 10000:
        return None
    rows = [y for y in range(len(picture)) if any(picture[y])]
    body = picture[rows[0] : rows[-1] + 1].astype(float)
    width = int(size * body.shape[1] / body.shape[0])
    if width == 0:
        return None
    across = np.array([resized(list(row), width) for row in body])
    both = np.array([resized(list(column), size) for column in across.T]).T
    body = np.clip(np.rint(both), 0, 255).astype(int)
    total, so_far, middle = body.sum(), 0, 0
    for middle in range(width):
        so_far += body[:, middle].sum()
        if so_far > total / 2:
            break
    result = np.zeros((size, size), np.uint8)
    for x in range(size):
        source = middle - size // 2 + x
        if 0 <= source < width:
            result[:, x] = body[:, source]
    return result


def pictures() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    person = draw_person(120)[1].astype(np.uint8) * 255
    grey = (person * generator.uniform(0.5, 1, person.shape)).astype(np.uint8)
    wide = np.zeros((90, 200), np.uint8)
    wide[20:70, 150:200] = 255
    at_the_left = np.zeros((100, 60), np.uint8)
    at_the_left[5:95, :21] = 255
    return [person, person[:, 40:], grey, wide, at_the_left, np.full((64, 64), 200, np.uint8)]


@pytest.mark.parametrize("picture", pictures())
def test_it_is_opengaits_rule(picture: np.ndarray) -> None:
    found, expected = pretreat(picture), slow(picture)
    assert found is not None
    assert expected is not None
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - expected).max() <= 1  # rounding in float32


@pytest.mark.parametrize("picture", pictures())
def test_it_is_what_opencv_makes(picture: np.ndarray) -> None:
    cv2 = pytest.importorskip("cv2")
    rows = np.flatnonzero(picture.any(1))
    body = picture[rows[0] : rows[-1] + 1]
    body = cv2.resize(body, (int(64 * (body.shape[1] / body.shape[0])), 64), interpolation=cv2.INTER_CUBIC)
    middle = int(np.flatnonzero(body.sum(0).cumsum() > body.sum() / 2)[0])
    padded = np.pad(body, ((0, 0), (32, 32)))
    found = pretreat(picture)
    assert found is not None
    assert np.abs(found.astype(int) - padded[:, middle : middle + 64]).max() <= 1


def test_what_shows_nobody_gives_nothing() -> None:
    few = np.zeros((64, 64), bool)
    few[10, :39] = True
    assert pretreat(few) is None
    few[11, 0] = True
    assert pretreat(few) is not None
    assert pretreat(np.zeros((10, 10), np.uint8)) is None
    assert pretreat(np.ones((700, 10), bool)) is None  # less than a column wide
    for wrong in (np.zeros((3, 4, 5), np.uint8), np.zeros((64, 64), np.float32)):
        with pytest.raises(ShapeError, match="give"):
            pretreat(wrong)


@given(st.integers(0, 40), st.integers(0, 60), st.integers(0, 2**32 - 1))
def test_where_the_body_stands_changes_nothing(down: int, right: int, seed: int) -> None:
    body = np.random.default_rng(seed).random((50, 22)) < 0.6
    body[0, 3] = body[-1, 5] = True
    narrow = np.pad(body, ((0, 0), (60, 60)))
    picture = np.zeros((100, 142), bool)
    picture[down : down + 50, right : right + 22] = body
    expected = pretreat(narrow)
    found = pretreat(picture)
    assert expected is not None
    assert found is not None
    # At the picture's edge the body's own edge goes on, and columns lie at other fractions.
    assert found.any(1).all() == expected.any(1).all()
    assert abs(int(found.sum()) - int(expected.sum())) < 0.1 * expected.sum()


def joints(*places: tuple[int, int], score: float = 0.9) -> np.ndarray:
    result = np.zeros((17, 3))
    for joint, (x, y) in zip(result, places):
        joint[:] = x, y, score
    return result


def test_the_parts_that_hold_joints_are_kept() -> None:
    mask = np.zeros((100, 100), bool)
    mask[10:60, 40:60] = True  # the person
    mask[64:80, 45:50] = True  # their foot
    mask[5:90, 80:99] = True  # somebody else, larger
    mask[0:3, 0:3] = True
    box = np.array([0.0, 0, 100, 100])
    both = of_person(mask, joints((50, 30), (47, 82)), box)
    expected = mask.copy()
    expected[:, 80:] = False
    expected[:3, :3] = False
    np.testing.assert_array_equal(both, expected)  # a joint two pixels below the foot counts as on it
    alone = of_person(mask, joints((50, 30), (47, 90), (90, 40), score=0.9)[[0, *[3] * 16]], box)
    assert alone[10:60, 40:60].all()
    assert not alone[64:, :].any()
    # Joints that are not seen, or on nothing, or outside the crop: the largest part.
    for nowhere in (joints((50, 30), score=0.2), joints((20, 95)), joints((-40, 500), (1000, -7))):
        found = of_person(mask, nowhere, box)
        assert found.sum() == 85 * 19
        assert found[5:90, 80:99].all()


def test_one_part_is_kept_as_it_is() -> None:
    mask = draw_person(64)[1]
    box = np.array([0.0, 0, 64, 64])
    np.testing.assert_array_equal(of_person(mask, joints((0, 0)), box), mask)
    empty = np.zeros((8, 8), bool)
    assert not of_person(empty, joints((1, 1)), box).any()


def test_what_lies_far_outside_the_box_is_somebody_else() -> None:
    mask = np.ones((100, 120), bool)
    box = np.array([30.0, 10, 25, 50])  # grown by 4 pixels on all sides
    found = of_person(mask, joints((40, 30)), box)
    expected = np.zeros_like(mask)
    expected[6:64, 26:59] = True
    np.testing.assert_array_equal(found, expected)
    assert mask.all()  # the argument is left as it was
    assert not of_person(mask, joints((40, 30)), np.array([-90.0, 0, 30, 60])).any()
