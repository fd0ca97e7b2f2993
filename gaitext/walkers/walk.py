"""One walk: a person of a given identity, walking, dressed and filmed.

Everything random is drawn from a generator of its own, seeded by what it is for, so that no walk depends on when or
where another is made.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from gaitext.errors import ConfigError
from gaitext.walkers.body import JOINT_RADII, Body, move, sample_body, stride_length
from gaitext.walkers.camera import boxes, in_frame, place, project, visibility
from gaitext.walkers.covariates import Clothes, dress
from gaitext.walkers.gait import Gait, change_speed, mean_gait, vary
from gaitext.walkers.settings import CameraSettings, WalkerSettings, view_degrees


class Stream(IntEnum):
    """What a generator is for. Different streams share no random number.

    Who somebody is comes from :attr:`IDENTITY` and nothing else does; how one walk is clothed,
    filmed and observed comes from the other streams and never from that one. So clothes, limb
    thickness, camera and noise cannot give an identity away.
    """

    IDENTITY = 1
    SESSION = 2
    BODY = 3
    PLACE = 4
    OBSERVATION = 5
    LENGTH = 6
    LOOKS = 7
    COMPANY = 8


def identity_generator(seed: int, identity: int) -> np.random.Generator:
    """The generator of one identity's body and gait."""
    return np.random.default_rng(np.random.SeedSequence((seed, Stream.IDENTITY, identity)))


def walk_generator(stream: Stream, seed: int, identity: int, kind: str, view: str) -> np.random.Generator:
    """One of a walk's generators: a function of (stream, seed, identity, type, view) alone.

    The names enter as their CRC-32, which, unlike ``hash()``, is the same in every process.
    """
    names = (zlib.crc32(kind.encode()), zlib.crc32(view.encode()))
    return np.random.default_rng(np.random.SeedSequence((seed, stream, identity, *names)))


#: How far a walk of somebody strays from their own gait, in units of how far people stray.
SESSION = 0.25
#: Thickness of crown, heels and toes as a share of stature, for boxes.
_EXTRA_RADII = np.array([0.005, 0.012, 0.012, 0.012, 0.012])


@dataclass(frozen=True)
class Walk:
    """A filmed walk, before anybody estimates a pose in it.

    Attributes:
        identity: number of the identity, from 1; ``kind`` and ``view``: its type and view names.
        keypoints_3d: [T, 17, 3] float64, metres, world axes (x right, y away from the camera, z up).
        extra_3d: [T, 5, 3] metres: crown, left heel, left toe, right heel, right toe.
        keypoints: [T, 17, 2] frame pixels.
        visibility: [T, 17] in 0 … 1; 0 outside the frame.
        boxes: [T, 4] x, y, w, h in frame pixels, as a detector would give them.
        thickness: [17] half thickness about each joint as a share of stature, clothes included;
            drawn per walk, the same distribution for everybody.
        stature: metres.
        clothes: what is worn and carried, for rendering.
        camera: the camera that filmed it.
        fps: frames per second.
    """

    identity: int
    kind: str
    view: str
    keypoints_3d: np.ndarray
    extra_3d: np.ndarray
    keypoints: np.ndarray
    visibility: np.ndarray
    boxes: np.ndarray
    thickness: np.ndarray
    stature: float
    clothes: Clothes
    camera: CameraSettings
    fps: float

    @property
    def radii(self) -> np.ndarray:
        """Half thickness about each joint, [17] metres."""
        return self.thickness * self.stature

    def __len__(self) -> int:
        return len(self.keypoints)


def sample_identity(seed: int, identity: int, diversity: float = 1.0) -> tuple[Body, Gait]:
    """Who an identity is: body and habitual gait, from (seed, identity) alone.

    ``diversity`` is how much identities differ, in units of how much people do.
    """
    rng = identity_generator(seed, identity)
    return sample_body(rng, diversity), vary(mean_gait(), rng, diversity)


def frame_count(settings: WalkerSettings, identity: int, kind: str, view: str) -> int:
    """Number of frames of a walk, known without making it."""
    fewest, most = settings.frame_range
    return int(walk_generator(Stream.LENGTH, settings.seed, identity, kind, view).integers(fewest, most + 1))


