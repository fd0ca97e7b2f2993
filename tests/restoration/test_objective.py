"""The objective against the chain written out, and what it must leave alone."""

import numpy as np
import pytest
import torch

from gaitext.errors import ConfigError, ShapeError
from gaitext.extraction import crop_images
from gaitext.models import FBCNN
from gaitext.pose import TorchEstimator, decode_heatmaps, load_estimator, soft_argmax
from gaitext.restoration import CorrectionObjective
from gaitext.restoration.objective import fit_to_input, rescaled
from gaitext.restoration.terms import gaussian_heatmaps


def corrector(seed: int = 0) -> FBCNN:
    torch.manual_seed(seed)
    return FBCNN(channels=(4, 6), blocks=1, embedding_size=5).freeze_all_but_reconstruction()


@pytest.fixture(scope="module")
def estimator():
    return load_estimator("movenet:lightning", device="cpu")


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(2, 3, 256, 192, generator=generator)
    targets = torch.rand(2, 17, 2, generator=generator) * 150
    weights = (torch.rand(2, 17, generator=generator) > 0.3).float()
    return images, targets, weights


def test_loss_is_the_sum_of_all_distances(estimator, batch):
    images, targets, weights = batch
    network = corrector()
    output = CorrectionObjective(network, estimator, heatmap_weight=2.0)(images, targets, weights)
    maps = estimator.heatmaps(network(images, 0.5))
    places = soft_argmax(maps) * 4 + 1.5  # a heatmap's pixel is four pixels wide, its centre at 1.5
    total = apart = 0.0
    for n in range(2):
        for v in range(17):
            if weights[n, v]:
                total += (places[n, v] - targets[n, v]).abs().sum().item()
                y, x = torch.meshgrid(torch.arange(64.0), torch.arange(48.0), indexing="ij")
                at = (targets[n, v] - 1.5) / 4
                peak = torch.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 8)
                apart += (maps[n, v] - peak).square().sum().item()
    apart /= maps.numel()
    assert float(output.losses["coordinates"]) == pytest.approx(total, rel=1e-4)
    assert float(output.losses["heatmaps"]) == pytest.approx(apart, rel=1e-4)
    assert float(output.losses["loss"]) == pytest.approx(total + 2 * apart, rel=1e-4)
    assert torch.allclose(output.keypoints[..., 2], maps.amax((-2, -1)), rtol=1e-4)
    assert torch.allclose(output.keypoints[..., :2], places, atol=1e-3)


def test_only_the_reconstruction_part_gets_gradients(estimator, batch):
    network = corrector()
    objective = CorrectionObjective(network, estimator)
    objective(*batch).losses["loss"].backward()
    reconstruction = {id(p) for p in network.reconstruction_parameters()}
    for name, parameter in objective.named_parameters():
        assert name.startswith("corrector.")
        assert (parameter.grad is not None) == (id(parameter) in reconstruction), name
    assert all(p.grad is None for p in estimator.network.parameters())
    assert not estimator.network.training
    assert not objective.train().estimator.network.training


def test_what_has_no_weight_may_hold_anything(estimator, batch):
    images, targets, weights = batch
    objective = CorrectionObjective(corrector(), estimator, heatmap_weight=1.0)
    wanted = objective(images, targets, weights).losses["loss"]
    spoiled = torch.where(weights[..., None] > 0, targets, torch.nan)
    assert torch.equal(objective(images, spoiled, weights).losses["loss"], wanted)


def test_without_corrector_it_is_the_estimator(estimator, batch):
    output = CorrectionObjective(None, estimator)(batch[0])
    assert torch.equal(output.heatmaps, estimator.heatmaps(batch[0]))
    assert output.losses == {}
    assert torch.equal(output.corrected, batch[0])


def test_bytes_are_images(estimator):
    images = torch.randint(256, (1, 3, 256, 192), dtype=torch.uint8)
    objective = CorrectionObjective(corrector(), estimator)
    assert torch.equal(objective(images).heatmaps, objective(images.float() / 255).heatmaps)


