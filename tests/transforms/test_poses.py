"""GaitPT's pose transforms against slow loops, and what they promise for any poses."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gaitext import transforms
from gaitext.errors import ConfigError, DataError
from gaitext.skeleton import COCO_JOINTS, POSE_ORDERS
from gaitext.standalone.data import build_chains
from gaitext.training.sampling import FrameSampling, sample_frames
from gaitext.transforms import (
    PoseFlip,
    PoseInput,
    PoseJointNoise,
    PoseMirror,
    PoseNormalize,
    PoseOrder,
    PosePace,
    PosePointNoise,
    PoseReverse,
    PoseWindow,
)
from gaitext.transforms.base import Transform
from gaitext.transforms.pose import mirror_about_mean, normalize_by_box
from gaitext.transforms.temporal import change_pace, window_frames

seeds = st.integers(0, 2**32 - 1)


@st.composite
def sequences(draw: Any, columns: int | None = None, most: int = 9) -> np.ndarray:
    """Poses [T, 17, 2 or 3] in frame pixels, some joints missing."""
    frames, width = draw(st.integers(1, most)), columns or draw(st.sampled_from([2, 3]))
    generator = np.random.default_rng(draw(seeds))
    poses = generator.uniform([40, 20, 0.1][:width], [280, 220, 1][:width], (frames, 17, width)).astype(np.float32)
    poses[generator.random((frames, 17)) < draw(st.sampled_from([0.0, 0.3, 1.0]))] = 0
    return poses


def missing(poses: np.ndarray) -> np.ndarray:
    return (poses == 0).all(-1)


ALL: list[Transform] = [
    PoseNormalize(),
    PoseNormalize("height", 480),
    PoseNormalize("box"),
    PoseOrder(),
    PosePointNoise(3.0),
    PoseJointNoise(3.0),
    PosePointNoise(probability=0.0),
    PoseMirror(1.0),
    PoseMirror(1.0, swap=True),
    PosePace((0.5,)),
    PosePace((1.75,)),
    PosePace((1.0,)),
    PoseWindow(4),
    PoseWindow(12, "center"),
    PoseWindow(1, "start"),
]


@pytest.mark.parametrize("transform", ALL, ids=lambda t: type(t).__name__)
@given(poses=sequences(), double=st.booleans())
def test_the_input_is_left_alone_and_the_output_is_float32(transform: Transform, poses: Any, double: bool) -> None:
    poses = poses.astype(np.float64) if double else poses
    before = poses.copy()
    after = transform(poses)
    assert np.array_equal(poses, before)
    assert after.dtype == np.float32
    assert not np.shares_memory(after, poses)
    assert after.flags.c_contiguous
    assert np.isfinite(after).all()


@pytest.mark.parametrize("transform", [t for t in ALL if not isinstance(t, PoseWindow)], ids=lambda t: type(t).__name__)
def test_bad_poses_are_named(transform: Transform) -> None:
    poses = np.ones((3, 17, 3), np.float32)
    poses[1, 4, 0] = np.nan
    name = type(transform).__name__
    for bad, said in (
        (poses, "frame 1"),
        (poses[:, :16], "T, 17"),
        (poses[:0], "without a frame"),
        (np.ones((3, 17, 4)), r"\[T, 17, 2\] was expected"),
    ):
        with pytest.raises(DataError, match=said) as caught:
            transform(bad)
        assert name in str(caught.value)


@pytest.mark.parametrize("name", [*POSE_ORDERS, "own"])
@given(poses=sequences())
def test_an_order_is_a_permutation_of_the_joints_and_the_nose_again(name: str, poses: np.ndarray) -> None:
    own = [17, *range(16, -1, -1)]
    ordered = PoseOrder(own if name == "own" else name)(poses)
    order = own if name == "own" else POSE_ORDERS[name]
    assert sorted(order) == list(range(18))
    assert ordered.shape == (len(poses), 18, 2)
    for place, joint in enumerate(order):
        assert np.array_equal(ordered[:, place], poses[:, 0 if joint == 17 else joint, :2])


def test_the_published_order_has_limbs_of_three() -> None:
    names = np.array([*COCO_JOINTS, "nose"])[list(PoseOrder().order)].reshape(6, 3).tolist()
    assert names[0] == ["nose", "left_eye", "left_ear"]
    assert names[1] == ["nose", "right_eye", "right_ear"]
    assert names[2:4] == [[f"{s}_shoulder", f"{s}_elbow", f"{s}_wrist"] for s in ("left", "right")]
    assert names[4:] == [[f"{s}_hip", f"{s}_knee", f"{s}_ankle"] for s in ("left", "right")]


@given(sequences())
def test_normalizing_by_the_frame_divides_x_and_y_alike(poses: np.ndarray) -> None:
    for transform, size in (
        (PoseNormalize(), 320),
        (PoseNormalize("height"), 240),
        (PoseNormalize("width", 1920), 1920),
    ):
        after = transform(poses)
        assert after[..., :2] == pytest.approx(poses[..., :2] / size)
        assert np.array_equal(after[..., 2:], poses[..., 2:])


@given(sequences(columns=3))
def test_normalizing_by_the_box_frame_by_frame(poses: np.ndarray) -> None:
    after = PoseNormalize("box")(poses)
    assert np.array_equal(after[..., 2], poses[..., 2])
    for frame, pose in zip(after, poses):
        joints = [tuple(map(float, joint[:2])) for joint in pose if joint.any()]
        ys, xs = [y for _, y in joints], [x for x, _ in joints]
        for placed, joint in zip(frame, pose):
            if not joint.any() or max(ys) == min(ys):
                assert not placed[:2].any()
                continue
            x, y = map(float, joint[:2])
            height = max(ys) - min(ys)
            assert placed[0] == pytest.approx((x - (max(xs) + min(xs)) / 2) / height, abs=1e-5)
            assert placed[1] == pytest.approx((y - (max(ys) + min(ys)) / 2) / height, abs=1e-5)


@given(sequences(), st.floats(0.25, 4), st.floats(-30, 30), st.floats(-10, 30))
def test_the_box_takes_position_and_size_away(poses: np.ndarray, scale: float, right: float, down: float) -> None:
    changed = poses.copy()
    changed[..., :2] = np.where(missing(poses)[..., None], 0, poses[..., :2] * scale + [right, down])
    # Where all joints are nearly on one height, rounding grows with the division by it.
    heights = [np.ptp(p[~m, 1]) if (~m).any() else 0 for p, m in zip(poses, missing(poses))]
    kept = np.array(heights) > 1
    assert normalize_by_box(changed)[kept] == pytest.approx(normalize_by_box(poses)[kept], abs=1e-3)


@pytest.mark.parametrize("transform", [PosePointNoise(2.0), PoseJointNoise(2.0)])
@given(poses=sequences())
def test_noise_leaves_missing_joints_and_scores(transform: Any, poses: np.ndarray) -> None:
    after = transform(poses)
    assert np.array_equal(missing(after), missing(poses))
    assert np.array_equal(after[..., 2:], poses[..., 2:])
    assert (after[..., :2] != poses[..., :2]).any(-1).sum() >= 0.9 * (~missing(poses)).sum()


def test_noise_has_the_spread_asked_for() -> None:
    poses = np.full((400, 17, 2), 100, np.float32)
    each = PosePointNoise(0.05, generator=np.random.default_rng(0))(poses) - poses
    assert each.std() == pytest.approx(0.05, rel=0.02)
    assert abs(each.mean()) < 0.002
    assert np.corrcoef(each[:-1].ravel(), each[1:].ravel())[0, 1] == pytest.approx(0, abs=0.03)
    assert np.corrcoef(each[..., 0].ravel(), each[..., 1].ravel())[0, 1] == pytest.approx(0, abs=0.04)
    generator = np.random.default_rng(0)
    offsets = []
    for _ in range(200):
        moved = PoseJointNoise(3.0, generator=generator)(poses[:5]) - poses[:5]
        assert np.ptp(moved, axis=0).max() == 0  # one offset for the whole sequence
        offsets.append(moved[0])
    assert np.std(offsets) == pytest.approx(3.0, rel=0.05)
    assert len(np.unique(np.array(offsets))) > 6000  # every joint has its own


@pytest.mark.parametrize("swap", [False, True])
@given(poses=sequences())
def test_mirroring_twice_is_the_identity(swap: bool, poses: np.ndarray) -> None:
    mirror = PoseMirror(1.0, swap=swap)
    once = mirror(poses)
    assert mirror(once) == pytest.approx(poses, abs=1e-3)
    partner = [
        COCO_JOINTS.index(n.replace("left", "?").replace("right", "left").replace("?", "right")) for n in COCO_JOINTS
    ]
    for frame, pose in zip(once, poses):
        found = [joint for joint in range(17) if pose[joint].any()]
        for joint in range(17):
            source = pose[partner[joint] if swap else joint]
            if not source.any():
                assert not frame[joint].any()
                continue
            mean = sum(float(pose[j, 0]) for j in found) / len(found)
            assert frame[joint, 0] == pytest.approx(2 * mean - float(source[0]), abs=1e-3)
            assert np.array_equal(frame[joint, 1:], source[1:])


@given(sequences())
def test_a_swapping_mirror_is_the_houses_flip_but_for_a_shift_of_each_frame(poses: np.ndarray) -> None:
    shift = PoseFlip(1.0, width=320)(poses)[..., 0] - mirror_about_mean(poses, swap=True)[..., 0]
    for row, found in zip(shift, ~missing(mirror_about_mean(poses, swap=True))):
        assert not found.any() or np.ptp(row[found]) < 1e-3


def _slow_pace(poses: np.ndarray, pace: float) -> list[list[list[float]]]:
    frames, k = [], 0
    while k * pace <= len(poses) - 1 + 1e-9:
        at = k * pace
        low = math.floor(at + 1e-9)
        share = max(0.0, at - low)
        frame = []
        for joint in range(poses.shape[1]):
            a = poses[low, joint].astype(float)
            b = poses[low + 1, joint].astype(float) if share > 1e-9 else a
            if a.any() and b.any():
                frame.append([*((1 - share) * a[:2] + share * b[:2]), *[min(s, t) for s, t in zip(a[2:], b[2:])]])
            elif share < 0.5 - 1e-9:
                frame.append(list(a))
            elif share > 0.5 + 1e-9:
                frame.append(list(b))
            else:
                frame.append(list(a if a.any() else b))
        frames.append(frame)
        k += 1
    return frames


PACES = st.sampled_from([0.1, 0.3, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 3.0, 20.0])


@given(sequences(), PACES)
def test_pace_frame_by_frame(poses: np.ndarray, pace: float) -> None:
    after = PosePace([pace])(poses)
    expected = _slow_pace(poses, pace)
    assert len(after) == len(expected)
    assert after == pytest.approx(np.array(expected), rel=1e-5)


@given(sequences())
def test_pace_one_is_the_identity_and_two_takes_every_second_frame(poses: np.ndarray) -> None:
    assert np.array_equal(PosePace((1,))(poses), poses)
    assert np.array_equal(PosePace((2,))(poses), poses[::2])
    # Half the pace, then twice: every frame comes back.
    assert np.array_equal(change_pace(change_pace(poses, 0.5), 2.0), poses)


@given(sequences(), st.sampled_from([0.5, 0.25, 1.0, 2.0]))
def test_pace_does_not_care_which_way_time_runs(poses: np.ndarray, pace: float) -> None:
    if (len(poses) - 1) / pace % 1:
        return  # the last frame is not met, so the reversed walk starts elsewhere
    both = change_pace(poses[::-1], pace)[::-1]
    assert both == pytest.approx(change_pace(poses, pace), rel=1e-6)


def test_every_pace_is_drawn_alike() -> None:
    poses, transform = np.ones((113, 17, 3)), PosePace(generator=np.random.default_rng(0))
    lengths = [len(transform(poses)) for _ in range(1400)]
    for pace in transform.paces:
        assert lengths.count(math.floor(112 / pace) + 1) == pytest.approx(200, abs=45)


@given(st.integers(1, 40), st.integers(1, 25), st.sampled_from(["random", "center", "start"]), seeds)
def test_a_window_is_consecutive_frames(length: int, frames: int, position: str, seed: int) -> None:
    poses = np.arange(length * 34, dtype=np.float64).reshape(length, 17, 2)
    transform = PoseWindow(frames, position, generator=np.random.default_rng(seed))
    window = transform(poses)
    chosen = (window[:, 0, 0] / 34).astype(int)
    assert window.shape == (frames, 17, 2)
    assert np.array_equal(window, poses[chosen])
    assert all((a + 1) % length == b for a, b in itertools.pairwise(chosen))
    if frames <= length:
        assert chosen[0] <= length - frames  # it does not run over the end
        if position == "center":
            assert 0 <= (length - 1 - chosen[-1]) - chosen[0] <= 1
    if position == "start":
        assert chosen[0] == 0
    if position == "random":  # the toolboxes' rule
        how = FrameSampling("fixed_ordered", frames_num_fixed=frames, frames_skip_num=0)
        assert np.array_equal(chosen, sample_frames(length, how, np.random.default_rng(seed)))


def test_random_windows_reach_both_ends() -> None:
    starts = {int(window_frames(7, 5, "random", np.random.default_rng(seed))[0]) for seed in range(60)}
    assert starts == {0, 1, 2}


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: PoseNormalize("widht"), "did you mean 'width'"),
        (lambda: PoseNormalize("box", 320), "takes no size"),
        (lambda: PoseNormalize(size=0), "size is 0"),
        (lambda: PoseOrder("head_upper_lowr"), "head_upper_lower"),
        (lambda: PoseOrder(list(range(17))), "17 joints, not 18"),
        (lambda: PosePointNoise(-1), "PosePointNoise.std"),
        (lambda: PoseJointNoise(math.nan), "PoseJointNoise.std"),
        (lambda: PoseMirror(2), "0..1"),
        (lambda: PosePace([]), "paces is"),
        (lambda: PosePace([1, 0]), "paces is"),
        (lambda: PosePace(2), "paces is 2"),
        (lambda: PoseWindow(0), "frames is 0"),
        (lambda: PoseWindow(60, "centre"), "did you mean 'center'"),
    ],
)
def test_wrong_arguments_are_named(build: Any, said: str) -> None:
    with pytest.raises((ConfigError, DataError), match=said):
        build()


def test_a_window_says_whether_it_draws() -> None:
    assert PoseWindow.is_random({})
    assert PoseWindow.is_random({"position": "random", "frames": 3})
    assert not PoseWindow.is_random({"position": "center"})
    assert PosePace.is_random({})
    assert not PoseOrder.is_random({})
    for name in transforms.__all__:
        assert issubclass(getattr(transforms, name), Transform)


RECIPE = [
    {"type": "PoseInput"},
    {"type": "PosePointNoise"},
    {"type": "PosePace"},
    {"type": "PoseMirror", "probability": 0.5},
    {"type": "PoseReverse"},
    {"type": "PoseWindow", "frames": 20},
    {"type": "PoseNormalize", "by": "width", "size": 320},
    {"type": "PoseOrder", "partition": "head_upper_lower"},
]


def test_gaitpts_list_in_the_embedded_host_follows_its_seed() -> None:
    poses = np.random.default_rng(0).uniform(20, 200, (50, 17, 3))
    (chain,) = build_chains([RECIPE], where="trainer_cfg.transform")
    first, again, other = (chain(poses, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (20, 18, 2)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("name", ["PosePointNoise", "PoseJointNoise", "PosePace", "PoseWindow"])
def test_draws_go_on_where_a_toolbox_builds_its_transforms_anew(name: str) -> None:
    poses = np.random.default_rng(0).uniform(20, 200, (90, 17, 3))

    def drawn() -> list[bytes]:
        return [getattr(transforms, name)()(poses).tobytes() for _ in range(20)]

    np.random.seed(3)  # noqa: NPY002
    rebuilt = drawn()
    assert len(set(rebuilt)) > 3
    np.random.seed(3)  # noqa: NPY002
    assert drawn() == rebuilt


@given(hnp.arrays(np.float32, (4, 17, 3), elements=st.floats(1, 200, width=32)))
def test_time_reversal_is_gaitpts_flip(poses: np.ndarray) -> None:
    assert np.array_equal(PoseReverse(1.0)(PoseInput()(poses)), poses[::-1])
