"""The toolboxes' own, unchanged main.py train and test GaitPT on the CPU.

Needs checkouts: ``OPENGAIT_ROOT=… FASTPOSEGAIT_ROOT=… pytest -m toolbox``. They are copied; the originals are not
touched.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gaitext import checkpoints, standalone, store
from gaitext.evaluation import evaluate_PsyMo, write_result
from gaitext.models import GaitPT
from gaitext.toolboxes.models import GaitPTAdapter
from gaitext.toolboxes.toolbox import TOOLBOXES

from . import data
from .checkout import add_capture, launch, needs

pytestmark = [pytest.mark.toolbox, pytest.mark.slow]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data.make_poses(tmp_path_factory.mktemp("psymo"))


def checkpoint(root: Path, iteration: int) -> Path:
    return root / f"output/PsyMo/GaitPT/tiny/checkpoints/tiny-{iteration:05}.pt"


def train(root: Path, dataset: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Two iterations and, resumed, two more; what is saved says that nothing was lost on the way."""
    assert launch(root, data.pose_config(dataset), "train") == 0
    capfd.readouterr()
    assert launch(root, data.pose_config(dataset, restore_hint=2, total_iter=4), "train") == 0
    output = capfd.readouterr()
    assert "Restore Parameters from" in output.out + output.err
    assert "triplet_loss_num" in output.out + output.err
    first, last = (torch.load(checkpoint(root, i), weights_only=True) for i in (2, 4))
    assert last["iteration"] == 4
    for saved, steps in ((first, 2), (last, 4)):
        (group,) = saved["optimizer"]["param_groups"]
        assert group["lr"] == pytest.approx(1e-4 + (1e-2 - 1e-4) * steps / 4 * 0.995**steps)
        assert tuple(group["betas"]) == (0.9, 0.999)
        assert {int(state["step"]) for state in saved["optimizer"]["state"].values()} == {steps}
    # The network's own start: the toolboxes would have made it others' (FastPoseGait: N(0, 0.001)).
    name = "network.stages.0.temporal.encoder.layers.0.qkv.weight"
    assert 0.1 < float(last["model"][name].std()) < 0.4
    assert any(not torch.equal(first["model"][key], last["model"][key]) for key in last["model"])


def leaves(dataset: Path) -> list[store.Leaf]:
    return [leaf for leaf in store.leaves(dataset / "data") if leaf.identity in data.TEST]


def embedded_alone(root: Path, dataset: Path) -> np.ndarray:
    """Embeddings [n, c, 1] of the test leaves, each in a call of its own, joints ordered by the network."""
    network = GaitPTAdapter(data.pose_config(dataset)["model_cfg"]).build().eval()
    assert isinstance(network, GaitPT)
    checkpoints.load(network, checkpoint(root, 4))
    walks = [torch.from_numpy(store.read_leaf(leaf)[0].astype(np.float32)) for leaf in leaves(dataset)]
    with torch.no_grad():
        alone = torch.stack([network(walk[None, ..., :2] / 320)[0] for walk in walks])
    assert float((alone - alone[0]).abs().max()) > 1e-2
    return alone[..., None].numpy()


def captured_equals(root: Path, dataset: Path, alone: np.ndarray) -> dict[str, Any]:
    with np.load(root / "captured.npz") as captured:
        found = dict(captured)
    names = [(leaf.identity, leaf.type, leaf.view) for leaf in leaves(dataset)]
    assert list(zip(found["labels"], found["types"], found["views"])) == names
    np.testing.assert_allclose(found["embeddings"], alone, atol=1e-5)
    return found


@needs(TOOLBOXES[0])
def test_opengait_trains_resumes_and_tests_as_the_embedded_host_does(
    opengait: Path, dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    train(opengait, dataset, capfd)
    alone = embedded_alone(opengait, dataset)
    add_capture(opengait)
    for processes in (1, 2):
        cfgs = data.pose_config(dataset, processes)
        cfgs["evaluator_cfg"].update(restore_hint=4, eval_func="capture")
        assert launch(opengait, cfgs, "test", processes) == 0
        captured_equals(opengait, dataset, alone)
    # The embedded host, from OpenGait's checkpoint, several sequences a pack.
    cfgs = data.pose_config(dataset, 4)
    cfgs["evaluator_cfg"]["table"] = str(tmp_path / "embedded.json")
    saved = tmp_path / "embedded.npz"
    standalone.test(cfgs, checkpoint=checkpoint(opengait, 4), save_embeddings=saved, quiet=True)
    with np.load(saved) as embedded:
        np.testing.assert_allclose(embedded["embeddings"], alone, atol=1e-5)
    capfd.readouterr()
    cfgs["evaluator_cfg"]["sampler"]["batch_size"] = 1
    cfgs["evaluator_cfg"].update(restore_hint=4, table=str(tmp_path / "opengait.json"))
    assert launch(opengait, cfgs, "test") == 0
    output = capfd.readouterr()
    assert (output.out + output.err).count("===PsyMo, gallery nm") == 1
    tables = [json.loads((tmp_path / f"{host}.json").read_text()) for host in ("embedded", "opengait")]
    assert tables[0] == tables[1]


@needs(TOOLBOXES[1])
def test_fastposegait_trains_resumes_and_tests_packs(
    fastposegait: Path, dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its own cut of packs, along dimension 2, would take joints from packs of fewer than 18 frames."""
    train(fastposegait, dataset, capfd)
    alone = embedded_alone(fastposegait, dataset)
    add_capture(fastposegait)
    cfgs = data.pose_config(dataset, 4)
    cfgs["evaluator_cfg"].update(restore_hint=4, eval_func="capture")
    lengths = [len(store.read_leaf(leaf)[0]) for leaf in leaves(dataset)]
    packs = [sum(lengths[i : i + 4]) for i in range(0, len(lengths), 4)]
    assert min(packs) < 17 < max(packs)
    assert launch(fastposegait, cfgs, "test") == 0
    found = captured_equals(fastposegait, dataset, alone)
    capfd.readouterr()
    cfgs["evaluator_cfg"].update(eval_func="evaluate_PsyMo", table=str(tmp_path / "toolbox.json"))
    assert launch(fastposegait, cfgs, "test") == 0
    output = capfd.readouterr()
    assert (output.out + output.err).count("===PsyMo, gallery nm") == 1
    write_result(evaluate_PsyMo(found), tmp_path / "direct.json")
    assert (tmp_path / "toolbox.json").read_text() == (tmp_path / "direct.json").read_text()
