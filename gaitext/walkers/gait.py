"""Gait: joint angles over the cycle as Fourier series, between people and between walks.

The mean curves are *published-like*, not published: control points typed in to follow the shape
and range that gait textbooks draw (Winter, *The Biomechanics and Motor Control of Human Gait*;
Perry, *Gait Analysis*): knee flexion 18° in loading and about 60° in swing, ankle −18° at toe
off, and so on. No table was digitised, and none should be measured against them. Spreads
between people and between walks are judgements too, named below.

Phase φ = 0 is the heel strike of the left foot; the right limbs use φ + π. Degrees throughout.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

_HARMONICS = 6
#: Rows of :attr:`Gait.limbs`. Flexion and dorsiflexion are positive; thigh and upper arm are
#: measured in space, from the vertical.
LIMB_CURVES = ("hip", "knee", "ankle", "shoulder", "elbow")
#: Rows of :attr:`Gait.trunk`: yaw (turning left), list (left side up), lean (forward) of pelvis and trunk.
TRUNK_CURVES = ("pelvis_yaw", "pelvis_list", "trunk_yaw", "trunk_list", "trunk_lean")
#: Columns of :attr:`Gait.posture`: constant angles of each side.
POSTURE = ("hip_abduction", "hip_rotation", "shoulder_abduction", "shoulder_rotation")

# Percent of the gait cycle and degrees.
_Curve = tuple[tuple[float, float], ...]
_HIP: _Curve = (
    *((0, 27), (10, 23), (20, 14), (30, 4), (40, -7), (50, -15)),
    *((55, -13), (62, -4), (70, 10), (80, 24), (88, 30)),
)
_KNEE: _Curve = (
    *((0, 5), (6, 12), (13, 18), (20, 16), (30, 9), (40, 5), (48, 9)),
    *((55, 21), (62, 42), (68, 56), (73, 61), (78, 55), (84, 37), (90, 16), (95, 5)),
)
_ANKLE: _Curve = (
    *((0, 0), (7, -6), (15, 0), (30, 6), (45, 10)),
    *((52, 5), (58, -9), (63, -18), (70, -11), (80, 1), (90, 2)),
)
# The left arm is foremost at the right heel strike, half a cycle after the left one.
_SHOULDER: _Curve = ((0, -22), (12, -17), (25, -5), (38, 8), (50, 14), (62, 9), (75, -3), (88, -16))
_ELBOW: _Curve = ((0, 18), (25, 24), (45, 37), (55, 38), (75, 25))

#: σ between people: mean angle (degrees), relative amplitude of the whole curve, shift (share of a cycle).
_LIMB_SPREAD = np.array(
    [[2.5, 0.08, 0.012], [3.0, 0.11, 0.010], [2.0, 0.12, 0.012], [4.0, 0.25, 0.02], [7.0, 0.25, 0.02]]
)
_TRUNK_SPREAD = np.array([[0.7, 0.2, 0.02], [0.7, 0.2, 0.02], [1.0, 0.2, 0.02], [1.0, 0.25, 0.02], [2.5, 0.2, 0.02]])
_POSTURE_SPREAD = np.array([0.8, 4.0, 3.0, 8.0])
#: σ of a single harmonic: relative amplitude and phase (radians). The first, which is most of a
#: curve's range and all of the stride's length, strays less.
_HARMONIC_SPREAD = (np.array([0.0, 0.06, 0.13, 0.13, 0.13, 0.13, 0.13]), np.array([0.0, 0.06] + [0.13] * 5))
#: A side's own share of every spread: left/right asymmetry.
_ASYMMETRY = 0.35


@dataclass(frozen=True)
class Gait:
    """How somebody walks.

    Attributes:
        cadence: strides (two steps) per second.
        limbs: complex [2, 5, 7]: left/right × :data:`LIMB_CURVES` × harmonics 0 … 6, degrees.
        trunk: complex [5, 7]: :data:`TRUNK_CURVES` × harmonics, degrees.
        posture: [2, 4] degrees: left/right × :data:`POSTURE`.
        head_pitch: degrees, looking down.
        neck_pitch: degrees that the neck leans forward of the trunk.
        shoulder_forward: degrees that the shoulders are drawn forward.
        sway: complex [7]: sideways movement of the pelvis (to the left) as a share of stature.
    """

    cadence: float
    limbs: np.ndarray
    trunk: np.ndarray
    posture: np.ndarray
    head_pitch: float
    neck_pitch: float
    shoulder_forward: float
    sway: np.ndarray


def _series(points: _Curve) -> np.ndarray:
    """Harmonics 0 … 6 of the closed curve through (percent, degrees) points, complex [7]."""
    percent, values = np.array(points, dtype=float).T
    samples = np.interp(np.arange(200) / 2, percent, values, period=100)
    harmonics = np.fft.rfft(samples)[: _HARMONICS + 1] / 200
    harmonics[1:] *= 2
    return harmonics


def _cosine(harmonic: int, amplitude: float, peak: float, mean: float = 0.0) -> np.ndarray:
    """mean + amplitude·cos of one harmonic, greatest at the share ``peak`` of the cycle."""
    series = np.zeros(_HARMONICS + 1, dtype=complex)
    series[0] = mean
    series[harmonic] = amplitude * np.exp(-2j * np.pi * harmonic * peak)
    return series


def angles(series: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """Evaluate Fourier series [..., 7] at phases [T] (radians): [T, ...], in the series' unit."""
    powers = np.exp(1j * np.outer(phase, np.arange(series.shape[-1])))
    return np.tensordot(powers, series, axes=(1, -1)).real


