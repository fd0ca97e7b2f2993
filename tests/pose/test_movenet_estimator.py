"""The estimator that comes with the package: gradients, options, one person of several, and rendered walkers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext.errors import ConfigError
from gaitext.extraction.crops import crop_images
from gaitext.geometry import apply, crop_boxes, crop_matrices
from gaitext.pose import PoseEstimator, decode_heatmaps, load_estimator
from gaitext.pose.movenet import MEAN, STD, load_movenet, verified_digest
from gaitext.pose.movenet_estimator import MoveNetEstimator, expected_joints, only_in_the_middle
from gaitext.video import read_frames, write_video
from gaitext.walkers import CameraSettings, Scene, WalkerSettings, make_walk

SEED = 90_210


@pytest.fixture(scope="module", params=["lightning", "thunder"])
def estimator(request: pytest.FixtureRequest) -> MoveNetEstimator:
    return MoveNetEstimator(request.param, device="cpu")


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(3, 3, 256, 192, generator=torch.Generator().manual_seed(0))


def test_loads_by_name_and_says_what_it_is() -> None:
    loaded = load_estimator("movenet:lightning?person=all", device="cpu")
    assert isinstance(loaded, PoseEstimator)
    assert loaded.differentiable
    assert (loaded.input_size, loaded.heatmap_size) == ((256, 192), (64, 48))
    told = {"estimator": "movenet", "model": "lightning", "sha256": verified_digest("lightning"), "person": "all"}
    assert loaded.settings.items() >= told.items()
    assert json.loads(json.dumps(loaded.settings)) == loaded.settings


def test_bare_it_is_the_default_one() -> None:
    assert load_estimator("movenet", device="cpu").settings == load_estimator("movenet:thunder", device="cpu").settings


@pytest.mark.parametrize(
    ("specification", "said"),
    [
        ("movenet:multipose", "unknown MoveNet 'multipose'"),
        ("movenet:", "names no model"),
        ("movenet:thunder?person=left", "person"),
        ("movenet:lightnin", "lightning"),
    ],
)
def test_bad_specifications(specification: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_estimator(specification)


def test_what_comes_with_gaitext_is_thunder() -> None:
    assert load_estimator("bundled").settings == load_estimator("movenet").settings
    assert load_estimator("movenet").settings == load_estimator("movenet:thunder").settings


def test_heatmaps_are_the_network_s(images: torch.Tensor) -> None:
    with torch.no_grad():
        maps = load_movenet("lightning")((images - MEAN) / STD)
        alone = only_in_the_middle(maps["heatmaps"], maps["centres"], maps["joints"])
    for person, expected in (("all", maps["heatmaps"]), ("centre", alone)):
        found = load_estimator("movenet:lightning", device="cpu", person=person).heatmaps(images)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_gradients_reach_the_images_and_no_weight(estimator: MoveNetEstimator, images: torch.Tensor) -> None:
    images.requires_grad_(True)
    estimator.heatmaps(images).square().sum().backward()
    assert images.grad is not None
    assert (images.grad.abs().amax((1, 2, 3)) > 0).all()
    assert all(p.grad is None for p in estimator.network.parameters())


def test_gradients_are_those_of_finite_differences() -> None:
    network = load_estimator("movenet:lightning", device="cpu").network.double()  # type: ignore[attr-defined]
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 256, 192, generator=generator, dtype=torch.float64).requires_grad_(True)
    direction = torch.randn(image.shape, generator=generator, dtype=torch.float64)
    # One cell of each map, near its peak; the factors of a person are constants there.
    weights = (network(image).detach() > 0.5 * network(image).detach().amax((2, 3), keepdim=True)).double()
    (network(image) * weights).sum().backward()
    with torch.no_grad():
        ahead, behind = (
            (
                network.network(image + step * direction, ("heatmaps",))["heatmaps"] * factors(network, image) * weights
            ).sum()
            for step in (1e-8, -1e-8)
        )
    assert image.grad is not None
    torch.testing.assert_close((image.grad * direction).sum(), (ahead - behind) / 2e-8, rtol=1e-3, atol=1e-6)


def factors(network: torch.nn.Module, image: torch.Tensor) -> torch.Tensor:
    maps = network.network(image, ("heatmaps",))["heatmaps"]  # type: ignore[operator]
    return network(image) / maps


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_precision_moves_heatmaps_little(precision: str) -> None:
    picture = np.load(Path(__file__).with_name("movenet_reference.npz"))["image"][:, 32:224]
    images = torch.from_numpy(picture).permute(2, 0, 1)[None] / 255
    exact = load_estimator("movenet:lightning", device="cpu", person="all").heatmaps(images)
    half = load_estimator("movenet:lightning", device="cpu", person="all", precision=precision).heatmaps(images)
    assert half.dtype == torch.float32
    assert 0 < (half - exact).abs().max() < 0.2 * exact.max()  # AMX rounds bfloat16 elsewhere than AVX-512 does


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_peak_that_movenet_takes_is_the_highest_and_stays_as_it_is(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    heatmaps = torch.rand(2, 17, 16, 12, generator=generator)
    centres = torch.rand(2, 1, 16, 12, generator=generator)
    joints = 4 * torch.randn(2, 34, 16, 12, generator=generator)
    alone = only_in_the_middle(heatmaps, centres, joints)
    assert (alone <= heatmaps).all()
    for n in range(2):
        # The slow way, as the graph reads.
        cells = [(y, x) for y in range(16) for x in range(12)]
        person = max(cells, key=lambda at: centres[n, 0][at] / (np.hypot(at[0] - 8, at[1] - 6) + 1.7998046875))
        for joint in range(17):
            expected = [person[axis] + float(joints[n, 2 * joint + axis][person]) for axis in (0, 1)]
            np.testing.assert_allclose(expected_joints(centres, joints)[n, joint], expected, rtol=1e-5)
            reach = {at: np.hypot(at[0] - expected[0], at[1] - expected[1]) + 1.7998046875 for at in cells}
            taken = max(cells, key=lambda at, r=reach, m=heatmaps[n, joint]: float(m[at]) / r[at])  # type: ignore[misc]
            near = {at for at in cells if np.hypot(at[0] - taken[0], at[1] - taken[1]) <= 4}
            assert divmod(int(alone[n, joint].argmax()), 12) in near
            for at in cells[:: 1 if seed % 7 == 0 else 13]:
                factor = 1 if at in near else min(1, float(reach[taken] / reach[at]))
                assert float(alone[n, joint][at]) == pytest.approx(float(heatmaps[n, joint][at]) * factor, rel=1e-4)


@pytest.mark.parametrize(("kind", "view", "roll"), [("nm-01", "090", 0.0), ("cl-01", "144", 0.0), ("txt", "225", 12.0)])
def test_finds_the_joints_of_walkers(
    estimator: MoveNetEstimator, tmp_path: Path, kind: str, view: str, roll: float
) -> None:
    drawn = WalkerSettings(frames=8, fps=12, seed=SEED, camera=CameraSettings(roll=roll))
    walk = make_walk(drawn, 3, kind, view)
    scene = Scene(walk, SEED)
    write_video(tmp_path / "walk.mp4", (scene.frame(t)[0] for t in range(len(walk))), crf=23, preset="veryfast")
    crops = crop_boxes(walk.boxes)
    frames = read_frames(tmp_path / "walk.mp4")
    images = torch.cat([crop_images(frame, crop[None]) for (_, frame), crop in zip(frames, crops)])
    poses = decode_heatmaps(estimator.heatmaps(images).numpy())
    error = np.linalg.norm(poses[..., :2] - apply(crop_matrices(crops, 64, 48), walk.keypoints), axis=-1)
    seen = walk.visibility > 0.5
    assert error[seen].mean() < 2
    assert (poses[..., 2].mean(1) > 0.4).mean() > 0.8  # extraction keeps most frames