def test_native_windows_are_corrected_before_they_are_resized(estimator):
    images, network = torch.rand(1, 3, 60, 40), corrector()
    corrected = CorrectionObjective(network, estimator, correct_at="native").correct(images)
    assert torch.allclose(corrected, fit_to_input(network(images, 0.5), (256, 192)), atol=1e-5)


def test_an_estimator_without_gradients_is_refused(estimator):
    class Onnx:
        input_size, heatmap_size, differentiable, settings = (256, 192), (64, 48), False, {"estimator": "onnx"}

    with pytest.raises(ConfigError, match="no gradients"):
        CorrectionObjective(corrector(), Onnx())
    CorrectionObjective(None, Onnx())  # the baseline needs none
    with pytest.raises(ConfigError, match="input or native"):
        CorrectionObjective(None, estimator, correct_at="both")


def test_fitting_is_what_cutting_a_3_4_crop_of_the_window_gives():
    window = np.random.default_rng(0).integers(0, 256, (600, 400, 3), dtype=np.uint8)
    fitted = fit_to_input(torch.from_numpy(window).permute(2, 0, 1)[None].float() / 255, (256, 192))
    cut = crop_images(window, np.array([[-25.0, 0.0, 450.0, 600.0]]))
    # At the border of the picture torch shares the filter's weights anew; cutting goes on in black.
    assert torch.allclose(fitted[..., 2:-2, :], cut[..., 2:-2, :], atol=1e-5)
    assert (fitted[..., :10] == 0).all()
    assert (fitted[..., -10:] == 0).all()
    with pytest.raises(ShapeError):
        fit_to_input(torch.zeros(3, 4, 4), (256, 192))


def test_gaussians_are_decoded_where_they_were_put():
    points = torch.tensor([[[10.25, 20.0], [30.0, 40.75]]])
    found = decode_heatmaps(gaussian_heatmaps(points, (64, 48)).numpy())
    assert found[..., :2] == pytest.approx(points.numpy(), abs=0.01)
    there = rescaled(points, (64, 48), (256, 192))
    assert torch.allclose(rescaled(there, (256, 192), (64, 48)), points, atol=1e-5)


def test_mixed_precision_leaves_the_estimator_alone(estimator, batch):
    images = batch[0]
    with torch.autocast("cpu", torch.bfloat16):
        output = CorrectionObjective(None, estimator)(images)
        mixed = CorrectionObjective(corrector(), estimator)(images).heatmaps
    assert torch.equal(output.heatmaps, estimator.heatmaps(images))
    assert mixed.dtype == torch.float32


def test_statistics_that_are_left_in_the_estimator_do_not_move(batch):
    class Normalised(torch.nn.Module):
        """BatchNorm before any convolution, which cannot be folded away."""

        def __init__(self):
            super().__init__()
            self.norm = torch.nn.BatchNorm2d(3)
            self.head = torch.nn.Conv2d(3, 17, 4, stride=4)

        def forward(self, x):
            return self.head(self.norm(x))

    kept = TorchEstimator(
        Normalised(), input_size=(256, 192), mean=[0.0] * 3, std=[1.0] * 3, settings={}, where="test", device="cpu"
    )
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in kept.network.modules())
    before = {name: value.clone() for name, value in kept.network.state_dict().items()}
    network = corrector()
    objective = CorrectionObjective(network, kept).train()
    optimizer = torch.optim.SGD([p for p in objective.parameters() if p.requires_grad], 1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        loss = objective(*batch).losses["loss"]
    loss.backward()
    optimizer.step()
    assert any((p.grad != 0).any() for p in network.reconstruction_parameters())
    assert before.keys() == kept.network.state_dict().keys()
    assert all(torch.equal(value, before[name]) for name, value in kept.network.state_dict().items())
