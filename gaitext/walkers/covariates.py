"""What a walk's type changes: what is carried, worn and done with the hands, and how fast.

All numbers are judgements of what the videos of CASIA-B and PsyMo show, drawn per walk and not
per identity.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gaitext.errors import ConfigError, nearest
from gaitext.walkers.gait import LIMB_CURVES, POSTURE, TRUNK_CURVES, Gait, change_speed

#: Known covariates and what they mean.
COVARIATES: dict[str, str] = {
    "nm": "normal walk",
    "bg": "carrying a bag",
    "cl": "wearing a coat",
    "wss": "walking slowly",
    "wsf": "walking fast",
    "ph": "phone at the ear",
    "txt": "texting",
}

_SHOULDER, _ELBOW = LIMB_CURVES.index("shoulder"), LIMB_CURVES.index("elbow")
_LIST, _LEAN = TRUNK_CURVES.index("trunk_list"), TRUNK_CURVES.index("trunk_lean")
_ABDUCTION, _ROTATION = POSTURE.index("shoulder_abduction"), POSTURE.index("shoulder_rotation")


@dataclass(frozen=True)
class Clothes:
    """What one walk wears and carries; what a renderer needs, and how it thickens the heatmaps.

    Attributes:
        thickness: factor on all limb radii.
        blur: factor on a pose estimator's error under these clothes.
        coat: whether a coat is worn.
        bag: ``"shoulder"``, ``"hand"`` or None.
        side: 0 left, 1 right: where the bag or the phone is.
        bag_size: width and height of the bag, metres.
        colours: [4, 3] RGB in 0 … 1 of top, trousers, bag and skin.
    """

    thickness: float
    blur: float
    coat: bool
    bag: str | None
    side: int
    bag_size: tuple[float, float]
    colours: np.ndarray


def covariate(kind: str) -> str:
    """The covariate that a type's name begins with: ``"bg-01"`` is ``"bg"``.

    Raises:
        ConfigError: unknown covariate.

    >>> covariate("nm-06")
    'nm'
    """
    name = kind.split("-")[0]
    if name not in COVARIATES:
        guess = nearest(name, COVARIATES)
        hint = f"did you mean '{guess}'? " if guess else ""
        known = ", ".join(f"{key} ({meaning})" for key, meaning in COVARIATES.items())
        raise ConfigError(f"unknown type '{kind}'", where="types", how=f"{hint}a type begins with one of {known}")
    return name


def dress(gait: Gait, kind: str, rng: np.random.Generator) -> tuple[Gait, Clothes]:
    """Change a gait as the type (such as ``"cl-02"``) asks and draw what is worn.

    ``rng`` is the walk's generator for body and clothes, never the identity's. Raises ConfigError for an unknown type.
    """
    name = covariate(kind)
    # The same draws for every type, so that types differ by what they mean only.
    thickness = float(np.exp(0.10 * rng.standard_normal()))
    side = int(rng.random() < 0.7)
    held_by_hand = bool(rng.random() < 0.5)
    strength = rng.standard_normal(4)
    colours = rng.random((4, 3))
    size = (float(rng.uniform(0.2, 0.4)), float(rng.uniform(0.2, 0.45)))
    colours[3] = np.array([0.85, 0.65, 0.5]) * rng.uniform(0.35, 1.05)
    clothes = Clothes(thickness, 1.0, False, None, side, size, np.clip(colours, 0, 1))
    if name == "bg":
        clothes = replace(clothes, bag="hand" if held_by_hand else "shoulder")
        return _carry(gait, side, held_by_hand, strength), clothes
    if name == "cl":
        coat = float(np.exp(0.08 * strength[0]))
        return _wrap(gait, strength), replace(clothes, thickness=thickness * 1.35 * coat, blur=1.3, coat=True)
    if name == "wss":
        return change_speed(gait, 0.75 * float(np.exp(0.04 * strength[0]))), clothes
    if name == "wsf":
        return change_speed(gait, 1.28 * float(np.exp(0.04 * strength[0]))), clothes
    if name == "ph":
        slower = change_speed(gait, 0.95)
        return _bend(slower, (side,), (65, 150), (30, 7), strength), clothes
    if name == "txt":
        slower = change_speed(gait, 0.9)
        bent = _bend(slower, (0, 1), (22, 92), (8, 38), strength)
        trunk = bent.trunk.copy()
        trunk[_LEAN, 0] += 3
        return replace(bent, trunk=trunk, head_pitch=bent.head_pitch + 28 + 4 * strength[3]), clothes
    return gait, clothes


def _carry(gait: Gait, side: int, held_by_hand: bool, strength: np.ndarray) -> Gait:
    """A bag in the hand pulls the arm straight and the trunk over; one on the shoulder has the arm hold it."""
    limbs, trunk, posture = gait.limbs.copy(), gait.trunk.copy(), gait.posture.copy()
    limbs[side, _SHOULDER, 1:] *= 0.4 * np.exp(0.15 * strength[0])
    limbs[side, _ELBOW, 1:] *= 0.5
    limbs[side, _ELBOW, 0] += -10 if held_by_hand else 35 + 10 * strength[1]
    posture[side, _ABDUCTION] += 4 if held_by_hand else 7
    # The trunk leans away from the load: list is positive with the left side up.
    trunk[_LIST, 0] += (3.0 + strength[2]) * (1 if side == 0 else -1)
    trunk[_LEAN, 0] += 2.0 + strength[3]
    return replace(gait, limbs=limbs, trunk=trunk, posture=posture)


def _wrap(gait: Gait, strength: np.ndarray) -> Gait:
    """A coat holds the arms off the body and shortens the swings a little."""
    limbs, posture = gait.limbs.copy(), gait.posture.copy()
    limbs[:, :, 1:] *= np.array([0.95, 0.96, 1.0, 0.8, 0.8])[:, None] * np.exp(0.03 * strength[1])
    posture[:, _ABDUCTION] += 4 + strength[2]
    return replace(gait, limbs=limbs, posture=posture)


def _bend(
    gait: Gait, sides: tuple[int, ...], mean: tuple[float, float], hold: tuple[float, float], strength: np.ndarray
) -> Gait:
    """Hold arms still at (shoulder, elbow) flexion ``mean`` and (abduction, inward rotation) ``hold``."""
    limbs, posture = gait.limbs.copy(), gait.posture.copy()
    for side in sides:
        limbs[side, (_SHOULDER, _ELBOW), 1:] *= 0.12
        limbs[side, _SHOULDER, 0] = mean[0] + 4 * strength[0]
        limbs[side, _ELBOW, 0] = mean[1] + 4 * strength[1]
        posture[side, _ABDUCTION] = hold[0] + 3 * strength[2]
        posture[side, _ROTATION] = hold[1] + 3 * strength[3]
    return replace(gait, limbs=limbs, posture=posture)
