"""Compare fast and obvious ways of making walkers: drawing heatmaps, and drawing bodies.

Run: python tools/bench_walkers.py [--frames 60] [--repeats 5]
Prints frames per second of both ways, their ratios, and frames per second of whole walks: heatmaps,
frames in pixels (320 × 240, a body about 150 high), and their encoding.
"""

# ruff: noqa: T201 (what it prints is what it is for)
from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gaitext.pose import HEATMAP_SHAPE
from gaitext.video import write_video
from gaitext.walkers import CameraSettings, Scene, VideoSettings, WalkerSettings, make_walk, observe
from gaitext.walkers.camera import camera_axes
from gaitext.walkers.observation import render_heatmaps
from gaitext.walkers.solids import Solids, draw

FILMED = CameraSettings(width=320, height=240, focal=320.0, distance=3.9, elevation=1.1)
KINDS = ("nm-01", "bg-01", "cl-01")


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


def naive_draw(solids: Solids, camera: CameraSettings, steps: int = 24) -> np.ndarray:
    """The obvious way: every pixel's ray against a row of spheres along every solid, [H, W]."""
    x = (np.arange(camera.width) - (camera.width - 1) / 2) / camera.focal
    y = (np.arange(camera.height) - (camera.height - 1) / 2) / camera.focal
    local = np.stack((*np.meshgrid(x, y), np.ones((camera.height, camera.width))), -1)
    rays = local @ camera_axes(camera)
    eye = np.array([0.0, 0.0, camera.elevation])
    nearest, piece = np.full(rays.shape[:2], np.inf), np.full(rays.shape[:2], -1)
    for p, (start, end, radii, axis, stretch) in enumerate(
        zip(solids.start, solids.end, solids.radii, solids.axis, solids.stretch)
    ):
        squeeze = np.eye(3) + (1 / stretch - 1) * np.outer(axis, axis)
        direction = rays @ squeeze
        square = (direction**2).sum(-1)
        for share in np.linspace(0, 1, steps):
            centre = (start + share * (end - start) - eye) @ squeeze
            middle = (direction @ centre) / square
            inside = (radii @ (1 - share, share)) ** 2 - (centre @ centre - middle**2 * square)
            enters = middle - np.sqrt(np.maximum(inside, 0) / square)
            hit = (inside > 0) & (enters < nearest)
            nearest, piece = np.where(hit, enters, nearest), np.where(hit, p, piece)
    return piece


def rate(work: Callable[[], object], frames: int, repeats: int) -> float:
    """Frames per second of the fastest of ``repeats`` runs after a first one."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return frames / min(times)


def bench_heatmaps(frames: int, repeats: int) -> None:
    settings = WalkerSettings(frames=frames)
    walk = make_walk(settings, 1, "nm-01", "090")
    seen = observe(walk, settings)
    sigma = np.full(seen.scores.shape, 2.0)
    arguments = (seen.peaks, seen.scores, sigma)
    worst = np.abs(render_heatmaps(*arguments).astype(float) - naive(*arguments).astype(float)).max()
    fast = rate(lambda: render_heatmaps(*arguments), frames, repeats)
    slow = rate(lambda: naive(*arguments), frames, repeats)
    print(f"separable profiles   {fast:8.0f} frames/s")
    print(f"grid for each joint  {slow:8.0f} frames/s")
    print(f"ratio                {fast / slow:8.1f}   (greatest difference {worst:.1e})")
    whole = rate(lambda: observe(make_walk(settings, 1, "nm-01", "090"), settings), frames, repeats)
    print(f"make_walk + observe  {whole:8.0f} frames/s")


def bench_pixels(frames: int, repeats: int) -> None:
    frames = min(frames, 40)  # of a longer walk the camera would see the middle only
    settings = WalkerSettings(frames=frames, camera=FILMED)
    for kind in KINDS:
        walk = make_walk(settings, 1, kind, "054")
        scene = Scene(walk, 0)
        high = walk.boxes[:, 3].mean()
        whole = rate(lambda scene=scene: [scene.frame(t) for t in range(frames)], frames, repeats)  # type: ignore[misc]
        first = rate(lambda walk=walk: Scene(walk, 0), 1, repeats)  # type: ignore[misc]
        print(f"Scene.frame {kind:8} {whole:8.0f} frames/s   (body {high:.0f} high; Scene() {1000 / first:.0f} ms)")
    solids = [scene.figure.solids(t) for t in range(frames)]
    agree = np.mean([(naive_draw(s, FILMED) >= 0) == scene.silhouette(t) for t, s in enumerate(solids[:3])])
    fast = rate(lambda: [draw(s, FILMED) for s in solids], frames, repeats)
    slow = rate(lambda: naive_draw(solids[0], FILMED), 1, 1)
    print(f"closed form in boxes {fast:8.0f} frames/s")
    print(f"spheres, all rays    {slow:8.1f} frames/s")
    print(f"ratio                {fast / slow:8.1f}   (silhouettes agree on {agree:.2%} of pixels)")
    images = [scene.frame(t)[0] for t in range(frames)]
    video = VideoSettings()
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        encoded = rate(
            lambda: write_video(film, images, crf=video.crf, preset=video.preset, threads=1), frames, repeats
        )
        size = film.stat().st_size / frames
    print(f"encoding             {encoded:8.0f} frames/s   ({size / 1000:.1f} KB a frame)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    bench_heatmaps(options.frames, options.repeats)
    bench_pixels(options.frames, options.repeats)


if __name__ == "__main__":
    main()
