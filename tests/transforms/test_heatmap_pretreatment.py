"""Pretreatment in heatmap space against a slow loop, by hand, and where the person then stands."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext.errors import ConfigError, DataError
from gaitext.skeleton import COCO_JOINTS
from gaitext.transforms import HeatmapFlip, HeatmapPretreatment, PoseToHeatmap


def slow(heatmaps: np.ndarray, height: int, width: int, threshold: float) -> np.ndarray:
    """One pixel at a time: where its middle was in the cut, and the four pixels about that place."""
    frames, channels, high, wide = heatmaps.shape
    out = np.zeros((frames, channels, height, width))
    for t in range(frames):
        merged = [[max(heatmaps[t, v, y, x] for v in range(channels)) for x in range(wide)] for y in range(high)]
        peak = max(max(row) for row in merged)
        if peak <= 0:
            if (high, wide) == (height, width):
                out[t] = heatmaps[t]
            continue
        bodies = [(y, x) for y in range(high) for x in range(wide) if merged[y][x] > threshold * peak]
        top, bottom = bodies[0][0], bodies[-1][0]
        factor = height / (bottom - top + 1)
        total = sum(float(merged[y][x]) for y, x in bodies)
        centre = sum(float(merged[y][x]) * (x - (wide - 1) / 2) for y, x in bodies) / total
        shift = round(centre * factor)
        for i in range(height):
            y = min(max(top + (i + 0.5) / factor - 0.5, top), bottom)
            for j in range(width):
                x = (wide - 1) / 2 + (j - (width - 1) / 2 + shift) / factor
                if not -0.5 - 1e-9 <= x <= wide - 0.5 + 1e-9:
                    continue
                x = min(max(x, 0), wide - 1)
                above, left = math.floor(y), math.floor(x)
                below, right = min(above + 1, high - 1), min(left + 1, wide - 1)
                down, across = y - above, x - left
                for v in range(channels):
                    one = heatmaps[t, v]
                    out[t, v, i, j] = (1 - down) * ((1 - across) * one[above, left] + across * one[above, right])
                    out[t, v, i, j] += down * ((1 - across) * one[below, left] + across * one[below, right])
    return out


def random_heatmaps(seed: int, frames: int, height: int, width: int) -> np.ndarray:
    """Sixteenths, so that sums are exact and nothing is at the threshold by rounding alone; much is 0."""
    generator = np.random.default_rng(seed)
    heatmaps = generator.integers(-2, 17, (frames, 17, height, width)) / 16
    keep = generator.random((frames, 1, height, width)) < generator.choice([0.02, 0.1, 0.6], (frames, 1, 1, 1))
    return np.where(keep, heatmaps, np.minimum(heatmaps, 0)).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 8), st.integers(1, 8)),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.sampled_from([0.0, 0.13, 0.7]),
)
def test_the_loop(seed: int, source: tuple[int, int], target: tuple[int, int], threshold: float) -> None:
    heatmaps = random_heatmaps(seed, 3, *source)
    before = heatmaps.copy()
    done = HeatmapPretreatment(threshold, *target)(heatmaps)
    assert done.dtype == np.float32
    assert done.shape == (3, 17, *target)
    np.testing.assert_allclose(done, slow(heatmaps, *target, threshold), atol=1e-5)
    np.testing.assert_array_equal(heatmaps, before)


def walkers(seed: int, frames: int, share: float = 1.0) -> np.ndarray:
    """Heatmaps [T, 17, 64, 48] of upright figures, ``share`` of the map high, somewhere in it."""
    generator = np.random.default_rng(seed)
    heights = {"nose": 0, "eye": 0, "ear": 0, "shoulder": 0.17, "elbow": 0.35, "wrist": 0.5}
    heights.update(hip=0.52, knee=0.76, ankle=1)
    rows = np.array([heights[name.split("_")[-1]] for name in COCO_JOINTS])
    poses = np.ones((frames, 17, 3))
    poses[..., 0] = generator.uniform(18, 29, (frames, 1)) + generator.normal(0, 2, (frames, 17)).clip(-4, 4)
    poses[..., 1] = generator.uniform(6, 57 - 51 * share, (frames, 1)) + rows * 51 * share
    return PoseToHeatmap()(poses)


def test_the_published_size_on_figures() -> None:
    heatmaps = walkers(0, 2, share=0.7)
    np.testing.assert_allclose(HeatmapPretreatment()(heatmaps), slow(heatmaps, 64, 48, 0.1), atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.4, 1), st.sampled_from([(64, 48), (64, 44), (128, 96), (32, 24)]))
def test_the_person_fills_the_height_and_stands_in_the_middle(seed: int, share: float, size: tuple[int, int]) -> None:
    heatmaps = walkers(seed, 3, share)
    done = HeatmapPretreatment(0.1, *size)(heatmaps)
    merged = done.max(1)
    person = merged > 0.1 * heatmaps.max((1, 2, 3))[:, None, None]
    # The cut's first row, a pixel that just exceeds the threshold, may be mixed with its neighbour.
    assert person[:, :2].any((1, 2)).all()
    assert person[:, -2:].any((1, 2)).all()
    mass = np.where(person, merged, 0).sum(1)
    centre = (mass * np.arange(size[1])).sum(1) / mass.sum(1)
    assert np.abs(centre - (size[1] - 1) / 2).max() <= 0.5 + 0.2  # resizing moves some pixels across the threshold
    assert done.max() <= heatmaps.max() * (1 + 1e-6)


def test_a_figure_that_fills_the_map_stays() -> None:
    heatmaps = np.zeros((1, 17, 64, 48), np.float32)
    heatmaps[0, 0, 0, 23] = heatmaps[0, 15, 63, 24] = 1
    heatmaps[0, 5, 20, 20:28] = 0.5
    heatmaps[0, 9, 40, 10] = 0.05  # below the threshold: part of the frame, not of the person
    heatmaps[0, 10, 41] = -0.25
    np.testing.assert_array_equal(HeatmapPretreatment()(heatmaps), heatmaps)
    # Elsewhere it comes back by whole pixels.
    moved = np.roll(heatmaps, 5, axis=3)
    expected = heatmaps.copy()
    expected[..., 43:] = 0  # what lay outside the map
    np.testing.assert_array_equal(HeatmapPretreatment()(moved), expected)


@pytest.mark.parametrize(("column", "expected"), [(23, 23), (24, 24), (25, 23), (22, 24), (0, 24), (47, 23)])
def test_a_column_goes_to_the_middle(column: int, expected: int) -> None:
    """The middle is between columns 23 and 24; a column half a pixel off stays, one and a half are two or one."""
    heatmaps = np.zeros((1, 17, 64, 48), np.float32)
    heatmaps[0, 3, :, column] = 1
    done = HeatmapPretreatment()(heatmaps)
    assert np.flatnonzero(done[0, 3].any(0)).tolist() == [expected]
    assert done.sum() == 64


def test_the_centre_of_mass_by_hand() -> None:
    """Mass 3 in column 1 and 1 in column 5: the centre is column 2, two left of the middle of 9."""
    heatmaps = np.zeros((1, 17, 2, 9), np.float32)
    heatmaps[0, 0, :, 1] = 1.5
    heatmaps[0, 1, :, 5] = 0.5
    done = HeatmapPretreatment(height=2, width=9)(heatmaps)
    assert np.flatnonzero(done[0, 0, 0]).tolist() == [3]
    assert np.flatnonzero(done[0, 1, 1]).tolist() == [7]
    # What does not exceed the threshold has no mass.
    only = HeatmapPretreatment(threshold=0.4, height=2, width=9)(heatmaps)
    assert np.flatnonzero(only[0, 0, 0]).tolist() == [4]
    # The merged map counts, not the channels' sum.
    heatmaps[0, 2:] = heatmaps[0, 1]
    np.testing.assert_array_equal(HeatmapPretreatment(height=2, width=9)(heatmaps)[0, 0], done[0, 0])


def test_a_resize_by_two_by_hand() -> None:
    heatmaps = np.zeros((1, 17, 4, 4), np.float32)
    heatmaps[0, 0, 1:3, 1:3] = [[0, 1], [1, 0]]
    heatmaps[0, 1, 3] = 0.01  # below the cut: gone
    done = HeatmapPretreatment(height=4, width=4)(heatmaps)
    bilinear = np.array(
        [[0, 0.25, 0.75, 1], [0.25, 0.375, 0.625, 0.75], [0.75, 0.625, 0.375, 0.25], [1, 0.75, 0.25, 0]]
    )
    expected = bilinear.copy()
    # Outside the cut's middle columns lie zeros, not edges: the outermost columns are ¾ of it.
    expected[:, 0], expected[:, 3] = bilinear[:, 0] * 0.75, bilinear[:, 3] * 0.75
    np.testing.assert_allclose(done[0, 0], expected, atol=1e-6)
    assert not done[0, 1].any()


def test_an_empty_frame_stays() -> None:
    heatmaps = walkers(3, 3)
    heatmaps[1] = 0
    heatmaps[1, 4, 5, 6] = -0.5
    done = HeatmapPretreatment()(heatmaps)
    np.testing.assert_array_equal(done[1], heatmaps[1])
    assert not HeatmapPretreatment(width=44)(heatmaps)[1].any()
    alone = HeatmapPretreatment()(np.zeros((2, 17, 64, 48), np.float16))
    assert alone.dtype == np.float32
    assert not alone.any()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(8, 6), (7, 5), (12, 9)]))
def test_mirrored_frames_give_mirrored_maps(seed: int, size: tuple[int, int]) -> None:
    heatmaps = random_heatmaps(seed, 2, 8, 6)
    flip, pretreat = HeatmapFlip(1.0), HeatmapPretreatment(0.13, *size)
    np.testing.assert_allclose(pretreat(flip(heatmaps)), flip(pretreat(heatmaps)), atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(-10, 10))
def test_frames_are_apart_and_the_scale_of_values_does_not_matter(seed: int, exponent: int) -> None:
    heatmaps = walkers(seed, 3, 0.8)
    pretreat = HeatmapPretreatment()
    together = pretreat(heatmaps)
    for t in range(3):
        np.testing.assert_array_equal(pretreat(heatmaps[t : t + 1])[0], together[t])
    factor = np.float32(2.0**exponent)  # a power of two: no rounding
    np.testing.assert_allclose(pretreat(heatmaps * factor), together * factor, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: HeatmapPretreatment(threshold=1), r"HeatmapPretreatment\.threshold: threshold is 1"),
        (lambda: HeatmapPretreatment(threshold=-0.1), r"\.threshold"),
        (lambda: HeatmapPretreatment(height=0), r"HeatmapPretreatment\.height: height is 0"),
        (lambda: HeatmapPretreatment(width=44.0), r"\.width: width is 44\.0"),  # type: ignore[arg-type]
    ],
)
def test_wrong_arguments_are_named(build: Any, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        build()


def test_bad_sequences_are_named() -> None:
    good = np.ones((3, 17, 6, 5), np.float32)
    bad = good.copy()
    bad[2, 4, 1] = np.nan
    for sequence, named in (
        (bad, "frame 2"),
        (good[:, :16], "T, 17"),
        (good[:0], "without a frame"),
        (good[0], "was expected"),
        (good[..., :0], "no pixels"),
    ):
        with pytest.raises(DataError, match=named):
            HeatmapPretreatment()(sequence)
