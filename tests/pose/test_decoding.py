"""Decoding, against the obvious loop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext.errors import ShapeError
from gaitext.pose.decoding import decode_heatmaps


def slow(maps: np.ndarray) -> np.ndarray:
    n, joints, height, width = maps.shape
    out = np.zeros((n, joints, 3))
    for i in range(n):
        for v in range(joints):
            best = max((maps[i, v, y, x], -y, -x) for y in range(height) for x in range(width))
            score, y, x = best[0], -best[1], -best[2]
            if score <= 0:
                continue
            dx = dy = 0.0
            if 0 < x < width - 1:
                dx = 0.25 * np.sign(maps[i, v, y, x + 1] - maps[i, v, y, x - 1])
            if 0 < y < height - 1:
                dy = 0.25 * np.sign(maps[i, v, y + 1, x] - maps[i, v, y - 1, x])
            out[i, v] = x + dx, y + dy, score
    return out


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 6))
def test_like_the_loop(seed: int, height: int, width: int) -> None:
    maps = np.random.default_rng(seed).integers(-3, 4, (2, 3, height, width)).astype(np.float32)
    expected = slow(maps).astype(np.float32)
    # float16 takes a faster way to the same; many of these maps have no positive value.
    for kind in (np.float32, np.float16, np.float64):
        np.testing.assert_array_equal(decode_heatmaps(maps.astype(kind)), expected)
    every_other = np.repeat(maps.astype(np.float16), 2, axis=-1)[..., ::2]
    np.testing.assert_array_equal(decode_heatmaps(every_other), expected)


def test_without_a_frame() -> None:
    assert decode_heatmaps(np.zeros((0, 17, 64, 48), np.float16)).shape == (0, 17, 3)


def test_close_halves_are_no_tie() -> None:
    maps = np.zeros((1, 3, 3), np.float16)
    maps[0, 1] = 60000, 65504, 59968
    assert decode_heatmaps(maps)[0].tolist() == [0.75, 1.0, 65504.0]


def test_a_gaussian_is_found_to_a_quarter_pixel() -> None:
    y, x = np.mgrid[:64, :48]
    for cx, cy in ((20.3, 31.8), (10.0, 5.4)):
        maps = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 8)[None, None]
        found = decode_heatmaps(maps)[0, 0]
        assert np.abs(found[:2] - (cx, cy)).max() <= 0.26
    assert decode_heatmaps(maps.astype(np.float16)).dtype == np.float32


def test_wrong_shape() -> None:
    with pytest.raises(ShapeError, match=r"\[64, 48\]"):
        decode_heatmaps(np.zeros((64, 48)))
