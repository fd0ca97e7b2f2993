"""A small data set as `gaitext extract` leaves it: heatmaps, poses and silhouettes of five people."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gaitext.store import write_leaf, write_partition

PEOPLE = ["001", "002", "003", "004", "005"]
STEMS = ["0_heatmaps", "1_poses", "2_poses_frame", "3_boxes", "4_silhouettes"]


def write_own(
    out: Path,
    people: list[str] = PEOPLE,
    types: tuple[str, ...] = ("nm-01", "nm-02", "bg-01"),
    views: tuple[str, ...] = ("000", "090"),
    stems: list[str] = STEMS,
    train: int = 3,
) -> Path:
    """Write ``out/sequences`` and ``out/partition.json``, in which the first ``train`` people train."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:64, :48]
    for person in people:
        body = generator.normal(size=(17, 2)) * 4 + np.stack((np.full(17, 24), np.linspace(6, 58, 17)), -1)
        for kind in types:
            for view in views:
                joints = body + generator.normal(size=(int(generator.integers(6, 10)), 17, 2))
                away = (x - joints[..., 0, None, None]) ** 2 + (y - joints[..., 1, None, None]) ** 2
                poses = np.concatenate((joints, np.ones((*joints.shape[:2], 1))), -1).astype(np.float32)
                silhouettes = np.zeros((len(joints), 64, 64), np.uint8)
                silhouettes[:, 4:60, 22:42] = 255
                silhouettes[generator.random(silhouettes.shape) < 0.05] = 255
                arrays = {
                    "0_heatmaps": np.exp(-away / 8).astype(np.float16),
                    "1_poses": poses,
                    "2_poses_frame": poses * np.float32([5, 5, 1]) + np.float32([100, 100, 0]),
                    "3_boxes": np.tile(np.float32([100, 100, 240, 320]), (len(joints), 1)),
                    "4_silhouettes": silhouettes,
                }
                write_leaf(out / "sequences", person, kind, view, {stem: arrays[stem] for stem in stems})
    write_partition(out / "partition.json", people[:train], people[train:])
    return out