def mean_gait() -> Gait:
    """The gait that everybody's differs from: symmetric, 0.93 strides (112 steps a minute)."""
    limb = np.stack([_series(points) for points in (_HIP, _KNEE, _ANKLE, _SHOULDER, _ELBOW)])
    trunk = np.stack(
        [
            _cosine(1, -5.0, 0.0),
            _cosine(1, 4.0, 0.15),
            _cosine(1, 4.5, 0.05),
            _cosine(1, -1.5, 0.25),
            _cosine(2, 1.2, 0.05, mean=4.0),
        ]
    )
    return Gait(
        cadence=0.93,
        limbs=np.stack([limb, limb]),
        trunk=trunk,
        posture=np.array([[-1.8, 3.0, 9.0, 12.0]] * 2),
        head_pitch=4.0,
        neck_pitch=10.0,
        shoulder_forward=4.0,
        sway=_cosine(1, 0.012, 0.3),
    )


def _vary_series(series: np.ndarray, spread: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Vary series [C, 7] by ``scale`` times the spreads [C, 3]; draws the same numbers whatever the scale."""
    curves, terms = series.shape
    order = np.arange(terms)
    whole = rng.standard_normal((3, curves))
    single = rng.standard_normal((2, curves, terms))
    amplitude = np.exp(scale * (spread[:, 1] * whole[1])[:, None] + scale * _HARMONIC_SPREAD[0] * single[0])
    turn = -2 * np.pi * order * (scale * spread[:, 2] * whole[2])[:, None] + scale * _HARMONIC_SPREAD[1] * single[1]
    varied = series * amplitude * np.exp(1j * turn)
    varied[:, 0] = series[:, 0] + scale * spread[:, 0] * whole[0]
    return varied


def vary(gait: Gait, rng: np.random.Generator, scale: float = 1.0) -> Gait:
    """Draw another gait about ``gait``: curves, posture, cadence and asymmetry.

    There is one draw for both sides, and a smaller one for each side. ``scale`` is 1 for the difference between two
    people, about 0.25 between two walks of one.
    """
    both = _vary_series(gait.limbs[0], _LIMB_SPREAD, scale, rng)
    with np.errstate(invalid="ignore", divide="ignore"):
        change = np.where(np.abs(gait.limbs[0]) > 0, both / gait.limbs[0], 1.0)
    limbs = gait.limbs * change
    limbs[:, :, 0] = gait.limbs[:, :, 0] + (both[:, 0] - gait.limbs[0, :, 0])
    limbs = np.stack([_vary_series(side, _LIMB_SPREAD, scale * _ASYMMETRY, rng) for side in limbs])
    # One leg's cycle a little late on the other's: a limp too small to see.
    lag = scale * 0.006 * rng.standard_normal()
    limbs[1] = limbs[1] * np.exp(-2j * np.pi * np.arange(_HARMONICS + 1) * lag)
    posture = gait.posture + scale * _POSTURE_SPREAD * (
        rng.standard_normal(4) + _ASYMMETRY * rng.standard_normal((2, 4))
    )
    single = rng.standard_normal(5)
    return replace(
        gait,
        cadence=float(gait.cadence * np.exp(scale * 0.05 * single[0])),
        limbs=limbs,
        trunk=_vary_series(gait.trunk, _TRUNK_SPREAD, scale, rng),
        posture=posture,
        head_pitch=float(gait.head_pitch + scale * 5.0 * single[1]),
        neck_pitch=float(gait.neck_pitch + scale * 4.0 * single[2]),
        shoulder_forward=float(gait.shoulder_forward + scale * 4.0 * single[3]),
        sway=gait.sway * np.exp(scale * 0.2 * single[4]),
    )


#: Exponents of the speed: how cadence and the curves' amplitudes follow it. That step length and
#: cadence share a change of speed about evenly, and that the arms follow most, is textbook; the
#: numbers are judgement.
_SPEED_LIMBS = np.array([0.5, 0.15, 0.2, 0.8, 0.6])


def change_speed(gait: Gait, ratio: float) -> Gait:
    """The same person walking ``ratio`` times as fast (0.5 … 2 is sensible)."""
    limbs, trunk = gait.limbs.copy(), gait.trunk.copy()
    limbs[:, :, 1:] *= (ratio**_SPEED_LIMBS)[:, None]
    trunk[:, 1:] *= ratio**0.3
    return replace(gait, cadence=gait.cadence * ratio**0.5, limbs=limbs, trunk=trunk)
