"""MoveNet's networks against what TensorFlow.js makes of the published graphs, and by hand."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from gaitext.errors import CheckpointError, ConfigError, ShapeError
from gaitext.pose import movenet
from gaitext.pose.movenet import DATA, MEAN, STD, VARIANTS, MoveNet, load_movenet
from gaitext.pose.movenet_estimator import taken_cells

#: Made by tools/movenet_reference.py.
REFERENCE = np.load(Path(__file__).with_name("movenet_reference.npz"))
SIZES = {"lightning": (192, 192), "thunder": (256, 256), "multipose": (256, 192)}


@pytest.fixture(scope="module", params=sorted(VARIANTS))
def made(request: pytest.FixtureRequest) -> tuple[str, dict[str, torch.Tensor]]:
    """A variant, and its maps of the reference's picture."""
    height, width = SIZES[request.param]
    image = torch.from_numpy(REFERENCE["image"][:height, :width]).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        return request.param, load_movenet(request.param)((image - MEAN) / STD)


def test_all_maps_are_those_of_the_published_graph(made: tuple[str, dict[str, torch.Tensor]]) -> None:
    variant, maps = made
    assert {f"{variant}/{name}" for name in maps} == {
        key for key in REFERENCE if key.startswith(variant) and not key.endswith(("mean", "answer"))
    }
    for name, found in maps.items():
        # The joints' map holds ways of up to 60 cells.
        within = {"rtol": 1e-5, "atol": 1e-5 if name in movenet.PROBABILITIES else 3e-4}
        np.testing.assert_allclose(found[0, :, ::5, ::5], REFERENCE[f"{variant}/{name}"], **within)
        np.testing.assert_allclose(found[0].mean((1, 2)), REFERENCE[f"{variant}/{name}/mean"], **within)


