"""The toolboxes' own, unchanged main.py trains and tests the corrector, and corrects frames for their own models.

Needs a checkout: ``OPENGAIT_ROOT=… FASTPOSEGAIT_ROOT=… pytest -m toolbox``. They are copied; the originals are not
touched.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gaitext import standalone, store
from gaitext.evaluation import evaluate_pose
from gaitext.models import FBCNN, load_fbcnn
from gaitext.pose import decode_heatmaps, load_estimator
from gaitext.toolboxes.toolbox import TOOLBOXES, Toolbox
from gaitext.transforms import ArtifactCorrection

from . import data
from .checkout import add_capture, launch, linked_copy, needs
from .test_rg_gait_toolbox import BACKBONES

OPENGAIT, FASTPOSEGAIT = TOOLBOXES
SIZES = {"channels": [4, 6], "blocks": 1, "embedding_size": 5}
TYPES = ("nm-01", "nm-02", "bg-01")
BATCH = {OPENGAIT.name: 2, FASTPOSEGAIT.name: 4}

pytestmark = [pytest.mark.toolbox, pytest.mark.slow]


@pytest.fixture(scope="module", params=[pytest.param(t, marks=needs(t), id=t.name) for t in TOOLBOXES])
def toolbox(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Toolbox, Path]]:
    with linked_copy(request.param, tmp_path_factory.mktemp("toolbox")) as root:
        yield request.param, root


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops of coarse noise, in ``gaitext correct``'s layout, with poses near those that are found in them."""
    root = tmp_path_factory.mktemp("crops")
    generator, estimator = np.random.default_rng(0), load_estimator("movenet:lightning", device="cpu")
    for identity in data.TRAIN + data.TEST:
        for kind in TYPES:
            frames = int(generator.integers(2, 6))
            crops = generator.integers(0, 256, (frames, 3, 16, 12), dtype=np.uint8).repeat(16, 2).repeat(16, 3)
            poses = decoded(estimator.heatmaps(torch.from_numpy(crops / np.float32(255))))
            poses[..., :2] += generator.normal(0, 5, (frames, 17, 2))
            poses[..., 2] = generator.random((frames, 17)) > 0.1
            boxes = np.tile(np.float32([40, 20, 110, 220]), (frames, 1))
            leaf = {"0_degraded": crops, "1_original": crops, "2_poses": poses, "3_boxes": boxes}
            store.write_leaf(root / "data", identity, kind, "000", leaf)
    store.write_json(root / "partition.json", {"TRAIN_SET": data.TRAIN, "TEST_SET": data.TEST})
    torch.manual_seed(0)
    torch.save(FBCNN(**SIZES).start_as_identity(0.5).state_dict(), root / "start.pt")
    return root


def decoded(heatmaps: torch.Tensor) -> np.ndarray:
    """Poses in pixels of the crops, of which a heatmap's pixel is four."""
    poses = decode_heatmaps(heatmaps.numpy())
    poses[..., :2] = np.where(poses[..., 2:] > 0, poses[..., :2] * 4 + 1.5, 0)
    return poses


def config(dataset: Path, batch_size: int, name: str, **trainer: Any) -> dict[str, Any]:
    cfgs = data.config(dataset, batch_size, save_name=name, fix_BN=False, **trainer)
    cfgs["data_cfg"].update(data_in_use=[True, False, True, True], dataset_name="Crops", test_dataset_name="Crops")
    cfgs["data_cfg"]["frame_threshold"] = 0
    cfgs["model_cfg"] = {
        "model": "ArtifactCorrector",
        "corrector": SIZES,
        "checkpoint": str(dataset / "start.pt"),
        "estimator": "movenet:lightning",
        "frames_per_step": 5,
        "heatmap_weight": 0.1,
        "test_frames": 8,
    }
    cfgs["loss_cfg"] = [
        {"type": "CoordinateL1Loss", "log_prefix": "coordinates", "reduction": "frame", "loss_term_weight": 1.0}
    ]
    cfgs["optimizer_cfg"]["lr"] = 1.0e-8
    lists = [{"type": "CropInput"}, {"type": "PoseInput"}, {"type": "PoseBoxInput"}]
    cfgs["trainer_cfg"]["transform"] = cfgs["evaluator_cfg"]["transform"] = lists
    cfgs["evaluator_cfg"].update(save_name=name, eval_func="evaluate_pose")
    cfgs["evaluator_cfg"]["sampler"]["frames_all_limit"] = 8
    del cfgs["evaluator_cfg"]["metric"]
    return cfgs


