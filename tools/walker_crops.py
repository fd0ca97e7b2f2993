"""Labelled crops of rendered, filmed and H.264-compressed walkers, to measure pose estimators on.

A clip is one identity, seen in one walk by one camera, in ``FRAMES`` crops; clip i of a seed is
always the same. ``tools/measure_movenet.py`` calls this; it is no part of the package.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np

from gaitext.errors import ConfigError
from gaitext.execution import map_sequences, raise_failures
from gaitext.extraction.crops import crop_images
from gaitext.geometry import apply, crop_boxes, crop_matrices
from gaitext.pose import HEATMAP_SHAPE
from gaitext.store import atomic_path
from gaitext.video import read_frames, write_video
from gaitext.walkers import COVARIATES, CameraSettings, Scene, Walk, WalkerSettings, make_walk

#: Crops of a clip.
FRAMES = 10
#: Height of the person in the frame, pixels.
HEIGHTS = (65.0, 330.0)
#: x264's constant rate factor: from hardly visible losses to blocks.
CRF = (16.0, 37.0)


@dataclass(frozen=True)
class Crops:
    """Crops and where their joints are.

    Attributes:
        images: uint8 [N, 3, 256, 192] RGB.
        joints: float32 [N, 17, 2], heatmap pixels.
        visibility: float32 [N, 17]: 0 … 1 as in :class:`~gaitext.walkers.Walk`, -1 outside the frame.
        boxes: float32 [N, 4]: the person's box, x, y, w, h in heatmap pixels.
        crf: float32 [N], how much the clip was compressed.
    """

    images: np.ndarray
    joints: np.ndarray
    visibility: np.ndarray
    boxes: np.ndarray
    crf: np.ndarray

    def __len__(self) -> int:
        return len(self.joints)


def collect(folder: str | Path, seed: int, clips: int, workers: int) -> Crops:
    """Make the clips that ``folder`` lacks, and read all of them."""
    folder = Path(folder) / f"seed-{seed}"
    files = [folder / f"{clip:05d}.npz" for clip in range(clips)]
    missing = [clip for clip, file in enumerate(files) if not file.is_file()]
    outcomes = map_sequences(partial(_write_clip, folder, seed), missing, workers=workers, label="clips")
    raise_failures(outcomes, "clips")
    parts: dict[str, np.ndarray] = {}
    for number, file in enumerate(files):
        with np.load(file) as clip:
            for field in fields(Crops):
                array = clip[field.name]
                # Filled in place: the images are gigabytes.
                whole = parts.setdefault(field.name, np.empty((clips * FRAMES, *array.shape[1:]), array.dtype))
                whole[number * FRAMES : (number + 1) * FRAMES] = array
    return Crops(**parts)


def _write_clip(folder: Path, seed: int, clip: int) -> None:
    crops = make_clip(seed, clip)
    with atomic_path(folder / f"{clip:05d}.npz") as temporary:
        np.savez(temporary, **{field.name: getattr(crops, field.name) for field in fields(Crops)})


def make_clip(seed: int, clip: int) -> Crops:
    """Clip number ``clip``: one person nobody else in this seed is, in a place of their own."""
    rng = np.random.default_rng((seed, clip))
    walk = _draw_walk(seed, clip, rng)
    scene = Scene(walk, seed)
    crf = float(rng.uniform(*CRF))
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "clip.mp4"
        write_video(video, (scene.frame(t)[0] for t in range(len(walk))), crf=crf, preset="veryfast")
        frames = [frame for _, frame in read_frames(video)]
    crops = crop_boxes(_jittered(walk.boxes, rng), scale=float(rng.uniform(1.15, 1.35)))
    images = [crop_images(frame, crop[None])[0] for frame, crop in zip(frames, crops)]
    matrices = crop_matrices(crops, *HEATMAP_SHAPE[1:])
    x, y = walk.keypoints[..., 0], walk.keypoints[..., 1]
    inside = (x > -0.5) & (x < walk.camera.width - 0.5) & (y > -0.5) & (y < walk.camera.height - 0.5)
    corners = np.concatenate((walk.boxes[:, :2], walk.boxes[:, :2] + walk.boxes[:, 2:]), 1).reshape(-1, 2, 2)
    corners = apply(matrices, corners - 0.5)  # box edges are pixel edges
    return Crops(
        images=np.stack([np.rint(image.numpy() * 255).astype(np.uint8) for image in images]),
        joints=apply(matrices, walk.keypoints).astype(np.float32),
        visibility=np.where(inside, walk.visibility, -1).astype(np.float32),
        boxes=np.concatenate((corners[:, 0], corners[:, 1] - corners[:, 0]), 1).astype(np.float32),
        crf=np.full(len(walk), crf, np.float32),
    )


def _draw_walk(seed: int, clip: int, rng: np.random.Generator) -> Walk:
    for _ in range(50):
        settings = WalkerSettings(
            frames=FRAMES, fps=float(rng.choice((5, 8, 12, 25))), seed=seed, camera=draw_camera(rng), box_jitter=0.01
        )
        kind, view = str(rng.choice(sorted(COVARIATES))), f"{rng.integers(360):03d}"
        try:
            return make_walk(settings, clip + 1, kind, view)
        except ConfigError:  # the path leaves the frame: another camera
            continue
    raise ConfigError(f"clip {clip} finds no camera that sees it", where="walker_crops")


def draw_camera(rng: np.random.Generator) -> CameraSettings:
    """A camera that sees a person HEIGHTS pixels high, somewhere in the frame."""
    person = float(np.exp(rng.uniform(*np.log(HEIGHTS))))
    distance = float(rng.uniform(3.5, 12))
    focal = person * distance / 1.68
    height = int(rng.choice([h for h in (240, 288, 360, 480) if h > 1.1 * person]))
    width = int(height * rng.choice((4 / 3, 16 / 9))) // 2 * 2
    elevation = float(rng.uniform(0.4, 3.0))
    # Looks at the middle of the body, then past it by up to what the frame leaves free.
    aside = float(rng.uniform(-0.45, 0.45)) * (height - person) / focal
    reach = 0.5 if rng.random() < 0.3 else 0.3  # to the frame's border, where limbs are cut off
    return CameraSettings(
        width=width,
        height=height,
        focal=focal,
        distance=distance,
        elevation=elevation,
        tilt=float(np.degrees(np.arctan2(elevation - 0.9, distance) + np.arctan(aside))),
        roll=float(np.clip(rng.normal(0, 7), -25, 25)),
        offset=float(rng.uniform(-reach, reach)) * width * distance / focal,
    )


def _jittered(boxes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Boxes as a worse detector draws them: moved by 3 % of their height, 6 % larger or smaller."""
    height = boxes[:, 3:]
    centre = boxes[:, :2] + boxes[:, 2:] / 2 + 0.03 * height * rng.standard_normal((len(boxes), 2))
    size = boxes[:, 2:] * np.exp(0.06 * rng.standard_normal((len(boxes), 2)))
    return np.concatenate((centre - size / 2, size), 1)
