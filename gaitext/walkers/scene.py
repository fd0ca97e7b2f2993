"""A walk in pixels: RGB frames and silhouettes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gaitext.errors import DataError
from gaitext.walkers.background import draw_background
from gaitext.walkers.camera import camera_axes, project
from gaitext.walkers.figure import Figure, build
from gaitext.walkers.looks import TILE, Floats, Looks, Material, draw_looks
from gaitext.walkers.solids import Hits, draw
from gaitext.walkers.walk import Stream, Walk, walk_generator

__all__ = ["Scene"]

#: Hair covers the head above this cosine of the angle from its up.
_CROWN = 0.62
#: Below the ears only what looks this far backwards is hair.
_NAPE = -0.35


class Scene:
    """One walk as a camera sees it.

    Garments, hair, light, background and the camera's gain and noise are drawn from (seed,
    identity, type, view) by a generator of their own, so they say nothing about who walks; body
    and motion are the walk's. Any frame can be asked for at any time, and is always the same.

    Args:
        walk: from :func:`gaitext.walkers.make_walk`; its camera decides the frame's size.
        seed: of the looks; ``settings.seed`` in a data set.

    >>> from gaitext.walkers import WalkerSettings, make_walk
    >>> scene = Scene(make_walk(WalkerSettings(frames=30), 1, "nm-01", "090"), seed=0)
    >>> rgb, silhouette = scene.frame(0)
    >>> rgb.shape, silhouette.shape
    ((480, 640, 3), (480, 640))
    """

    walk: Walk
    looks: Looks
    figure: Figure

    def __init__(self, walk: Walk, seed: int) -> None:
        rng = walk_generator(Stream.LOOKS, seed, walk.identity, walk.kind, walk.view)
        self.walk = walk
        self.looks = looks = draw_looks(walk.clothes.colours, walk.clothes.coat, rng)
        self.figure = build(walk, looks)
        camera = walk.camera
        size = (camera.height, camera.width)
        self._gain = (255 * looks.gain).astype(np.float32)
        empty = draw_background(camera, rng) * (0.4 + 0.6 * looks.ambient)
        empty = _softened(np.clip(empty * self._gain, 0, 255), looks.blur)
        self._empty = np.rint(empty).astype(np.int16)
        # One sheet of noise, laid elsewhere in every frame, is as good as a sheet a frame.
        sheet = looks.noise * rng.standard_normal((size[0] + 64, size[1] + 64, 3), dtype=np.float32)
        sheet = 0.6 * sheet + 0.8 * sheet[..., 1:2]  # mostly of brightness
        self._noise = np.rint(sheet).astype(np.int16)
        self._laid = rng.integers(0, 64, (len(walk), 2))
        self._turn = camera_axes(camera).T
        up = np.array([0.0, 0.0, 1.0])
        self._directions = np.stack((looks.light @ self._turn, up @ self._turn, [0.0, 0, -1]), 1).astype(np.float32)
        self._texels = 100 * np.linalg.norm(self.figure.end - self.figure.start, axis=-1).astype(np.float32)
        self._tiles = looks.tiles.reshape(-1, 3) * self._gain

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
        hits, silhouette = self._look(t)
        camera = self.walk.camera
        image = self._empty.copy()
        self._cast_shadow(image, t)
        seen = hits.piece >= 0
        if seen.any():
            painted = np.zeros((*seen.shape, 4), np.float32)
            painted[seen, :3] = self._paint(hits, seen, t)
            painted[seen, 3] = 1
            painted = _softened(painted, self.looks.blur)
            behind = image[hits.rows, hits.columns]
            behind[:] = np.rint(behind * (1 - painted[..., 3:]) + painted[..., :3])
        y, x = self._laid[t]
        image += self._noise[y : y + camera.height, x : x + camera.width]
        np.maximum(image, 0, out=image)
        np.minimum(image, 255, out=image)
        return image.astype(np.uint8), silhouette

    def silhouette(self, t: int) -> npt.NDArray[np.bool_]:
        """The silhouette of :meth:`frame` alone, in a third of the time."""
        return self._look(t)[1]

    def _look(self, t: int) -> tuple[Hits, npt.NDArray[np.bool_]]:
        """What is seen of the figure, and where in the frame."""
        if not 0 <= t < len(self):
            raise DataError(f"no frame {t} in a walk of {len(self)}", where="Scene")
        camera = self.walk.camera
        hits = draw(self.figure.solids(t), camera)
        silhouette = np.zeros((camera.height, camera.width), bool)
        silhouette[hits.rows, hits.columns] = hits.piece >= 0
        return hits, silhouette

    def _paint(self, hits: Hits, seen: npt.NDArray[np.bool_], t: int) -> Floats:
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

    def _cast_shadow(self, image: npt.NDArray[np.int16], t: int) -> None:
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
