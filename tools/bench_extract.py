"""Compare two ways from video to heatmaps: gaitext's, and one image at a time with the same model.

Run: python tools/bench_extract.py [--estimator movenet:lightning] [--frames 200] [--repeats 3]
     python tools/bench_extract.py --estimator mmpose:td-hm_hrnet-w32_8xb64-210e_coco-256x192 --frames 24

One image at a time means what inference scripts do: decode a frame, cut the person out, run the
network as published on that one image (BatchNorm not folded, channels first), keep its heatmaps,
and pickle them at the end; with --topdown it is mmpose's own ``inference_topdown`` on every frame.
Both ways are run in turn, several times, and must give the same heatmaps. Prints frames per second,
the ratio, the greatest difference, and what each stage takes alone.
"""

# ruff: noqa: T201 (what it prints is what it is for)
from __future__ import annotations

import argparse
import copy
import pickle
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from gaitext.extraction import ExtractSettings, crop_images, extract_video, read_boxes
from gaitext.extraction.tracker import Track
from gaitext.geometry import crop_boxes
from gaitext.pose import load_estimator
from gaitext.store import read_sequence
from gaitext.video import read_frames, write_video
from gaitext.walkers import Scene, WalkerSettings, make_walk


def film(folder: Path, frames: int) -> tuple[Path, dict[int, Track]]:
    """A walker filmed in H.264, and the boxes."""
    camera = {"width": 640, "height": 480, "focal": 700, "distance": 12.0}
    walk = make_walk(WalkerSettings(frames=min(frames, 120), camera=camera), 1, "nm-01", "180")
    scene = Scene(walk, 0)
    pictures = [scene.frame(t)[0] for t in range(len(walk))]
    # Forth and back: a longer walk would leave the picture.
    shown = [t if t < len(walk) else 2 * len(walk) - 1 - t for t in (i % (2 * len(walk)) for i in range(frames))]
    write_video(folder / "walk.mp4", (pictures[t] for t in shown))
    return folder / "walk.mp4", {1: Track(1, np.arange(1, frames + 1), walk.boxes[shown].astype(float))}


def published(specification: str) -> Any:
    """The estimator with its network as published: nothing folded, channels first."""
    with mock.patch("gaitext.models.folding.fold_network", lambda network, probe: network):
        estimator: Any = load_estimator(specification)
    if hasattr(estimator, "network"):
        estimator.network = estimator.network.to(memory_format=torch.contiguous_format)
    return estimator


def one_by_one(video: Path, track: Track, estimator: Any, out: Path) -> np.ndarray:
    crops = crop_boxes(track.boxes, aspect=estimator.input_size[1] / estimator.input_size[0])
    heatmaps = []
    for index, frame in read_frames(video, frozenset((track.frames - 1).tolist())):
        with torch.no_grad():
            heatmaps.append(estimator.heatmaps(crop_images(frame, crops[index : index + 1], estimator.input_size))[0])
    stored = torch.stack(heatmaps).numpy().astype(np.float16)
    out.write_bytes(pickle.dumps(stored))
    return stored