def checkpoint(root: Path, name: str, model: str = "ArtifactCorrector", iteration: int = 2) -> Path:
    return root / f"output/Crops/{model}/{name}/checkpoints/{name}-{iteration:05}.pt"


def expected(dataset: Path, weights: Path, input_: int = 0) -> dict[str, float]:
    """AP and L2 of the test set, each leaf by itself through the network of the checkpoint."""
    network, estimator = load_fbcnn(weights), load_estimator("movenet:lightning", device="cpu")
    gathered: dict[str, list[np.ndarray]] = {"predictions": [], "targets": [], "boxes": []}
    kinds = []
    for leaf in store.leaves(dataset / "data"):
        if leaf.identity in data.TEST:
            read = store.read_leaf(leaf)
            images = torch.from_numpy(read[input_] / np.float32(255))
            with torch.no_grad():
                gathered["predictions"].append(decoded(estimator.heatmaps(network(images, 0.5))))
            gathered["targets"].append(read[2])
            gathered["boxes"].append(read[3])
            kinds += [leaf.type] * len(images)
    result = evaluate_pose({name: np.concatenate(each) for name, each in gathered.items()})
    assert result.about["frames"] == len(kinds)
    return result.scalars


def changing_corrector(folder: Path) -> str:
    """A corrector that makes frames brighter."""
    torch.manual_seed(1)
    network = FBCNN(**SIZES).start_as_identity(0.5)
    with torch.no_grad():
        network.tail.bias.add_(0.1)
    torch.save(network.state_dict(), folder / "corrector.pt")
    return str(folder / "corrector.pt")


