"""OpenGait's own, unchanged main.py trains and tests GaitHeat on the CPU.

Needs a checkout: ``OPENGAIT_ROOT=… pytest -m toolbox``. It is copied; the original is not touched.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gaitext import standalone, store
from gaitext.models import GaitHeat
from gaitext.toolboxes.doctor import doctor
from gaitext.toolboxes.models import GaitHeatAdapter
from gaitext.toolboxes.toolbox import TOOLBOXES
from gaitext.transforms import OcclusionHeatmaps

from . import data
from .checkout import add_capture, launch, needs

pytestmark = [pytest.mark.toolbox, pytest.mark.slow, needs(TOOLBOXES[0])]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data.make_dataset(tmp_path_factory.mktemp("casia"))


def checkpoint(root: Path, name: str, iteration: int) -> Path:
    return root / f"output/CASIA-B/GaitHeat/{name}/checkpoints/{name}-{iteration:05}.pt"


def test_doctor_is_content(opengait: Path) -> None:
    report = doctor(opengait)
    assert report.ok, report
    assert not [check for check in report.checks if check.name == "clash"]


def test_trains_resumes_and_tests_in_one_process(
    opengait: Path, dataset: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert launch(opengait, data.config(dataset), "train", 1) == 0
    first = torch.load(checkpoint(opengait, "tiny", 2), weights_only=True)
    assert all(key.startswith("network.") for key in first["model"])
    assert launch(opengait, data.config(dataset, restore_hint=2, total_iter=4), "train", 1) == 0
    assert torch.load(checkpoint(opengait, "tiny", 4), weights_only=True)["iteration"] == 4
    output = capfd.readouterr()
    log = output.out + output.err
    assert "Restore Parameters from" in log
    assert "fusion_softmax_loss" in log
    assert launch(opengait, data.config(dataset), "test", 1) == 0
    output = capfd.readouterr()
    assert "NM@R1" in output.out + output.err


def test_two_processes_with_everything_on(opengait: Path, dataset: Path, capfd: pytest.CaptureFixture[str]) -> None:
    switches = {"sync_BN": True, "enable_float16": True, "with_test": True, "find_unused_parameters": True}
    cfgs = data.config(dataset, 2, save_name="two", **switches)
    cfgs["loss_cfg"][0]["type"] = "BatchHardTripletLoss"
    cfgs["loss_cfg"][2]["type"] = "AllTripletsLoss"
    cfgs["trainer_cfg"]["sampler"].update(type="RepeatTripletSampler", repeats={"nm": 2})
    cfgs["evaluator_cfg"]["save_name"] = "two"
    assert launch(opengait, cfgs, "train", 2) == 0
    output = capfd.readouterr()
    log = output.out + output.err
    for said in ("NM@R1", "sync_BN is off", "enable_float16 is off", "local_triplet_loss", "global_triplet_loss"):
        assert log.count(said) >= 1, said
    assert launch(opengait, cfgs, "test", 2) == 0


def test_embeddings_are_those_of_the_network_alone(opengait: Path, dataset: Path) -> None:
    """OpenGait's test loop, a direct call per leaf, and one pack of all leaves agree."""
    if not checkpoint(opengait, "tiny", 2).exists():
        assert launch(opengait, data.config(dataset), "train", 1) == 0
    add_capture(opengait)
    network = GaitHeatAdapter(data.config(dataset)["model_cfg"]).build().eval()
    assert isinstance(network, GaitHeat)
    weights = torch.load(checkpoint(opengait, "tiny", 2), weights_only=True)["model"]
    network.load_state_dict({key.removeprefix("network."): value for key, value in weights.items()})
    wanted = [leaf for leaf in store.leaves(dataset / "data") if leaf.identity in data.TEST]
    sequences = [torch.from_numpy(store.read_leaf(leaf)[0].astype(np.float32)) for leaf in wanted]
    with torch.no_grad():
        alone = torch.cat([network(sequence[None]) for sequence in sequences]).numpy()
        packed = network(torch.cat(sequences)[None], torch.tensor([[len(s) for s in sequences]])).numpy()
    np.testing.assert_allclose(packed, alone, atol=1e-5)
    for processes in (1, 2):
        cfgs = data.config(dataset, processes)
        cfgs["evaluator_cfg"]["eval_func"] = "capture"
        assert launch(opengait, cfgs, "test", processes) == 0
        with np.load(opengait / "captured.npz") as captured:
            assert list(captured["labels"]) == [leaf.identity for leaf in wanted]
            assert list(captured["types"]) == [leaf.type for leaf in wanted]
            np.testing.assert_allclose(captured["embeddings"], alone, atol=1e-5)
    assert np.abs(alone - alone[0]).max() > 1e-2
    # The embedded host, from OpenGait's checkpoint, several sequences a pack.
    saved = dataset / "embedded.npz"
    standalone.test(
        data.config(dataset, 4), checkpoint=checkpoint(opengait, "tiny", 2), save_embeddings=saved, quiet=True
    )
    with np.load(saved) as embedded:
        assert list(embedded["labels"]) == [leaf.identity for leaf in wanted]
        np.testing.assert_allclose(embedded["embeddings"], alone, atol=1e-5)


