"""Differentiable decoding: against the slow sum, against argmax decoding on clean peaks, and its gradients."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext.errors import ConfigError, ShapeError
from gaitext.pose import decode_heatmaps, soft_argmax


def gaussians(centres: torch.Tensor, height: float = 1.0, sigma: float = 2.0, size=(64, 48)) -> torch.Tensor:
    """Heatmaps [N, 1, *size] with a peak at each centre [N, 2] (x, y)."""
    y, x = torch.meshgrid(*(torch.arange(float(length)) for length in size), indexing="ij")
    apart = (x - centres[:, 0, None, None]) ** 2 + (y - centres[:, 1, None, None]) ** 2
    return height * torch.exp(-apart / (2 * sigma**2))[:, None]


def centres(n: int, margin: float, seed: int = 0) -> torch.Tensor:
    drawn = torch.rand(n, 2, generator=torch.Generator().manual_seed(seed))
    return margin + drawn * (torch.tensor([47.0, 63.0]) - 2 * margin)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), st.integers(1, 5), st.integers(1, 5), st.sampled_from([None, 0, 1, 3]), st.floats(0.02, 2))
def test_like_the_slow_sum(seed: int, height: int, width: int, window: int | None, temperature: float) -> None:
    maps = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(seed))
    found = soft_argmax(maps, temperature, window=window)
    for n in range(2):
        for v in range(3):
            values = {(x, y): float(maps[n, v, y, x]) for y in range(height) for x in range(width)}
            (px, py), peak = max(values.items(), key=lambda item: item[1])
            if window is not None:
                across, along = min(window, px, width - 1 - px), min(window, py, height - 1 - py)
                values = {
                    (x, y): value for (x, y), value in values.items() if abs(x - px) <= across and abs(y - py) <= along
                }
            scale = temperature * max(peak, 0.05)
            weights = {place: math.exp((value - peak) / scale) for place, value in values.items()}
            total = sum(weights.values())
            expected = [sum(w * place[axis] for place, w in weights.items()) / total for axis in (0, 1)]
            assert found[n, v].tolist() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("peak", [1.0, 0.3, 0.05])
@pytest.mark.parametrize(
    ("margin", "window", "from_truth", "from_decoding"),
    [(8, None, 0.05, 0.255), (8, 5, 0.05, 0.255), (0, None, 0.10, 0.51), (0, 5, 0.5, 0.255)],
    ids=["inside", "inside, window", "everywhere", "everywhere, window"],
)
def test_agrees_with_decoding_on_clean_peaks(peak, margin, window, from_truth, from_decoding) -> None:
    truth = centres(1500, margin)
    maps = gaussians(truth, peak)
    found = soft_argmax(maps, window=window)[:, 0]
    decoded = torch.from_numpy(decode_heatmaps(maps.numpy())[:, 0, :2])
    assert (found - truth).abs().max() < from_truth
    assert (found - decoded).abs().max() < from_decoding
    # What decoding itself makes of them, which bounds how well the two can agree.
    assert (decoded - truth).abs().max() < (0.251 if margin else 0.5)


def test_a_peak_in_the_corner_is_in_the_corner() -> None:
    corners = torch.tensor([[0.0, 0.0], [47.0, 0.0], [0.0, 63.0], [47.0, 63.0]])
    maps = gaussians(corners)
    assert (soft_argmax(maps)[:, 0] - corners).abs().max() < 0.1
    assert torch.equal(soft_argmax(maps, window=5)[:, 0], corners)
    np.testing.assert_array_equal(decode_heatmaps(maps.numpy())[:, 0, :2], corners.numpy())


def test_a_window_leaves_other_peaks_out() -> None:
    both = gaussians(torch.tensor([[12.0, 20.0]])) + gaussians(torch.tensor([[40.0, 50.0]]), 0.98)
    between = soft_argmax(both)[0, 0]
    assert 20 < between[0] < 35
    assert (soft_argmax(both, window=6)[0, 0] - torch.tensor([12.0, 20.0])).abs().max() < 0.05


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 999), st.floats(0.1, 50), st.sampled_from([None, 4]))
def test_scale_does_not_matter_and_mirrors_mirror(seed: int, scale: float, window: int | None) -> None:
    maps = torch.rand(1, 4, 9, 7, generator=torch.Generator().manual_seed(seed)) + 0.5
    found = soft_argmax(maps, window=window)
    torch.testing.assert_close(soft_argmax(maps * scale, window=window), found, atol=1e-3, rtol=0)
    mirrored = soft_argmax(maps.flip(-1), window=window)
    torch.testing.assert_close(mirrored[..., 0], 6 - found[..., 0], atol=1e-3, rtol=0)
    torch.testing.assert_close(mirrored[..., 1], found[..., 1], atol=1e-3, rtol=0)


def test_gradients_are_those_of_the_sum() -> None:
    generator = torch.Generator().manual_seed(1)
    maps = torch.rand(1, 2, 5, 4, generator=generator, dtype=torch.float64) + 0.5

    def with_fixed_peak(values: torch.Tensor) -> torch.Tensor:
        # The height by which temperatures are scaled is a constant in the derivative.
        peak = maps.flatten(-2).amax(-1)[..., None, None]
        weights = torch.softmax((values / (0.3 * peak)).flatten(-2), -1).unflatten(-1, (5, 4))
        x = (weights.sum(-2) * torch.arange(4)).sum(-1)
        return torch.stack((x, (weights.sum(-1) * torch.arange(5)).sum(-1)), -1)

    ours, slow = maps.clone().requires_grad_(), maps.clone().requires_grad_()
    direction = torch.randn(1, 2, 2, generator=generator)
    (soft_argmax(ours, 0.3) * direction).sum().backward()
    (with_fixed_peak(slow) * direction).sum().backward()
    assert ours.grad is not None
    torch.testing.assert_close(ours.grad, slow.grad, atol=1e-5, rtol=1e-4)
    assert ours.grad.abs().min() > 0


def test_descending_the_distance_moves_the_peak() -> None:
    maps = (
        gaussians(torch.tensor([[12.0, 20.0]]), 0.9) + gaussians(torch.tensor([[30.0, 40.0]]), 0.6)
    ).requires_grad_()
    target = torch.tensor([30.0, 40.0])
    optimiser = torch.optim.SGD([maps], lr=1e-3)
    for _ in range(200):
        optimiser.zero_grad()
        (soft_argmax(maps, 0.2)[0, 0] - target).abs().sum().backward()
        optimiser.step()
    assert np.abs(decode_heatmaps(maps.detach().numpy())[0, 0, :2] - target.numpy()).max() < 2


def test_flat_and_negative_maps_have_finite_places_and_gradients() -> None:
    for value in (0.0, -3.0):
        maps = torch.full((1, 2, 6, 4), value, requires_grad=True)
        found = soft_argmax(maps)
        torch.testing.assert_close(found[0, 0], torch.tensor([1.5, 2.5]))
        found.sum().backward()
        assert maps.grad is not None
        assert maps.grad.isfinite().all()


def test_half_precision_is_computed_in_single() -> None:
    truth = centres(50, 3)
    maps = gaussians(truth)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = soft_argmax(maps)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, soft_argmax(maps))
    assert (soft_argmax(maps.half())[:, 0] - truth).abs().max() < 0.1


def test_what_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"\[64, 48\]"):
        soft_argmax(torch.zeros(64, 48))
    with pytest.raises(ConfigError, match="temperature 0"):
        soft_argmax(torch.zeros(1, 4, 4), 0)
    with pytest.raises(ConfigError, match="window -1"):
        soft_argmax(torch.zeros(1, 4, 4), window=-1)
