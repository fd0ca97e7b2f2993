"""The figure: which solids a dressed walker is built of, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from gaitext.walkers.covariates import covariate
from gaitext.walkers.looks import Floats, Looks, Material
from gaitext.walkers.solids import Solids
from gaitext.walkers.walk import Walk

_NOSE, _EYES, _EARS, _SHOULDERS, _ELBOWS, _WRISTS = 0, (1, 2), (3, 4), (5, 6), (7, 8), (9, 10)
_HIPS, _KNEES, _ANKLES = (11, 12), (13, 14), (15, 16)
_UP = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class Figure:
    """A walker's P pieces over T frames.

    Attributes:
        start, end: [T, P, 3] metres, world axes; radii: [P, 2] metres.
        axis, stretch, hollow: [T, P, 3], [P] and [P], as in :class:`~gaitext.walkers.solids.Solids`.
        left, ahead: [T, P, 3] unit vectors: the body's (or the head's) left and front there.
        material, beyond: [P]: a piece's material up to ``cut`` [P] (a share of its length) and after.
        trunk, head: [P] bool: pieces that may stand open in front, and that hair grows on.
    """

    start: Floats
    end: Floats
    radii: Floats
    axis: Floats
    stretch: Floats
    left: Floats
    ahead: Floats
    material: np.ndarray
    beyond: np.ndarray
    cut: Floats
    trunk: np.ndarray
    head: np.ndarray
    hollow: np.ndarray

    def solids(self, frame: int) -> Solids:
        """The pieces at one frame."""
        return Solids(self.start[frame], self.end[frame], self.radii, self.axis[frame], self.stretch, self.hollow)


@dataclass
class _Pieces:
    """Pieces in the making; vectors are [T, 3]."""

    left: Floats
    ahead: Floats
    rows: list[tuple[Floats, ...]] = field(default_factory=list)
    numbers: list[tuple[float, ...]] = field(default_factory=list)

    def add(
        self,
        start: Floats,
        end: Floats,
        radii: tuple[float, float] | float,
        material: Material,
        beyond: Material | None = None,
        cut: float = 1.0,
        axis: Floats | None = None,
        stretch: float = 1.0,
        trunk: bool = False,
        head: bool = False,
        hollow: bool = False,
    ) -> None:
        first, last = radii if isinstance(radii, tuple) else (radii, radii)
        along = self.left if axis is None else axis
        self.rows.append((start, end, along, self.left, self.ahead))
        after = material if beyond is None else beyond
        self.numbers.append((first, last, stretch, material, after, cut, trunk, head, hollow))


def build(walk: Walk, looks: Looks) -> Figure:
    """Build a walker's figure.

    Radii come from the walk's own thickness, which is drawn per walk; lengths from its body.
    """
    trunk_left, trunk_ahead, _ = _trunk_axes(walk)
    pieces = _Pieces(trunk_left, trunk_ahead)
    _trunk(pieces, walk, looks)
    for side in (0, 1):
        _arm(pieces, walk, looks, side)
        _leg(pieces, walk, looks, side)
    if walk.clothes.coat or looks.skirt:
        _skirt(pieces, walk, looks)
    if walk.clothes.bag:
        _bag(pieces, walk)
    if covariate(walk.kind) in ("ph", "txt"):
        _phone(pieces, walk)
    _head(pieces, walk, looks)
    start, end, axis, left, ahead = (np.stack(parts, 1) for parts in zip(*pieces.rows))
    numbers = np.array(pieces.numbers, dtype=float)
    return Figure(
        start=start,
        end=end,
        radii=numbers[:, :2],
        axis=axis,
        stretch=numbers[:, 2],
        left=left,
        ahead=ahead,
        material=numbers[:, 3].astype(np.intp),
        beyond=numbers[:, 4].astype(np.intp),
        cut=numbers[:, 5],
        trunk=numbers[:, 6] > 0,
        head=numbers[:, 7] > 0,
        hollow=numbers[:, 8] > 0,
    )


def _unit(vectors: Floats) -> Floats:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def _middle(walk: Walk, pair: tuple[int, int]) -> Floats:
    return walk.keypoints_3d[:, pair].mean(1)


def _trunk_axes(walk: Walk) -> tuple[Floats, Floats, Floats]:
    """Left, ahead and up of the trunk, unit [T, 3] each."""
    joints = walk.keypoints_3d
    up = _unit(_middle(walk, _SHOULDERS) - _middle(walk, _HIPS))
    across = (joints[:, 5] - joints[:, 6]) + (joints[:, 11] - joints[:, 12])
    ahead = _unit(np.cross(across, up))
    return _unit(np.cross(up, ahead)), ahead, up


def _trunk(pieces: _Pieces, walk: Walk, looks: Looks) -> None:
    joints, radii, tall = walk.keypoints_3d, walk.radii, walk.stature
    _, _, up = _trunk_axes(walk)
    shoulders, hips = _middle(walk, _SHOULDERS), _middle(walk, _HIPS)
    deep = 1.85 * radii[5]
    half = float(np.linalg.norm(joints[0, 5] - joints[0, 6])) / 2 - 0.1 * radii[5]
    stretch = max(1.2, half / deep)
    waist = (float(np.linalg.norm(joints[0, 11] - joints[0, 12])) / 2 + 0.95 * radii[11]) / stretch
    pieces.add(
        shoulders - 0.06 * tall * up,
        hips + 0.01 * tall * up,
        (deep, min(waist, deep * 1.05)),
        Material.TOP,
        Material.TOP if walk.clothes.coat else Material.BOTTOM,
        looks.hem,
        stretch=stretch,
        trunk=True,
    )
    for side in _SHOULDERS:
        pieces.add(shoulders + 0.012 * tall * up, joints[:, side], (0.036 * tall, 0.8 * radii[5]), Material.TOP)


def _arm(pieces: _Pieces, walk: Walk, looks: Looks, side: int) -> None:
    joints, radii = walk.keypoints_3d, walk.radii
    shoulder, elbow, wrist = (joints[:, pair[side]] for pair in (_SHOULDERS, _ELBOWS, _WRISTS))
    upper, fore = min(looks.sleeve, 1.0), max(looks.sleeve - 1.0, 0.0)
    if upper < 1:
        fore = -1.0
    pieces.add(shoulder, elbow, (0.85 * radii[5], radii[7]), Material.TOP, Material.SKIN, upper if upper < 1 else 2.0)
    pieces.add(elbow, wrist, (radii[7], radii[9]), Material.TOP, Material.SKIN, fore)
    pieces.add(*_hand(walk, side), (0.85 * radii[9], 0.7 * radii[9]), Material.SKIN, stretch=0.75)


def _hand(walk: Walk, side: int) -> tuple[Floats, Floats]:
    """From the wrist to the knuckles' far side."""
    joints = walk.keypoints_3d
    along = _unit(joints[:, _WRISTS[side]] - joints[:, _ELBOWS[side]])
    start = joints[:, _WRISTS[side]] + 0.02 * walk.stature * along
    return start, start + 0.055 * walk.stature * along


