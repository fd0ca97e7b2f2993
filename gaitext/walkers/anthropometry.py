"""Bodies: segment lengths of adults.

Mean segment lengths are shares of stature after Drillis and Contini (1966), as drawn in Winter,
*Biomechanics and Motor Control of Human Movement*, Fig. 4.1. Statures are rounded from US
adults (NHANES): men 1.755 ± 0.073 m, women 1.62 ± 0.068 m. How far a segment strays from its
share in one person (3 to 6 %, σ below) is our judgement of what anthropometric surveys show, as
are the places of the face's points and the joint centres inside shoulders and hips.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["EXTRA_POINTS", "FACE", "JOINT_RADII", "Body", "mean_body", "sample_body"]

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

#: Points of the body that COCO has no name for, needed for boxes and for rendering.
EXTRA_POINTS = ("crown", "left_heel", "left_toe", "right_heel", "right_toe")

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


def mean_body(stature: float = 1.70) -> Body:
    """The body that has every segment's mean share of ``stature`` (metres)."""
    return Body(stature, **{name: share * stature for name, (share, _) in SHARES.items()})


def sample_body(rng: np.random.Generator, diversity: float = 1.0) -> Body:
    """Draw one adult: sex, stature, then every segment about its share of the stature.

    Args:
        rng: its generator.
        diversity: how far segments stray from their shares, in units of how far people's do.
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
