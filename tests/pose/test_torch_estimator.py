"""What torch estimators share: normalisation, gradients, flip test, folding, precision, devices."""

from typing import Any

import pytest
import torch
from torch import nn

from gaitext.errors import ConfigError, ShapeError
from gaitext.models.folding import fold_network
from gaitext.pose import PoseEstimator, TorchEstimator, mirror_heatmaps
from gaitext.skeleton import MIRROR_PAIRS

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


class Small(nn.Module):
    """Two strides of 2, with BatchNorms that do something, a skip, and a transposed convolution."""

    def __init__(self, joints: int = 17) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.SiLU())
        self.down = nn.Conv2d(8, 8, 3, 4, 1)
        self.norm = nn.BatchNorm2d(8)
        self.up = nn.ConvTranspose2d(8, 12, 4, 2, 1, bias=False)
        self.up_norm = nn.BatchNorm2d(12)
        self.skip = nn.Conv2d(8, 12, 1, 2)
        self.head = nn.Conv2d(12, joints, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        deep = self.up_norm(self.up(torch.tanh(self.norm(self.down(x)))))
        maps: torch.Tensor = self.head(deep + self.skip(x))
        return maps


def small(seed: int = 0, joints: int = 17) -> Small:
    torch.manual_seed(seed)
    network = Small(joints)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1, 0.3)
            nn.init.normal_(module.bias, 0, 0.3)
            module.running_mean.normal_(0, 0.3)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return network


def estimator(network: nn.Module | None = None, **options: Any) -> TorchEstimator:
    options = {"input_size": (64, 48), "mean": MEAN, "std": STD, "settings": {"estimator": "small"}} | options
    return TorchEstimator(network or small(), where="small", device="cpu", **options)


def by_hand(images: torch.Tensor, network: nn.Module | None = None) -> torch.Tensor:
    mean, std = (torch.tensor(value)[:, None, None] for value in (MEAN, STD))
    with torch.no_grad():
        maps: torch.Tensor = (network or small()).eval()((images - mean) / std)
    return maps


def test_a_network_to_be_trained_takes_exact_steps() -> None:
    """Its projection, 1×1 with a stride and 8 channels that lie channels last, is one that ended the process."""
    loaded = estimator(small(), trainable=True, input_size=(192, 144))
    exact = small().double().train()
    images = torch.rand(24, 3, 192, 144)
    loaded.network.train()(loaded.normalised(images)).square().sum().backward()
    exact(loaded.normalised(images).double().contiguous()).square().sum().backward()
    for ours, theirs in zip(loaded.network.state_dict().values(), exact.state_dict().values()):
        torch.testing.assert_close(ours, theirs.to(ours), atol=1e-6, rtol=1e-5)
    pairs = [(p.grad.double(), q.grad) for p, q in zip(loaded.network.parameters(), exact.parameters())]  # type: ignore[union-attr]
    whole = max(expected.norm() for _, expected in pairs)
    for found, expected in pairs:  # a bias before a BatchNorm has none
        assert (found - expected).norm() < 1e-3 * expected.norm() + 1e-5 * whole


def test_the_network_on_normalised_images() -> None:
    loaded = estimator()
    assert isinstance(loaded, PoseEstimator)
    assert loaded.heatmap_size == (16, 12)
    images = torch.rand(3, 3, 64, 48)
    heatmaps = loaded.heatmaps(images)
    assert heatmaps.dtype == torch.float32
    assert heatmaps.is_contiguous()
    assert not heatmaps.requires_grad
    torch.testing.assert_close(heatmaps, by_hand(images), rtol=1e-4, atol=1e-5)
    # BGR networks see the channels the other way round, with their means in that order.
    other = estimator(bgr=True, mean=MEAN, std=STD).heatmaps(images.flip(1))
    torch.testing.assert_close(other, heatmaps)
    assert loaded.heatmaps(images[:0]).shape == (0, 17, 16, 12)
    with pytest.raises(ShapeError, match=r"\[N, 3, 64, 48\]"):
        loaded.heatmaps(torch.rand(1, 3, 48, 64))
    with pytest.raises(ShapeError, match=r"\[1, 14, 16, 12\]"):
        estimator(small(joints=14))


