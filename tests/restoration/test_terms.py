"""Each term against the slow obvious way, its gradient where the paper's has none, and settings that make no sense."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gaitext.errors import ConfigError, DataError, ShapeError
from gaitext.models import FBCNN
from gaitext.pose import load_estimator, soft_argmax
from gaitext.restoration import CorrectionObjective
from gaitext.restoration.terms import (
    ObjectiveSettings,
    TermSettings,
    gaussian_heatmaps,
    heatmap_distance,
    missing_mass,
    pixel_distance,
)


def maps(*, seed: int = 0, size: tuple[int, int] = (16, 12)) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, 17, *size, generator=generator, dtype=torch.float64)


def slow_mass(heatmap: Tensor, x: float, y: float, temperature: float, radius: float) -> float | None:
    """−log of the mass near a joint, pixel by pixel; None where no pixel is near."""
    peak = max(0.05, float(heatmap.max()))
    shares = {}
    for row in range(heatmap.shape[0]):
        for column in range(heatmap.shape[1]):
            shares[row, column] = math.exp(float(heatmap[row, column]) / (temperature * peak))
    near = [share for (row, column), share in shares.items() if math.hypot(column - x, row - y) <= radius]
    return -math.log(sum(near) / sum(shares.values())) if near else None


@pytest.mark.parametrize(("temperature", "radius"), [(0.2, 2.0), (0.05, 2.0), (0.1, 0.75)])
def test_missing_mass_is_what_is_not_near_the_joint(temperature: float, radius: float) -> None:
    heatmaps = maps()
    generator = torch.Generator().manual_seed(4)
    targets = torch.rand(2, 17, 2, generator=generator, dtype=torch.float64) * torch.tensor([16.0, 20.0]) - 2.1
    weights = torch.rand(2, 17, generator=generator).round(decimals=1)
    total = counted = 0.0
    for n in range(2):
        for v in range(17):
            x, y = targets[n, v].tolist()
            missing = slow_mass(heatmaps[n, v], x, y, temperature, radius)
            if missing is not None:
                total += float(weights[n, v]) * missing
                counted += float(weights[n, v])
    assert counted < float(weights.sum())  # some lie outside the map
    found = missing_mass(heatmaps, targets, weights, temperature=temperature, radius=radius)
    assert float(found) == pytest.approx(total / counted, rel=1e-5)


def test_a_peak_elsewhere_leaves_a_gradient_at_the_true_joint() -> None:
    """Eq. 1's is nothing there at the temperature that poses are decoded at; that of the mass is not."""
    heatmap = gaussian_heatmaps(torch.tensor([[[8.0, 10.0]]]), (64, 48)).requires_grad_()
    true = torch.tensor([[[38.0, 50.0]]])
    (by_place,) = torch.autograd.grad((soft_argmax(heatmap, 0.05) - true).abs().sum(), heatmap)
    (by_mass,) = torch.autograd.grad(missing_mass(heatmap, true, temperature=0.05, radius=2.0), heatmap)
    assert by_place[0, 0, 50, 38].abs() < 1e-4 * by_place.abs().max()
    assert by_mass[0, 0, 50, 38] < -0.01 * by_mass.abs().max()
    assert by_mass[0, 0, 10, 8] > 0  # the wrong peak is lowered


def test_missing_mass_agrees_with_finite_differences() -> None:
    heatmaps = maps(size=(6, 5))[:1, :2]
    targets = torch.tensor([[[2.2, 3.1], [torch.nan, 0.0]]], dtype=torch.float64)
    weights = torch.tensor([[1.0, 0.0]])
    # The peak's height has no gradient: the highest pixels stay what they are.
    heatmaps[:, :, 0, 0] = 2.0
    moved = heatmaps.clone().requires_grad_()
    missing_mass(moved, targets, weights, temperature=0.3, radius=1.5).backward()
    assert moved.grad is not None
    assert not moved.grad[0, 1].any()
    for row, column in ((3, 2), (1, 4), (5, 0)):
        ends = []
        for step in (1e-2, -1e-2):
            other = heatmaps.clone()
            other[0, 0, row, column] += step
            ends.append(float(missing_mass(other, targets, weights, temperature=0.3, radius=1.5)))
        assert float(moved.grad[0, 0, row, column]) == pytest.approx((ends[0] - ends[1]) / 2e-2, rel=2e-2, abs=1e-4)


