"""Poses in the middle of training."""

from __future__ import annotations

import numpy as np
import torch

from gaitext.pose import decode_heatmaps
from gaitext.restoration.validation import decode
from tests.fake_gpu import fake_gpu


def test_poses_are_decoded_as_extraction_does_in_pixels_of_the_input() -> None:
    maps = torch.rand(3, 17, 64, 48, generator=torch.Generator().manual_seed(0))
    maps[1, 4] = -1
    wanted = decode_heatmaps(maps.numpy())
    # A pixel of the heatmap is four of the input, its centre at 1.5; a joint that is not found has no place.
    wanted[..., :2] = np.where(wanted[..., 2:] > 0, wanted[..., :2] * 4 + 1.5, 0)
    found = decode(maps.requires_grad_(), (256, 192))
    assert not found.requires_grad
    np.testing.assert_array_equal(found.numpy(), wanted)
    assert found[1, 4].tolist() == [0, 0, 0]


def test_they_stay_where_the_heatmaps_are() -> None:
    with fake_gpu():
        assert decode(torch.empty(2, 17, 64, 48), (256, 192)).device.type == "cuda"