def test_psymos_protocol_in_the_toolboxs_log(
    opengait: Path, dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The data's types and views are among PsyMo's; the toolbox's and the embedded host's numbers agree."""
    if not checkpoint(opengait, "tiny", 2).exists():
        assert launch(opengait, data.config(dataset), "train", 1) == 0
    capfd.readouterr()
    results = []
    for host in ("toolbox", "embedded"):
        cfgs = data.config(dataset)
        cfgs["data_cfg"]["test_dataset_name"] = "PsyMo"
        cfgs["evaluator_cfg"].update(eval_func="evaluate_PsyMo", gallery="same", table=str(tmp_path / f"{host}.json"))
        if host == "toolbox":
            assert launch(opengait, cfgs, "test", 1) == 0
        else:
            standalone.test(cfgs, checkpoint=checkpoint(opengait, "tiny", 2), quiet=True)
        results.append((tmp_path / f"{host}.json").read_text())
    assert results[0] == results[1]
    output = capfd.readouterr()
    for said in ("===PsyMo, gallery same", "NM@R1: ", "mean@mAP: "):
        assert (output.out + output.err).count(said) == 1, said


def test_occlusions_are_those_of_the_sequence_in_every_host(opengait: Path, dataset: Path) -> None:
    """One and two processes of OpenGait, and packs of the embedded host, occlude each leaf alike."""
    types = {"top": 0.25, "bottom": 0.25, "middle": 0.2, "dynamic": 0.15, "pole": 0.15}
    cfgs = data.config(dataset, save_name="hidden")
    occlusion: dict[str, Any] = {"type": "OcclusionHeatmaps", "types": types}
    cfgs["trainer_cfg"]["transform"] = [{"type": "Compose", "trf_cfg": [{"type": "HeatmapInput"}, occlusion]}]
    assert launch(opengait, cfgs, "train", 1) == 0
    add_capture(opengait)
    network = GaitHeatAdapter(cfgs["model_cfg"]).build().eval()
    weights = torch.load(checkpoint(opengait, "hidden", 2), weights_only=True)["model"]
    network.load_state_dict({key.removeprefix("network."): value for key, value in weights.items()})
    occlusion["seed"] = 4
    change = OcclusionHeatmaps(types, seed=4)
    wanted = [leaf for leaf in store.leaves(dataset / "data") if leaf.identity in data.TEST]
    sequences = [store.read_leaf(leaf)[0].astype(np.float32) for leaf in wanted]
    occluded = [change(sequence) for sequence in sequences]
    assert sum(not np.array_equal(one, other) for one, other in zip(occluded, sequences)) > len(wanted) / 2
    with torch.no_grad():
        alone = torch.cat([network(torch.from_numpy(sequence)[None]) for sequence in occluded]).numpy()
    for processes in (1, 2):
        cfgs = data.config(dataset, processes)
        cfgs["evaluator_cfg"].update(save_name="hidden", eval_func="capture")
        cfgs["evaluator_cfg"]["transform"] = [{"type": "Compose", "trf_cfg": [{"type": "HeatmapInput"}, occlusion]}]
        assert launch(opengait, cfgs, "test", processes) == 0
        with np.load(opengait / "captured.npz") as captured:
            assert list(captured["views"]) == [leaf.view for leaf in wanted]
            np.testing.assert_allclose(captured["embeddings"], alone, atol=1e-5)
    cfgs["evaluator_cfg"]["sampler"]["batch_size"] = 4
    cfgs["evaluator_cfg"]["eval_func"] = "evaluate_indoor_dataset"
    saved = dataset / "hidden.npz"
    standalone.test(cfgs, checkpoint=checkpoint(opengait, "hidden", 2), save_embeddings=saved, quiet=True)
    with np.load(saved) as embedded:
        np.testing.assert_allclose(embedded["embeddings"], alone, atol=1e-5)


def test_a_wrong_config_is_refused_by_main_too(
    opengait: Path, dataset: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where main.py is started without ``gaitext run``."""
    monkeypatch.setattr("gaitext.toolboxes.run.validate_config", lambda *_, **__: [])
    cfgs = data.config(dataset)
    cfgs["trainer_cfg"]["transform"] = [{"type": "HeatmapInput", "divisr": 255}]
    assert launch(opengait, cfgs, "train", 1) != 0
    output = capfd.readouterr()
    assert "did you mean 'divisor'" in output.out + output.err