def test_flip_test_is_the_mean_with_the_mirrored_image() -> None:
    images = torch.rand(2, 3, 64, 48)
    swapped = list(range(17))
    for left, right in MIRROR_PAIRS:
        swapped[left], swapped[right] = right, left
    back = by_hand(images.flip(-1))[:, swapped].flip(-1)
    expected = (by_hand(images) + back) / 2
    torch.testing.assert_close(estimator(flip_test=True).heatmaps(images), expected, rtol=1e-4, atol=1e-5)
    shifted = back.clone()
    for x in range(1, 12):
        shifted[..., x] = back[..., x - 1]
    torch.testing.assert_close(mirror_heatmaps(by_hand(images.flip(-1)), shift=True), shifted)
    moved = estimator(flip_test=True, shift_mirrored=True).heatmaps(images)
    torch.testing.assert_close(moved, (by_hand(images) + shifted) / 2, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"flip_test": True, "shift_mirrored": True, "bgr": True}])
def test_gradients_reach_the_images_as_finite_differences_say(options: dict[str, Any]) -> None:
    loaded = estimator(**options)
    assert loaded.differentiable
    assert not any(parameter.requires_grad for parameter in loaded.network.parameters())
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(2, 3, 64, 48, generator=generator).requires_grad_()
    weights = torch.randn(2, 17, 16, 12, generator=generator)
    (gradient,) = torch.autograd.grad((loaded.heatmaps(images) * weights).sum(), images)
    for _ in range(4):
        direction = torch.randn(images.shape, generator=generator)
        step = 1e-2
        with torch.no_grad():
            ahead, behind = (loaded.heatmaps(images + s * step * direction) for s in (1, -1))
        measured = ((ahead - behind).double() * weights).sum() / (2 * step)
        assert float((gradient * direction).sum()) == pytest.approx(float(measured), rel=2e-2)
    # Other images get no graph, whoever calls.
    assert loaded.heatmaps(images.detach()).grad_fn is None


def test_folding_changes_nothing_but_the_modules() -> None:
    network = small().eval()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    probe = torch.randn(2, 3, 64, 48)
    folded = fold_network(network, probe)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    with torch.no_grad():
        torch.testing.assert_close(folded(probe), network(probe), rtol=1e-4, atol=1e-5)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=0, atol=0)


class Twice(nn.Module):
    """A convolution whose output is read by more than its BatchNorm."""

    def __init__(self, shared: bool) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.shared = shared

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = self.convolution(x)
        if self.shared:  # the same convolution again, without BatchNorm
            return self.norm(made) + self.convolution(x.flip(-1))
        return self.norm(made) + made


@pytest.mark.parametrize("shared", [True, False])
def test_what_cannot_be_folded_is_left(shared: bool) -> None:
    network = Twice(shared).eval()
    nn.init.constant_(network.norm.weight, 3.0)
    assert fold_network(network, torch.randn(1, 3, 8, 8)) is network


def test_precision_and_settings() -> None:
    images = torch.rand(2, 3, 64, 48)
    exact = estimator()
    assert exact.settings == {
        "estimator": "small",
        "mean": list(MEAN),
        "std": list(STD),
        "channels": "rgb",
        "input_size": [64, 48],
        "precision": "float32",
        "flip_test": False,
    }
    for precision in ("bfloat16", "float16"):
        rough = estimator(precision=precision)
        assert rough.settings["precision"] == precision
        assert next(rough.network.parameters()).dtype == getattr(torch, precision)
        heatmaps = rough.heatmaps(images)
        assert heatmaps.dtype == torch.float32
        difference = (heatmaps - exact.heatmaps(images)).abs().max()
        assert 0 < difference < (0.1 if precision == "bfloat16" else 0.02)
    assert estimator(flip_test=True).settings != exact.settings


def test_devices_that_are_not_there() -> None:
    with pytest.raises(ConfigError, match="unknown precision 'half'"):
        estimator(precision="half")
    for device, message in (("cuda:77", "no device 'cuda:77'"), ("gpu", "unknown device"), ("meta", "unknown device")):
        with pytest.raises(ConfigError, match=message):
            TorchEstimator(small(), input_size=(64, 48), mean=MEAN, std=STD, settings={}, where="small", device=device)
