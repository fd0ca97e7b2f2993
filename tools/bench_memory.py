"""Training step of the tiny GaitHeat with and without kept memory: python tools/bench_memory.py"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from pathlib import Path

import torch

from gaitext.config import load_yaml
from gaitext.execution.memory import keep_freed_memory
from gaitext.toolboxes.models import GaitHeatAdapter

TINY = Path(__file__).parent.parent / "configs" / "gaitheat" / "tiny.yaml"


def steps(keep: bool, count: int = 6) -> list[float]:
    """Seconds of each training step, in a fresh process."""
    if keep:
        keep_freed_memory()
    network = GaitHeatAdapter(load_yaml(TINY)["model_cfg"]).build()
    heatmaps = torch.rand(32, 4, 17, 64, 48)
    taken = []
    for _ in range(count + 2):
        begun = time.perf_counter()
        heads = network(heatmaps).heads.values()
        sum(h.embeddings.mean() + h.logits.mean() for h in heads).backward()
        taken.append(time.perf_counter() - begun)
    return taken[2:]


def main() -> None:
    context = multiprocessing.get_context("spawn")
    medians = {}
    for keep in (False, True):
        with context.Pool(1) as pool:
            taken = pool.apply(steps, (keep,))
        medians[keep] = statistics.median(taken)
        name = "kept" if keep else "given back"
        print(f"{name:>10}: median {medians[keep]:.3f} s, {min(taken):.3f} to {max(taken):.3f}")  # noqa: T201
    print(f"ratio: {medians[False] / medians[True]:.2f}")  # noqa: T201


if __name__ == "__main__":
    main()