def _leg(pieces: _Pieces, walk: Walk, looks: Looks, side: int) -> None:
    joints, radii, tall = walk.keypoints_3d, walk.radii, walk.stature
    hip, knee, ankle = (joints[:, pair[side]] for pair in (_HIPS, _KNEES, _ANKLES))
    # Under a skirt legs are bare or in tights of the inner garment's colour.
    bare = looks.leg if not looks.skirt else 0.3
    thigh = bare if bare < 1 else 2.0
    shank = bare - 1.0 if bare >= 1 else -1.0
    pieces.add(hip, knee, (1.05 * radii[11], radii[13]), Material.BOTTOM, Material.SKIN, thigh)
    pieces.add(knee, ankle, (radii[13], radii[15]), Material.BOTTOM, Material.SKIN, shank)
    if walk.clothes.coat or looks.skirt:
        # Cloth follows the thigh: between the legs it is _skirt's.
        material, long = _hanging(walk, looks)
        wide = 1.35 if walk.clothes.coat else 1.15
        reach = hip + 0.92 * long * (knee - hip)
        pieces.add(hip, reach, (1.15 * radii[11], wide * radii[13]), material, hollow=True)
    heel, toe = walk.extra_3d[:, 1 + 2 * side], walk.extra_3d[:, 2 + 2 * side]
    sole = _unit(toe - heel)
    across = _unit(np.cross(_UP, sole))
    above = np.cross(sole, across)
    thick = 0.019 * tall
    pieces.add(
        heel + 1.25 * thick * above + 0.8 * thick * sole,
        toe + 0.8 * thick * above - 0.8 * thick * sole,
        (1.25 * thick, 0.8 * thick),
        Material.SHOES,
        axis=across,
        stretch=1.2,
    )


def _hanging(walk: Walk, looks: Looks) -> tuple[Material, float]:
    """What a coat's lower part or a skirt is made of, and how far it reaches, as a share of the thigh."""
    if walk.clothes.coat:
        return Material.TOP, looks.hem + 0.05
    return Material.BOTTOM, min(looks.leg, 0.95)


