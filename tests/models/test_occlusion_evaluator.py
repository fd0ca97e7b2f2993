"""The occlusion evaluator against a slow reading of its description, with the published names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from gaitext import checkpoints
from gaitext.errors import CheckpointError, ConfigError, ShapeError
from gaitext.models import OcclusionEvaluator

SHAPES = json.loads((Path(__file__).parent / "oem_mimicgait.json").read_text())
ALIASES = {"fc1": "layer4.0", "fc2": "classification_head.0", "fc_amount_head": "layer_amount.0"}


def published(seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights under the published names, aliases alike."""
    generator = torch.Generator().manual_seed(seed)
    weights = {key: torch.randn(shape, generator=generator) * 0.1 for key, shape in SHAPES.items()}
    for alias, name in ALIASES.items():
        for kind in ("weight", "bias"):
            weights[f"{alias}.{kind}"] = weights[f"{name}.{kind}"].clone()
    return weights


def convolve(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    out = np.zeros((len(weight), *x.shape[1:]))
    for row in range(x.shape[1]):
        for column in range(x.shape[2]):
            out[:, row, column] = (weight * padded[:, row : row + 3, column : column + 3]).sum((1, 2, 3)) + bias
    return out


def pool(x: np.ndarray, padding: int) -> np.ndarray:
    padded = np.pad(x, ((0, 0), (padding,) * 2, (padding,) * 2), constant_values=-np.inf)
    rows, columns = (padded.shape[1] - 2) // 2 + 1, (padded.shape[2] - 2) // 2 + 1
    out = np.zeros((len(x), rows, columns))
    for row in range(rows):
        for column in range(columns):
            out[:, row, column] = padded[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].max((1, 2))
    return out


def slow(frame: np.ndarray, weights: dict[str, torch.Tensor]) -> tuple[np.ndarray, np.ndarray, float]:
    """Feature, logits and the sigmoid head of one frame [1, H, W], in float64."""
    w = {key: value.double().numpy() for key, value in weights.items()}
    x = frame.astype(float)
    for layer in (1, 2, 3):
        x = convolve(x, w[f"layer{layer}.0.weight"], w[f"layer{layer}.0.bias"])
        x = pool(np.maximum(x, 0), padding=int(layer == 3))
    feature = np.maximum(w["layer4.0.weight"] @ x.mean((1, 2)) + w["layer4.0.bias"], 0)
    logits = w["classification_head.0.weight"] @ feature + w["classification_head.0.bias"]
    score = float((w["layer_amount.0.weight"] @ feature + w["layer_amount.0.bias"])[0])
    return feature, logits, 1 / (1 + np.exp(-score))


@pytest.mark.parametrize("size", [(64, 64), (64, 44), (17, 13)])
def test_equals_the_description_with_carried_over_weights(size: tuple[int, int]) -> None:
    weights = published()
    network = checkpoints.load(OcclusionEvaluator(), weights).eval()
    frames = torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = network(frames)
    for index in range(2):
        # The published network reads 0..255, predicts what is visible, and counts none, bottom, top.
        feature, logits, visible = slow(frames[index].numpy() * 255, weights)
        np.testing.assert_allclose(found.feature[index], feature, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found.logits[index], logits[[0, 2, 1]], rtol=1e-5, atol=1e-5)
        none = 1 / np.exp(logits - logits[0]).sum()
        assert found.amount[index] == pytest.approx((1 - none) * (1 - visible), abs=1e-5)


class Release(torch.nn.Module):
    """The published network's layers under their names; called as it is trained: (type probabilities, head)."""

    def __init__(self, channels: tuple[int, int, int]) -> None:
        super().__init__()
        for layer, (inner, outer) in enumerate(zip((1, *channels), channels), 1):
            self.add_module(f"layer{layer}", torch.nn.Sequential(torch.nn.Conv2d(inner, outer, 3, padding=1)))
        self.layer4 = torch.nn.Sequential(torch.nn.Linear(channels[-1], 64))
        self.classification_head = torch.nn.Sequential(torch.nn.Linear(64, 3))
        self.layer_amount = torch.nn.Sequential(torch.nn.Linear(64, 1))

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = frames
        for layer in (self.layer1, self.layer2, self.layer3):
            x = torch.max_pool2d(layer(x).relu(), 2, 2, int(layer is self.layer3))
        feature = self.layer4(x.mean((2, 3))).relu()
        return self.classification_head(feature).softmax(1), self.layer_amount(feature).sigmoid()[:, 0]


def walkers(count: int, rng: np.random.Generator) -> np.ndarray:
    """Heads, trunks and two legs: binary [count, 64, 64]."""
    y, x = np.mgrid[:64, :64] / 64 - 0.5
    out = np.zeros((count, 64, 64))
    for frame in out:
        middle, wide, stride = rng.uniform(-0.04, 0.04), rng.uniform(0.1, 0.16), rng.uniform(0, 0.25)
        frame[((x - middle) / 0.07) ** 2 + ((y + 0.4) / 0.1) ** 2 < 1] = 1
        frame[((x - middle) / wide) ** 2 + ((y + 0.1) / 0.24) ** 2 < 1] = 1
        for side in (-1, 1):
            frame[(y > 0) & (abs(x - middle - side * stride * y) < 0.05)] = 1
    return out


def seen_part(frame: np.ndarray, share: float, kind: int) -> np.ndarray:
    """The top (kind 1) or bottom (2) ``share`` of the rows, and of the columns in the middle, filling the frame."""
    rows = round(64 * share)
    edge = (64 - rows) // 2
    cut = (frame[:rows] if kind == 1 else frame[-rows:])[:, edge : 64 - edge]
    resized = torch.nn.functional.interpolate(torch.from_numpy(cut)[None, None], (64, 64), mode="bilinear")
    return (resized[0, 0].numpy() > 0.5).astype(float)


def released(frames: np.ndarray, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Frames 0..255 as the release trains on them, its classes (none, top seen, bottom seen) and its targets."""
    kinds = rng.integers(0, 3, len(frames))
    shares = np.where(kinds == 0, 0, rng.uniform(0.4, 0.6, len(frames)))
    shown = [f if kind == 0 else seen_part(f, share, kind) for f, share, kind in zip(frames, shares, kinds)]
    return torch.tensor(np.stack(shown)[:, None] * 255).float(), torch.tensor(kinds), torch.tensor(shares).float()


@pytest.fixture(scope="module")
def trained_as_released() -> dict[str, torch.Tensor]:
    """Weights under the published names, trained the release's way."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    network, pool_ = Release((8, 16, 32)), walkers(200, rng)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(250):
        frames, kinds, targets = released(pool_[rng.integers(0, len(pool_), 24)], rng)
        probabilities, head = network(frames)
        # Cross-entropy takes the softmax again, as it does there.
        loss = torch.nn.functional.cross_entropy(probabilities, kinds) + 10 * (head - targets).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    weights = network.state_dict()
    return {**weights, **{f"fc1.{kind}": weights[f"layer4.0.{kind}"] for kind in ("weight", "bias")}}


@pytest.mark.parametrize("types", [("none", "top", "bottom"), ("bottom", "none", "top")])
def test_weights_trained_the_releases_way_tell_what_is_hidden(
    trained_as_released: dict[str, torch.Tensor], types: tuple[str, ...]
) -> None:
    """Its head says 0 of a whole walker, and the visible share of an occluded one."""
    network: OcclusionEvaluator
    network = checkpoints.load(OcclusionEvaluator(types, channels=(8, 16, 32)), trained_as_released).eval()
    own = {"model": {f"network.{key}": value for key, value in network.state_dict().items()}}
    again = checkpoints.load(OcclusionEvaluator(types, channels=(8, 16, 32)), own).eval()
    rng = np.random.default_rng(1)
    fresh = walkers(40, rng)
    # Hidden share, and what is shown: whole, half hidden below, half above.
    cases = {"none": (0.0, 0), "bottom": (0.5, 1), "top": (0.5, 2)}
    for name, (hidden, kind) in cases.items():
        shown = fresh if kind == 0 else np.stack([seen_part(frame, 1 - hidden, kind) for frame in fresh])
        frames = torch.tensor(shown[:, None]).float()
        with torch.no_grad():
            found = network(frames)
            assert torch.equal(again(frames).amount, found.amount)
            several = network.sequences(frames, [30, 10])
        assert (found.logits.argmax(1) == types.index(name)).float().mean() > 0.95
        assert found.amount.mean() == pytest.approx(hidden, abs=0.05), name
        assert several.amount[1] == pytest.approx(float(found.amount[30:].mean()), abs=1e-6)


def test_its_own_weights_read_0_to_1_and_predict_what_is_hidden() -> None:
    weights = published(2)
    network = checkpoints.load(OcclusionEvaluator(), weights)
    network.published.zero_()
    frames = torch.rand(1, 1, 16, 16)
    feature, _, hidden = slow(frames[0].numpy(), weights)
    found = network(frames)
    np.testing.assert_allclose(found.feature[0].detach(), feature, rtol=1e-5, atol=1e-5)
    assert found.amount[0].item() == pytest.approx(hidden, abs=1e-5)


def test_published_weights_keep_their_flag_and_fit_the_order_of_the_types() -> None:
    weights = published()
    network = checkpoints.load(OcclusionEvaluator(types=("top", "none", "bottom")), weights)
    assert network.published == 1
    head = weights["fc2.weight"]
    assert torch.equal(network.type_head.weight, head[[2, 0, 1]])
    again = checkpoints.load(OcclusionEvaluator(types=("top", "none", "bottom")), network.state_dict())
    assert again.published == 1
    assert torch.equal(again.type_head.weight, network.type_head.weight)  # sorted once only
    assert checkpoints.load(OcclusionEvaluator(), OcclusionEvaluator().state_dict()).published == 0


def test_aliases_may_be_absent_and_must_agree() -> None:
    weights = published()
    for dropped in (ALIASES, ALIASES.values()):
        some = {key: value for key, value in weights.items() if not key.startswith(tuple(f"{n}." for n in dropped))}
        assert len(some) == len(weights) - 6
        network = checkpoints.load(OcclusionEvaluator(), some)
        assert torch.equal(network.embed.weight, weights["layer4.0.weight"])
    with pytest.raises(CheckpointError, match=r"'fc1\.bias' and 'layer4\.0\.bias' are two names"):
        checkpoints.load(OcclusionEvaluator(), {**weights, "layer4.0.bias": weights["fc1.bias"] + 1})
    with pytest.raises(CheckpointError, match="missing"):
        checkpoints.load(OcclusionEvaluator(), {k: v for k, v in weights.items() if "layer2" not in k})
    with pytest.raises(CheckpointError, match="middle"):
        checkpoints.load(OcclusionEvaluator(types=("none", "middle", "top")), weights)


def test_a_sequence_is_the_mean_of_its_frames_whatever_it_is_packed_with() -> None:
    network = OcclusionEvaluator(chunk=4).eval()
    lengths = [3, 7, 1]
    frames = torch.rand(11, 1, 32, 24)
    with torch.no_grad():
        packed = network.sequences(frames, lengths)
        each = network(frames)
        for index, part in enumerate(frames.split(lengths)):
            alone = network.sequences(part, [len(part)])
            for one, many in zip(alone, packed):
                torch.testing.assert_close(one[0], many[index], atol=1e-6, rtol=0)
        torch.testing.assert_close(packed.amount[1], each.amount[3:10].mean())
    assert packed.feature.shape == (3, 64)
    assert packed.logits.shape == (3, 3)


def test_wrong_sizes_and_frames_are_named() -> None:
    with pytest.raises(ConfigError, match="name each once"):
        OcclusionEvaluator(types=("none", "none"))
    with pytest.raises(ConfigError, match="three positive"):
        OcclusionEvaluator(channels=(1, 2))
    with pytest.raises(ShapeError, match="1, H, W"):
        OcclusionEvaluator()(torch.rand(2, 3, 64, 64))
