"""How one walk looks: garments, hair, light, camera gain. Drawn per walk, never per identity."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]

#: A garment's texture repeats after this many centimetres.
TILE = 32


class Material(IntEnum):
    """What a piece of the figure is made of."""

    SKIN = 0
    TOP = 1
    BOTTOM = 2
    BAG = 3
    HAIR = 4
    SHOES = 5
    INNER = 6
    DARK = 7


@dataclass(frozen=True)
class Looks:
    """What one walk looks like, beyond its :class:`~gaitext.walkers.covariates.Clothes`.

    Attributes:
        tiles: float32 [8, 32, 32, 3]: albedo of each :class:`Material`, a texel a centimetre;
            rows run along a limb, columns across it.
        sleeve: how far sleeves reach: 1 to the elbow, 2 to the wrist.
        leg: how far trousers reach: 1 to the knee, 2 to the ankle.
        skirt: whether a skirt is worn; it reaches as far as ``leg`` says, to the knee at most.
        hem: where on the trunk the top ends, as a share from its top.
        opening: half width of the strip in front where the top stands open, metres; 0 is closed.
        long_hair: whether hair covers the neck.
        hairline: how far to the front hair grows, as the cosine of the angle from the gaze.
        light: [3] unit vector towards the light, world axes; ``sun``, ``ambient``: its strength
            and that of the light from everywhere.
        shadow: how much darker the ground is below the body, 0 … 1.
        gain: [3] of the camera, for red, green, blue.
        blur: the lens's: weight of each neighbouring pixel.
        noise: standard deviation of the sensor's noise, of 255.
    """

    tiles: Floats
    sleeve: float
    leg: float
    skirt: bool
    hem: float
    opening: float
    long_hair: bool
    hairline: float
    light: Floats
    sun: float
    ambient: float
    shadow: float
    gain: Floats
    blur: float
    noise: float


def draw_looks(colours: Floats, coat: bool, rng: np.random.Generator) -> Looks:
    """Draw how a walk looks from the colours [4, 3] RGB of top, trousers, bag and skin.

    With a coat sleeves are long, and it may stand open. ``rng`` is the walk's for looks, never the identity's.
    """
    top, bottom, bag, skin = colours
    hair = np.array([0.55, 0.40, 0.25]) * rng.uniform(0.08, 1.3) * rng.uniform(0.8, 1.2, 3)
    if rng.random() < 0.15:
        hair = np.full(3, rng.uniform(0.4, 0.85))
    shoes, inner = rng.uniform(0.03, 0.95, (2, 3)) ** 1.5
    # Cloth in deep shade and cloth in white both occur, but neither reflects nothing or all.
    plain = {
        Material.SKIN: _tile(skin, skin * 0.93, 0.03, "plain", rng),
        Material.TOP: _tile(0.06 + 0.86 * top, rng.uniform(0.05, 0.95, 3), 0.09, _pattern(rng), rng),
        Material.BOTTOM: _tile(0.05 + 0.8 * bottom, rng.uniform(0.05, 0.9, 3), 0.09, _pattern(rng, 0.7), rng),
        Material.BAG: _tile(0.06 + 0.86 * bag, rng.uniform(0.05, 0.95, 3), 0.08, _pattern(rng), rng),
        Material.HAIR: _tile(np.clip(hair, 0.02, 0.9), hair * 0.6, 0.15, "plain", rng),
        Material.SHOES: _tile(shoes, rng.uniform(0.05, 0.95, 3), 0.05, _pattern(rng, 0.6), rng),
        Material.INNER: _tile(0.06 + 0.86 * inner, rng.uniform(0.05, 0.95, 3), 0.06, _pattern(rng, 0.6), rng),
        Material.DARK: _tile(np.full(3, 0.05), np.full(3, 0.05), 0.02, "plain", rng),
    }
    azimuth, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.35, 1.4)
    light = np.array([np.cos(height) * np.cos(azimuth), np.cos(height) * np.sin(azimuth), np.sin(height)])
    short = rng.random() < 0.4
    sleeve = float(rng.uniform(0.3, 0.9) if short else rng.uniform(1.6, 1.98))
    opening = float(rng.uniform(0.03, 0.07)) if rng.random() < (0.5 if coat else 0.3) else 0.0
    skirt, bare = bool(rng.random() < 0.12), bool(rng.random() < 0.2)
    reach = float(rng.uniform(0.55, 1.15) if bare or skirt else rng.uniform(1.8, 1.98))
    return Looks(
        tiles=np.stack([plain[material] for material in Material]),
        sleeve=1.97 if coat else sleeve,
        leg=reach,
        skirt=skirt,
        hem=float(rng.uniform(0.7, 1.0)),
        opening=opening,
        long_hair=bool(rng.random() < 0.35),
        hairline=float(rng.uniform(0.0, 0.45)),
        light=light,
        sun=float(rng.uniform(0.25, 0.75)),
        ambient=float(rng.uniform(0.45, 0.8)),
        shadow=float(rng.uniform(0.0, 0.6)),
        gain=rng.uniform(0.85, 1.35) * rng.uniform(0.92, 1.08, 3),
        blur=float(rng.uniform(0.06, 0.24)),
        noise=float(rng.uniform(0.5, 4.0)),
    )


def _pattern(rng: np.random.Generator, plain: float = 0.5) -> str:
    kinds = ("rings", "pinstripes", "checks", "blotches", "blocks")
    return "plain" if rng.random() < plain else kinds[int(rng.integers(len(kinds)))]


def _tile(colour: Floats, second: Floats, folds: float, pattern: str, rng: np.random.Generator) -> Floats:
    """A texture [32, 32, 3] float32 that repeats: two colours in a pattern, and folds over it."""
    row, column = np.mgrid[:TILE, :TILE]
    period = int(rng.choice((4, 8, 16)))
    wide = period * rng.uniform(0.25, 0.6)
    weight = {
        "plain": np.zeros((TILE, TILE)),
        "rings": (row % period < wide) * 1.0,
        "pinstripes": (column % period < wide) * 1.0,
        "checks": ((row % period < wide) ^ (column % period < wide)) * 1.0,
        "blotches": np.clip(noise((TILE, TILE), (4, 8), rng, wrap=True) * 2, 0, 1),
        "blocks": (row < TILE / 2) * 1.0,
    }[pattern] * rng.uniform(0.4, 1.0)
    mixed = colour + weight[..., None] * (second - colour)
    rough = 1 + folds * (noise((TILE, TILE), (3, 6, 12), rng, wrap=True) + 0.5 * rng.standard_normal((TILE, TILE)))
    return np.clip(mixed * rough[..., None], 0.01, 1.0).astype(np.float32)


def noise(
    shape: tuple[int, int], cells: tuple[int, ...], rng: np.random.Generator, wrap: bool = False
) -> npt.NDArray[np.float32]:
    """Noise [H, W] of several scales, about ±1: grids of normal numbers, interpolated and summed.

    Args:
        cells: how many cells of each scale fit into the height; coarser scales weigh more.
        wrap: make it repeat without a seam.
    """
    total = np.zeros(shape, np.float32)
    weights = np.array([1 / np.sqrt(cell) for cell in cells])
    weights /= np.linalg.norm(weights)
    for cell, weight in zip(cells, weights):
        across = max(2, round(cell * shape[1] / shape[0]))
        grid = rng.standard_normal((cell, across) if wrap else (cell + 2, across + 2), dtype=np.float32)
        total += np.float32(weight) * _enlarged(grid, shape, (cell, across), wrap)
    return total


def _enlarged(grid: Floats, shape: tuple[int, int], cells: tuple[int, int], wrap: bool) -> Floats:
    """Interpolate a grid linearly, an axis at a time."""
    for axis in (0, 1):
        where = (np.arange(shape[axis], dtype=np.float32) + 0.5) * np.float32(cells[axis] / shape[axis])
        low = where.astype(int)
        part = (where - low).reshape((-1, 1) if axis == 0 else (1, -1))
        after = (low + 1) % cells[axis] if wrap else low + 1
        one, two = np.take(grid, low, axis), np.take(grid, after, axis)
        grid = one + (two - one) * part
    return grid
