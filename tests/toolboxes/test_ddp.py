"""One process and two train alike on the same global batches, in the toolboxes and in the embedded host.

What each process draws for itself is off: alignment's toss, augmentation, dropout, frames (the sequences have as many
as are taken). BatchNorm sees each process's share only, so GaitHeat trains with ``fix_BN``; GaitPT has none. The global
batches are those of a sampler of gaitext's, which are a function of (seed, iteration), or of the toolboxes' own, which
draws on the first process.

Needs checkouts: ``OPENGAIT_ROOT=… FASTPOSEGAIT_ROOT=… pytest -m toolbox``. They are copied; the originals are not
touched. ``--log-cli-level=INFO`` shows by how much the curves differ.
"""

from __future__ import annotations

import csv
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gaitext import standalone, store
from gaitext.toolboxes.toolbox import TOOLBOXES

from . import data
from .checkout import launch, needs

pytestmark = [pytest.mark.toolbox, pytest.mark.slow]
log = logging.getLogger(__name__)

FRAMES, ITERATIONS = 6, 10
MODELS = ("GaitHeat", "GaitPT")
Curves = dict[str, list[float]]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Heatmaps and poses, all of as many frames as are taken."""
    root, generator = tmp_path_factory.mktemp("equal"), np.random.default_rng(0)
    joints = generator.uniform((10, 5), (38, 60), (17, 2))
    for identity in data.TRAIN + data.TEST:
        # People so alike that losses do not come to rest.
        joints = joints + generator.normal(0, 1, (17, 2))
        for kind in data.TEST_TYPES[:4]:
            for view in data.VIEWS:
                poses = np.ones((FRAMES, 17, 3), np.float32)
                poses[..., :2] = joints + generator.normal(0, 2, (FRAMES, 17, 2))
                maps = data.heatmaps(generator, FRAMES, joints)
                store.write_leaf(root / "data", identity, kind, view, {"0_heatmap": maps, "1_poses": poses})
    store.write_json(root / "partition.json", {"TRAIN_SET": data.TRAIN, "TEST_SET": data.TEST})
    return root


def config(dataset: Path, model: str, processes: int) -> dict[str, Any]:
    name = f"ddp{processes}"
    trainer = {"save_name": name, "total_iter": ITERATIONS, "save_iter": 1, "fix_BN": model == "GaitHeat"}
    cfgs = (data.config if model == "GaitHeat" else data.pose_config)(dataset, processes, **trainer)
    sampler = cfgs["trainer_cfg"]["sampler"]
    if model == "GaitHeat":
        cfgs["data_cfg"]["data_in_use"] = [True, False]
        cfgs["model_cfg"]["alignment"] = {"probability": 0.0}
        # Larger steps without normalisation would blow rounding up from one iteration to the next.
        cfgs["optimizer_cfg"]["lr"] = 0.0003
        sampler.update(sample_type="fixed_ordered", frames_num_fixed=FRAMES, frames_skip_num=0)
        # All triplets count all the time: a loss is a mean over those that do, and jumps where their number changes.
        for loss in cfgs["loss_cfg"]:
            loss.update({"margin": 0.5} if loss["type"] == "TripletLoss" else {})
        sampler.update(type="RepeatTripletSampler", repeats={"nm": 1}, batch_size=[3, 4])
    else:
        cfgs["data_cfg"]["data_in_use"] = [False, True]
        del cfgs["model_cfg"]["augmentation"]
        cfgs["model_cfg"].update(dropout=0.0, frames=FRAMES)
        for section in ("trainer_cfg", "evaluator_cfg"):
            steps = [{"type": "PoseInput"}, {"type": "PoseNormalize", "size": 48}, {"type": "PoseOrder"}]
            cfgs[section]["transform"] = [{"type": "Compose", "trf_cfg": steps}]
        cfgs["loss_cfg"][0]["margin"] = 0.5
        # Not Adam's, which makes steps of rounding where the gradient is zero: attention's key biases have none.
        cfgs["optimizer_cfg"] = {"solver": "SGD", "lr": 0.02, "momentum": 0.9, "weight_decay": 5.0e-4}
        cfgs["scheduler_cfg"] = {"scheduler": "MultiStepLR", "gamma": 0.1, "milestones": [100]}
        sampler["batch_size"] = [3, 4]
    return cfgs


def logged(folder: Path) -> Curves:
    """What a toolbox's run has written for tensorboard: name -> value at each iteration."""
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    read = events.EventAccumulator(str(folder / "summary"), size_guidance={events.SCALARS: 0})
    read.Reload()
    return {tag: [event.value for event in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def check(name: str, curves: list[Curves], checkpoints: list[list[Path]], shared: str = "loss") -> None:
    """The curves move, and are the same to numerical noise; so are the weights after each iteration.

    Args:
        checkpoints: with one process and with two.
        shared: of the losses' names, where only some look at what all processes have.
    """
    one, two = curves
    losses = [tag for tag in one if "loss" in tag and shared in tag and "loss_num" not in tag]
    assert losses
    assert one.keys() == two.keys()
    differences = []
    for tag in losses:
        assert len(one[tag]) == ITERATIONS
        assert np.ptp(one[tag]) > 1e-2 * np.abs(one[tag]).max(), tag
        # Before any step they differ by the order of summation only; each step then blows that up a little.
        apart = np.abs(np.subtract(two[tag], one[tag])) / np.abs(one[tag]).max()
        assert apart[0] < 1e-5, tag
        assert apart.max() < 5e-4, tag
        differences.append(apart.max())
    first, second = ([torch.load(path, weights_only=True)["model"] for path in paths] for paths in checkpoints)
    assert len(first) == len(second) == ITERATIONS
    apart = max(_apart(*pair) for pair in zip(first, second))
    moved = _apart(first[0], first[-1])
    assert apart < 5e-2 * moved
    found = max(differences), apart / moved
    log.info("%s: losses apart by %.1e of their maximum, weights by %.1e of their way", name, *found)


def _apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The largest difference of any weight."""
    assert one.keys() == other.keys()
    return max(float((one[key] - other[key]).abs().max()) for key in one if one[key].is_floating_point())


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("toolbox", [pytest.param(t.name.lower(), marks=needs(t), id=t.name) for t in TOOLBOXES])
def test_toolboxes(toolbox: str, model: str, dataset: Path, request: pytest.FixtureRequest) -> None:
    root: Path = request.getfixturevalue(toolbox)
    folders = []
    for processes in (1, 2):
        cfgs = config(dataset, model, processes)
        assert launch(root, cfgs, "train", processes) == 0
        folders.append(root / f"output/{cfgs['data_cfg']['dataset_name']}/{model}/ddp{processes}")
    saved = [sorted((folder / "checkpoints").iterdir()) for folder in folders]
    # Triplet losses gather; the toolboxes' own cross-entropy does not: what they log of it is the first process's.
    check(f"{toolbox}, {model}", [logged(folder) for folder in folders], saved, shared="triplet")


@pytest.mark.parametrize("model", MODELS)
def test_embedded_host(model: str, dataset: Path, tmp_path: Path) -> None:
    curves, checkpoints = [], []
    for processes in (1, 2):
        cfgs = config(dataset, model, processes)
        result = standalone.train(cfgs, devices=processes, output=tmp_path, quiet=True)
        with (result.folder / "log.csv").open() as stream:
            rows = list(csv.DictReader(stream))
        curves.append({key: [float(row[key]) for row in rows] for key in rows[0]})
        checkpoints.append(sorted(result.checkpoint.parent.glob("*.pt")))
    check(f"embedded host, {model}", curves, checkpoints)
