"""FastPoseGait's own main.py on packs of few frames: what a pack gives is what each sequence alone gives.

Its own cut of packs, along dimension 2, would take channels, rows or joints from packs of fewer frames than there are
of those. Training sees such packs, too. The corrector, which reads crops, is tested in packs in
test_artifact_corrector_toolbox. Needs a checkout: ``FASTPOSEGAIT_ROOT=… pytest -m toolbox``. It is copied; the original
is not touched.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gaitext import checkpoints, evaluation, geometry, store, transforms
from gaitext.toolboxes import parts
from gaitext.toolboxes.adapter import HostInputs
from gaitext.toolboxes.toolbox import TOOLBOXES

from . import data
from .checkout import add_capture, launch, needs

pytestmark = [pytest.mark.toolbox, pytest.mark.slow, needs(TOOLBOXES[1])]

#: Frames of the sequences, one after the other: packs of four hold 5 to 23 frames, most packs a sequence of one.
LENGTHS = (1, 1, 2, 1, 3, 1, 4, 2, 1, 12, 8, 1)
PACK = 4
KINDS = data.TEST_TYPES
#: By how much a pack may differ; outputs have to spread over sequences by ten times as much.
TOLERANCE = 1e-5
LEAF = ("0_heatmap", "1_poses", "2_poses_frame", "3_boxes", "4_silhouettes")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """People as heatmaps, poses in the heatmaps' pixels and in the frame's, crop boxes and silhouettes."""
    root, generator = tmp_path_factory.mktemp("few"), np.random.default_rng(0)
    rows = np.array([8, 6, 6, 7, 7, 16, 16, 24, 24, 32, 32, 34, 34, 46, 46, 58, 58])
    number = 0
    y, x = np.mgrid[:64, :64]
    for identity in data.TRAIN + data.TEST:
        joints = np.stack((24 + generator.normal(0, 5, 17), rows + generator.normal(0, 2, 17)), -1)
        wide = generator.uniform(6, 16)
        for kind in KINDS[:3] if identity in data.TRAIN else KINDS:
            for view in data.VIEWS:
                frames = LENGTHS[number % len(LENGTHS)]
                number += 1
                poses = np.ones((frames, 17, 3), np.float32)
                poses[..., :2] = joints + generator.normal(0, 2, (frames, 17, 2))
                boxes = np.float32([100, 50, 96, 128]) + generator.uniform(0, 9, (frames, 4)).astype(np.float32)
                to_frame = geometry.invert(geometry.crop_matrices(boxes, 64, 48))
                in_frame = poses.copy()
                in_frame[..., :2] = geometry.apply(to_frame, poses[..., :2])
                centre = 32 + generator.normal(0, 2, (frames, 1, 1))
                shapes = ((x - centre) / wide) ** 2 + ((y - 32) / 30) ** 2 < 1
                maps = data.heatmaps(generator, frames, joints)
                leaf = dict(zip(LEAF, (maps, poses, in_frame, boxes, shapes.astype(np.uint8) * 255)))
                store.write_leaf(root / "data", identity, kind, view, leaf)
    store.write_json(root / "partition.json", {"TRAIN_SET": data.TRAIN, "TEST_SET": data.TEST})
    return root


def transform(name: str, **arguments: Any) -> dict[str, Any]:
    return {"type": name, **arguments}


HEATMAPS = [transform("HeatmapInput")]
GAITHEAT = {"model": "GaitHeat", "class_num": 3, "channels": [4, 4, 8, 8], "embedding_size": 8}
ONE = {"type": "TripletLoss", "margin": 0.2, "loss_term_weight": 1.0, "log_prefix": "triplet"}
# Smaller ones can be born dead, and say the same of everything.
EVALUATOR = {"channels": [4, 8, 8], "feature_size": 16}
OCCLUSION = [{"type": "OcclusionLoss", "log_prefix": "occlusion", "loss_term_weight": 1.0}]
OTHER = {"type": "CrossEntropyLoss", "scale": 16, "loss_term_weight": 1.0, "log_prefix": "softmax"}


@dataclass(frozen=True)
class Case:
    """A model, which of a leaf's files it reads, and what each goes through."""

    model: dict[str, Any]
    files: dict[str, list[dict[str, Any]]]
    losses: list[dict[str, Any]] | None = None


