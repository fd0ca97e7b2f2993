"""Heatmaps, decoding and poses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext.errors import ShapeError
from gaitext.geometry import apply, crop_boxes, crop_matrices
from gaitext.pose import decode_heatmaps
from gaitext.walkers import CameraSettings, WalkerSettings, make_walk, observe
from gaitext.walkers.observation import render_heatmaps

CONFIG = WalkerSettings(frames=30)


def test_shapes_and_types() -> None:
    seen = observe(make_walk(CONFIG, 1, "nm-01", "054"), CONFIG)
    assert (seen.heatmaps.shape, seen.heatmaps.dtype) == ((30, 17, 64, 48), np.float16)
    assert (seen.poses.shape, seen.poses.dtype) == ((30, 17, 3), np.float32)
    assert (seen.poses_frame.shape, seen.poses_frame.dtype) == ((30, 17, 3), np.float32)
    assert (seen.crops.shape, seen.crops.dtype) == ((30, 4), np.float32)


def test_rendering_agrees_with_the_grid_by_hand() -> None:
    rng = np.random.default_rng(0)
    peaks, scores = rng.uniform(-3, 60, (2, 3, 2)), rng.uniform(0.3, 1, (2, 3))
    sigma = rng.uniform(1.5, 3, (2, 3))
    drawn = render_heatmaps(peaks, scores, sigma)
    expected = np.zeros((2, 3, 64, 48))
    for t, j, y, x in np.ndindex(2, 3, 64, 48):
        dx, dy = (x - peaks[t, j, 0]) / sigma[t, j], (y - peaks[t, j, 1]) / sigma[t, j]
        if abs(dx) <= 3.5 and abs(dy) <= 3.5:
            expected[t, j, y, x] = scores[t, j] * np.exp(-(dx**2 + dy**2) / 2)
    np.testing.assert_allclose(drawn, expected, atol=1e-3)


@given(x=st.floats(2, 45), y=st.floats(2, 61), score=st.floats(0.3, 1), sigma=st.floats(1.5, 4))
@settings(max_examples=60, deadline=None)
def test_decoding_finds_the_peak(x: float, y: float, score: float, sigma: float) -> None:
    heatmap = render_heatmaps(np.array([[[x, y]]]), np.array([[score]]), np.array([[sigma]]))
    found = decode_heatmaps(heatmap)[0, 0]
    assert abs(found[0] - x) <= 0.51
    assert abs(found[1] - y) <= 0.51
    assert 0.85 * score < found[2] <= score * 1.001


def test_without_noise_the_peak_is_at_the_keypoint() -> None:
    config = WalkerSettings(frames=30, joint_noise=0, missed=0)
    walk = make_walk(config, 2, "nm-01", "036")
    seen = observe(walk, config)
    expected = apply(crop_matrices(crop_boxes(walk.boxes), 64, 48), walk.keypoints)
    np.testing.assert_allclose(seen.poses[..., :2], expected, atol=0.51)
    # … and in the frame, where a heatmap pixel is as large as the crop makes it.
    pixel = crop_boxes(walk.boxes)[:, None, 3:] / 64
    assert (np.abs(seen.poses_frame[..., :2] - walk.keypoints) <= 0.51 * pixel + 1e-3).all()
    assert not seen.missed.any()


def test_with_noise_the_peak_is_where_it_was_put() -> None:
    seen = observe(make_walk(CONFIG, 3, "nm-01", "126"), CONFIG)
    kept = ~seen.missed
    np.testing.assert_allclose(seen.poses[..., :2][kept], seen.peaks[kept], atol=0.51)
    np.testing.assert_array_equal(seen.poses[..., 2], seen.heatmaps.reshape(30, 17, -1).max(-1).astype(np.float32))


def test_peaks_are_as_high_as_an_estimators_and_the_background_is_empty() -> None:
    seen = observe(make_walk(CONFIG, 3, "nm-01", "090"), CONFIG)
    assert ((seen.scores[~seen.missed] >= 0.3) & (seen.scores[~seen.missed] <= 1)).all()
    assert seen.heatmaps.max() <= 1
    assert (seen.heatmaps == 0).mean() > 0.8
    # Hidden joints score lower.
    assert seen.scores[:, 6].mean() > seen.scores[:, 5].mean() + 0.2


def test_missed_joints_are_empty_or_weak() -> None:
    config = WalkerSettings(frames=60, missed=0.3)
    seen = observe(make_walk(config, 3, "nm-01", "000"), config)
    assert 0.25 < seen.missed.mean() < 0.5
    height = seen.heatmaps.reshape(60, 17, -1).max(-1)
    assert (height[seen.missed] <= 0.25).all()
    empty = height == 0
    assert 0.3 < empty[seen.missed].mean() < 0.7
    assert (seen.poses[empty] == 0).all()
    assert (seen.poses_frame[empty] == 0).all()
    assert (height[~seen.missed] > 0.25).all()
    never = WalkerSettings(frames=60, missed=0)
    assert not observe(make_walk(never, 3, "nm-01", "090"), never).missed.any()


def test_what_is_outside_the_frame_is_missed() -> None:
    config = WalkerSettings(frames=10, missed=0, camera=CameraSettings(height=120, elevation=1.2))
    walk = make_walk(config, 1, "nm-01", "090")
    outside = (walk.keypoints[..., 1] < -0.5) | (walk.keypoints[..., 1] > 119.5)
    assert outside.any()
    assert (walk.visibility[outside] == 0).all()
    seen = observe(walk, config)
    np.testing.assert_array_equal(seen.missed, outside)


def test_coats_widen_the_peaks() -> None:
    def width(kind: str) -> float:
        heat = [observe(make_walk(CONFIG, i, kind, "000"), CONFIG).heatmaps for i in range(1, 7)]
        return float(np.mean([(h > 0).mean() for h in heat]))

    assert width("cl") > 1.15 * width("nm")


def test_more_noise_moves_the_peaks_more() -> None:
    def error(noise: float) -> float:
        config = WalkerSettings(frames=30, joint_noise=noise, missed=0)
        walk = make_walk(config, 1, "nm-01", "000")
        exact = apply(crop_matrices(crop_boxes(walk.boxes), 64, 48), walk.keypoints)
        return float(np.abs(observe(walk, config).peaks - exact).mean())

    assert error(0.0) < 1e-3
    assert error(1.0) == pytest.approx(2 * error(0.5), rel=1e-3)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ShapeError):
        render_heatmaps(np.zeros((2, 17, 3)), np.zeros((2, 17)), np.ones((2, 17)))
