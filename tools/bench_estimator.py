"""Crops a second of the bundled estimator, by batch size: OMP_NUM_THREADS=2 python tools/bench_estimator.py"""

# ruff: noqa: T201 (what it prints is what it is for)
from __future__ import annotations

import argparse
import statistics
import time

import torch

from gaitext.pose import load_estimator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 16, 32, 64, 128])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each batch size")
    options = parser.parse_args()
    estimator = load_estimator("bundled", device=options.device, precision=options.precision)
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    for batch in options.batches:
        images = torch.rand(batch, 3, 256, 192)
        with torch.inference_mode():
            estimator.heatmaps(images)
            taken = []
            ends = time.perf_counter() + options.seconds
            while len(taken) < 3 or time.perf_counter() < ends:
                begun = time.perf_counter()
                estimator.heatmaps(images)  # copied back to the CPU, which waits for a GPU
                taken.append(time.perf_counter() - begun)
        best, median = (batch / seconds for seconds in (min(taken), statistics.median(taken)))
        print(f"batch {batch:4d}: {best:6.0f} crops/s at best, {median:6.0f} median")


if __name__ == "__main__":
    main()