def topdown(video: Path, track: Track, specification: str, out: Path) -> np.ndarray:
    """mmpose's inference_topdown on every frame, with the very weights that gaitext runs."""
    from mmpose.apis import inference_topdown, init_model

    from gaitext.pose import openmmlab

    config, _, checkpoint = specification.removeprefix("mmpose:").partition(":")
    file = openmmlab.find_config(config, "mmpose")
    model = init_model(
        str(file), checkpoint or None, device="cpu", cfg_options={"model.test_cfg.output_heatmaps": True}
    )
    if not checkpoint:
        model.load_state_dict(copy.deepcopy(published(specification).network.model.state_dict()))
    model.test_cfg["flip_test"] = False
    heatmaps = []
    corners = np.concatenate((track.boxes[:, :2], track.boxes[:, :2] + track.boxes[:, 2:]), 1)
    for index, frame in read_frames(video, frozenset((track.frames - 1).tolist())):
        found = inference_topdown(model, np.ascontiguousarray(frame[..., ::-1]), corners[index : index + 1])
        heatmaps.append(found[0].pred_fields.heatmaps)
    stored = torch.stack(heatmaps).numpy().astype(np.float16)
    out.write_bytes(pickle.dumps(stored))
    return stored


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--estimator", default="movenet:lightning")
    parser.add_argument("--video", type=Path, help="instead of a walker")
    parser.add_argument("--boxes", type=Path, help="of --video; the first track is used")
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--topdown", action="store_true", help="compare with mmpose's inference_topdown")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.video is None:
            video, tracks = film(folder, options.frames)
        else:
            video, tracks = options.video, read_boxes(options.boxes)
        track = tracks[min(tracks)]
        track = Track(track.id, track.frames[: options.frames], track.boxes[: options.frames])
        frames = len(track.frames)
        estimator, plain = load_estimator(options.estimator), published(options.estimator)
        settings = ExtractSettings(min_score=float("-inf"), min_frames=1)
        runs = 0

        def ours() -> np.ndarray:
            nonlocal runs
            runs += 1
            extract_video(video, {1: Track(1, track.frames, track.boxes)}, estimator, folder / f"{runs}", settings)
            return read_sequence(folder / f"{runs}/sequences/1/nm-01/000/0_heatmaps.pkl")

        def theirs() -> np.ndarray:
            if options.topdown:
                return topdown(video, track, options.estimator, folder / "one.pkl")
            return one_by_one(video, track, plain, folder / "one.pkl")

        difference = np.abs(ours().astype(np.float32) - theirs().astype(np.float32))
        fast, slow = [], []
        for _ in range(options.repeats):
            slow.append(seconds(theirs))
            fast.append(seconds(ours))
        ratios = [s / f for s, f in zip(slow, fast)]
        print(f"{frames} frames, {options.estimator}, {torch.get_num_threads()} threads, torch {torch.__version__}")
        print(f"one image at a time  {frames / statistics.median(slow):8.1f} frames/s")
        print(f"gaitext              {frames / statistics.median(fast):8.1f} frames/s")
        print(f"ratio                {statistics.median(ratios):8.2f}   ({min(ratios):.2f} to {max(ratios):.2f})")
        print(f"heatmaps differ by   {difference.max():8.1e} at most (values to {np.abs(ours()).max():.2g})")
        stages(video, track, estimator, frames)


def stages(video: Path, track: Track, estimator: Any, frames: int) -> None:
    """What each stage takes by itself, per frame."""
    crops = crop_boxes(track.boxes, aspect=estimator.input_size[1] / estimator.input_size[0])
    decoded = [frame for _, frame in read_frames(video, frozenset((track.frames - 1).tolist()))]
    batch = getattr(estimator, "batch_size", None) or 16
    images = [crop_images(frame, crop[None], estimator.input_size) for frame, crop in zip(decoded, crops)]
    batches = torch.cat(images).split(batch)
    with torch.no_grad():
        maps = torch.cat([estimator.heatmaps(part) for part in batches]).numpy().astype(np.float16)
        times = {
            "decode": seconds(lambda: list(read_frames(video))),
            "crop": seconds(lambda: [crop_images(f, c[None], estimator.input_size) for f, c in zip(decoded, crops)]),
            f"infer ({batch} a batch)": seconds(lambda: [estimator.heatmaps(part) for part in batches]),
            "write": seconds(lambda: (video.parent / "written.pkl").write_bytes(pickle.dumps(maps))),
        }
    total = sum(times.values())
    for stage, taken in times.items():
        print(f"{stage:20s} {1e3 * taken / frames:8.2f} ms a frame, {100 * taken / total:3.0f} %")


if __name__ == "__main__":
    main()
