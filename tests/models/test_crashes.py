"""Networks of few channels on maps of any size: a step in a process of its own, which a fault of memory would end.

torch's 1×1 convolution with a stride writes beyond its memory in its backward pass when fewer than 16 channels
lie channels last (torch 2.14.1); with 8 channels of 96×72 it ended nearly every process.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

LAYERS = """
import itertools
import sys
import torch
from gaitext.models.fbcnn_layers import DownLevel, UpLevel
from gaitext.models.resnet import Stem, stage

widths, sizes = eval(sys.argv[1]), eval(sys.argv[2])
for width, (height, columns), stride in itertools.product(widths, sizes, (1, 2)):
    print(width, height, columns, stride, flush=True)
    layers = [Stem(1, width), stage(width, width, 2, stride), stage(width, 2 * width, 1, stride)]
    layers.append(UpLevel(width, width, 1) if stride == 1 else DownLevel(width, 2 * width, 1))
    for layer in layers:
        layer.to(memory_format=torch.channels_last)
        channels = 1 if isinstance(layer, Stem) else width
        x = torch.rand(1, height, columns, channels).permute(0, 3, 1, 2).requires_grad_()
        layer(x).square().sum().backward()
        assert x.grad.isfinite().all()
"""

NETWORK = """
import sys
import torch
from gaitext.models import GaitBase, GaitHeat

height, width = eval(sys.argv[2])
sizes = dict(class_num=3, channels=eval(sys.argv[1]), embedding_size=4, bins=(8,))
for network, x in (
    (GaitHeat(map_size=(height, width), **sizes), torch.rand(2, 2, 17, height, width)),
    (GaitBase(**sizes), torch.rand(2, 3, height, width)),
):
    output = network.train()(x)
    heads = output.heads.values() if isinstance(network, GaitHeat) else [output.head]
    sum(head.logits.square().sum() for head in heads).backward()
    with torch.no_grad():
        network.eval()(x)
"""


def run(script: str, *given: object, threads: int = 1) -> None:
    """Run it, in a process that checks its memory as well as glibc can."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MALLOC_PERTURB_": "165"}
    command = [sys.executable, "-X", "faulthandler", "-c", script, *map(repr, given)]
    found = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, f"after {found.stdout[-100:]}: {found.stderr[-2000:]}"


def test_layers_of_few_channels_survive() -> None:
    run(LAYERS, (4, 8, 12), ((64, 44), (96, 72), (192, 172)))


@pytest.mark.slow
def test_layers_of_any_width_survive() -> None:
    run(LAYERS, (6, 10), ((64, 48), (128, 88)), threads=2)
    run(LAYERS, (16, 24, 32, 48, 64), ((64, 44), (96, 72)), threads=2)


@pytest.mark.parametrize("size", [(96, 72), (192, 172)], ids=str)
def test_tiny_networks_survive(size: tuple[int, int]) -> None:
    """A 384×288 estimator's maps are 96×72; frames of 192×192 become 192×172."""
    for channels in ((4, 8, 12, 16), (8, 8, 16, 16)):
        run(NETWORK, channels, size)
