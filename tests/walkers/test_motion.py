"""Bodies, gait and forward kinematics."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext.errors import ConfigError
from gaitext.skeleton import joint_mirror
from gaitext.walkers import COVARIATES, WalkerSettings, make_walk
from gaitext.walkers.body import move, sample_body, stride_length
from gaitext.walkers.gait import LIMB_CURVES, angles, change_speed, mean_gait, vary
from gaitext.walkers.walk import sample_identity
from tests.walkers.bodies import mean_body

CYCLE = np.linspace(0, 2 * np.pi, 100, endpoint=False)
#: Joints that one rigid segment connects.
BONES = [(5, 6), (5, 7), (7, 9), (6, 8), (8, 10), (11, 12), (11, 13), (13, 15), (12, 14), (14, 16)]
BONES += [(0, 1), (0, 2), (1, 2), (1, 3), (2, 4), (3, 4)]


@given(seed=st.integers(0, 2**32 - 1), identity=st.integers(1, 10_000), kind=st.sampled_from(sorted(COVARIATES)))
@settings(max_examples=25, deadline=None)
def test_bones_keep_their_lengths(seed: int, identity: int, kind: str) -> None:
    walk = make_walk(WalkerSettings(frames=20, seed=seed), identity, kind, "090")
    for a, b in BONES:
        lengths = np.linalg.norm(walk.keypoints_3d[:, a] - walk.keypoints_3d[:, b], axis=-1)
        np.testing.assert_allclose(lengths, lengths[0], rtol=1e-9)


def test_segments_have_the_lengths_of_the_body() -> None:
    body, gait = sample_identity(3, 5)
    joints = move(body, gait, CYCLE).joints[17]
    for pair, length in {
        (5, 7): body.upper_arm,
        (8, 10): body.forearm,
        (11, 13): body.thigh,
        (14, 16): body.shank,
        (11, 12): body.hips,
    }.items():
        assert np.linalg.norm(joints[pair[0]] - joints[pair[1]]) == pytest.approx(length)


def test_curves_have_the_textbook_ranges() -> None:
    gait = mean_gait()
    curve = dict(zip(LIMB_CURVES, angles(gait.limbs[0], CYCLE).T))
    assert 26 < curve["hip"].max() < 33
    assert -18 < curve["hip"].min() < -10
    assert 55 < curve["knee"].max() < 65
    assert 66 <= curve["knee"].argmax() <= 78  # per cent of the cycle: in swing
    assert curve["knee"].min() > 0
    assert -22 < curve["ankle"].min() < -13
    assert 58 <= curve["ankle"].argmin() <= 68  # toe off
    # The arm is foremost when the other leg is.
    assert abs(curve["shoulder"].argmax() - 50) <= 5


def test_the_mean_walker_walks_like_an_adult() -> None:
    body, gait = mean_body(), mean_gait()
    motion = move(body, gait, CYCLE)
    assert 0.72 < stride_length(body, gait) / body.stature < 0.88
    assert 1.1 < stride_length(body, gait) * gait.cadence < 1.5  # m/s
    hips = motion.joints[:, 11:13, 2].mean(1)
    assert 0.02 < np.ptp(hips) < 0.06  # rise and fall, metres
    assert motion.extra[:, 0, 2].mean() == pytest.approx(body.stature, rel=0.03)  # crown
    assert motion.extra[:, 1:, 2].min() == 0
    # Heel strike of the left foot at phase 0: it is foremost and on the ground.
    assert motion.extra[0, 1, 0] > motion.extra[0, 3, 0] + 0.5
    assert motion.extra[3, 1, 2] < 0.05


def test_symmetric_gait_is_its_own_mirror_image_half_a_cycle_later() -> None:
    body, gait = mean_body(), mean_gait()
    now, later = move(body, gait, CYCLE).joints, move(body, gait, CYCLE + np.pi).joints
    np.testing.assert_allclose(now, later[:, joint_mirror()] * [1, -1, 1], atol=1e-9)


def test_left_and_right_are_where_they_belong() -> None:
    joints = move(mean_body(), mean_gait(), CYCLE).joints.mean(0)
    for left, right in [(1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)]:
        assert joints[left, 1] > 0 > joints[right, 1]
    assert joints[0, 0] > joints[3, 0]  # nose ahead of the ears


def test_angles_agree_with_the_sum_written_out() -> None:
    series = mean_gait().limbs[0, 1]
    slow = [sum((c * np.exp(1j * k * p)).real for k, c in enumerate(series)) for p in CYCLE]
    np.testing.assert_allclose(angles(series, CYCLE), slow, atol=1e-9)


def test_vary_at_scale_zero_changes_nothing() -> None:
    gait, same = mean_gait(), vary(mean_gait(), np.random.default_rng(0), 0.0)
    np.testing.assert_allclose(same.limbs, gait.limbs)
    np.testing.assert_allclose(same.trunk, gait.trunk)
    assert same.cadence == gait.cadence


def test_faster_walkers_cover_more_ground() -> None:
    body, gait = mean_body(), mean_gait()
    speeds = [stride_length(body, g) * g.cadence for g in (change_speed(gait, r) for r in (0.75, 1.0, 1.28))]
    np.testing.assert_allclose(np.array(speeds) / speeds[1], [0.75, 1.0, 1.28], rtol=0.05)


def test_bodies_differ_as_adults_do() -> None:
    bodies = [sample_body(np.random.default_rng(i)) for i in range(400)]
    stature = np.array([b.stature for b in bodies])
    assert 1.66 < stature.mean() < 1.72
    assert 0.07 < stature.std() < 0.12
    thigh = np.array([b.thigh / b.stature for b in bodies])
    assert 0.025 < thigh.std() / thigh.mean() < 0.045


def test_covariates_change_what_they_should() -> None:
    config = WalkerSettings(frames=60)

    def swing(kind: str, joint: int, origin: int) -> float:
        walks = [make_walk(config, i, kind, "090") for i in range(1, 13)]
        return float(np.mean([np.ptp(w.keypoints_3d[:, joint, 0] - w.keypoints_3d[:, origin, 0]) for w in walks]))

    def speed(kind: str) -> float:
        walks = [make_walk(config, i, kind, "090") for i in range(1, 13)]
        return float(np.mean([np.ptp(w.keypoints_3d[:, 11, 0]) for w in walks]))

    assert swing("bg", 10, 6) < 0.8 * swing("nm", 10, 6)  # mostly the right arm carries
    assert swing("cl", 10, 6) < 0.95 * swing("nm", 10, 6)
    assert speed("wss") < 0.85 * speed("nm") < speed("nm") < 0.88 * speed("wsf")
    for identity in range(1, 6):
        phone = make_walk(config, identity, "ph", "000")
        joints = phone.keypoints_3d
        at_ear = np.linalg.norm(joints[:, (9, 10)] - joints[:, (3, 4)], axis=-1).mean(0)
        assert at_ear[phone.clothes.side] < 0.27 < 0.5 < at_ear[1 - phone.clothes.side]
        text = make_walk(config, identity, "txt", "000").keypoints_3d
        assert (text[:, 9:11, 1] < text[:, 5:7, 1] - 0.15).all()  # hands in front
        nose_drop = (text[:, 3:5, 2].mean(1) - text[:, 0, 2]).mean()
        assert nose_drop > 0.035  # head down
    assert make_walk(config, 1, "cl", "000").clothes.coat
    assert make_walk(config, 1, "bg", "000").clothes.bag in ("hand", "shoulder")


@pytest.mark.parametrize(("kind", "view"), [("nn-01", "090"), ("nm-01", "360"), ("nm-01", "side"), ("nm-01", "-90")])
def test_unknown_types_and_views_are_refused(kind: str, view: str) -> None:
    with pytest.raises(ConfigError):
        make_walk(WalkerSettings(), 1, kind, view)


def test_identities_are_numbered_from_one() -> None:
    with pytest.raises(ConfigError, match="numbered from 1"):
        make_walk(WalkerSettings(), 0, "nm", "090")
