"""OpenGait's own, unchanged main.py trains and tests GaitHeat on the CPU.

Needs a checkout: ``OPENGAIT_ROOT=… pytest -m toolbox``. It is copied; the original is not touched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gaitext import standalone, store
from gaitext.models import GaitHeat
from gaitext.toolboxes.doctor import doctor
from gaitext.toolboxes.hosts import TOOLBOXES
from gaitext.toolboxes.link import link, unlink
from gaitext.toolboxes.models import GaitHeatAdapter
from gaitext.toolboxes.run import run
from gaitext.transforms import OcclusionHeatmaps

from . import data
from .test_link import hashes

OPENGAIT = TOOLBOXES[0]
ROOT = os.environ.get(OPENGAIT.environment)

pytestmark = [
    pytest.mark.toolbox,
    pytest.mark.slow,
    pytest.mark.skipif(not ROOT, reason=f"set {OPENGAIT.environment} to an OpenGait checkout"),
]

#: Leaves what the test computes in a file, under a name that evaluator_cfg can ask for.
CAPTURE = """
import numpy as np
from evaluation import evaluator


def capture(data, dataset):
    np.savez("captured.npz", **{key: np.asarray(value) for key, value in data.items()})
    return {}


evaluator.capture = capture
"""


def git_status(root: Path) -> str:
    # Without optional locks, or it would rewrite the index, whose hash is compared.
    command = ["git", "--no-optional-locks", "-C", str(root), "status", "--porcelain", "--ignored"]
    return subprocess.run(command, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data.make_dataset(tmp_path_factory.mktemp("casia"))


@pytest.fixture(scope="module")
def opengait(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A linked copy of the checkout; at the end it must be what it was, but for what runs write."""
    assert ROOT is not None
    copy = tmp_path_factory.mktemp("toolbox") / "OpenGait"
    shutil.copytree(ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    before, status = hashes(copy), git_status(copy)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    link(copy)
    yield copy
    unlink(copy)
    del os.environ["PYTHONDONTWRITEBYTECODE"]
    for made in ("output", "captured.npz", "opengait/modeling/models/zz_capture.py"):
        path = copy / made
        if path.is_dir():
            original = Path(ROOT) / made
            shutil.rmtree(path)
            if original.is_dir():
                shutil.copytree(original, path, symlinks=True)
        else:
            path.unlink(missing_ok=True)
    assert hashes(copy) == before
    assert git_status(copy) == status


def launch(root: Path, cfgs: dict[str, Any], phase: str, processes: int) -> int:
    config = data.write_config(root.parent / "config.yaml", cfgs)
    return run(root, ["--cfgs", str(config), "--phase", phase], device="cpu", nproc=processes, time_limit=300)


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
    cfgs["evaluator_cfg"]["save_name"] = "two"
    assert launch(opengait, cfgs, "train", 2) == 0
    output = capfd.readouterr()
    log = output.out + output.err
    for said in ("NM@R1", "sync_BN is off", "enable_float16 is off", "local_triplet_loss"):
        assert log.count(said) >= 1, said
    assert launch(opengait, cfgs, "test", 2) == 0


def test_embeddings_are_those_of_the_network_alone(opengait: Path, dataset: Path) -> None:
    """OpenGait's test loop, a direct call per leaf, and one pack of all leaves agree."""
    if not checkpoint(opengait, "tiny", 2).exists():
        assert launch(opengait, data.config(dataset), "train", 1) == 0
    (opengait / "opengait/modeling/models/zz_capture.py").write_text(CAPTURE)
    network = GaitHeatAdapter.build(data.config(dataset)["model_cfg"]).eval()
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


def test_occlusions_are_those_of_the_sequence_in_every_host(opengait: Path, dataset: Path) -> None:
    """One and two processes of OpenGait, and packs of the embedded host, occlude each leaf alike."""
    types = {"top": 0.25, "bottom": 0.25, "middle": 0.2, "dynamic": 0.15, "pole": 0.15}
    cfgs = data.config(dataset, save_name="hidden")
    occlusion: dict[str, Any] = {"type": "OcclusionHeatmaps", "types": types}
    cfgs["trainer_cfg"]["transform"] = [{"type": "Compose", "trf_cfg": [{"type": "HeatmapInput"}, occlusion]}]
    assert launch(opengait, cfgs, "train", 1) == 0
    (opengait / "opengait/modeling/models/zz_capture.py").write_text(CAPTURE)
    network = GaitHeatAdapter.build(cfgs["model_cfg"]).eval()
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