def make_walk(
    settings: WalkerSettings,
    identity: int,
    kind: str,
    view: str,
    *,
    frames: int | None = None,
    aside: tuple[float, float] = (0.0, 0.0),
    may_leave: bool = False,
) -> Walk:
    """Make one walk, a function of (settings, identity, kind, view) and of nothing else.

    The same identity walks a little differently each time: speed, phase, posture and curves vary
    by a quarter of what they vary between people, and no two cycles take quite the same time.

    Args:
        identity: 1 … ``settings.identities`` (larger numbers are people too).
        kind: a type, such as ``"bg-01"``; need not be one of ``settings.types``.
        view: degrees as a name, such as ``"090"``.
        frames: how many; None: as many as the settings draw.
        aside: metres (x, y) that the path's middle lies beside the camera's.
        may_leave: whether the path may leave the frame.

    Raises:
        ConfigError: unknown type or view, identity below 1, or a path that leaves the frame.

    >>> make_walk(WalkerSettings(frames=30), 1, "nm-01", "090").keypoints.shape
    (30, 17, 2)
    """
    if identity < 1:
        raise ConfigError(f"identity {identity}: identities are numbered from 1", where="make_walk")
    degrees, camera = view_degrees(view), settings.camera
    frames = frame_count(settings, identity, kind, view) if frames is None else frames
    session, clothing, filming = (
        walk_generator(stream, settings.seed, identity, kind, view)
        for stream in (Stream.SESSION, Stream.BODY, Stream.PLACE)
    )
    body, habit = sample_identity(settings.seed, identity, settings.diversity)
    gait, clothes = dress(vary(habit, session, SESSION), kind, clothing)
    gait = change_speed(gait, float(np.exp(0.03 * session.standard_normal())))
    thickness = JOINT_RADII * clothes.thickness * _per_limb(clothing)

    phase = _phase(gait.cadence, frames, settings.fps, session)
    motion = move(body, gait, phase)
    progress = (phase - phase.mean()) / (2 * np.pi) * stride_length(body, gait)
    shift = (aside[0] + float(filming.normal(0, 0.1)), aside[1] + float(filming.normal(0, 0.15)))
    heading = degrees + float(filming.normal(0, 1.0))
    world = place(np.concatenate((motion.joints, motion.extra), 1), progress, heading, camera, shift)

    points, depth = project(world, camera)
    keypoints, seen = points[:, :17], in_frame(points[:, :17], depth[:, :17], camera)
    if not may_leave and (seen.mean(1) < 0.5).any():
        raise ConfigError(
            f"{identity}/{kind}/{view} leaves the frame",
            where="camera",
            how="raise camera.distance, lower camera.focal or camera.offset, or ask for fewer frames",
        )
    radii = np.concatenate((thickness, _EXTRA_RADII)) * body.stature
    jitter = settings.box_jitter * _smoothed(filming, frames, 4)
    return Walk(
        identity=identity,
        kind=kind,
        view=view,
        keypoints_3d=world[:, :17],
        extra_3d=world[:, 17:],
        keypoints=keypoints,
        visibility=visibility(world[:, :17], body.stature, camera) * seen,
        boxes=boxes(points, depth, radii, camera, jitter),
        thickness=thickness,
        stature=body.stature,
        clothes=clothes,
        camera=camera,
        fps=settings.fps,
    )


def _per_limb(rng: np.random.Generator) -> np.ndarray:
    """Factors [17] of limb thickness, the same for a joint and its mirror image."""
    factors = np.exp(0.05 * rng.standard_normal(9))
    return factors[(np.arange(17) + 1) // 2]


def _phase(cadence: float, frames: int, fps: float, rng: np.random.Generator) -> np.ndarray:
    """Phases [T] that begin anywhere; strides differ by about 2 % in time."""
    time = np.arange(frames) / fps
    start, wander, swing = rng.uniform(0, 2 * np.pi, 3)
    # Slower than the stride, so that it is the cadence that wanders, and never backwards.
    drift = 0.1 * np.sin(2 * np.pi * 0.37 * time + wander) + 0.06 * np.sin(2 * np.pi * 0.61 * time + swing)
    return 2 * np.pi * cadence * time + start + drift


def _smoothed(rng: np.random.Generator, frames: int, columns: int) -> np.ndarray:
    """Noise [T, columns] of standard deviation 1: half of its variance lasts a few frames."""
    white = rng.standard_normal((frames, columns))
    padded = rng.standard_normal((frames + 4, columns))
    slow = sum(padded[i : i + frames] for i in range(5)) / np.sqrt(5)
    return (white + slow) / np.sqrt(2)
