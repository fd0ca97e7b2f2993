"""Bodies, from segment lengths of adults to where a gait puts their joints at each phase.

Mean segment lengths are shares of stature after Drillis and Contini (1966), as drawn in Winter,
*Biomechanics and Motor Control of Human Movement*, Fig. 4.1. Statures are rounded from US
adults (NHANES): men 1.755 ± 0.073 m, women 1.62 ± 0.068 m. How far a segment strays from its
share in one person (3 to 6 %, σ below) is our judgement of what anthropometric surveys show, as
are the places of the face's points and the joint centres inside shoulders and hips.

Body axes: x forward, y to the left, z up, metres; the ground is z = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gaitext.walkers.gait import Gait, angles

#: Mean stature and its standard deviation, metres: (women, men).
STATURE = ((1.62, 0.068), (1.755, 0.073))

#: Segment -> (share of stature, relative standard deviation between people).
SHARES: dict[str, tuple[float, float]] = {
    "thigh": (0.245, 0.035),
    "shank": (0.246, 0.035),
    "ankle_height": (0.039, 0.05),
    "foot": (0.152, 0.04),
    "trunk": (0.288, 0.03),
    # Winter draws 0.259 between the acromia and 0.191 across the hips; the joints lie inside.
    "shoulders": (0.213, 0.05),
    "hips": (0.115, 0.06),
    "upper_arm": (0.186, 0.035),
    "forearm": (0.146, 0.035),
    # From the line of the shoulders (0.818) to the middle of the head.
    "neck": (0.107, 0.06),
    "head": (0.13, 0.035),
}
#: How much wider (shoulders) or narrower (hips) men are than both sexes' mean.
_SEX = {"shoulders": 0.03, "hips": -0.03}

#: Nose, eyes, ears and crown about the middle of the head, in head heights: forward, left, up.
FACE = np.array(
    [
        [0.50, 0.0, -0.09],
        [0.41, 0.14, 0.07],
        [0.41, -0.14, 0.07],
        [0.02, 0.33, 0.0],
        [0.02, -0.33, 0.0],
        [0.0, 0.0, 0.57],
    ]
)

#: Half thickness of the body about each COCO joint, as a share of stature (our judgement).
JOINT_RADII = np.array(
    [
        *(0.020, 0.016, 0.016, 0.020, 0.020),
        *(0.034, 0.034, 0.024, 0.024, 0.017, 0.017),
        *(0.044, 0.044, 0.032, 0.032, 0.022, 0.022),
    ]
)


@dataclass(frozen=True)
class Body:
    """Segment lengths of one person, metres. ``neck`` ends in the middle of the head."""

    stature: float
    thigh: float
    shank: float
    ankle_height: float
    foot: float
    trunk: float
    shoulders: float
    hips: float
    upper_arm: float
    forearm: float
    neck: float
    head: float


def sample_body(rng: np.random.Generator, diversity: float = 1.0) -> Body:
    """Draw one adult: sex, stature, then every segment about its share of the stature.

    ``diversity`` is how far segments stray from their shares, in units of how far people's do.
    """
    sex = int(rng.integers(2))
    mean, sd = STATURE[sex]
    stature = mean + sd * float(np.clip(rng.standard_normal(), -2.5, 2.5))
    lengths = {}
    for name, (share, relative) in SHARES.items():
        stray = diversity * relative * float(np.clip(rng.standard_normal(), -2.5, 2.5)) + (2 * sex - 1) * _SEX.get(
            name, 0.0
        )
        lengths[name] = share * stature * float(np.exp(stray))
    return Body(stature, **lengths)


_DOWN, _LEFT, _UP, _AHEAD = (np.array(v) for v in ([0.0, 0, -1], [0.0, 1, 0], [0.0, 0, 1], [1.0, 0, 0]))
#: Softness of the ground, metres: how sharply the weight passes from heel to ball.
_GROUND = 0.006
#: Where the ball lies between heel and toe tip.
_BALL = 0.72
#: The head follows this share of the trunk's turning.
_HEAD_YAW = 0.3


@dataclass(frozen=True)
class Motion:
    """Joints [T, 17, 3] and extra points [T, 5, 3] in body axes.

    Extra points are those that COCO has no name for, needed for boxes and for rendering: crown, left heel, left toe,
    right heel, right toe. The body walks in place: add the distance covered along x.
    """

    joints: np.ndarray
    extra: np.ndarray


def _turn(axis: int, degrees: np.ndarray | float) -> np.ndarray:
    """Right-handed rotations [..., 3, 3] about x (0), y (1) or z (2)."""
    angle = np.radians(degrees)
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.zeros((*np.shape(angle), 3, 3))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix[..., axis, axis] = 1
    matrix[..., i, i] = matrix[..., j, j] = cos
    matrix[..., i, j], matrix[..., j, i] = -sin, sin
    return matrix


def _leg(body: Body, gait: Gait, side: int, limb: np.ndarray, hip: np.ndarray, yaw: np.ndarray) -> list[np.ndarray]:
    """Knee, ankle, heel and toe [T, 3] of one leg."""
    outward = 1 if side == 0 else -1
    abduction, rotation = gait.posture[side, :2]
    thigh = yaw @ _turn(0, outward * abduction) @ _turn(1, -limb[:, 0]) @ _turn(2, outward * rotation)
    shank = thigh @ _turn(1, limb[:, 1])
    foot = shank @ _turn(1, -limb[:, 2])
    knee = hip + thigh @ (_DOWN * body.thigh)
    ankle = knee + shank @ (_DOWN * body.shank)
    heel = ankle + foot @ (_DOWN * body.ankle_height - _AHEAD * 0.25 * body.foot)
    return [knee, ankle, heel, heel + foot @ (_AHEAD * body.foot)]


def _arm(body: Body, gait: Gait, side: int, limb: np.ndarray, top: np.ndarray, yaw: np.ndarray) -> list[np.ndarray]:
    """Elbow and wrist [T, 3] of the arm that hangs from ``top`` [T, 3]."""
    outward = 1 if side == 0 else -1
    abduction, rotation = gait.posture[side, 2:]
    upper = yaw @ _turn(0, outward * abduction) @ _turn(1, -limb[:, 3]) @ _turn(2, -outward * rotation)
    elbow = top + upper @ (_DOWN * body.upper_arm)
    return [elbow, elbow + upper @ _turn(1, -limb[:, 4]) @ (_DOWN * body.forearm)]


def move(body: Body, gait: Gait, phase: np.ndarray) -> Motion:
    """Place every joint at phases [T] (radians, 0 at the left heel's strike).

    The pelvis is as high as the standing foot demands, so the body rises and falls with the
    legs' own geometry. Segment lengths are constant.
    """
    phase = np.asarray(phase, dtype=float)
    limb = [angles(gait.limbs[side], phase + np.pi * side) for side in (0, 1)]
    pelvis_yaw, pelvis_list, yaw, lateral, lean = angles(gait.trunk, phase).T
    pelvis = _turn(2, pelvis_yaw) @ _turn(0, pelvis_list)
    trunk = _turn(2, yaw) @ _turn(0, lateral) @ _turn(1, lean)
    centre = angles(gait.sway, phase)[:, None] * body.stature * _LEFT

    hips = [centre + pelvis @ (s * body.hips / 2 * _LEFT) for s in (1, -1)]
    legs = [_leg(body, gait, s, limb[s], hips[s], _turn(2, pelvis_yaw)) for s in (0, 1)]
    top = centre + trunk @ (_UP * body.trunk)
    drawn = np.radians(gait.shoulder_forward)
    reach = np.array([np.sin(drawn), np.cos(drawn), 0.0]) * body.shoulders / 2
    shoulders = [top + trunk @ (reach * np.array([1, s, 1])) for s in (1, -1)]
    # Arms hang in space: they turn with the trunk, but do not lean with it.
    arms = [_arm(body, gait, s, limb[s], shoulders[s], _turn(2, yaw)) for s in (0, 1)]
    middle = top + trunk @ _turn(1, gait.neck_pitch) @ (_UP * body.neck)
    # The gaze is steady: the head's pitch is in space.
    turned = _turn(2, _HEAD_YAW * yaw) @ _turn(1, gait.head_pitch)
    head = middle[:, None] + (FACE * body.head) @ np.swapaxes(turned, -1, -2)

    pairs = [[shoulders[0], shoulders[1]]] + [[arms[0][i], arms[1][i]] for i in (0, 1)]
    pairs += [[hips[0], hips[1]]] + [[legs[0][i], legs[1][i]] for i in (0, 1)]
    joints = np.concatenate((head[:, :5], np.stack([p for pair in pairs for p in pair], 1)), 1)
    extra = np.stack((head[:, 5], legs[0][2], legs[0][3], legs[1][2], legs[1][3]), 1)
    rise = np.zeros((len(phase), 1, 3))
    rise[:, 0, 2] = -_carried(extra, phase)
    extra = extra + rise
    # The foot is rigid up to the toe's tip; toes bend at the ball and lie on the ground.
    extra[..., 2] = np.maximum(extra[..., 2], 0.0)
    return Motion(joints + rise, extra)


def _carried(extra: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """Height [T] of the ground below the pelvis: the standing feet's lowest points, blended.

    A foot carries from its strike to its toe off, and hands over in double support. The swinging
    foot has no say: a scuffing toe must not lift the whole body.
    """
    heel, toe = extra[:, (1, 3), 2], extra[:, (2, 4), 2]
    ball = heel + _BALL * (toe - heel)
    lowest = np.minimum(heel, ball) - _GROUND * np.log1p(np.exp(-np.abs(heel - ball) / _GROUND))
    share = np.mod(phase[:, None] / (2 * np.pi) + np.array([0.0, 0.5]), 1.0)
    weight = np.interp(share, (0.0, 0.12, 0.5, 0.62), (0.0, 1.0, 1.0, 0.0), period=1.0)
    weight = weight * weight * (3 - 2 * weight)
    return (weight * lowest).sum(1) / weight.sum(1)


def stride_length(body: Body, gait: Gait) -> float:
    """Metres covered in a cycle of two steps: how far apart the feet come, once for each side.

    In double support the feet stand a step apart, and never farther.
    """
    phase = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    extra = move(body, gait, phase).extra
    apart = extra[:, 1, 0] - extra[:, 3, 0]
    return float(apart.max() - apart.min())
