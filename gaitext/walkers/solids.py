"""Drawing tapered, flattened capsules with a depth buffer: what limbs, trunk and bags are made of.

A tapered capsule is swept by a sphere whose radius changes linearly along a segment. Each is drawn
in scaled orthography about itself: its ends lie exactly where the camera projects them, each end as
large as its distance makes it, and between them rays are parallel. So a solid costs a square root
or two for each pixel of its bounding box and nothing elsewhere.

A ray through pixel offset (x, y) meets the sphere at distance t along the axis (in the image) at
depth m·t - √q(t), where q is quadratic in t; the nearest depth over all t has a closed form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitext.walkers.camera import NEAR, camera_axes, project
from gaitext.walkers.settings import CameraSettings

Floats = npt.NDArray[np.floating[Any]]

#: Beyond this slope of the outline a tapered capsule is all but its larger sphere.
_STEEPEST = 0.95


@dataclass(frozen=True)
class Solids:
    """P tapered capsules.

    Attributes:
        start, end: [P, 3] metres, world axes: the segment's ends.
        radii: [P, 2] metres at start and end.
        axis: [P, 3] unit vectors, and ``stretch`` [P]: the solid is that many times as thick along
            its axis vector; 1 is round.
        hollow: [P] bool: has no rounded end beyond ``end``, as a coat has none below its hem.
    """

    start: Floats
    end: Floats
    radii: Floats
    axis: Floats
    stretch: Floats
    hollow: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Hits:
    """What each pixel of a box sees of the solids.

    Attributes:
        top, left: the box's first row and column in the frame.
        piece: int16 [h, w]: the nearest solid's number, -1 where there is none.
        depth: float32 [h, w] metres along the optical axis, infinite where there is none.
        share: float32 [h, w]: how far along the solid's segment, 0 … 1.
        offset: float32 [h, w, 3]: from the segment to the surface, in the solid's own round space.
        normal_of: [P, 3, 3]: ``offset @ normal_of[p]`` points along the surface's normal, in the
            camera's axes (image right, image down, ahead).
        place_of: [P, 3, 3]: ``offset @ place_of[p]`` is the offset in metres in the camera's axes.
    """

    top: int
    left: int
    piece: npt.NDArray[np.int16]
    depth: Floats
    share: Floats
    offset: Floats
    normal_of: Floats
    place_of: Floats

    @property
    def rows(self) -> slice:
        """The box's rows in the frame."""
        return slice(self.top, self.top + self.piece.shape[0])

    @property
    def columns(self) -> slice:
        """The box's columns in the frame."""
        return slice(self.left, self.left + self.piece.shape[1])