CASES = {
    "GaitHeat": Case(GAITHEAT, {"0_heatmap": HEATMAPS}),
    "GaitHeat, poses in the frame's pixels": Case(
        {**GAITHEAT, "alignment": {"keypoints": "poses", "pose_pixels": "frame"}},
        {"0_heatmap": HEATMAPS, "2_poses_frame": [transform("PoseInput")], "3_boxes": [transform("PoseBoxInput")]},
    ),
    "GaitHeat, merged offline": Case(
        {**GAITHEAT, "alignment": {"keypoints": "matrices", "merge": "offline"}},
        {
            "0_heatmap": [*HEATMAPS, transform("HeatmapMerge")],
            "1_poses": [transform("PoseInput"), transform("PoseToAlignment")],
        },
    ),
    "GaitPT": Case(
        {"model": "GaitPT", "frames": 6, "dims": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "embedding_size": 8},
        {"1_poses": [transform("PoseInput"), transform("PoseNormalize", size=48), transform("PoseOrder")]},
        [{**ONE, "type": "AllTripletsLoss"}],
    ),
    "GaitBase": Case(
        {**GAITHEAT, "model": "GaitBase"}, {"4_silhouettes": [transform("SilhouetteInput")]}, [ONE, OTHER]
    ),
    **{
        f"RGGaitOEM on {what}": Case({"model": "RGGaitOEM", **EVALUATOR}, {file: [step]}, OCCLUSION)
        for what, file, step in (
            ("heatmaps", "0_heatmap", HEATMAPS[0]),
            ("silhouettes", "4_silhouettes", transform("SilhouetteInput", cut=0)),
            ("poses", "1_poses", transform("PoseInput")),
        )
    },
    "RGGait": Case({"model": "RGGait", "class_num": 3}, {"0_heatmap": HEATMAPS}, [ONE, OTHER]),
    "MimicGait": Case({"model": "MimicGait"}, {"0_heatmap": HEATMAPS}, [{**ONE, "type": "AllTripletsLoss"}]),
}


def config(dataset: Path, case: Case, name: str) -> dict[str, Any]:
    cfgs = data.config(dataset, PACK, save_name=name, fix_BN=False)
    cfgs["data_cfg"]["data_in_use"] = [file in case.files for file in LEAF]
    cfgs["model_cfg"] = case.model
    cfgs["loss_cfg"] = case.losses or cfgs["loss_cfg"]
    composed = [transform("Compose", trf_cfg=steps) for steps in case.files.values()]
    cfgs["trainer_cfg"]["transform"] = cfgs["evaluator_cfg"]["transform"] = composed
    # Packs in training, too.
    cfgs["trainer_cfg"]["sampler"].update(sample_type="all_ordered", frames_all_limit=720)
    cfgs["evaluator_cfg"].update(save_name=name, eval_func="capture")
    del cfgs["evaluator_cfg"]["metric"]
    return cfgs


def alone(dataset: Path, case: Case, path: Path) -> dict[str, np.ndarray]:
    """What the plain network makes of each test sequence in a call of its own."""
    adapter = parts.adapter_for(case.model)
    network = adapter.build()
    checkpoints.load(network, path)
    network.eval()
    found: dict[str, list[Tensor]] = {}
    for leaf in store.leaves(dataset / "data"):
        if leaf.identity not in data.TEST:
            continue
        read = dict(zip(LEAF, store.read_leaf(leaf)))
        sequences = []
        for file, steps in case.files.items():
            sequence = read[file]
            for step in steps:
                arguments = {key: value for key, value in step.items() if key != "type"}
                sequence = getattr(transforms, step["type"])(**arguments)(sequence)
            sequences.append(torch.from_numpy(np.asarray(sequence, np.float32))[None])
        label = torch.tensor([data.TEST.index(leaf.identity)])
        with torch.no_grad():
            output = adapter.run(network, HostInputs(sequences, label, [leaf.type], [leaf.view], None), training=False)
        for key, value in output.inference.items():
            found.setdefault(key, []).append(value)
    return {key: torch.cat(values).numpy() for key, values in found.items()}


def train(root: Path, dataset: Path, name: str) -> tuple[Case, dict[str, Any], Path]:
    """Train a case, and what it starts from; returns it as it was trained, its config and its checkpoint."""
    case, short = CASES[name], f"case{list(CASES).index(name)}"
    if name in ("RGGait", "MimicGait"):
        gse, oem = (str(train(root, dataset, needed)[2]) for needed in ("GaitHeat", "RGGaitOEM on heatmaps"))
        parts_of = {"gse": {"model_cfg": GAITHEAT, "checkpoint": gse}, "oem": {"checkpoint": oem, **EVALUATOR}}
        case = replace(case, model={**case.model, **parts_of})
    cfgs = config(dataset, case, short)
    assert launch(root, cfgs, "train") == 0
    return case, cfgs, root / f"output/CASIA-B/{case.model['model']}/{short}/checkpoints/{short}-00002.pt"


@pytest.mark.parametrize("name", CASES)
def test_packs(fastposegait: Path, dataset: Path, name: str) -> None:
    add_capture(fastposegait)
    case, cfgs, path = train(fastposegait, dataset, name)
    wanted = alone(dataset, case, path)
    lengths = [len(store.read_leaf(leaf)[0]) for leaf in store.leaves(dataset / "data") if leaf.identity in data.TEST]
    packs = [sum(lengths[i : i + PACK]) for i in range(0, len(lengths), PACK)]
    assert min(packs) < 17 <= max(packs)
    assert lengths.count(1) > len(lengths) / 3
    for processes in (1, 2):
        assert launch(fastposegait, cfgs, "test", processes) == 0
        with np.load(fastposegait / "captured.npz") as captured:
            found = dict(captured)
        assert found.keys() == {*wanted, "labels", "types", "views"}
        for key, value in wanted.items():
            np.testing.assert_allclose(found[key], value, atol=TOLERANCE, err_msg=key)
    assert np.abs(wanted["embeddings"] - wanted["embeddings"][0]).max() > 10 * TOLERANCE
    if name.startswith("RGGaitOEM"):
        assert evaluation.evaluate_OEM(found).scalars == pytest.approx(evaluation.evaluate_OEM(wanted).scalars)