def test_without_any_joint_nothing_is_missing() -> None:
    heatmaps = maps().requires_grad_()
    loss = missing_mass(heatmaps, torch.full((2, 17, 2), torch.nan), torch.zeros(2, 17), temperature=0.1, radius=2)
    loss.backward()
    assert float(loss) == 0
    assert heatmaps.grad is not None
    assert not heatmaps.grad.any()


def test_distances_of_heatmaps_and_of_pictures() -> None:
    one, other = maps(seed=1), maps(seed=2)
    apart = sum(float((one[n, v] - other[n, v]).square().sum()) for n in range(2) for v in range(17)) / 34
    assert float(heatmap_distance(one, other)) == pytest.approx(apart, rel=1e-5)
    black, grey = torch.zeros(2, 3, 4, 5), torch.full((2, 3, 4, 5), 0.25)
    assert float(pixel_distance(black, grey)) == 0.25
    with pytest.raises(ShapeError):
        heatmap_distance(one, other[:1])
    with pytest.raises(ShapeError):
        pixel_distance(black, grey[..., :4])


def test_the_temperature_falls_geometrically() -> None:
    settings = TermSettings(temperature=0.05, temperature_start=0.2)
    assert [settings.temperature_at(share) for share in (0, 0.5, 1)] == pytest.approx([0.2, 0.1, 0.05])
    assert TermSettings(temperature=0.07).temperature_at(0) == 0.07


@pytest.fixture(scope="module")
def estimator():
    return load_estimator("movenet:lightning", device="cpu", precision="float32")


def test_the_objective_adds_the_terms_up(estimator) -> None:
    generator = torch.Generator().manual_seed(3)
    worse, better = torch.rand(2, 2, 3, 256, 192, generator=generator).unbind()
    targets = torch.rand(2, 17, 2, generator=generator) * 180
    torch.manual_seed(0)
    network = FBCNN(channels=(4, 6), blocks=1, embedding_size=5).freeze_all_but_reconstruction()
    weights = {"coordinate_weight": 0.0, "mass_weight": 0.5, "distillation_weight": 2.0, "pixel_weight": 3.0}
    objective = CorrectionObjective(network, estimator, temperature_start=0.2, quality=0.8, **weights)
    objective.anneal(1.0)
    output = objective(worse, targets, None, better)
    with torch.no_grad():
        corrected = network(worse, 0.8)
        found, wanted = estimator.heatmaps(corrected), estimator.heatmaps(better)
        mass = missing_mass(found, (targets + 0.5) / 4 - 0.5, temperature=0.05, radius=2.0)
        distilled = (found - wanted).square().sum((-2, -1)).mean()
        pixels = (corrected - better).abs().mean()
    for name, value in (("mass", mass), ("distillation", distilled), ("pixels", pixels)):
        assert float(output.losses[name]) == pytest.approx(float(value), rel=1e-3)
    total = 0.5 * mass + 2 * distilled + 3 * pixels
    assert float(output.losses["loss"]) == pytest.approx(float(total), rel=1e-3)
    output.losses["loss"].backward()
    assert all(parameter.grad is not None for parameter in network.reconstruction_parameters())


def test_the_teacher_of_an_unchanged_original_is_content(estimator) -> None:
    torch.manual_seed(0)
    images = torch.rand(1, 3, 256, 192)
    network = FBCNN(channels=(4, 6), blocks=1, embedding_size=5).start_as_identity(0.5)
    terms = {"coordinate_weight": 0.0, "distillation_weight": 1.0, "pixel_weight": 1.0}
    losses = CorrectionObjective(network, estimator, **terms)(images, torch.zeros(1, 17, 2), None, images).losses
    assert float(losses["loss"]) < 1e-4


def test_settings_that_cannot_teach_are_refused(estimator) -> None:
    with pytest.raises(ConfigError, match="every weight is 0"):
        ObjectiveSettings.parse({"coordinate_weight": 0}, where="objective")
    with pytest.raises(ConfigError, match="mass_radius"):
        ObjectiveSettings.parse({"mass_radius": 0.5}, where="objective")
    objective = CorrectionObjective(None, estimator, distillation_weight=1.0)
    with pytest.raises(DataError, match="no original crops"):
        objective(torch.rand(1, 3, 256, 192), torch.zeros(1, 17, 2))
