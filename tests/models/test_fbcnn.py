"""FBCNN against the slow reference, and what its fixed form, tiles and freezing promise."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext import checkpoints
from gaitext.errors import CheckpointError, ConfigError, ShapeError
from gaitext.models import FBCNN, Tiles, load_fbcnn
from gaitext.models.tiling import tiled
from tests.models import reference_fbcnn as reference

CHANNELS = (4, 6, 8, 10)
#: The published arrangement, three levels of four blocks, with few channels.
SMALL = {"channels": CHANNELS, "embedding_size": 5}
TINY = {"channels": (3, 4, 5), "blocks": 1, "embedding_size": 4}


def small(seed: int = 0) -> tuple[FBCNN, reference.Weights]:
    weights = reference.random_weights(reference.published_shapes(CHANNELS, 5), seed)
    network = FBCNN(**SMALL).eval()
    checkpoints.load(network, weights)
    return network, weights


def images(n: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(seed))


def test_default_construction_has_the_published_weights() -> None:
    network = FBCNN()
    shapes = reference.published_shapes()
    assert sum(p.numel() for p in network.parameters()) == 71_921_796
    published = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    renamed, _ = checkpoints._rename(published, network.state_dict(), network.published_keys, "published")
    checkpoints._check(renamed, network.state_dict(), "the published names")


def test_published_weights_load_strictly() -> None:
    network, weights = small()
    broken = {name: value for name, value in weights.items() if name != "qf_pred.8.bias"}
    with pytest.raises(CheckpointError, match=r"predictor\.mlp\.2\.bias"):
        checkpoints.load(network, broken)
    checkpoints.load(network, {f"module.{name}": value for name, value in weights.items()})


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from(["number", "each", "predicted"]), st.integers(0, 99))
def test_like_the_reference(height: int, width: int, kind: str, seed: int) -> None:
    network, weights = small(seed)
    x = images(2, height, width, seed)
    each = torch.tensor([[0.3], [0.9]])
    quality = {"number": 0.5, "each": each, "predicted": None}[kind]
    slow = {"number": torch.full((2, 1), 0.5), "each": each, "predicted": None}[kind]
    expected = reference.fbcnn(weights, x, slow).float()
    with torch.no_grad():
        torch.testing.assert_close(network(x, quality), expected, atol=1e-4, rtol=0)
    # The reference tells images, qualities and padding apart: agreeing with it means something.
    assert (reference.fbcnn(weights, x, 1 - torch.full((2, 1), 0.1)) - expected).abs().max() > 1e-3


@pytest.mark.slow
def test_the_published_sizes_like_the_reference() -> None:
    weights = reference.random_weights(reference.published_shapes())
    network = checkpoints.load(FBCNN(), weights).eval()
    x = images(1, 20, 28)
    with torch.no_grad():
        for quality in (torch.tensor([[0.5]]), None):
            expected = reference.fbcnn(weights, x, quality).float()
            torch.testing.assert_close(network(x, quality), expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(
            network.fixed(0.5)(x), reference.fbcnn(weights, x, torch.tensor([[0.5]])).float(), atol=1e-4, rtol=0
        )


def test_the_predictor_decides_where_no_quality_is_given() -> None:
    network, _ = small(3)
    x = images(2, 16, 16)
    with torch.no_grad():
        quality = network.predict_quality(x)
        assert quality.shape == (2, 1)
        assert 0 < float(quality.min()) < float(quality.max()) < 1
        torch.testing.assert_close(network(x), network(x, quality), atol=1e-6, rtol=0)


def test_a_given_quality_does_not_run_the_predictor() -> None:
    network, _ = small()
    network.predictor.forward = None  # type: ignore[method-assign, assignment]
    network(images(1, 8, 8), 0.5)
    with pytest.raises(TypeError):
        network(images(1, 8, 8))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_fixed_form_gives_the_same(dtype: torch.dtype) -> None:
    network, _ = small(1)
    x = images(3, 21, 34)
    fixed = network.fixed(0.7, dtype=dtype, batch_size=2)
    result = fixed(x)
    assert result.dtype == torch.float32
    assert result.is_contiguous()
    with torch.no_grad():
        expected = network(x, 0.7)
    error = (result - expected).square().mean().sqrt() / expected.std()
    assert error < (1e-6 if dtype == torch.float32 else 0.02)
    assert (expected - network(x, 0.2)).abs().max() > 0.01
    names = {name.split(".")[0] for name, _ in fixed.named_parameters()}
    assert names == {"head", "down", "body", "up", "tail"}
    assert not any(p.requires_grad for p in fixed.parameters())
    assert fixed(x[:0]).shape == (0, 3, 21, 34)


def test_the_fixed_form_is_a_copy_and_lets_gradients_through() -> None:
    network, _ = small(1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fixed = network.fixed(0.5)
    x = images(1, 8, 16).requires_grad_()
    fixed(x).sum().backward()
    assert x.grad is not None
    with torch.enable_grad():
        y = x.detach().clone().requires_grad_()
        network(y, 0.5).sum().backward()
    torch.testing.assert_close(x.grad, y.grad, atol=1e-4, rtol=1e-4)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def test_folding_in_training_has_the_gradients_of_modulation() -> None:
    network, _ = small(2)
    x = images(2, 16, 8)
    grads = []
    for quality in (0.5, torch.tensor([[0.5], [0.5]])):  # folded; one by one
        network.zero_grad()
        (network(x, quality) ** 2).sum().backward()
        grads.append({name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys()
    for name, grad in grads[0].items():
        scale = float(grad.abs().max())
        torch.testing.assert_close(grad, grads[1][name], atol=1e-5 * max(scale, 1), rtol=1e-3)


def test_only_the_reconstruction_trains() -> None:
    network = FBCNN(**TINY).freeze_all_but_reconstruction().train()
    trained = {name for name, p in network.named_parameters() if p.requires_grad}
    frozen = {name for name, _ in network.named_parameters()} - trained
    assert {name.split(".")[0] for name in trained} == {"head", "down", "encoder", "decoder", "up", "tail"}
    assert {name.split(".")[0] for name in frozen} == {"predictor", "embedding", "gamma", "beta"}
    assert {id(p) for p in network.reconstruction_parameters()} == {
        id(p) for name, p in network.named_parameters() if name in trained
    }
    assert network.training
    assert not any(module.training for module in (network.predictor, network.embedding, network.gamma[0], network.beta))
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    network(images(1, 8, 8), 0.5).sum().backward()
    optimiser.step()
    changed = {name for name, p in network.named_parameters() if not torch.equal(p, before[name])}
    assert changed == trained


#: Radius of what TINY sees: head 1, level 0 2, shrink, level 1 2·2, bodies 2·(2·4), and up again; with room.
SEES = 44


@settings(max_examples=10, deadline=None)
@given(st.integers(90, 260), st.integers(90, 260), st.integers(0, 40), st.sampled_from([None, 1, 3]))
def test_tiles_that_overlap_enough_are_invisible(height: int, width: int, more: int, batch_size: int | None) -> None:
    torch.manual_seed(0)
    network = FBCNN(**TINY)
    x = images(1, height, width)
    whole = network.fixed(0.5)(x)
    overlap = 3 * SEES + more
    fixed = network.fixed(0.5, tiles=Tiles(overlap + 30, overlap), batch_size=batch_size)
    torch.testing.assert_close(fixed(x), whole, atol=1e-5, rtol=0)


def test_few_pixels_of_overlap_show_near_the_seams_only() -> None:
    torch.manual_seed(0)
    network = FBCNN(**TINY)
    x = images(2, 64, 400)
    whole = network.fixed(0.5)(x)
    cut = network.fixed(0.5, tiles=Tiles(200, 24))(x)
    differs = (cut - whole).abs().amax((0, 1, 2)) > 1e-6
    assert differs.any()
    # Tiles begin at 0, 176 and 200: their edges lie at 176, 200, 376 (where the last begins, or ends).
    near = torch.zeros(400, dtype=torch.bool)
    for seam in (176, 200, 376):
        near[max(seam - SEES, 0) : seam + SEES] = True
    assert not (differs & ~near).any()


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 12), st.integers(1, 12), st.integers(2, 6), st.integers(0, 30), st.integers(1, 4), st.integers(1, 5)
)
def test_what_does_not_look_around_is_not_changed_by_tiles(
    rows: int, columns: int, size: int, overlap: int, multiple: int, batch_size: int
) -> None:
    x = images(2, rows * multiple, columns * multiple)
    size = size * multiple
    overlap = min(overlap, size - multiple)
    seen = []

    def double(part: torch.Tensor) -> torch.Tensor:
        seen.append(part.shape)
        return part[:, :2] * 2

    result = tiled(double, x, Tiles(size, overlap), multiple=multiple, batch_size=batch_size)
    torch.testing.assert_close(result, x[:, :2] * 2)
    assert all(n <= batch_size and h <= size and w <= size for n, _, h, w in seen)
    assert all(h % multiple == 0 and w % multiple == 0 for _, _, h, w in seen)


def test_what_is_refused() -> None:
    network = FBCNN(**TINY)
    with pytest.raises(ShapeError, match=r"\[2, 4, 8, 8\].*\n.*\[N, 3, H, W\]"):
        network(torch.zeros(2, 4, 8, 8))
    with pytest.raises(ShapeError, match="quality has shape"):
        network(torch.zeros(2, 3, 8, 8), torch.zeros(2))
    with pytest.raises(ConfigError, match="quality is 50"):
        network(torch.zeros(2, 3, 8, 8), 50)
    with pytest.raises(ConfigError, match="quality is -1"):
        network.fixed(-1)
    with pytest.raises(ConfigError, match=r"FBCNN\.chanels.*\n.*channels"):
        FBCNN(chanels=(3, 4))
    with pytest.raises(ConfigError, match="cannot overlap"):
        Tiles(64, 64)
    with pytest.raises(ConfigError, match="steps of 8"):
        tiled(lambda x: x, torch.zeros(1, 3, 64, 64), Tiles(32, 30), multiple=8)


def test_grey_images() -> None:
    network = FBCNN(**TINY, image_channels=1).eval()
    assert network(torch.rand(1, 1, 9, 9)).shape == (1, 1, 9, 9)


def test_a_skip_adds_the_input_and_weights_alone_say_it(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = FBCNN(**SMALL, skip=True).eval()
    plain = FBCNN(**SMALL).eval()
    plain.load_state_dict({name: value for name, value in network.state_dict().items() if name != "skip"})
    crops = images(2, 21, 13)
    with torch.no_grad():
        assert torch.allclose(network(crops, 0.5), plain(crops, 0.5) + crops, atol=1e-6)
        assert torch.allclose(network.fixed(0.5)(crops), network(crops, 0.5), atol=1e-5)
        tiled = network.fixed(0.5, tiles=Tiles(16, 8), batch_size=1)
        assert torch.allclose(tiled(crops) - crops, plain.fixed(0.5, tiles=Tiles(16, 8))(crops), atol=1e-6)
    torch.save({"model": network.state_dict()}, tmp_path / "skip.pt")
    assert load_fbcnn(tmp_path / "skip.pt").settings.skip
    assert not load_fbcnn({"model": plain.state_dict()}).settings.skip
    with pytest.raises(CheckpointError):  # of another network
        checkpoints.load(FBCNN(**SMALL), tmp_path / "skip.pt")


def test_with_a_skip_it_begins_as_the_identity_to_the_bit() -> None:
    torch.manual_seed(0)
    network = FBCNN(**SMALL, skip=True).start_as_identity()
    crops = images(2, 16, 16)
    assert torch.equal(network(crops, 0.5), crops)
    assert torch.equal(network(crops), crops)
    network(crops, 0.5).square().sum().backward()
    assert network.tail.weight.grad is not None
    assert network.tail.weight.grad.abs().min() > 0
