"""Regenerated heatmaps against a Gaussian computed pixel by pixel, and what they promise for any pose."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext.errors import ConfigError, DataError
from gaitext.pose.decoding import decode_heatmaps
from gaitext.skeleton import joint_mirror
from gaitext.transforms import HeatmapFlip, HeatmapRegenerate, PoseFlip, PoseToHeatmap


def slow(poses: np.ndarray, width: int, height: int, sigma: float, min_score: float, scores: bool) -> np.ndarray:
    maps = np.zeros((*poses.shape[:2], height, width))
    for t, frame in enumerate(poses):
        for v, (x, y, score) in enumerate(frame.tolist()):
            if score <= min_score:
                continue
            for row in range(height):
                for column in range(width):
                    squared = (column - x) ** 2 + (row - y) ** 2
                    maps[t, v, row, column] = math.exp(-squared / (2 * sigma**2)) * (score if scores else 1)
    return maps


def random_poses(seed: int, frames: int, width: int, height: int) -> np.ndarray:
    """Poses in and about a map, some joints not found."""
    generator = np.random.default_rng(seed)
    poses = generator.uniform((-4, -4, 0.05), (width + 3, height + 3, 1), (frames, 17, 3)).astype(np.float32)
    poses[generator.random((frames, 17)) < 0.2] = 0
    return poses


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 9),
    st.integers(1, 9),
    st.floats(0.3, 5),
    st.sampled_from([0.0, 0.4]),
    st.booleans(),
)
def test_a_gaussian_computed_pixel_by_pixel(
    seed: int, width: int, height: int, sigma: float, min_score: float, scores: bool
) -> None:
    poses = random_poses(seed, 2, width, height)
    before = poses.copy()
    maps = PoseToHeatmap([width, height], sigma, min_score, scores)(poses)
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps, slow(poses, width, height, sigma, min_score, scores), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(poses, before)


def test_the_published_size() -> None:
    poses = random_poses(1, 1, 48, 64)
    maps = PoseToHeatmap()(poses)
    assert maps.shape == (1, 17, 64, 48)
    np.testing.assert_allclose(maps, slow(poses, 48, 64, 2.0, 0.0, True), rtol=1e-5, atol=1e-7)
    poses[..., 2] *= 1000  # no clipping
    assert PoseToHeatmap()(poses).max() > 100


def test_by_hand() -> None:
    poses = np.zeros((1, 17, 3))
    poses[0, 0] = 3, 2, 0.5
    poses[0, 1] = 3, 2, 0.25
    poses[0, 2] = 3.5, 2, 1
    poses[0, 3] = 1, 1, -1
    maps = PoseToHeatmap([6, 5], sigma=1.0, min_score=0.25)(poses)[0]
    assert maps[0, 2, 3] == 0.5
    assert maps[0, 2, 4] == pytest.approx(0.5 * math.exp(-0.5))
    assert maps[0, 3, 4] == pytest.approx(0.5 * math.exp(-1))
    assert not maps[1].any()  # it does not score *more* than 0.25
    assert maps[2, 2, 3] == maps[2, 2, 4] == pytest.approx(math.exp(-0.125))
    assert not maps[3:].any()
    unscored = PoseToHeatmap([6, 5], sigma=1.0, scores=False)(poses)[0]
    assert unscored[0, 2, 3] == unscored[1, 2, 3] == 1
    assert not unscored[3:].any()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.8, 4))
def test_the_peak_is_the_pixel_nearest_to_the_joint(seed: int, sigma: float) -> None:
    generator = np.random.default_rng(seed)
    poses = generator.uniform((0, 0, 0.1), (29, 39, 1), (1, 17, 3))
    maps = PoseToHeatmap([30, 40], sigma)(poses)
    y, x = np.divmod(maps.reshape(17, -1).argmax(1), 30)
    apart = np.abs(np.stack((x, y), -1) - poses[0, :, :2])
    assert apart.max() <= 0.5 + 1e-4
    assert (maps[0].max((1, 2)) <= poses[0, :, 2] * (1 + 1e-6)).all()
    # Decoding then finds it to a quarter pixel, and half a one in the outermost pixel.
    inner = ((poses[0, :, :2] > 1) & (poses[0, :, :2] < (28, 38))).all(1)
    assert np.abs(decode_heatmaps(maps)[0, inner, :2] - poses[0, inner, :2]).max(initial=0) <= 0.25 + 1e-3


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_a_mirrored_pose_gives_the_mirrored_maps(seed: int, scores: bool) -> None:
    poses = random_poses(seed, 2, 12, 9)
    draw = PoseToHeatmap([12, 9], scores=scores)
    np.testing.assert_allclose(
        draw(PoseFlip(1.0, width=12)(poses)), HeatmapFlip(1.0)(draw(poses)), rtol=1e-4, atol=1e-6
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.8, 3))
def test_a_whole_gaussian_sums_to_its_volume(seed: int, sigma: float) -> None:
    """2πσ² times the score, wherever between the pixels the joint is."""
    poses = np.random.default_rng(seed).uniform((20, 20, 0.1), (27, 43, 1), (2, 17, 3))
    maps = PoseToHeatmap(sigma=sigma)(poses)
    # The sum over a grid is the integral to 4·exp(−2π²σ²), the tail outside below 1e-9.
    np.testing.assert_allclose(maps.sum((2, 3)), 2 * math.pi * sigma**2 * poses[..., 2], rtol=2e-5)


def test_far_joints_are_zero_and_no_value_is_denormal() -> None:
    poses = np.zeros((1, 17, 3))
    poses[0, :3] = (1e30, -1e30, 1), (0, 0, 1), (-30, 5, 1)
    with np.errstate(all="raise"):
        maps = PoseToHeatmap()(poses)[0]
    assert not maps[0].any()
    assert not maps[2].any()
    assert maps[maps > 0].min() >= np.finfo(np.float32).tiny


@pytest.mark.parametrize("kind", [np.float16, np.float32])
@pytest.mark.parametrize("arguments", [{}, {"sigma": 1.5, "scores": False}, {"min_score": 0.5}])
def test_regenerating_is_drawing_what_was_decoded(kind: Any, arguments: dict[str, Any]) -> None:
    generator = np.random.default_rng(0)
    heatmaps = generator.random((3, 17, 10, 7)).astype(kind)
    heatmaps *= generator.random((3, 17, 1, 1)).astype(kind)
    heatmaps[1, 4] = 0
    before = heatmaps.copy()
    done = HeatmapRegenerate(**arguments)(heatmaps)
    np.testing.assert_array_equal(heatmaps, before)
    assert done.dtype == np.float32
    np.testing.assert_array_equal(done, PoseToHeatmap([7, 10], **arguments)(decode_heatmaps(heatmaps)))
    assert not done[1, 4].any()
    empty = ~done.any((2, 3))
    assert np.array_equal(empty, heatmaps.max((2, 3)) <= arguments.get("min_score", 0))


def test_regenerating_keeps_a_gaussian_on_a_pixel_and_drops_its_shape() -> None:
    poses = np.zeros((1, 17, 3))
    poses[0, :] = 20, 30, 0.8
    drawn = PoseToHeatmap()(poses)
    np.testing.assert_allclose(HeatmapRegenerate()(drawn), drawn, rtol=1e-5)
    narrow = PoseToHeatmap(sigma=1.0)(poses)
    np.testing.assert_allclose(HeatmapRegenerate()(narrow), drawn, rtol=1e-5)


def test_mirroring_and_regenerating_commute() -> None:
    heatmaps = np.random.default_rng(2).random((2, 17, 9, 8))
    flip, regenerate = HeatmapFlip(1.0), HeatmapRegenerate()
    np.testing.assert_allclose(regenerate(flip(heatmaps)), flip(regenerate(heatmaps)), rtol=1e-5, atol=1e-7)
    assert joint_mirror() != tuple(range(17))


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: PoseToHeatmap([48]), r"PoseToHeatmap\.size"),
        (lambda: PoseToHeatmap([48.5, 64]), r"PoseToHeatmap\.size"),  # type: ignore[list-item]
        (lambda: PoseToHeatmap([0, 64]), r"PoseToHeatmap\.size"),
        (lambda: PoseToHeatmap(64), r"PoseToHeatmap\.size"),  # type: ignore[arg-type]
        (lambda: PoseToHeatmap(sigma=0), r"PoseToHeatmap\.sigma: sigma is 0"),
        (lambda: HeatmapRegenerate(sigma=math.nan), r"HeatmapRegenerate\.sigma: sigma is nan"),
        (lambda: HeatmapRegenerate(min_score=-0.1), r"HeatmapRegenerate\.min_score"),
        (lambda: HeatmapRegenerate(scores="no"), r"HeatmapRegenerate\.scores"),  # type: ignore[arg-type]
    ],
)
def test_wrong_arguments_are_named(build: Any, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        build()


def test_bad_sequences_are_named() -> None:
    poses, heatmaps = np.ones((3, 17, 3)), np.ones((3, 17, 6, 5))
    for transform, good in ((PoseToHeatmap(), poses), (HeatmapRegenerate(), heatmaps)):
        bad = good.copy()
        bad[2, 4, 1] = np.nan
        name = type(transform).__name__
        for sequence, named in (
            (bad, "frame 2"),
            (good[:, :16], "T, 17"),
            (good[:0], "without a frame"),
            (good[0], "expected"),
        ):
            with pytest.raises(DataError, match=rf"{name}.*{named}|(?s:{name}.*{named})"):
                transform(sequence)
    with pytest.raises(DataError, match="T, 17, 3"):
        PoseToHeatmap()(poses[..., :2])