def _skirt(pieces: _Pieces, walk: Walk, looks: Looks) -> None:
    """What hangs about both legs: a coat's lower part, or a skirt."""
    joints, radii = walk.keypoints_3d, walk.radii
    hips, knees = _middle(walk, _HIPS), _middle(walk, _KNEES)
    half = float(np.linalg.norm(joints[0, 11] - joints[0, 12])) / 2 + radii[11]
    coat = walk.clothes.coat
    material, reach = _hanging(walk, looks)
    deep = (1.3 if coat else 1.1) * radii[11]
    # Wide enough in front and behind for the stride that it covers.
    stride = np.abs(((joints[:, 13] - joints[:, 14]) * pieces.ahead).sum(-1)).max() / 2
    hem = max(deep * 1.15, min(reach * float(stride), 2.0 * deep))
    pieces.add(
        hips,
        hips + reach * (knees - hips),
        (deep, hem),
        material,
        stretch=min(max(half / deep, 0.9), 1.8) if hem < 1.4 * deep else 1.0,
        trunk=coat,
        hollow=True,
    )


def _bag(pieces: _Pieces, walk: Walk) -> None:
    clothes, joints, radii, tall = walk.clothes, walk.keypoints_3d, walk.radii, walk.stature
    side = clothes.side
    outward = pieces.left * (1 if side == 0 else -1)
    wide, high = clothes.bag_size
    if clothes.bag == "hand":
        _, grip = _hand(walk, side)
        centre = grip - (high / 2 + 0.06) * _UP
        hangs = [(grip, centre + 0.25 * wide * s * pieces.ahead + 0.4 * high * _UP) for s in (-1, 1)]
    else:
        shoulder = joints[:, _SHOULDERS[side]] + (radii[5] + 0.005) * _UP
        hip = joints[:, _HIPS[side]]
        centre = hip + (1.4 * radii[11] + 0.06) * outward + (0.06 * tall - 0.2 * high) * _UP - 0.05 * pieces.ahead
        hangs = [(shoulder, centre + 0.3 * wide * s * pieces.ahead + 0.4 * high * _UP) for s in (-1, 1)]
    for top, bottom in hangs:
        pieces.add(top, bottom, 0.012, Material.BAG)
    # A pill lying on its longer side, flattened across the body.
    radius = min(wide, high) / 2
    long = pieces.ahead * (wide / 2 - radius) if wide > high else _UP * (high / 2 - radius)
    pieces.add(centre - long, centre + long, radius, Material.BAG, axis=outward, stretch=0.4)


def _phone(pieces: _Pieces, walk: Walk) -> None:
    sides = (walk.clothes.side,) if covariate(walk.kind) == "ph" else (0, 1)
    ends = np.mean([np.stack(_hand(walk, side)) for side in sides], 0)
    along = _unit(ends[1] - ends[0])
    pieces.add(ends[1] - 0.06 * along, ends[1] + 0.05 * along, 0.03, Material.DARK, stretch=0.3)


def _head(pieces: _Pieces, walk: Walk, looks: Looks) -> None:
    joints, tall = walk.keypoints_3d, walk.stature
    middle, crown = _middle(walk, _EARS), walk.extra_3d[:, 0]
    up, left = _unit(crown - middle), _unit(joints[:, 3] - joints[:, 4])
    ahead = _unit(np.cross(left, up))
    height = float(np.linalg.norm(crown[0] - middle[0])) / 0.57
    _, _, trunk_up = _trunk_axes(walk)
    neck = _middle(walk, _SHOULDERS)
    pieces.add(neck - 0.02 * tall * trunk_up, middle - 0.15 * height * up, 0.031 * tall, Material.SKIN)
    pieces.left, pieces.ahead = left, ahead
    skull = (middle - 0.22 * height * up + 0.03 * height * ahead, middle + 0.24 * height * up)
    pieces.add(*skull, (0.29 * height, 0.33 * height), Material.SKIN, axis=ahead, stretch=1.25, head=True)
    for eye in _EYES:
        at = joints[:, eye] - 0.02 * height * ahead
        pieces.add(at, at, 0.045 * height, Material.DARK)
    nose = joints[:, _NOSE]
    pieces.add(
        nose - 0.1 * height * ahead + 0.1 * height * up, nose - 0.06 * height * ahead, 0.06 * height, Material.SKIN
    )
    if looks.long_hair:
        behind = middle - 0.22 * height * ahead
        pieces.add(behind + 0.1 * height * up, behind - 0.75 * height * up, 0.27 * height, Material.HAIR, stretch=1.2)
    else:
        for ear, s in zip(_EARS, (-1, 1)):
            at = joints[:, ear] + 0.02 * s * height * left
            pieces.add(at + 0.05 * height * up, at - 0.05 * height * up, 0.07 * height, Material.SKIN, stretch=0.5)
