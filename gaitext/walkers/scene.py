"""A walk in pixels: RGB frames and silhouettes, before a wall, a floor, and things on and before the wall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitext.errors import DataError
from gaitext.walkers.camera import camera_axes, project
from gaitext.walkers.figure import Figure, build
from gaitext.walkers.looks import TILE, Floats, Looks, Material, draw_looks, noise
from gaitext.walkers.settings import CameraSettings
from gaitext.walkers.solids import Hits, draw
from gaitext.walkers.walk import Stream, Walk, walk_generator

#: Hair covers the head above this cosine of the angle from its up.
_CROWN = 0.62
#: Below the ears only what looks this far backwards is hair.
_NAPE = -0.35


class Scene:
    """Walks as a camera sees them: one, and others who pass by.

    Garments, hair, light, background and the camera's gain and noise are drawn from (seed,
    identity, type, view) by a generator of their own, so they say nothing about who walks; body
    and motion are the walk's. Any frame can be asked for at any time, and is always the same.

    Args:
        walk: from :func:`gaitext.walkers.make_walk`; its camera decides the frame's size.
        seed: of the looks; ``settings.seed`` in a data set.
        others: who else is in the picture (:func:`gaitext.walkers.passers_by`), filmed by the same camera for as
            many frames; place and light are those of ``walk``.

    >>> from gaitext.walkers import WalkerSettings, make_walk
    >>> scene = Scene(make_walk(WalkerSettings(frames=30), 1, "nm-01", "090"), seed=0)
    >>> rgb, silhouette = scene.frame(0)
    >>> rgb.shape, silhouette.shape
    ((480, 640, 3), (480, 640))
    """

    walk: Walk
    looks: Looks
    figure: Figure

    def __init__(self, walk: Walk, seed: int, others: Sequence[Walk] = ()) -> None:
        rng = walk_generator(Stream.LOOKS, seed, walk.identity, walk.kind, walk.view)
        self.walk = walk
        self.looks = looks = draw_looks(walk.clothes.colours, walk.clothes.coat, rng)
        self._people = [
            _Dressed(walk, looks),
            *(_Dressed(other, _looks_beside(other, seed, looks)) for other in others),
        ]
        self.figure = self._people[0].figure
        camera = walk.camera
        size = (camera.height, camera.width)
        empty = _draw_background(camera, rng) * (0.4 + 0.6 * looks.ambient)
        empty = _softened(np.clip(empty * (255 * looks.gain).astype(np.float32), 0, 255), looks.blur)
        self._empty = np.rint(empty).astype(np.int16)
        # One sheet of noise, paint elsewhere in every frame, is as good as a sheet a frame.
        sheet = looks.noise * rng.standard_normal((size[0] + 64, size[1] + 64, 3), dtype=np.float32)
        sheet = 0.6 * sheet + 0.8 * sheet[..., 1:2]  # mostly of brightness
        self._noise = np.rint(sheet).astype(np.int16)
        self._noise_offsets = rng.integers(0, 64, (len(walk), 2))

    def __len__(self) -> int:
        return len(self.walk)

    def frame(self, t: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Draw a frame.

        Returns:
            RGB uint8 [H, W, 3], and the silhouette, bool [H, W]: true where the walker, what they
            wear and what they carry is seen. Integer pixel values are pixel centres, as in
            ``walk.keypoints``. What lies outside the frame is cut off.

        Raises:
            DataError: there is no such frame.
        """
        rgb, silhouettes = self.frame_of_all(t)
        return rgb, silhouettes[0]

    def frame_of_all(self, t: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Draw a frame: :meth:`frame`, with everybody's silhouette, bool [people, H, W]; no two share a pixel."""
        looked = self._look(t)
        camera = self.walk.camera
        image = self._empty.copy()
        for person in self._people:
            person.cast_shadow(image, t)
        for number in _farthest_first(looked):
            self._people[number].paint(image, looked[number], t)
        y, x = self._noise_offsets[t]
        image += self._noise[y : y + camera.height, x : x + camera.width]
        np.maximum(image, 0, out=image)
        np.minimum(image, 255, out=image)
        return image.astype(np.uint8), self._outlines(looked)

    def silhouette(self, t: int) -> npt.NDArray[np.bool_]:
        """The silhouette of :meth:`frame` alone, in a third of the time."""
        silhouette: npt.NDArray[np.bool_] = self.silhouettes(t)[0]
        return silhouette

    def silhouettes(self, t: int) -> npt.NDArray[np.bool_]:
        """The silhouettes of :meth:`frame_of_all` alone."""
        return self._outlines(self._look(t))

    def shares_seen(self, t: int) -> npt.NDArray[np.float64]:
        """Of everybody's part within the frame the share that nobody nearer hides, [people] in 0 … 1; 0 of nothing."""
        looked = self._look(t)
        whole = np.array([np.count_nonzero(hits.piece >= 0) for hits in looked])
        return self._outlines(looked).sum((1, 2)) / np.maximum(whole, 1)

    def _look(self, t: int) -> list[Hits]:
        """What is seen of each figure, were it alone."""
        if not 0 <= t < len(self):
            raise DataError(f"no frame {t} in a walk of {len(self)}", where="Scene")
        return [draw(person.figure.solids(t), self.walk.camera) for person in self._people]

    def _outlines(self, looked: Sequence[Hits]) -> npt.NDArray[np.bool_]:
        """Whose each pixel is: [people, H, W]."""
        camera = self.walk.camera
        owner = np.full((camera.height, camera.width), -1, np.int16)
        for number in _farthest_first(looked):
            hits = looked[number]
            owner[hits.rows, hits.columns][hits.piece >= 0] = number
        outlines: npt.NDArray[np.bool_] = owner == np.arange(len(looked), dtype=np.int16)[:, None, None]
        return outlines


def _farthest_first(looked: Sequence[Hits]) -> list[int]:
    """In which order figures are drawn. People walk apart: none is both before and behind another."""
    depths = [np.median(hits.depth[hits.piece >= 0]) if (hits.piece >= 0).any() else np.inf for hits in looked]
    return sorted(range(len(looked)), key=lambda number: -float(depths[number]))


def _looks_beside(walk: Walk, seed: int, place: Looks) -> Looks:
    """How somebody looks in the light, and before the camera, of a place."""
    rng = walk_generator(Stream.LOOKS, seed, walk.identity, walk.kind, walk.view)
    own = draw_looks(walk.clothes.colours, walk.clothes.coat, rng)
    shared = ("light", "sun", "ambient", "shadow", "gain", "blur", "noise")
    return replace(own, **{name: getattr(place, name) for name in shared})


class _Dressed:
    """A walk's figure with its clothes on, to be painted into pictures."""

    def __init__(self, walk: Walk, looks: Looks) -> None:
        self.walk = walk
        self.looks = looks
        self.figure = build(walk, looks)
        self._turn = camera_axes(walk.camera).T
        up = np.array([0.0, 0.0, 1.0])
        self._directions = np.stack((looks.light @ self._turn, up @ self._turn, [0.0, 0, -1]), 1).astype(np.float32)
        self._texels = 100 * np.linalg.norm(self.figure.end - self.figure.start, axis=-1).astype(np.float32)
        self._tiles = looks.tiles.reshape(-1, 3) * (255 * looks.gain).astype(np.float32)

    def paint(self, image: npt.NDArray[np.int16], hits: Hits, t: int) -> None:
        """Paint what the camera sees of the figure over the picture."""
        seen = hits.piece >= 0
        if seen.any():
            painted = np.zeros((*seen.shape, 4), np.float32)
            painted[seen, :3] = self._colours(hits, seen, t)
            painted[seen, 3] = 1
            painted = _softened(painted, self.looks.blur)
            behind = image[hits.rows, hits.columns]
            behind[:] = np.rint(behind * (1 - painted[..., 3:]) + painted[..., :3])

    def _colours(self, hits: Hits, seen: npt.NDArray[np.bool_], t: int) -> Floats:
        """Colours [N, 3] of the pixels seen."""
        looks, figure = self.looks, self.figure
        piece = hits.piece[seen].astype(np.intp)
        share, offset = hits.share[seen], hits.offset[seen]
        normal = np.einsum("ni,nij->nj", offset, hits.normal_of.take(piece, 0))
        normal /= np.sqrt(np.einsum("ni,ni->n", normal, normal))[:, None]
        left, ahead = ((vectors[t] @ self._turn).astype(np.float32) for vectors in (figure.left, figure.ahead))
        leftward = np.einsum("pij,pj->pi", hits.place_of, left)
        side = np.einsum("ni,ni->n", offset, leftward.take(piece, 0))  # metres to the left of the axis

        material = np.where(share < figure.cut[piece], figure.material[piece], figure.beyond[piece])
        self._grow_hair(material, piece, share, normal, left, ahead)
        if looks.opening:
            strip = figure.trunk[piece] & (np.abs(side) < looks.opening) & (material == Material.TOP)
            front = np.flatnonzero(strip)
            front = front[np.einsum("ni,ni->n", normal[front], ahead[piece[front]]) > 0]
            material[front] = Material.INNER

        row = (share * self._texels[t].take(piece)).astype(np.intp) + 7 * piece & TILE - 1
        column = (side * 100 + 100).astype(np.intp) & TILE - 1
        albedo = self._tiles.take((material * TILE + row) * TILE + column, 0)
        lit, skyward, facing = (normal @ self._directions).T
        shade = looks.ambient * (0.85 + 0.15 * skyward) + looks.sun * np.maximum(lit, 0)
        # Surfaces seen at a slant get less of the light from everywhere: outlines show on like colours.
        shade *= 0.65 + 0.45 * facing
        return albedo * shade[:, None]

    def _grow_hair(
        self,
        material: npt.NDArray[np.intp],
        piece: npt.NDArray[np.intp],
        share: Floats,
        normal: Floats,
        left: Floats,
        ahead: Floats,
    ) -> None:
        """Turn skin of the head to hair, in place: above, behind, and not on the jaw."""
        for head in np.flatnonzero(self.figure.head):
            here = np.flatnonzero(piece == head)
            front = normal[here] @ ahead[head]
            above = normal[here] @ np.cross(ahead[head], left[head])
            hair = (front < self.looks.hairline) | (above > _CROWN)
            hair &= (share[here] > 0.5) | (front < _NAPE)
            material[here[hair]] = Material.HAIR

    def cast_shadow(self, image: npt.NDArray[np.int16], t: int) -> None:
        """Darken the ground softly below the feet and the body."""
        walk, camera = self.walk, self.walk.camera
        if self.looks.shadow <= 0 or camera.elevation <= 0.1:
            return
        feet = walk.extra_3d[t].reshape(-1, 3)[1:].reshape(2, 2, 3).mean(1)
        body = walk.keypoints_3d[t, 11:13].mean(0)
        for point, radius, strength in ((body, 0.42, 0.6), (feet[0], 0.17, 0.5), (feet[1], 0.17, 0.5)):
            ground = np.array([point[0], point[1], 0.0])
            corners = ground + radius * np.array([[0, 0, 0], [1.0, 0, 0], [0, 1.0, 0]])
            flat, depth = project(corners, camera)
            if depth.min() < 1:
                continue
            shape = (flat[1:] - flat[0]).T
            reach = 1.8 * np.abs(shape).sum(1) + 1
            low = np.clip(np.floor(flat[0] - reach), 0, (camera.width, camera.height)).astype(int)
            high = np.clip(np.ceil(flat[0] + reach), 0, (camera.width, camera.height)).astype(int)
            determinant = np.linalg.det(shape)
            if (low >= high).any() or abs(determinant) < 1e-6:
                continue
            (a, b), (c, d) = np.linalg.inv(shape).tolist()
            x = np.arange(low[0], high[0], dtype=np.float32) - np.float32(flat[0, 0])
            y = (np.arange(low[1], high[1], dtype=np.float32) - np.float32(flat[0, 1]))[:, None]
            away = (a * x + b * y) ** 2 + (c * x + d * y) ** 2
            part = image[low[1] : high[1], low[0] : high[0]]
            fade = 1 - self.looks.shadow * strength * np.exp(-1.5 * away)
            part[:] = part * fade[..., None].astype(np.float32)


def _softened(image: npt.NDArray[np.float32], weight: float) -> npt.NDArray[Any]:
    """Blur by (w, 1 - 2 w, w) along both axes; the border keeps its value."""
    for axis in (0, 1):
        if image.shape[axis] < 3:
            continue
        moved = np.moveaxis(image, axis, 0)
        out = moved * np.float32(1 - 2 * weight)
        out[1:-1] += np.float32(weight) * (moved[:-2] + moved[2:])
        out[0] += np.float32(2 * weight) * moved[0]
        out[-1] += np.float32(2 * weight) * moved[-1]
        image = np.moveaxis(out, 0, axis)
    return image


def _draw_background(camera: CameraSettings, rng: np.random.Generator) -> npt.NDArray[np.float32]:
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
    paint = colour if colour.ndim == 1 else colour[part]
    image[part] += where[part][..., None] * (paint - image[part])


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
