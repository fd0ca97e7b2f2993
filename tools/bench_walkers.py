"""Compare two ways of drawing heatmaps: separable profiles, and a grid for every joint.

Run: python tools/bench_walkers.py [--frames 60] [--repeats 5]
Prints frames per second of both, their ratio, and frames per second of making whole walks.
"""

# ruff: noqa: T201 (what it prints is what it is for)
from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from gaitext.pose import HEATMAP_SHAPE
from gaitext.walkers import WalkerSettings, make_walk, observe
from gaitext.walkers.observation import render_heatmaps


def naive(peaks: np.ndarray, scores: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """The obvious way: one exponential for every pixel of every joint."""
    _, height, width = HEATMAP_SHAPE
    y, x = np.mgrid[:height, :width]
    heatmaps = np.zeros((*scores.shape, height, width), dtype=np.float16)
    for frame, joint in np.ndindex(*scores.shape):
        dx = (x - peaks[frame, joint, 0]) / sigma[frame, joint]
        dy = (y - peaks[frame, joint, 1]) / sigma[frame, joint]
        near = (np.abs(dx) <= 3.5) & (np.abs(dy) <= 3.5)
        heatmaps[frame, joint] = np.where(near, scores[frame, joint] * np.exp(-0.5 * (dx**2 + dy**2)), 0.0)
    return heatmaps


def rate(work: Callable[[], object], frames: int, repeats: int) -> float:
    """Frames per second of the fastest of ``repeats`` runs after a first one."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return frames / min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    settings = WalkerSettings(frames=options.frames)
    walk = make_walk(settings, 1, "nm-01", "090")
    seen = observe(walk, settings)
    sigma = np.full(seen.scores.shape, 2.0)
    arguments = (seen.peaks, seen.scores, sigma)
    worst = np.abs(render_heatmaps(*arguments).astype(float) - naive(*arguments).astype(float)).max()
    fast = rate(lambda: render_heatmaps(*arguments), options.frames, options.repeats)
    slow = rate(lambda: naive(*arguments), options.frames, options.repeats)
    print(f"separable profiles   {fast:8.0f} frames/s")
    print(f"grid for each joint  {slow:8.0f} frames/s")
    print(f"ratio                {fast / slow:8.1f}   (greatest difference {worst:.1e})")
    whole = rate(lambda: observe(make_walk(settings, 1, "nm-01", "090"), settings), options.frames, options.repeats)
    print(f"make_walk + observe  {whole:8.0f} frames/s")


if __name__ == "__main__":
    main()