def draw(solids: Solids, camera: CameraSettings) -> Hits:
    """Find which solid each pixel of the frame sees, and where on it.

    Integer pixel values are pixel centres. Solids nearer than the camera's nearest depth are left
    out; what lies outside the frame is cut off. The box returned is empty where nothing is seen.
    """
    points, depth = project(np.stack((solids.start, solids.end)), camera)  # [2, P, 2], [2, P]
    radii = solids.radii.T * camera.focal / np.maximum(depth, NEAR)  # [2, P] pixels
    scale = camera.focal / np.maximum(depth.mean(0), NEAR)  # [P] pixels a metre
    axis = solids.axis @ camera_axes(camera).T

    # In the round space of a stretched solid rays are parallel still, but not along the optical
    # axis: turn so that the third coordinate is along them again.
    outer = axis[:, :, None] * axis[:, None]
    squeeze = np.eye(3) + (1 / solids.stretch - 1)[:, None, None] * outer
    spread = np.eye(3) + (solids.stretch - 1)[:, None, None] * outer
    length = np.linalg.norm(squeeze[:, :, 2], axis=1)  # of a ray's unit vector in round space
    third = squeeze[:, :, 2] / length[:, None]
    x, y, z = third.T  # z is positive
    level = np.hypot(x, z)
    basis = np.array([[z / level, 0 * x, -x / level], [-x * y / level, level, -y * z / level], [x, y, z]]).transpose(
        2, 0, 1
    )
    to_round = basis @ squeeze  # [P, 3, 3]

    span = np.concatenate((points[1] - points[0], ((depth[1] - depth[0]) * scale)[:, None]), 1)
    span = (to_round @ span[..., None])[..., 0]
    along = np.maximum(np.hypot(span[:, 0], span[:, 1]), 1e-3)
    steep = np.abs(radii[1] - radii[0]) > _STEEPEST * along
    radii = np.where(steep, radii.max(0), radii)
    taper = (radii[1] - radii[0]) / along
    slope = span[:, 2] / along
    bend = 1 - taper**2
    lean = slope / np.sqrt(bend * (bend + slope**2))

    reach = radii[..., None] * np.sqrt(1 + (solids.stretch[:, None] ** 2 - 1) * axis[:, :2] ** 2)
    frame = np.array([camera.width, camera.height])
    low = np.clip(np.floor((points - reach).min(0)), 0, frame).astype(int)
    high = np.clip(np.ceil((points + reach).max(0)) + 1, 0, frame).astype(int)
    drawn = (depth.min(0) > NEAR) & (low < high).all(1)
    left, top = low[drawn].min(0) if drawn.any() else (0, 0)
    right, bottom = high[drawn].max(0) if drawn.any() else (0, 0)

    shape = (bottom - top, right - left)
    nearest = np.full(shape, np.inf, np.float32)
    piece = np.full(shape, -1, np.int16)
    share = np.zeros(shape, np.float32)
    offset = np.zeros((3, *shape), np.float32)
    columns = [to_round[:, 0, 0], to_round[:, 0, 1], to_round[:, 1, 0], to_round[:, 1, 1]]
    columns += [to_round[:, 2, 0], to_round[:, 2, 1], span[:, 0] / along, span[:, 1] / along]
    columns += [*points[0].T, radii[0], taper, bend, along, slope, lean, depth[0], length * scale]
    # Plain numbers: an array of float32 with a float stays float32, and costs less to begin.
    rows = np.stack(columns, 1).tolist()
    for i in np.flatnonzero(drawn):
        a, b, c, d, e, f, ax, ay, u, v, r, k, flatness, reached, m, tilt, z, unit = rows[i]
        (x0, y0), (x1, y1) = low[i].tolist(), high[i].tolist()
        x = np.arange(x0 - u, x1 - u - 0.5, dtype=np.float32)
        y = np.arange(y0 - v, y1 - v - 0.5, dtype=np.float32)[:, None]
        px, py = a * x + b * y, c * x + d * y
        middle = ((ax * a + ay * c) * x + (r * k)) / flatness + ((ax * b + ay * d) / flatness) * y
        most = middle * middle * flatness + r * r - px * px - py * py
        t = middle - tilt * np.sqrt(np.maximum(most, 0))
        outside = (t > reached) if solids.hollow[i] else None
        np.clip(t, 0, reached, out=t)
        middle -= t
        middle *= middle
        most -= flatness * middle
        height = np.sqrt(np.maximum(most, 0))
        at = (m * t - height - (e * x + f * y)) * (1 / unit) + z
        box = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
        seen = (most > 0) & (at < nearest[box])
        if outside is not None:
            seen &= ~outside
        np.copyto(nearest[box], at, where=seen)
        np.copyto(piece[box], i, where=seen)
        np.copyto(share[box], t * (1 / reached), where=seen)
        np.copyto(offset[0][box], px - ax * t, where=seen)
        np.copyto(offset[1][box], py - ay * t, where=seen)
        np.copyto(offset[2][box], -height, where=seen)
    # Offsets o are rows: the normal is (B M)ᵀ o and the place M⁻¹ Bᵀ o.
    place_of = basis @ spread / scale[:, None, None]
    tables = to_round.astype(np.float32), place_of.astype(np.float32)
    return Hits(int(top), int(left), piece, nearest, share, np.moveaxis(offset, 0, -1), *tables)
