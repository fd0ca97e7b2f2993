"""FBCNN at a fixed quality factor: as published against ours, same weights, same images, in turn.

As published: every image goes through the quality predictor, whose answer is then replaced by the
given one, and γ and β are applied to the feature maps; channels first. Ours is ``FBCNN.fixed``.

    OMP_NUM_THREADS=2 python tools/bench_fbcnn.py --rounds 9
"""

# ruff: noqa: T201 (what it prints is what it is for)
from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from gaitext import checkpoints
from gaitext.models import FBCNN


class Published(nn.Module):
    """The published order of operations around our modules' weights."""

    def __init__(self, network: FBCNN) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, quality: float) -> Tensor:
        network = self.network
        encoded, skips = network._encode(images)
        network.predictor(encoded)
        x = network.decoder(encoded)
        modulation = network.modulation(images.new_full((1, 1), quality))
        for level in reversed(range(len(network.up))):
            gamma, beta = (value[..., None, None] for value in modulation[level])
            up = network.up[level]
            x = up.grow(x + skips[level + 1])
            for block in up.blocks:
                x = x + (gamma * block.conv2(torch.relu_(block.conv1(x))) + beta)
        return network.tail(x + skips[0])[..., : images.shape[2], : images.shape[3]]


def scaled(network: FBCNN) -> FBCNN:
    """Random weights under which values neither vanish nor explode, as those of a trained network."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            module.weight.data *= 0.3
    return network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", help="fbcnn_color.pth; random ones without")
    parser.add_argument("--size", type=int, nargs=2, default=[256, 192], metavar=("H", "W"))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--wall", action="store_true", help="wall time rather than CPU time")
    options = parser.parse_args()
    torch.manual_seed(0)
    network = FBCNN().eval()
    network = (checkpoints.load(network, options.weights) if options.weights else scaled(network)).to(options.device)
    images = torch.rand(options.batch, 3, *options.size, device=options.device)
    published, quality = Published(network), 0.5
    ours, half = network.fixed(quality), network.fixed(quality, dtype=torch.bfloat16)
    runs: dict[str, Callable[[], Tensor]] = {
        "as published": lambda: published(images, quality),
        "FBCNN(images, quality)": lambda: network(images, quality),
        "FBCNN.fixed(quality)": lambda: ours(images),
        "… in bfloat16": lambda: half(images),
    }
    with torch.inference_mode():
        expected = published(images, quality)
        # CPU seconds of all threads: a machine that others use, too, changes them less than wall time.
        clock = time.perf_counter if options.wall or options.device != "cpu" else time.process_time
        print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, {list(images.shape)}, {options.device}")
        taken: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(options.rounds):
            for name, run in runs.items():
                begun = clock()
                run()
                if options.device != "cpu":
                    torch.cuda.synchronize()
                taken[name].append(clock() - begun)
        for name, run in runs.items():
            ratios = sorted(a / b for a, b in zip(taken["as published"], taken[name]))
            quarter = len(ratios) // 4
            print(
                f"{name:24} {min(taken[name]):7.3f} s at best, {statistics.median(taken[name]):7.3f} s median; "
                f"ratio {statistics.median(ratios):.2f} ({ratios[quarter]:.2f} to {ratios[-1 - quarter]:.2f}, "
                f"middle half); differs by {(run() - expected).abs().max():.1e} of {expected.abs().max():.1f}"
            )


if __name__ == "__main__":
    main()
