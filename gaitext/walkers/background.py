"""What is behind a walker: a wall, a floor, and things on and before the wall."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gaitext.walkers.camera import camera_axes
from gaitext.walkers.looks import Floats, noise
from gaitext.walkers.settings import CameraSettings

__all__ = ["draw_background"]


def draw_background(camera: CameraSettings, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Draw an empty scene [H, W, 3], about 0 … 1, with the camera's perspective, tilt and roll.

    ``rng`` is the walk's generator for looks, never the identity's.
    """
    height, width = camera.height, camera.width
    busy = rng.random()
    right, down, ahead = camera_axes(camera).astype(np.float32)
    x = (np.arange(width, dtype=np.float32) - (width - 1) / 2) / camera.focal
    y = ((np.arange(height, dtype=np.float32) - (height - 1) / 2) / camera.focal)[:, None]
    rays = [right[i] * x + down[i] * y + ahead[i] for i in range(3)]
    forward = np.maximum(rays[1], 1e-3)
    wall = float(camera.distance * rng.uniform(1.4, 2.5))
    across, up = rays[0] / forward * wall, camera.elevation + rays[2] / forward * wall  # on the wall, metres
    fall = np.maximum(-rays[2], 1e-3)
    ground = up < 0
    on_x, on_y = rays[0] / fall * camera.elevation, rays[1] / fall * camera.elevation

    image = np.empty((height, width, 3), np.float32)
    image[:] = _colour(rng)
    _pattern(image, across, up, rng, busy)
    for _ in range(int(rng.integers(0, 3 + round(14 * busy)))):
        _thing(image, across, up, rng)
    floor = np.empty_like(image)
    floor[:] = _colour(rng)
    if camera.elevation > 0:
        _pattern(floor, on_x, on_y, rng, busy)
    np.copyto(image, floor, where=ground[..., None])
    skirting = rng.random() < 0.5
    if skirting:
        np.copyto(image, _colour(rng), where=((up >= 0) & (up < rng.uniform(0.05, 0.2)))[..., None])
    for _ in range(int(rng.integers(0, 2 + round(7 * busy)))):
        _standing(image, across, up, rng)
    for _ in range(round(8 * rng.random() * busy)):
        _bar(image, rng)

    rough = rng.uniform(0.02, 0.05 + 0.12 * busy)
    image *= (1 + rough * noise((height, width), (2, 4, 9, 20, 45), rng))[..., None]
    image += (0.3 * rough * noise((height, width), (3, 7, 30), rng))[..., None] * rng.standard_normal(3).astype(
        np.float32
    )
    slope = rng.normal(0, 0.12, 2).tolist()
    image *= (1 + slope[0] * (x / x[-1]) + slope[1] * (y / y[-1]))[..., None]
    return np.clip(image, 0.0, 1.1)


def _colour(rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Mostly greyish, sometimes bright."""
    grey = rng.uniform(0.08, 0.9)
    return np.clip(grey + rng.uniform(0.02, 0.25) * rng.standard_normal(3), 0.03, 0.97).astype(np.float32)


def _blend(image: Floats, where: Floats, colour: Floats) -> None:
    """Lay ``colour`` [3] or [H, W, 3] over the image as far as ``where`` [H, W] says, 0 … 1."""
    rows, columns = np.flatnonzero(where.any(1)), np.flatnonzero(where.any(0))
    if len(rows) == 0:
        return
    part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    laid = colour if colour.ndim == 1 else colour[part]
    image[part] += where[part][..., None] * (laid - image[part])


def _pattern(image: Floats, x: Floats, y: Floats, rng: np.random.Generator, busy: float) -> None:
    """Tiles, boards or bricks in the surface's own metres, or nothing."""
    kind = rng.integers(4) if rng.random() < 0.3 + 0.6 * busy else 0
    if kind == 0:
        return
    size, angle = float(rng.uniform(0.3, 1.5)), float(rng.choice((0.0, rng.uniform(0, np.pi))))
    # Plain numbers keep float32 arrays float32, whichever numpy.
    cos, sin = float(np.cos(angle)) / size, float(np.sin(angle)) / size
    u, v = cos * x + sin * y, cos * y - sin * x
    if kind == 1:  # a chequered surface
        where = ((np.floor(u) + np.floor(v)) % 2).astype(np.float32)
    elif kind == 2:  # joints between tiles
        width = rng.uniform(0.02, 0.08)
        where = ((u % 1 < width) | (v % 1 < width)).astype(np.float32)
    else:  # boards
        where = (u % 1 < rng.uniform(0.1, 0.5)).astype(np.float32)
    # Far away the pattern is finer than pixels: let it fade.
    step = np.abs(np.diff(u, axis=1, append=u[:, -1:])) + np.abs(np.diff(v, axis=1, append=v[:, -1:]))
    _blend(image, where * np.float32(rng.uniform(0.2, 0.9)) * np.clip(1 - 2.5 * step, 0, 1), _colour(rng))


def _thing(image: Floats, x: Floats, y: Floats, rng: np.random.Generator) -> None:
    """A window, a board or a disc on the wall."""
    reach = float(np.abs(x).max())
    cx, cy = rng.uniform(-reach, reach), rng.uniform(0, 4)
    w, h = rng.uniform(0.15, 1.2, 2).tolist()
    if rng.random() < 0.25:
        _blend(image, (((x - cx) / w) ** 2 + ((y - cy) / h) ** 2 < 1).astype(np.float32), _colour(rng))
        return
    dx, dy = np.abs(x - cx), np.abs(y - cy)
    _blend(image, ((dx < w) & (dy < h)).astype(np.float32), _colour(rng))
    border = rng.uniform(0.02, 0.12)
    _blend(image, ((dx < w - border) & (dy < h - border)).astype(np.float32), _colour(rng))


def _standing(image: Floats, x: Floats, y: Floats, rng: np.random.Generator) -> None:
    """A cupboard, a post or a trunk at the wall; some are as large as people."""
    reach = float(np.abs(x).max())
    cx, h = rng.uniform(-reach, reach), rng.uniform(0.4, 3.5)
    w = rng.uniform(0.03, 0.5)
    inside = (np.abs(x - cx) < w * (1 - 0.1 * rng.random() * y)) & (y < h) & (y > -0.15)
    shade = 1 - 0.5 * rng.random() * np.clip((x - cx) / w, -1, 1)
    _blend(image, inside.astype(np.float32), _colour(rng) * shade[..., None])


def _bar(image: Floats, rng: np.random.Generator) -> None:
    """A rounded bar anywhere: what could be taken for a limb, and is none."""
    height, width = image.shape[:2]
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    cx, cy, angle = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0, np.pi)
    long, thick = rng.uniform(0.03, 0.3) * height, rng.uniform(0.005, 0.03) * height
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    u = cos * (x - cx) + sin * (y - cy)
    v = cos * (y - cy) - sin * (x - cx)
    u -= np.clip(u, -long, long)
    across = np.sqrt(u * u + v * v) / thick
    _blend(image, (across < 1).astype(np.float32), _colour(rng) * (1 - 0.5 * np.minimum(across, 1) ** 2)[..., None])
