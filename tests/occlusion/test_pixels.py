"""Regions, labels and pixels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext.errors import ShapeError
from gaitext.occlusion import (
    OCCLUSION_TYPES,
    Occlusion,
    Occlusions,
    labels,
    occlude,
    occlude_batch,
    occluded_shares,
    region,
    regions,
)
from tests.occlusion import reference

RNG = np.random.default_rng(0)
#: One of each type, with and without stretching.
EXAMPLES = [
    Occlusion(),
    Occlusion("top", rows=0.37),
    Occlusion("top", rows=0.37, resize=True),
    Occlusion("bottom", rows=0.58),
    Occlusion("bottom", rows=0.58, resize=True),
    Occlusion("middle", rows=0.45),
    Occlusion("dynamic", width=0.55, height=0.4, speed=3.7),
    Occlusion("pole", width=0.22, height=1.0, speed=2.9),
]


def blobs(frames: int, height: int, width: int) -> np.ndarray:
    """Silhouettes of coarse blobs, 0 or 255."""
    coarse = RNG.random((frames, -(-height // 4), -(-width // 4))) > 0.4
    return (coarse.repeat(4, 1).repeat(4, 2)[:, :height, :width] * 255).astype(np.uint8)


shares = st.floats(0, 1, width=32)


@st.composite
def occlusions(draw) -> Occlusion:
    kind = draw(st.sampled_from(OCCLUSION_TYPES))
    if kind in ("top", "bottom"):
        return Occlusion(kind, rows=draw(st.floats(0, 0.99)), resize=draw(st.booleans()))
    if kind == "middle":
        return Occlusion(kind, rows=draw(shares))
    if kind in ("dynamic", "pole"):
        return Occlusion(
            kind, width=draw(shares), height=1.0 if kind == "pole" else draw(shares), speed=draw(st.floats(0, 5))
        )
    return Occlusion()


@pytest.mark.parametrize("occlusion", EXAMPLES, ids=lambda o: f"{o.type}{'-resized' * o.resize}")
@pytest.mark.parametrize("size", [(64, 48), (30, 21)])
def test_silhouettes_equal_the_slow_reference(occlusion: Occlusion, size: tuple[int, int]) -> None:
    frames = blobs(9, *size)
    expected = reference.occluded(frames, occlusion, binary=True)
    assert np.array_equal(occlude(frames, occlusion, binary=True), expected)
    assert np.array_equal(occlude(torch.from_numpy(frames), occlusion, binary=True).numpy(), expected)


@pytest.mark.parametrize("occlusion", EXAMPLES, ids=lambda o: f"{o.type}{'-resized' * o.resize}")
def test_heatmaps_equal_the_slow_reference(occlusion: Occlusion) -> None:
    heatmaps = RNG.random((4, 3, 16, 12)).astype(np.float32)
    found = occlude(heatmaps, occlusion, binary=False)
    for channel in range(3):
        expected = reference.occluded(heatmaps[:, channel], occlusion, binary=False)
        assert np.allclose(found[:, channel], expected, atol=1e-6)


def test_a_hand_worked_stretch() -> None:
    frame = np.array([[[10], [20], [40], [80]]], np.uint8)
    top = occlude(frame, Occlusion("top", rows=0.5, resize=True), binary=False)
    assert top[0, :, 0].tolist() == [40, 50, 70, 80]  # ¼ and ¾ of the way from 40 to 80
    bottom = occlude(frame, Occlusion("bottom", rows=0.5, resize=True), binary=False)
    assert bottom[0, :, 0].tolist() == [10, 12, 18, 20]  # 12.5 to the even number, 17.5 too
    assert occlude(frame, Occlusion("top", rows=0.5, resize=True), binary=True)[0, :, 0].tolist() == [0, 80, 80, 80]


def test_half_the_maximum_is_no_walker() -> None:
    frame = np.array([[[0.0], [0.0], [1.0], [2.0]]])
    assert occlude(frame, Occlusion("top", rows=0.5, resize=True), binary=True)[0, :, 0].tolist() == [0, 2, 2, 2]


def test_hand_worked_regions() -> None:
    assert region(Occlusion("top", rows=0.25), 0, 64, 48).tolist() == [0, 16, 0, 48]
    assert region(Occlusion("bottom", rows=0.25), 7, 64, 48).tolist() == [48, 64, 0, 48]
    assert region(Occlusion("middle", rows=0.5), 7, 64, 48).tolist() == [16, 48, 0, 48]
    walking = Occlusion("dynamic", width=0.5, height=0.25, speed=1.5)
    assert region(walking, [0, 1, 2, 21, 40, 1000], 64, 64).tolist() == [
        [48, 64, 0, 32],
        [48, 64, 2, 34],  # 1.5 pixels
        [48, 64, 3, 35],
        [48, 64, 32, 64],  # 31.5
        [48, 64, 60, 64],
        [48, 64, 64, 64],  # gone
    ]
    # Four times as high, and as fast.
    assert region(walking, 2, 256, 192).tolist() == [192, 256, 12, 108]
    assert region(Occlusion(), 3, 64, 64)[:2].tolist() == [0, 0]


def test_at_least_one_row_is_stretched() -> None:
    frames = np.arange(1, 9).reshape(1, 8, 1)
    assert occlude(frames, Occlusion("top", rows=0.99, resize=True), binary=False).tolist() == [[[8]] * 8]
    assert occlude(frames, Occlusion("bottom", rows=0.99, resize=True), binary=False).tolist() == [[[1]] * 8]
    assert not occlude(frames, Occlusion("top", rows=0.99), binary=False).any()


@given(occlusions(), st.integers(1, 40), st.integers(2, 70), st.integers(2, 70))
def test_amounts_are_read_off_the_pixels(occlusion: Occlusion, frames: int, height: int, width: int) -> None:
    index = np.arange(frames)
    many = Occlusions.of([occlusion]).repeat(frames)
    types, amounts = labels(many, index, height, width)
    unstretched = Occlusions.of([occlusion]).without_resize()[0]
    if not occlusion.resize:
        unstretched = occlusion
    blank = occlude(np.ones((frames, height, width), np.uint8), unstretched, binary=True)
    if occlusion.resize and round(occlusion.rows * height) == height:
        return  # one row is kept, see above
    covered = (blank == 0).reshape(frames, -1).mean(1)
    assert np.allclose(amounts, covered, atol=1e-6)
    assert np.array_equal(types > 0, covered > 0)
    assert {OCCLUSION_TYPES[i] for i in types} <= {"none", occlusion.type}
    if occlusion.type in ("top", "bottom", "middle"):
        assert np.allclose(amounts, occlusion.rows, atol=1 / height)
    assert amounts.dtype == np.float32
    assert np.array_equal(occluded_shares(regions(many, index, height, width), height, width), amounts)


KINDS = [np.uint8, np.int16, bool, np.float16, np.float32, np.float64]


@settings(max_examples=60)
@given(occlusions(), st.sampled_from(KINDS), st.booleans(), st.booleans(), st.integers(0, 2**32))
def test_type_range_and_input_are_kept_and_torch_equals_numpy(occlusion, kind, binary, channels, seed) -> None:
    rng = np.random.default_rng(seed)
    scale = 1 if kind is bool else 255
    frames = (rng.random((5, 2, 20, 14) if channels else (5, 20, 14)) * (scale + 0.9)).astype(kind)
    before = frames.copy()
    found = occlude(frames, occlusion, binary=binary)
    assert np.array_equal(frames, before)
    assert not np.shares_memory(found, frames)
    assert found.dtype == frames.dtype
    assert found.shape == frames.shape
    assert found.min() >= 0
    assert found.max() <= frames.max()
    tensor = torch.from_numpy(frames)
    other = occlude(tensor, occlusion, binary=binary)
    assert torch.equal(tensor, torch.from_numpy(before))
    assert other.dtype == tensor.dtype
    assert np.array_equal(other.numpy(), found)


@given(occlusions(), st.integers(0, 2**32))
def test_binary_silhouettes_stay_binary(occlusion: Occlusion, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for one in (np.uint8(255), np.uint8(1), np.float32(1)):
        frames = (rng.random((3, 16, 11)) > 0.5) * one
        found = occlude(frames, occlusion, binary=True)
        assert found.dtype == one.dtype
        assert set(np.unique(found)) <= {0, one}


def test_no_occlusion_changes_nothing_even_of_soft_silhouettes() -> None:
    soft = RNG.random((3, 8, 8)).astype(np.float32)
    assert np.array_equal(occlude(soft, Occlusion(), binary=True), soft)
    assert np.array_equal(occlude(soft, Occlusion("top", rows=0.0, resize=True), binary=True), soft)


@given(st.lists(st.tuples(occlusions(), st.integers(1, 6)), min_size=1, max_size=6), st.booleans())
def test_a_batch_is_its_sequences(items: list[tuple[Occlusion, int]], binary: bool) -> None:
    sequences = [RNG.random((length, 12, 9)).astype(np.float32) for _, length in items]
    alone = [occlude(s, o, binary=binary) for s, (o, _) in zip(sequences, items)]
    many = Occlusions.of([o for o, _ in items]).repeat([length for _, length in items])
    index = np.concatenate([np.arange(length) for _, length in items])
    batch = torch.from_numpy(np.concatenate(sequences))
    assert np.array_equal(occlude_batch(batch, many, index, binary=binary).numpy(), np.concatenate(alone))
    one_channel = occlude_batch(batch[:, None], many, index, binary=binary)
    assert np.array_equal(one_channel[:, 0].numpy(), np.concatenate(alone))


def test_frames_that_require_gradients_are_occluded_outside_of_them() -> None:
    frames = torch.rand(4, 8, 6, requires_grad=True)
    for occlusion in EXAMPLES:
        found = occlude(frames, occlusion, binary=False)
        found.sum().backward()
        # Every visible row counts; hidden pixels do not.
        assert frames.grad is not None
        assert torch.isfinite(frames.grad).all()
        weight = frames.grad.sum() / frames.numel()
        hidden = occluded_shares(region(occlusion, np.arange(4), 8, 6), 8, 6).mean()
        assert weight == pytest.approx(1 if occlusion.resize else 1 - hidden, abs=1e-5)
        frames.grad = None


def test_mismatched_input_is_named() -> None:
    many = Occlusions.of([Occlusion()])
    with pytest.raises(ShapeError, match=r"1 occlusions for frames of shape \(2, 3, 3\)"):
        occlude_batch(np.zeros((2, 3, 3)), many, binary=True)
    with pytest.raises(ShapeError, match="one occlusion per frame"):
        occlude_batch(np.zeros((1, 3)), many, binary=True)
