"""Whether BatchNorms can be fixed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gaitext.models.folding import unsettled


def test_counts_the_batches_that_statistics_have_seen() -> None:
    network = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3, track_running_stats=False))
    for _ in range(3):
        network(torch.rand(4, 1, 2, 2))
    warning = unsettled(network)
    assert warning is not None
    assert "1 of 1 BatchNorms have seen 3 batches" in warning
    for _ in range(47):
        network(torch.rand(4, 1, 2, 2))
    assert unsettled(network) is None


def test_statistics_without_a_count_are_taken_for_settled() -> None:
    norm = nn.BatchNorm1d(2)
    assert unsettled(norm) is not None
    norm.running_mean.add_(1)
    assert unsettled(norm) is None
    assert unsettled(nn.LayerNorm(2)) is None


@pytest.mark.parametrize("batches", [1, 200])
def test_fixed_too_early_it_does_not_normalise(batches: int) -> None:
    """What the warning is about: features of standard deviation 100 stay large, or do not."""
    generator = torch.Generator().manual_seed(0)
    norm = nn.BatchNorm1d(4)
    for _ in range(batches):
        norm(100 * torch.randn(256, 4, generator=generator))
    found = float(norm.eval()(100 * torch.randn(256, 4, generator=generator)).std().detach())
    assert (unsettled(norm) is None) == (found < 1.1)
