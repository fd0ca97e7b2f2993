"""Sequences made by hand, whose pictures and numbers are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gaitext.geometry import apply, crop_matrices, invert
from gaitext.making import Records
from gaitext.store import Form, write_sequence
from gaitext.video import digest

SIZE = (160, 208)  # of the frames, height and width


def peak(position: int, joint: int, size: tuple[int, int] = (64, 48)) -> tuple[int, int]:
    """Row and column of a joint's only pixel that is not 0."""
    return (7 + 3 * joint + position) % size[0], (5 + 7 * joint + 2 * position) % size[1]


def heatmaps(frames: int, joints: int = 17, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    maps = np.zeros((frames, joints, *size), np.float16)
    for t in range(frames):
        for v in range(joints):
            row, column = peak(t, v, size)
            maps[t, v, row, column] = 0.5 + 0.02 * v
    return maps


def boxes(frames: int) -> np.ndarray:
    """Crops at fractions of a pixel; the first ones leave the frame on the left."""
    x = -9.3 + 11.7 * np.arange(frames)
    return np.stack((x, 4.6 + 0.9 * np.arange(frames), np.full(frames, 97.5), np.full(frames, 130.0)), -1)


def poses(frames: int, size: tuple[int, int] = (64, 48)) -> tuple[np.ndarray, np.ndarray]:
    """In heatmap pixels and in frame pixels."""
    in_map = np.zeros((frames, 17, 3))
    for t in range(frames):
        for v in range(17):
            row, column = peak(t, v, size)
            in_map[t, v] = column, row, 0.5 + 0.02 * v
    in_frame = in_map.copy()
    in_frame[..., :2] = apply(invert(crop_matrices(boxes(frames), *size)), in_map[..., :2])
    return in_map.astype(np.float32), in_frame.astype(np.float32)


def make_leaf(
    out: Path, name: str, frames: int = 6, *, form: Form = "plain", maps: np.ndarray | None = None, posed: bool = True
) -> Path:
    leaf = out / "sequences" / name
    maps = heatmaps(frames) if maps is None else maps
    write_sequence(leaf / "0_heatmaps.pkl", maps, form)
    if posed:
        for file, sequence in zip(("1_poses", "2_poses_frame"), poses(frames, maps.shape[2:])):
            write_sequence(leaf / f"{file}.pkl", sequence)
    write_sequence(leaf / "3_boxes.pkl", boxes(frames).astype(np.float32))
    return leaf


def make_record(out: Path, name: str, film: Path, frames: str, kept: int, **changes: Any) -> Path:
    """A record as an extraction of ``film`` writes it; ``changes`` replace its entries, ``merge`` the setting."""
    made_with = {
        "video_digest": digest(film) if film.exists() else "0" * 64,
        "track": 1,
        "estimator": {"estimator": "onnx", "file": "dots.onnx"},
        "crop_scale": 1.25,
        "min_score": 0.4,
        "min_frames": 5,
        "form": "plain",
        "merge": changes.pop("merge", None),
    }
    entry = {
        "video": str(film),
        "clip": 1,
        "gaitext": "0.1.0",
        "made_with": made_with,
        "frames": frames,
        "kept": kept,
        "dropped": {"score": "3"},
        "skipped": None,
    }
    Records(out).put(name, entry | changes)
    return out / "records" / f"{name}.json"