@pytest.mark.parametrize("made", ["lightning", "thunder"], indirect=True)
def test_the_person_in_the_middle_is_the_published_graph_s(made: tuple[str, dict[str, torch.Tensor]]) -> None:
    """The cells taken, the places in them by the offsets, and the heatmaps there: all as the whole graph answers."""
    variant, maps = made
    ((best,), _) = taken_cells(maps["heatmaps"], maps["centres"], maps["joints"])
    height, width = maps["heatmaps"].shape[2:]
    offsets = maps["offsets"][0].flatten(1).unflatten(0, (17, 2))[torch.arange(17), :, best]
    places = (torch.stack((best // width, best % width), -1) + offsets) / height
    answer = REFERENCE[f"{variant}/answer"][0]
    np.testing.assert_allclose(places, answer[:, :2], rtol=3e-4)  # the graph's 1/48 is a float16
    np.testing.assert_allclose(maps["heatmaps"][0].flatten(1)[torch.arange(17), best], answer[:, 2], atol=1e-5)


@pytest.mark.parametrize("made", ["multipose"], indirect=True)
def test_a_box_is_the_published_graph_s(made: tuple[str, dict[str, torch.Tensor]]) -> None:
    _, maps = made
    height, width = maps["centres"].shape[2:]
    best = int(maps["centres"].argmax())
    size, way = (maps[name][0].flatten(1)[:, best] for name in ("box_sizes", "box_offsets"))
    middle = torch.tensor([best // width, best % width]) + way
    sides = torch.tensor([height, width])
    corners = torch.cat(((middle - size / 2) / sides, (middle + size / 2) / sides)).clamp(0, 1)
    np.testing.assert_allclose(corners, REFERENCE["multipose/answer"][0, 51:55], atol=1e-5)


def test_passes_and_gradients_change_nothing(images: torch.Tensor) -> None:
    network = load_movenet("lightning")
    with torch.no_grad():
        whole = network(images)
        single = [network(image[None], ("offsets", "heatmaps")) for image in images]
    assert list(single[0]) == ["offsets", "heatmaps"]
    tracked = network(images.clone().requires_grad_(True))
    for name in single[0]:
        torch.testing.assert_close(torch.cat([maps[name] for maps in single]), whole[name], rtol=1e-4, atol=1e-4)
    for name, maps in whole.items():
        torch.testing.assert_close(tracked[name].detach(), maps, rtol=0, atol=0)


def test_gradients_are_those_of_float64(images: torch.Tensor) -> None:
    """Channels last and in passes, against channels first in float64, of every weight and of the image."""
    network = MoveNet("lightning")  # random weights: those of the graph leave half of ReLU6's units at rest
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())))
            parameter.div_(np.sqrt(max(parameter[0].numel(), 1)))
    exact = MoveNet("lightning").double()
    exact.load_state_dict({name: value.double() for name, value in network.state_dict().items()})
    small = images[:3, :, :64, :96].clone()
    found = []
    for net in (network.to(memory_format=torch.channels_last), exact):  # type: ignore[call-overload]
        given = small.to(next(net.parameters()).dtype, copy=True).requires_grad_(True)
        sum(maps.square().mean() for maps in net(given).values()).backward()
        found.append([given.grad, *(parameter.grad for parameter in net.parameters())])
    for ours, wanted in zip(*found):
        assert ours is not None
        assert (ours - wanted).norm() <= 1e-4 * wanted.norm()


def test_a_kernel_padded_is_an_image_padded_as_tensorflow_pads() -> None:
    """Of even sides TensorFlow's SAME pads, where a 3×3 kernel halves them, below and on the right only."""
    conv = MoveNet("lightning").stem
    image = torch.randn(1, 3, 64, 32, generator=torch.Generator().manual_seed(0))
    padded = F.pad(image, (0, 1, 0, 1))
    expected = F.conv2d(padded, conv.weight, conv.bias, stride=2).clamp(0, 6)
    torch.testing.assert_close(conv(image), expected)


@pytest.mark.parametrize(
    ("variant", "millions", "widths"),
    [
        ("lightning", 2.3, (32, 16, 24, 32, 64, 96, 160, 320)),
        ("thunder", 6.2, (56, 32, 40, 56, 112, 168, 280, 560)),
        ("multipose", 4.7, (48, 24, 40, 48, 96, 144, 240, 480)),
    ],
)
def test_widths_are_the_published_graph_s(variant: str, millions: float, widths: tuple[int, ...]) -> None:
    network = MoveNet(variant)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(millions * 1e6, abs=5e4)
    outputs = [network.stem.out_channels, *(block.project.out_channels for block in network.blocks)]
    assert tuple(dict.fromkeys(outputs)) == tuple(dict.fromkeys(widths))


@pytest.mark.parametrize("shape", [(1, 3, 250, 192), (1, 3, 256, 190), (1, 1, 256, 192), (3, 256, 192), (1, 3, 0, 32)])
def test_other_images_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="multiples of 32"):
        MoveNet("lightning")(torch.zeros(shape))


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"lightnin[\s\S]*lightning"):
        MoveNet("lightnin")


def test_the_record_tells_of_every_file() -> None:
    record = json.loads((DATA / "movenet.json").read_text())
    assert sorted(record["weights"]) == sorted(path.name for path in DATA.glob("*.safetensors"))
    for name, entry in record["weights"].items():
        assert entry["sha256"] == hashlib.sha256((DATA / name).read_bytes()).hexdigest()
    notice = (DATA / "NOTICE").read_text()
    assert record["package"].split(" (")[0] in notice
    assert "Apache License, Version 2.0" in notice


def test_other_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("movenet.json", "movenet-lightning.safetensors"):
        shutil.copy(DATA / name, tmp_path)
    monkeypatch.setattr(movenet, "DATA", tmp_path)
    weights = tmp_path / "movenet-lightning.safetensors"
    load_movenet("lightning")
    content: Any = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CheckpointError, match="other weights"):
        load_movenet("lightning")
    weights.unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_movenet("lightning")


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(5, 3, 256, 192, generator=torch.Generator().manual_seed(0)) / STD - MEAN / STD
