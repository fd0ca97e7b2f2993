"""Videos of dotted people whose joints are known, for the whole path from pixels to peaks."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gaitext.video import write_video
from tests.pose.networks import COLOURS

#: Where the joints are in a person's box, in shares of its width and height.
JOINTS = np.array([(0.12 + 0.19 * (v % 5), 0.14 + 0.24 * (v // 5)) for v in range(17)])
SIZE = (240, 320)  # of the frames, height and width


def box(person: int, index: int) -> np.ndarray:
    """x, y, w, h of a person's box in a frame (counted from 0)."""
    return np.array([20.0 + 150 * person + 0.75 * index, 30.0 + 0.5 * index, 90.0, 130.0])


def joints(person: int, index: int) -> np.ndarray:
    """[17, 2], x, y in frame pixels (integers are pixel centres)."""
    x, y, w, h = box(person, index)
    return np.array([x, y]) + JOINTS * (w, h) - 0.5


def frame(index: int, people: int = 2, hidden: tuple[int, ...] = ()) -> np.ndarray:
    """RGB uint8: discs of radius 4.5 on grey, with antialiased edges."""
    image = np.full((*SIZE, 3), 127.5)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    for person in range(people):
        for (cx, cy), colour in zip(joints(person, index), COLOURS):
            if index not in hidden:
                share = np.clip(5 - np.hypot(x - cx, y - cy), 0, 1)[..., None]
                image = image * (1 - share) + 255 * colour * share
    return image.round().astype(np.uint8)


def make_video(path: Path, frames: int = 24, people: int = 2, hidden: tuple[int, ...] = ()) -> Path:
    write_video(path, (frame(i, people, hidden) for i in range(frames)), crf=4, preset="ultrafast")
    return path


def make_boxes(path: Path, frames: int = 24, people: int = 2) -> Path:
    """A MOT file with tracks 1, 2, …."""
    rows = [[i + 1, person + 1, *box(person, i), 1] for i in range(frames) for person in range(people)]
    path.write_text("\n".join(",".join(f"{value:g}" for value in row) for row in rows) + "\n")
    return path


class Counting:
    """An estimator that counts crops and gives every joint the same peak; slow if asked to be."""

    input_size = (256, 192)
    differentiable = False

    def __init__(self, score: float = 0.9, delay: float = 0.0, name: str = "counting") -> None:
        self.settings: dict[str, Any] = {"estimator": name, "shape": (1, 2)}
        self.score, self.delay, self.seen = score, delay, 0

    def heatmaps(self, images: torch.Tensor) -> torch.Tensor:
        time.sleep(self.delay)
        self.seen += len(images)
        maps = torch.zeros(len(images), 17, 64, 48)
        maps[:, :, 20, 10] = self.score
        return maps


class Dying(Counting):
    """Kills its process at its second batch, once for each ``folder``."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, self.batches = folder, 0

    def heatmaps(self, images: torch.Tensor) -> torch.Tensor:
        self.batches += 1
        if self.batches == 2:
            try:
                (self.folder / "died").mkdir()
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().heatmaps(images)
