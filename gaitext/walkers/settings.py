"""What a set of walkers is made of: typed settings, and the protocols' names."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from gaitext.config import Settings
from gaitext.errors import ConfigError
from gaitext.store.contract import CONTENTS, PROTOCOLS
from gaitext.walkers.covariates import covariate

#: All that a walk can be written as: the leaf's sequences, and a video with its boxes.
CONTENT: tuple[str, ...] = (*CONTENTS, "video")

Content = Literal["heatmaps", "poses", "poses_frame", "boxes", "silhouettes", "keypoints", "video"]
Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"]
Share = Annotated[float, Field(ge=0, le=1)]


def view_degrees(view: str) -> int:
    """Degrees of a view's name; 0 walks towards the camera, 90 to the image's right, 180 away.

    Raises:
        ConfigError: not a whole number in 0 … 359.

    >>> view_degrees("054")
    54
    """
    if not (view.isascii() and view.isdigit() and 0 <= int(view) < 360):
        raise ConfigError(f"'{view}' is no view", where="views", how="name views by their degrees, 000 to 359")
    return int(view)


class CameraSettings(Settings):
    """One camera domain: a pinhole camera and how the path lies before it.

    The camera looks horizontally along its optical axis, ``elevation`` above the ground, then is
    tilted and rolled. The middle of every path lies ``distance`` ahead and ``offset`` to the
    right of it; the view decides the heading.

    Attributes:
        width, height: the frame in pixels.
        focal: focal length in pixels.
        distance, elevation, offset: metres.
        tilt: degrees the camera looks down.
        roll: degrees the camera is turned clockwise about its axis (the image turns the other way).
    """

    width: int = Field(640, ge=32)
    height: int = Field(480, ge=32)
    focal: float = Field(640.0, gt=0)
    distance: float = Field(7.0, gt=0)
    elevation: float = 1.2
    offset: float = 0.0
    tilt: float = Field(0.0, gt=-80, lt=80)
    roll: float = Field(0.0, gt=-180, le=180)


class VideoSettings(Settings):
    """How videos are encoded (H.264).

    Attributes:
        crf: constant rate factor, 0 (lossless) to 51; larger is smaller and worse.
        preset: x264's trade of time for size.
    """

    crf: float = Field(20.0, ge=0, le=51)
    preset: Preset = "veryfast"


class WalkerSettings(Settings):
    """Everything that decides what a set of walkers is; two equal settings give equal files.

    Attributes:
        identities: number of people, numbered from 1.
        train_identities: how many of them, from the first, are the training set; None: three quarters.
        protocol: gives ``types`` and ``views`` where they are left out; ``own`` needs both.
        types: names that begin with nm, bg, cl, wss, wsf, ph or txt, such as ``nm-01``.
        views: degrees as names: 000 walks towards the camera, 090 to the image's right.
        frames: of a sequence: a number, or (fewest, most).
        fps: frames per second.
        seed: of all randomness.
        diversity: how much identities differ in body and gait, in units of how much people do.
        joint_noise: standard deviation of a well seen joint's error, heatmap pixels, each frame.
        missed: probability that a well seen joint is missed in a frame.
        box_jitter: standard deviation of a box's centre and size, as a share of its height.
        camera: the camera domain.
        people: how many are in a clip: the one it is named after, and passers-by who come the other way.
        content: what is written of a walk: sequences of its leaf, and ``video`` with its boxes.
        video: how videos are encoded, where ``content`` asks for them.
    """

    identities: int = Field(100, ge=2, le=99_999)
    train_identities: int | None = Field(None, ge=1)
    protocol: Literal["casia-b", "psymo", "own"] = "casia-b"
    types: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    frames: int | tuple[int, int] = (40, 60)
    fps: float = Field(25.0, gt=0)
    seed: int = Field(0, ge=0, lt=2**32)
    diversity: float = Field(1.0, ge=0, le=4)
    joint_noise: float = Field(0.4, ge=0)
    missed: Share = 0.01
    box_jitter: float = Field(0.008, ge=0, le=0.05)
    camera: CameraSettings = CameraSettings()
    people: int = Field(1, ge=1, le=6)
    content: tuple[Content, ...] = ("heatmaps", "poses", "poses_frame", "boxes")
    video: VideoSettings = VideoSettings()

    @model_validator(mode="before")
    @classmethod
    def _fill_from_protocol(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        types, views = PROTOCOLS.get(values.get("protocol", "casia-b"), ((), ()))
        filled = dict(values)
        filled["types"] = values.get("types") or types
        filled["views"] = values.get("views") or views
        return filled

    @field_validator("types")
    @classmethod
    def _known_types(cls, types: tuple[str, ...]) -> tuple[str, ...]:
        if not types:
            raise ValueError("name at least one type (protocol 'own' has none of its own)")
        for name in types:
            covariate(name)
        return _distinct(types)

    @field_validator("views")
    @classmethod
    def _known_views(cls, views: tuple[str, ...]) -> tuple[str, ...]:
        if not views:
            raise ValueError("name at least one view (protocol 'own' has none of its own)")
        for name in views:
            view_degrees(name)
        return _distinct(views)

    @field_validator("content")
    @classmethod
    def _some_content(cls, content: tuple[str, ...]) -> tuple[str, ...]:
        if not content:
            raise ValueError("name at least one of " + ", ".join(CONTENT))
        return tuple(name for name in CONTENT if name in content)

    @model_validator(mode="after")
    def _consistent(self) -> WalkerSettings:
        fewest, most = self.frame_range
        if not 1 <= fewest <= most:
            raise ValueError(f"frames must be at least 1 and in order, not {self.frames}")
        if self.training > self.identities - 1:
            raise ValueError("train_identities must leave at least one identity to test")
        if "video" in self.content and (self.camera.width % 2 or self.camera.height % 2):
            raise ValueError("H.264 needs an even camera.width and camera.height")
        return self

    @property
    def frame_range(self) -> tuple[int, int]:
        """Fewest and most frames of a sequence."""
        return (self.frames, self.frames) if isinstance(self.frames, int) else self.frames

    @property
    def sequences(self) -> tuple[str, ...]:
        """Which of ``content`` are sequences of a leaf."""
        return tuple(name for name in self.content if name in CONTENTS)

    @property
    def training(self) -> int:
        """Number of training identities."""
        return max(1, self.identities * 3 // 4) if self.train_identities is None else self.train_identities

    def identity_name(self, identity: int) -> str:
        """Folder name of an identity (1 … ``identities``): zero-padded to three digits or more."""
        return f"{identity:0{max(3, len(str(self.identities)))}d}"


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("a name is given twice")
    return names
