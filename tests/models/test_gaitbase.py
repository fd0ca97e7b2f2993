"""GaitBase: packs, chunks, its signature and its errors. (Equality with OpenGait's Baseline: tests/toolboxes.)"""

from __future__ import annotations

import copy

import pytest
import torch

from gaitext.errors import ConfigError, ShapeError
from gaitext.models import GaitBase, GaitBaseOutput

TINY = {"class_num": 3, "channels": (2, 2, 4, 4), "embedding_size": 5}


def test_default_construction_is_the_published_size() -> None:
    convolutions = 9 * (64 + 2 * 64 * 64 + 64 * 128 + 128 * 128 + 128 * 256 + 256 * 256 + 256 * 512 + 512 * 512)
    shortcuts = 64 * 128 + 128 * 256 + 256 * 512
    norms = 2 * (64 + 2 * 64 + 3 * (128 + 256 + 512))
    heads = 16 * 512 * 256 + 16 * 256 * (74 + 2)
    assert sum(p.numel() for p in GaitBase().parameters()) == convolutions + shortcuts + norms + heads


@pytest.mark.parametrize("width", [44, 64])
@pytest.mark.parametrize("chunk", [3, 100])
def test_packs_and_chunks_change_nothing(width: int, chunk: int) -> None:
    network = GaitBase(**TINY, chunk=chunk).eval()
    lengths = [4, 1, 6]
    frames = torch.rand(11, 64, width)
    with torch.no_grad():
        packed = network(frames[None], torch.tensor([lengths]))
        alone = torch.cat([network(part[None]) for part in frames.split(lengths)])
        five = network(frames[None, :, None], torch.tensor([lengths]))
    whole = network(frames[None], torch.tensor([lengths])).detach()  # with gradients: in one piece
    assert packed.shape == (3, 5, 16)
    for other in (alone, five, whole):
        torch.testing.assert_close(packed, other, atol=1e-5, rtol=1e-4)


def test_signature_is_the_embedding_before_the_neck_in_either_mode() -> None:
    frames = torch.rand(3, 4, 64, 44)
    network = GaitBase(**TINY)
    output = network(frames)
    assert isinstance(output, GaitBaseOutput)
    torch.testing.assert_close(network.signature(frames), output.head.embeddings)
    network.eval()
    with torch.no_grad():
        assert torch.equal(network.signature(frames), network(frames))
        behind = GaitBase(**TINY, inference="bnneck").eval()
        behind.load_state_dict(network.state_dict())
        torch.testing.assert_close(behind(frames), network.head.neck(network(frames))[0])


@pytest.mark.parametrize("lengths", [None, [5, 3, 12]])
def test_in_training_statistics_are_the_whole_batchs_with_and_without_gradients(lengths: list[int] | None) -> None:
    frames = torch.rand(4, 5, 64, 44) if lengths is None else torch.rand(1, 20, 64, 44)
    network = GaitBase(**TINY, chunk=3)
    twin = copy.deepcopy(network)
    expected = network.signature(frames, lengths)
    with torch.no_grad():
        found = twin.signature(frames, lengths)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(twin.state_dict()[name], value, atol=1e-6, rtol=1e-5)
    # As an RG-Gait holds it: its layers alone are in training.
    network.training = False
    with torch.no_grad():
        torch.testing.assert_close(network(frames, lengths), expected.detach(), atol=1e-5, rtol=1e-5)


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ConfigError, match="did you mean 'channels'"):
        GaitBase(chanels=(1, 1, 1, 1))
    with pytest.raises(ShapeError, match=r"\[n, T, H, W\]"):
        GaitBase(**TINY)(torch.rand(1, 2, 3, 64, 44))
    with pytest.raises(ShapeError, match="become maps of 15"):
        GaitBase(**TINY)(torch.rand(1, 2, 60, 44))
