"""A few frames of a video: which are taken, and whose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gaitext.errors import DataError
from gaitext.extraction.clips import CONTENT
from gaitext.extraction.few import extract_few
from gaitext.inspect.footage import load_footage
from gaitext.video import write_video

pytest.importorskip("av")


class Middle:
    """Finds one person in the middle of every frame but the first, and a smaller one beside."""

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {"detector": "middle"}
        self.asked = 0

    def detect(self, frames: list[np.ndarray]) -> list[np.ndarray]:
        self.asked += len(frames)
        found = np.array([[2.0, 2.0, 9.0, 12.0, 0.9], [70.0, 30.0, 60.0, 90.0, 0.8]])
        return [found if self.asked > 1 else np.zeros((0, 5)) for _ in frames]


class Ones:
    """Every joint everywhere."""

    def __init__(self) -> None:
        self.input_size, self.heatmap_size, self.differentiable = (256, 192), (64, 48), False
        self.settings: dict[str, Any] = {"estimator": "ones"}

    def heatmaps(self, images: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(images), 17, 64, 48)


def test_few_frames_of_a_video(tmp_path: Path) -> None:
    video = tmp_path / "walk.mp4"
    write_video(video, np.full((9, 160, 208, 3), 90, np.uint8))
    detector, estimator = Middle(), Ones()
    leaf = extract_few(video, tmp_path, 2, content=CONTENT, estimator=estimator, detector=detector)
    assert detector.asked == 6
    footage = load_footage(leaf)
    assert footage.length == 2
    # Of 9 frames 6 are looked at, and of the 5 with somebody in them the middles of both halves are taken.
    looked = [(2 * i + 1) * 9 // 12 + 1 for i in range(6)][1:]
    assert footage.numbers.tolist() == [looked[1], looked[3]]
    assert footage.boxes is not None
    np.testing.assert_allclose(np.asarray(footage.boxes)[0], [100 - 42.1875, 75 - 56.25, 84.375, 112.5])

    class Nobody(Middle):
        def detect(self, frames: list[np.ndarray]) -> list[np.ndarray]:
            return [np.zeros((0, 5)) for _ in frames]

    with pytest.raises(DataError, match="nobody was found in 6 of its 9 frames"):
        extract_few(video, tmp_path / "b", 2, estimator=estimator, detector=Nobody())
