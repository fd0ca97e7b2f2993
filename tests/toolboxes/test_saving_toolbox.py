"""The toolboxes' tests leave one result file, which evaluates to what they say.

Needs checkouts: ``OPENGAIT_ROOT=… FASTPOSEGAIT_ROOT=… pytest -m toolbox``. They are copied.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitext import standalone
from gaitext.errors import DataError
from gaitext.evaluation import EvaluationResult, Saved, evaluate_file, read_saved
from gaitext.toolboxes.toolbox import TOOLBOXES, detect

from . import data
from .checkout import add_capture, launch, needs

pytestmark = [pytest.mark.toolbox, pytest.mark.slow]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """59 test sequences, so that two processes' batches are padded."""
    root = data.make_dataset(tmp_path_factory.mktemp("casia"))
    shutil.rmtree(root / "data" / data.TEST[0] / "nm-01" / "000")
    return root


def checked(file: Path, root: Path, dataset: Path, batch: int) -> Saved:
    """The file, which says what made it."""
    found = read_saved(file)
    about, toolbox = found.about, detect(root)
    assert about["host"] == toolbox.name
    weights = root / "output/CASIA-B/GaitHeat/tiny/checkpoints/tiny-00002.pt"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert about["checkpoint"] == {"path": weights.as_posix(), "sha256": digest, "iteration": 2}
    assert about["config"]["model_cfg"] == data.config(dataset)["model_cfg"]
    assert about["config"]["evaluator_cfg"]["sampler"]["batch_size"] == batch
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", about["versions"][toolbox.name])
    assert found.paths is not None
    leaves = [tuple(Path(each).relative_to(dataset / "data").parts) for each in found.paths.tolist()]
    assert len(leaves) == 59
    assert leaves == list(zip(found.labels.tolist(), found.types.tolist(), found.views.tolist()))
    return found


def logged(text: str) -> dict[str, float]:
    """``NM@R1: 12.34%`` of the last test."""
    return {name: float(value) for name, value in re.findall(r"\b(NM|BG|CL)@R1: (\d+\.\d\d)%", text)}


def rank1(result: EvaluationResult) -> dict[str, float]:
    return {name: result.scalars[f"scalar/test_accuracy/{name}@R1"] for name in ("NM", "BG", "CL")}


def leaves_results(root: Path, dataset: Path, folder: Path, capfd: pytest.CaptureFixture[str], batch: int) -> None:
    """A training that tests, and tests of two processes (``batch`` sequences at once) and of one, by functions of the
    toolbox, of a user, and ours."""
    cfgs = data.config(dataset, 1, with_test=True)
    cfgs["evaluator_cfg"]["save_embeddings"] = str(folder / "trained.npz")
    assert launch(root, cfgs, "train") == 0
    said = capfd.readouterr()
    trained = checked(folder / "trained.npz", root, dataset, 1)
    protocol: dict[str, Any] = {"eval_func": "evaluate_indoor_dataset", "dataset": "CASIA-B", "metric": "euc"}
    assert protocol.items() <= trained.about["protocol"].items()
    assert rank1(evaluate_file(folder / "trained.npz")) == pytest.approx(logged(said.out + said.err), abs=0.011)
    add_capture(root)
    cfgs = data.config(dataset, batch)
    cfgs["evaluator_cfg"].update(eval_func="capture", save_embeddings=str(folder / "two.npz"), restore_hint=2)
    assert launch(root, cfgs, "test", 2) == 0
    found = checked(folder / "two.npz", root, dataset, batch)
    assert found.about["protocol"] == {"eval_func": "capture", "dataset": "CASIA-B"}
    with np.load(root / "captured.npz") as captured:
        for name in ("embeddings", "labels", "types", "views"):
            np.testing.assert_array_equal(getattr(found, name), captured[name])
    data.assert_alike(found.embeddings, trained.embeddings)
    # gaitext's own function, to the digit; and the embedded host from the same weights.
    cfgs = data.config(dataset, 1)
    choice = {"gallery": "type=nm", "exclude": "view", "metric": "cos"}
    cfgs["evaluator_cfg"].update(
        **choice, eval_func="evaluate_gallery_probe", table=str(folder / "toolbox.json"), save_embeddings="own.npz"
    )
    assert launch(root, cfgs, "test") == 0
    saved = root / "own.npz"  # relative to the toolbox's root, where it runs
    evaluate_file(saved, table=folder / "again.json")
    assert (folder / "toolbox.json").read_bytes() == (folder / "again.json").read_bytes()
    weights = read_saved(saved).about["checkpoint"]["path"]
    cfgs["evaluator_cfg"].update(table=None, save_embeddings=str(folder / "embedded.npz"))
    standalone.test(cfgs, checkpoint=weights, quiet=True)
    ours, theirs = read_saved(folder / "embedded.npz"), read_saved(saved)
    assert (ours.about["host"], ours.about["checkpoint"]) == ("embedded", theirs.about["checkpoint"])
    wanted = {"eval_func": "evaluate_gallery_probe", "dataset": "CASIA-B", **choice}
    assert ours.about["protocol"] == theirs.about["protocol"] == wanted
    np.testing.assert_array_equal(ours.paths, theirs.paths)
    data.assert_alike(ours.embeddings, theirs.embeddings)
    saved.unlink()
    # What cannot be written is found before anything is trained.
    cfgs = data.config(dataset, 1, with_test=True)
    cfgs["evaluator_cfg"]["save_embeddings"] = str(root / "README.md" / "e.npz")
    with pytest.raises(DataError, match="cannot be written"):
        launch(root, cfgs, "train")


@needs(TOOLBOXES[0])
def test_opengait_leaves_results(
    opengait: Path, dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    leaves_results(opengait, dataset, tmp_path, capfd, 2)


@needs(TOOLBOXES[1])
def test_fastposegait_leaves_results(
    fastposegait: Path, dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    leaves_results(fastposegait, dataset, tmp_path, capfd, 4)
