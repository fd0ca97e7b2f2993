"""From the ground to the frame: where the path lies, projection, visibility and boxes.

World axes: the camera stands at the origin's vertical, x to its right, y ahead, z up, metres.
Frame coordinates are pixels whose integer values are pixel centres.
"""

from __future__ import annotations

import numpy as np

from gaitext.walkers.settings import CameraSettings

#: Nearest depth at which anything is projected, metres.
NEAR = 0.5


def place(
    points: np.ndarray,
    progress: np.ndarray,
    degrees: float,
    camera: CameraSettings,
    shift: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    """Lay points [T, N, 3] in body axes on the ground: world axes, [T, N, 3].

    The path is straight, its middle before the camera and moved by ``shift`` (x, y in metres); ``progress`` [T]
    are metres along it from there, ``degrees`` is the heading's view.
    """
    heading = np.radians(degrees - 90.0)
    ahead = np.array([np.cos(heading), np.sin(heading), 0.0])
    left = np.array([-ahead[1], ahead[0], 0.0])
    turn = np.stack((ahead, left, np.array([0.0, 0, 1])))
    middle = np.array([camera.offset + shift[0], camera.distance + shift[1], 0.0])
    return points @ turn + middle + progress[:, None, None] * ahead


def project(points: np.ndarray, camera: CameraSettings) -> tuple[np.ndarray, np.ndarray]:
    """Project world points [..., 3] to frame pixels [..., 2] and depth [...] in metres.

    The principal point is the middle of the frame. Points nearer than 0.5 m are projected as if
    they were that far; their depth tells them apart.
    """
    right, down, ahead, roll = _level_axes(camera)
    relative = points - np.array([0.0, 0.0, camera.elevation])
    x, y, depth = relative @ right, relative @ down, relative @ ahead
    scale = camera.focal / np.maximum(depth, NEAR)
    # A camera rolled clockwise sees the world rolled anticlockwise.
    u = (np.cos(roll) * x + np.sin(roll) * y) * scale + (camera.width - 1) / 2
    v = (np.cos(roll) * y - np.sin(roll) * x) * scale + (camera.height - 1) / 2
    return np.stack((u, v), -1), depth


def camera_axes(camera: CameraSettings) -> np.ndarray:
    """The image's right, the image's down and the optical axis as rows [3, 3], in world axes."""
    right, down, ahead, roll = _level_axes(camera)
    return np.stack((np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right, ahead))


def _level_axes(camera: CameraSettings) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.floating]:
    """Right, down and the optical axis before the camera is rolled, and the roll in radians."""
    tilt, roll = np.radians(camera.tilt), np.radians(camera.roll)
    down = np.array([0.0, -np.sin(tilt), -np.cos(tilt)])
    return np.array([1.0, 0.0, 0.0]), down, np.array([0.0, np.cos(tilt), -np.sin(tilt)]), roll


def in_frame(points: np.ndarray, depth: np.ndarray, camera: CameraSettings) -> np.ndarray:
    """Whether frame points [..., 2] at ``depth`` [...] are seen at all: bool [...]."""
    x, y = points[..., 0], points[..., 1]
    inside = (x > -0.5) & (x < camera.width - 0.5) & (y > -0.5) & (y < camera.height - 0.5)
    return inside & (depth > NEAR)


#: Capsules that hide what is behind them: two joints and a radius as a share of stature. Point 17
#: is the middle of the head, between the ears, so that the head hides its far ear.
_CAPSULES = np.array(
    [
        *[(5, 11, 0.060), (6, 12, 0.060), (5, 12, 0.062), (6, 11, 0.062), (17, 17, 0.050)],
        *[(11, 13, 0.045), (12, 14, 0.045), (13, 15, 0.030), (14, 16, 0.030)],
        *[(5, 7, 0.027), (6, 8, 0.027), (7, 9, 0.021), (8, 10, 0.021)],
    ]
)


def visibility(
    joints: np.ndarray, stature: float, camera: CameraSettings, other: np.ndarray | None = None
) -> np.ndarray:
    """How well a body lets each of the joints [T, 17, 3] (world axes) be seen: [T, 17] in 0 (hidden) … 1 (seen).

    Capsules about the limbs, trunk and head hide joints behind them, softly at their rims. The body is the joints'
    own, or that of ``other`` joints [T, 17, 3]; ``stature`` is its, in metres.
    """
    body = joints if other is None else other
    at_joints, joints_depth = project(joints, camera)
    flat, depth = project(np.concatenate((body, body[:, 3:5].mean(1, keepdims=True)), 1), camera)
    first, second = _CAPSULES[:, 0].astype(int), _CAPSULES[:, 1].astype(int)
    radius = _CAPSULES[:, 2] * stature
    start, end = flat[:, first], flat[:, second]  # [T, C, 2]
    along = end - start
    length = np.maximum((along**2).sum(-1), 1e-9)
    offset = at_joints[:, :, None] - start[:, None]  # [T, 17, C, 2]
    share = np.clip((offset * along[:, None]).sum(-1) / length[:, None], 0, 1)
    gap = np.linalg.norm(offset - share[..., None] * along[:, None], axis=-1)
    at = depth[:, first][:, None] * (1 - share) + depth[:, second][:, None] * share
    reach = gap * at / camera.focal / radius  # in radii: below 1 is inside the capsule's outline
    behind = (joints_depth[:, :, None] - at) / radius  # in radii: the face's points lie at about 1
    hidden = _smooth(1.15 - reach, 0.3) * _smooth(behind - 0.55, 0.4)
    own = (np.arange(17)[:, None] == first) | (np.arange(17)[:, None] == second)
    if other is None:
        hidden = hidden * ~own
    return np.prod(1 - hidden, axis=-1)


def _smooth(x: np.ndarray, width: float) -> np.ndarray:
    """0 below 0, 1 above ``width``, smooth between."""
    t = np.clip(x / width, 0, 1)
    return t * t * (3 - 2 * t)


def boxes(
    points: np.ndarray, depth: np.ndarray, radii: np.ndarray, camera: CameraSettings, jitter: np.ndarray | None = None
) -> np.ndarray:
    """Person boxes about projected points, as a detector would draw them.

    Args:
        points: [T, N, 2] frame pixels; depth: [T, N] metres; radii: [N] metres about each point.
        jitter: [T, 4]: the centre's x, y and the width and height change by these shares of the
            box's height.

    Returns:
        [T, 4] x, y, w, h; edges are pixel edges (pixel i spans i … i + 1), clipped to the frame
        where the body leaves it.
    """
    margin = (radii * camera.focal / np.maximum(depth, NEAR))[..., None]
    low, high = (points - margin).min(1) + 0.5, (points + margin).max(1) + 0.5
    if jitter is not None:
        unit = (high - low)[:, 1:]
        centre = (low + high) / 2 + jitter[:, :2] * unit
        half = (high - low) / 2 + jitter[:, 2:] * unit / 2
        low, high = centre - half, centre + half
    frame = np.array([camera.width, camera.height], dtype=float)
    low, high = np.clip(low, 0, frame - 1), np.clip(high, 1, frame)
    return np.concatenate((low, np.maximum(high - low, 1.0)), -1)