def test_trains_and_tests_the_corrector(
    toolbox: tuple[Toolbox, Path], dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    kind, root = toolbox
    # Two processes of OpenGait, one sequence each; one of FastPoseGait, which packs four.
    processes = BATCH[kind.name] if kind.test_batch_is_world else 1
    cfgs = config(dataset, BATCH[kind.name], "both", sync_BN=True, with_test=True)
    assert launch(root, cfgs, "train", processes) == 0
    output = capfd.readouterr()
    log = output.out + output.err
    for said in (
        "estimator movenet:lightning, frozen",
        "coordinates_l2",
        "heatmaps",
        "===Keypoint AP (OKS, %)===",
        "AP75",
    ):
        assert said in log, said
    weights, start = (torch.load(path, weights_only=True) for path in (checkpoint(root, "both"), dataset / "start.pt"))
    assert set(weights["model"]) == {f"network.corrector.{name}" for name in start}
    moved = {
        n.split(".")[0] for n, v in start.items() if not torch.equal(v, weights["model"][f"network.corrector.{n}"])
    }
    assert moved == {"head", "down", "encoder", "decoder", "up", "tail"}
    # A test needs no other file than its own checkpoint, and fills sequences of different lengths up.
    cfgs["model_cfg"]["checkpoint"] = str(tmp_path / "gone.pt")
    table = tmp_path / "table.json"
    cfgs["evaluator_cfg"].update(table=str(table), pixels="of the 256×192 crop")
    assert launch(root, cfgs, "test", processes) == 0
    known = expected(dataset, checkpoint(root, "both"))
    assert 5 < known["scalar/test_accuracy/AP"] < 95
    found = json.loads(table.read_text())["scalars"]
    assert found == pytest.approx(known, abs=2e-3)
    # The embedded host, from the toolbox's checkpoint, three sequences a pack.
    cfgs["evaluator_cfg"]["sampler"]["batch_size"] = 3
    result = standalone.test(cfgs, checkpoint=checkpoint(root, "both"), quiet=True)
    assert result.evaluation.scalars == pytest.approx(known, abs=2e-3)


def test_corrects_in_a_list_of_transforms(toolbox: tuple[Toolbox, Path], dataset: Path, tmp_path: Path) -> None:
    """Its numbers are those of leaves that were corrected beforehand."""
    kind, root = toolbox
    batch_size = 1 if kind.test_batch_is_world else 4
    path = changing_corrector(tmp_path)
    correction = {"type": "ArtifactCorrection", "checkpoint": path, "batch_size": 2}
    before = tmp_path / "corrected"
    for leaf in store.leaves(dataset / "data"):
        read = store.read_leaf(leaf)
        crops = ArtifactCorrection(path, device="cpu")(read[0])
        assert np.abs(crops.astype(int) - read[0]).max() > 10
        files = {"0_degraded": crops, "1_original": read[1], "2_poses": read[2], "3_boxes": read[3]}
        store.write_leaf(before / "data", leaf.identity, leaf.type, leaf.view, files)
    store.write_json(before / "partition.json", {"TRAIN_SET": data.TRAIN, "TEST_SET": data.TEST})
    results = []
    for name, source in (("within", dataset), ("before", before)):
        cfgs = config(source, batch_size, name)
        cfgs["model_cfg"]["checkpoint"] = str(dataset / "start.pt")
        lists = [[correction, {"type": "CropInput"}], [{"type": "PoseInput"}], [{"type": "PoseBoxInput"}]]
        if name == "before":
            del lists[0][0]
        composed = [{"type": "Compose", "trf_cfg": each} for each in lists]
        cfgs["trainer_cfg"]["transform"] = cfgs["evaluator_cfg"]["transform"] = composed
        cfgs["evaluator_cfg"]["table"] = str(tmp_path / f"{name}.json")
        assert launch(root, cfgs, "train", 1) == 0
        assert launch(root, cfgs, "test", 1) == 0
        weights = torch.load(checkpoint(root, name), weights_only=True)["model"]
        results.append((weights, json.loads((tmp_path / f"{name}.json").read_text())["scalars"]))
    for key, value in results[0][0].items():
        assert torch.equal(value, results[1][0][key]), key
    assert results[0][1] == results[1][1]


@needs(OPENGAIT)
def test_corrects_for_a_model_of_opengaits_own(tmp_path: Path, dataset: Path) -> None:
    """GaitBase on RGB frames, which OpenGait's own transform normalises after the correction."""
    path = changing_corrector(tmp_path)
    correction = {"type": "ArtifactCorrection", "checkpoint": path, "device": "auto"}
    for number, leaf in enumerate(store.leaves(dataset / "data")):
        generator = np.random.default_rng(number)
        crops = generator.integers(0, 256, (len(store.read_leaf(leaf)[0]), 3, 64, 48), dtype=np.uint8)
        for folder, frames in (("rgb", crops), ("corrected", ArtifactCorrection(path, device="cpu")(crops))):
            store.write_leaf(tmp_path / folder / "data", leaf.identity, leaf.type, leaf.view, {"0_rgb": frames})
            store.write_json(tmp_path / folder / "partition.json", {"TRAIN_SET": data.TRAIN, "TEST_SET": data.TEST})
    with linked_copy(OPENGAIT, tmp_path) as root:
        add_capture(root)
        embedded = []
        for phase, folder, list_ in (
            ("train", "rgb", [correction, {"type": "BaseRgbTransform"}]),
            ("test", "rgb", [correction, {"type": "BaseRgbTransform"}]),
            ("test", "corrected", [{"type": "BaseRgbTransform"}]),
            ("test", "rgb", [{"type": "BaseRgbTransform"}]),
        ):
            cfgs = data.config(tmp_path / folder, 1, fix_BN=False)
            backbone, _ = BACKBONES["Baseline"]
            cfgs["model_cfg"] = {"model": "Baseline", **backbone}
            cfgs["model_cfg"]["backbone_cfg"] = {**backbone["backbone_cfg"], "in_channel": 3}
            cfgs["data_cfg"]["dataset_name"] = cfgs["data_cfg"]["test_dataset_name"] = "Crops"
            cfgs["loss_cfg"] = [
                {"type": "TripletLoss", "log_prefix": "triplet", "margin": 0.2, "loss_term_weight": 1.0},
                {"type": "CrossEntropyLoss", "log_prefix": "softmax", "scale": 16, "loss_term_weight": 1.0},
            ]
            composed = [{"type": "Compose", "trf_cfg": list_}]
            cfgs["trainer_cfg"]["transform"] = cfgs["evaluator_cfg"]["transform"] = composed
            cfgs["evaluator_cfg"]["eval_func"] = "capture"
            assert launch(root, cfgs, phase, 1) == 0
            if phase == "test":
                with np.load(root / "captured.npz") as captured:
                    embedded.append(captured["embeddings"])
        np.testing.assert_allclose(embedded[0], embedded[1], atol=1e-5)
        assert np.abs(embedded[0] - embedded[2]).max() > 1e-3
