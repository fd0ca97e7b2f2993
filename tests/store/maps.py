"""Heatmaps for tests of the store."""

from __future__ import annotations

import numpy as np


def heatmaps(frames: int = 12, channels: int = 17, seed: int = 0, noise: float = 0.0) -> np.ndarray:
    """Peaks [T, C, 64, 48] float16 of different heights and places; the last channel is empty."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :48]
    centres = generator.uniform((4, 4), (44, 60), (frames, channels, 2))
    heights = generator.uniform(0.02, 1.05, (frames, channels))
    heights[:, -1] = 0
    distance = (x - centres[..., 0, None, None]) ** 2 + (y - centres[..., 1, None, None]) ** 2
    maps = heights[..., None, None] * np.exp(-distance / 8) * (distance < 49)
    return (maps + noise * generator.standard_normal(maps.shape)).astype(np.float16)
