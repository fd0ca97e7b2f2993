"""Several people in one clip: a walk, and others who cross its way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gaitext.walkers.camera import in_frame, visibility
from gaitext.walkers.settings import WalkerSettings, view_degrees
from gaitext.walkers.walk import Stream, Walk, make_walk, walk_generator

#: Metres between neighbouring lanes: shoulders pass each other.
_LANE = 0.7
#: How far from straight against the walk the others go, degrees, and how far from the middle of it they meet, metres.
_ASTRAY, _LATER = 15.0, 0.8
#: Passers-by are nobody of the data set: their numbers follow its people's.
_STRANGERS = 1_000_000


def make_company(settings: WalkerSettings, identity: int, kind: str, view: str) -> list[Walk]:
    """A walk of :func:`gaitext.walkers.make_walk`, and those of ``settings.people - 1`` passers-by.

    They come towards the walker in lanes on either side, nearer to the camera or farther from it, and meet about the
    middle of the clip. Each has a body, gait and clothes of their own, of the same type; who they are is drawn from
    (seed, identity, type, view). They may enter and leave the frame. What one of them hides of another counts in
    ``visibility``.

    Returns:
        ``settings.people`` walks of as many frames, the named one first.

    Raises:
        ConfigError: as :func:`gaitext.walkers.make_walk`.
    """
    walk = make_walk(settings, identity, kind, view)
    rng = walk_generator(Stream.COMPANY, settings.seed, identity, kind, view)
    lanes = _LANE * np.array([(1 + i // 2) * (1 if i % 2 else -1) for i in range(settings.people - 1)])
    lanes *= rng.choice((-1, 1))
    company = [walk]
    for lane in lanes:
        degrees = (view_degrees(view) + 180 + rng.uniform(-_ASTRAY, _ASTRAY)) % 360
        heading = np.radians(view_degrees(view) - 90.0)
        ahead, left = np.array([np.cos(heading), np.sin(heading)]), np.array([-np.sin(heading), np.cos(heading)])
        x, y = lane * left + rng.uniform(-_LATER, _LATER) * ahead
        stranger = settings.identities + 1 + int(rng.integers(_STRANGERS))
        name = f"{int(degrees):03d}"
        company.append(
            make_walk(settings, stranger, kind, name, frames=len(walk), aside=(float(x), float(y)), may_leave=True)
        )
    return [_among(one, [other for other in company if other is not one]) for one in company]


def _among(walk: Walk, others: list[Walk]) -> Walk:
    """The walk, less well seen where somebody else is before it."""
    seen = walk.visibility
    for other in others:
        seen = seen * visibility(walk.keypoints_3d, other.stature, walk.camera, other.keypoints_3d)
    return replace(walk, visibility=seen) if others else walk


def is_in_frame(walk: Walk) -> np.ndarray:
    """Whether a quarter of the walker's joints lies in the frame: bool [T]."""
    depth = np.full(walk.keypoints.shape[:2], np.inf)
    share: np.ndarray = in_frame(walk.keypoints, depth, walk.camera).mean(1)
    return share >= 0.25
