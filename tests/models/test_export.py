"""What torch.export follows and onnxruntime runs gives the networks' numbers, at sizes that were not traced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gaitext.errors import ConfigError
from gaitext.models import FBCNN, GaitBase, GaitHeat, GaitPT, OcclusionEvaluator, RGGait
from gaitext.models.export import export_onnx, export_program, onnx_difference
from gaitext.models.pgha import PoseGuidedAlignment

PT = {"frames": 10, "dims": (8, 8, 16, 16), "depths": (1, 1, 1, 1), "heads": 4, "embedding_size": 8}


def gaitheat() -> GaitHeat:
    return GaitHeat(class_num=5, channels=(4, 4, 8, 8), embedding_size=4, bins=8)


def fbcnn() -> FBCNN:
    return FBCNN(channels=(4, 6, 8), blocks=1, embedding_size=5)


def gaitbase() -> GaitBase:
    return GaitBase(class_num=3, channels=(4, 4, 8, 8), embedding_size=6)


#: Network, frames of the example, and other shapes that its program must take.
CASES: dict[str, Any] = {
    "GaitHeat": (gaitheat, None, [(1, 1, 17, 64, 48), (3, 11, 17, 64, 48)]),
    "GaitPT": (lambda: GaitPT(**PT), None, [(1, 10, 18, 2), (5, 10, 18, 2)]),
    "GaitPT, short": (lambda: GaitPT(**PT), 7, [(3, 7, 18, 2)]),
    "GaitPT, long": (
        lambda: GaitPT(**PT, test={"mirror": "swap"}),
        25,
        [(1, 11, 18, 2), (3, 20, 18, 2), (2, 60, 18, 2)],
    ),
    "GaitBase": (gaitbase, None, [(1, 3, 64, 44), (3, 40, 64, 44)]),
    "RGGait": (
        lambda: RGGait(gaitbase(), OcclusionEvaluator(channels=(4, 4, 8))),
        None,
        [(1, 3, 64, 44), (4, 9, 64, 44)],
    ),
    "OEM": (lambda: OcclusionEvaluator(channels=(4, 4, 8)), None, [(1, 1, 64, 44), (7, 1, 32, 22)]),
    "FBCNN": (fbcnn, None, [(3, 3, 32, 24), (5, 3, 64, 48)]),
    "FBCNN, fixed": (lambda: fbcnn().fixed(0.5), None, [(1, 3, 32, 24), (5, 3, 64, 48)]),
}


def outputs(found: Any) -> list[Tensor]:
    return [found] if isinstance(found, Tensor) else list(found)


def made(case: str) -> tuple[nn.Module, int | None, list[tuple[int, ...]]]:
    torch.manual_seed(0)
    make, frames, shapes = CASES[case]
    return make().eval(), frames, shapes


@pytest.mark.parametrize("case", list(CASES))
def test_programs_give_the_networks_numbers(case: str) -> None:
    network, frames, shapes = made(case)
    program: Any = export_program(network, frames=frames)
    name = program.graph_signature.user_inputs[0]
    module = program.module()
    for shape in shapes:
        given = torch.rand(shape)
        with torch.no_grad():
            for found, wanted in zip(outputs(module(**{name: given})), outputs(network(given))):
                torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_frames_that_are_not_aligned_come_back_as_they_are() -> None:
    """Some frames lean too little, of some no spine is found, whose matrix is no number."""

    class Aligned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.alignment = PoseGuidedAlignment(gaitheat().settings.alignment)

        def forward(self, maps: Tensor, keypoints: Tensor) -> Tensor:
            return self.alignment(keypoints=keypoints)(maps)

    network, maps, keypoints = Aligned().eval(), torch.rand(6, 2, 64, 48), torch.zeros(6, 17, 3)
    keypoints[:, [5, 6], :2], keypoints[:, [11, 12], :2] = torch.tensor([24.0, 20.0]), torch.tensor([24.0, 40.0])
    keypoints[..., 2] = 1
    keypoints[1:3, [5, 6], 0] = 34.0  # leans
    keypoints[3, :, 2] = 0  # not found
    keypoints[4, :, :2] = float("nan")
    dims = {0: torch.export.Dim("n", min=1, max=99)}
    module = torch.export.export(network, (maps, keypoints), dynamic_shapes=(dims, dims)).module()
    found, wanted = module(maps, keypoints), network(maps, keypoints)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)
    assert torch.equal(found[[0, 3, 4, 5]], maps[[0, 3, 4, 5]])
    assert not torch.allclose(found[1:3], maps[1:3], atol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["GaitHeat", "GaitPT", "GaitPT, long", "OEM", "FBCNN, fixed"])
def test_onnxruntime_gives_the_networks_numbers(case: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    network, frames, _ = made(case)
    path = export_onnx(network, tmp_path / "network.onnx", frames=frames, notes={"weights": "none"})
    for seed in range(2):
        assert onnx_difference(network, path, frames=frames, seed=seed) < 1e-4
    import onnx

    written = onnx.load(path)
    assert {entry.key: entry.value for entry in written.metadata_props}["weights"] == "none"
    assert written.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "n"
    with torch.no_grad():  # so that a comparison that compares nothing would show
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter))
    assert onnx_difference(network, path, frames=frames) > 1e-4


def test_other_networks_are_refused() -> None:
    with pytest.raises(ConfigError, match="Linear is not exported"):
        export_program(nn.Linear(2, 2))
    with pytest.raises(ConfigError, match="0 frames"):
        export_program(GaitPT(**PT), frames=0)
