"""gaitext's GaitPT against one on torch's TransformerEncoder: python tools/bench_gaitpt.py

Same weights, runs alternated, outputs compared. The ratios are of neighbouring runs, so that what
else the machine does touches both. In evaluation the other network may use torch's fast path or
not, and any of several batch sizes: the fastest is what counts.
"""

# ruff: noqa: T201 (what it prints is what it is for)
from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path

import torch

from gaitext import checkpoints
from gaitext.execution.memory import keep_freed_memory
from gaitext.models import GaitPT

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.models.reference_gaitpt import ReferenceGaitPT

BATCHES = (1, 4, 8, 16)


def seconds(run: Callable[[], object], clock: Callable[[], float]) -> float:
    begun = clock()
    run()
    return clock() - begun


def compare(
    name: str, ours: Callable[[], object], theirs: Callable[[], object], runs: int, windows: int, clock: str
) -> None:
    """Alternate the two and print milliseconds a window and the ratio with its quartiles."""
    tick = getattr(time, clock)
    ours(), theirs()
    mine, other = [], []
    for turn in range(runs):  # who comes first changes too
        pair = [(mine, ours), (other, theirs)]
        for taken, run in pair if turn % 2 else reversed(pair):
            taken.append(seconds(run, tick))
    low, middle, high = statistics.quantiles([b / a for a, b in zip(mine, other)], n=4)
    per = [statistics.median(t) / windows * 1e3 for t in (mine, other)]
    print(
        f"{name}: {per[0]:.1f} ms a window, torch's {per[1]:.1f}; "
        f"ratio {middle:.2f} (quartiles {low:.2f} to {high:.2f}, {runs} pairs)"
    )


def pieces(network: torch.nn.Module, poses: torch.Tensor, size: int) -> torch.Tensor:
    return torch.cat([network(piece) for piece in poses.split(size)])


def fastest_batch(network: torch.nn.Module, poses: torch.Tensor) -> int:
    taken = {}
    for size in BATCHES:
        run = partial(pieces, network, poses, size)
        taken[size] = min(seconds(run, time.process_time) for _ in range(4))
    return min(taken, key=taken.__getitem__)


def inference(ours: GaitPT, theirs: ReferenceGaitPT, options: argparse.Namespace) -> None:
    poses = torch.rand(options.windows, 60, 18, 2)
    ours.eval(), theirs.eval()
    with torch.inference_mode():
        agree = (ours(poses) - theirs(poses)).abs().max().item()
        print(f"largest difference of the embeddings: {agree:.1e}")
        assert agree < 1e-5
        for fast in (True, False):
            torch.backends.mha.set_fastpath_enabled(fast)
            best = fastest_batch(theirs, poses)
            compare(
                f"inference, torch's fast path {'on' if fast else 'off'}, its best batch {best}",
                *(partial(ours, poses), partial(pieces, theirs, poses, best)),
                *(options.runs, len(poses), options.clock),
            )
        torch.backends.mha.set_fastpath_enabled(True)


def training(ours: GaitPT, theirs: ReferenceGaitPT, options: argparse.Namespace) -> None:
    poses = torch.rand(options.batch, 60, 18, 2)
    direction = torch.randn(256)

    def stepper(network: torch.nn.Module) -> Callable[[], None]:
        network.train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-6)

        def step() -> None:
            optimizer.zero_grad()
            (network(poses) @ direction).sum().backward()
            optimizer.step()

        return step

    compare(
        f"training step, {options.batch} windows",
        *(stepper(ours), stepper(theirs)),
        *(options.runs, len(poses), options.clock),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=16, help="in inference")
    parser.add_argument("--batch", type=int, default=16, help="windows of a training step")
    parser.add_argument("--runs", type=int, default=11)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--clock", default="perf_counter", help="process_time counts this process alone")
    parser.add_argument("--keep-memory", action="store_true", help="as the embedded host does")
    options = parser.parse_args()
    if options.keep_memory:
        keep_freed_memory()
    torch.manual_seed(0)
    theirs, ours = ReferenceGaitPT(), GaitPT()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, parameter.detach().mean(), 0.05)
    checkpoints.load(ours, theirs.state_dict())
    print(f"torch {torch.__version__}")
    for threads in options.threads:
        torch.set_num_threads(threads)
        print(f"-- {threads} thread{'s' * (threads > 1)}")
        inference(ours, theirs, options)
        training(deepcopy(ours), deepcopy(theirs), options)


if __name__ == "__main__":
    main()
