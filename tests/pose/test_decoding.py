"""Decoding, against the obvious loop."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext.errors import ShapeError
from gaitext.pose.decoding import decode_heatmaps
from tests.fake_gpu import fake_gpu


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
        assert_same_bits(decode_heatmaps(torch.from_numpy(maps.astype(kind))), expected)
    every_other = np.repeat(maps.astype(np.float16), 2, axis=-1)[..., ::2]
    np.testing.assert_array_equal(decode_heatmaps(every_other), expected)
    assert_same_bits(decode_heatmaps(torch.from_numpy(maps).repeat_interleave(2, -1)[..., ::2]), expected)


def assert_same_bits(found: torch.Tensor, expected: np.ndarray) -> None:
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found.numpy().view(np.int32), expected.view(np.int32))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([np.float16, np.float32]), st.booleans())
def test_a_tensor_gives_an_arrays_bits(seed: int, kind: type, negative: bool) -> None:
    """Of maps as estimators give them: smooth, flat in places, and of some channels nowhere above 0."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:12, :9]
    centres = rng.uniform(-2, 12, (3, 17, 2, 1, 1))
    maps = np.exp(-((x - centres[:, :, 0]) ** 2 + (y - centres[:, :, 1]) ** 2) / 8)
    maps = (maps + rng.normal(0, 0.02, maps.shape)).clip(-1, 0.9)  # ties at 0.9
    maps = np.where(rng.random((3, 17, 1, 1)) < 0.2 + 0.8 * negative, maps - 2, maps).astype(kind)
    maps[0, 0] = -0.0
    expected = decode_heatmaps(maps)
    assert_same_bits(decode_heatmaps(torch.from_numpy(maps)), expected)
    assert (expected[..., 2] == 0).any()
    assert not expected.any() or not negative


def test_no_gradient_and_no_graph() -> None:
    assert not decode_heatmaps(torch.rand(1, 17, 8, 6, requires_grad=True)).requires_grad


def test_a_gpus_heatmaps_stay_on_it() -> None:
    with fake_gpu():
        found = decode_heatmaps(torch.empty(5, 17, 64, 48, dtype=torch.float16))
        assert (found.device.type, found.dtype, found.shape) == ("cuda", torch.float32, (5, 17, 3))


def test_without_a_frame() -> None:
    assert decode_heatmaps(np.zeros((0, 17, 64, 48), np.float16)).shape == (0, 17, 3)
    assert decode_heatmaps(torch.zeros(0, 17, 64, 48)).shape == (0, 17, 3)


def test_close_halves_are_no_tie() -> None:
    maps = np.zeros((1, 3, 3), np.float16)
    maps[0, 1] = 60000, 65504, 59968
    assert decode_heatmaps(maps)[0].tolist() == [0.75, 1.0, 65504.0]
    assert decode_heatmaps(torch.from_numpy(maps))[0].tolist() == [0.75, 1.0, 65504.0]


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
    with pytest.raises(ShapeError, match=r"\[2, 0, 48\]"):
        decode_heatmaps(torch.zeros(2, 0, 48))
