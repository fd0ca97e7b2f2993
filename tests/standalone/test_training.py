"""The embedded host trains, stops, goes on and tests, the same every time."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import platform
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

import gaitext
from gaitext import standalone
from gaitext.errors import CheckpointError, ConfigError, DataError, GaitextError
from gaitext.evaluation import evaluate_file, read_saved
from gaitext.standalone import tester
from gaitext.store import files, only_one

_SCRIPT = Path(tiny.__file__)


def _start(root: Path, processes: int, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, str(_SCRIPT), str(root), str(processes), *options]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120, check=False)


def _link(data: Path, root: Path) -> Path:
    root.mkdir(exist_ok=True)
    for name in ("data", "partition.json"):
        (root / name).symlink_to(data / name)
    return root


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> standalone.TrainResult:
    """An uninterrupted run of twelve iterations."""
    return standalone.train(tiny.config(data), output=tmp_path_factory.mktemp("whole"), quiet=True)


def _weights(path: Path) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["model"]
    return loaded


def _same(a: Path, b: Path) -> None:
    ours, theirs = _weights(a), _weights(b)
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        torch.testing.assert_close(value, theirs[key], rtol=0, atol=0)


def test_a_run_leaves_what_a_toolbox_leaves(run: standalone.TrainResult) -> None:
    assert run.folder.parts[-3:] == ("CASIA-B", "Tiny", "tiny")
    names = sorted(p.name for p in (run.folder / "checkpoints").iterdir())
    assert names == ["tiny-00004.pt", "tiny-00008.pt", "tiny-00012.pt"]
    checkpoint = torch.load(run.checkpoint, weights_only=True)
    assert {"model", "optimizer", "scheduler", "iteration"} <= checkpoint.keys()
    assert checkpoint["iteration"] == run.iteration == 12
    assert all(key.startswith("network.") for key in checkpoint["model"])
    assert [row["iteration"] for row in run.rows] == [3, 6, 9, 12]
    assert run.rows[-1]["lr"] == pytest.approx(0.002)
    assert "softmax/accuracy" in run.rows[0]
    assert any((run.folder / "summary").iterdir())
    with (run.folder / "log.csv").open() as stream:
        assert [{k: float(v) for k, v in row.items()} for row in csv.DictReader(stream)] == run.rows


def test_it_learns(data: Path, tmp_path: Path) -> None:
    config = tiny.config(data, total_iter=60, save_iter=60, log_iter=10)
    config["scheduler_cfg"]["milestones"] = [50]
    rows = standalone.train(config, output=tmp_path, quiet=True).rows
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    assert rows[-1]["softmax/accuracy"] > 0.9
    result = standalone.test(config, output=tmp_path, save_embeddings=tmp_path / "e.npz", quiet=True)
    assert result.evaluation.scalars["scalar/test_accuracy/NM@R1"] > 90
    assert result.evaluation.chance["NM"] == pytest.approx(50)
    assert "| NM |" in str(result)
    saved = read_saved(tmp_path / "e.npz")
    assert saved.embeddings.shape == (40, 4, 2)
    assert saved.labels.tolist()[:2] == ["005", "005"]


def test_a_result_says_what_made_it(data: Path, run: standalone.TrainResult, tmp_path: Path) -> None:
    config = tiny.config(data)
    config["evaluator_cfg"].update(save_embeddings=str(tmp_path / "here.npz"), metric="cos")
    config["data_cfg"].update(dataset_name="mine", test_dataset_name="CASIA-B")
    tested = standalone.test(config, checkpoint=run.checkpoint, quiet=True, seed=3)
    assert tested.embeddings == tmp_path / "here.npz"
    saved = read_saved(tmp_path / "here.npz")
    about = saved.about
    assert about["host"] == "embedded"
    assert about["config"] == json.loads(json.dumps(config))
    digest = hashlib.sha256(run.checkpoint.read_bytes()).hexdigest()
    assert about["checkpoint"] == {"path": run.checkpoint.as_posix(), "sha256": digest, "iteration": 12}
    protocol = {"eval_func": "evaluate_indoor_dataset", "dataset": "CASIA-B", "metric": "cos"}
    assert about["protocol"] == protocol
    versions = {"gaitext": gaitext.__version__, "torch": torch.__version__, "numpy": np.__version__}
    assert about["versions"] == {**versions, "python": platform.python_version()}
    assert about["seed"] == 3
    assert datetime.fromisoformat(about["made"]).tzinfo is not None
    assert saved.paths is not None
    names = zip(saved.labels.tolist(), saved.types.tolist(), saved.views.tolist())
    assert saved.paths.tolist() == [data.joinpath("data", *name).absolute().as_posix() for name in names]
    # To the digit, notes and chance too.
    assert evaluate_file(tmp_path / "here.npz") == tested.evaluation
    # The command line's comes first; two files of one test differ by the time alone.
    told = standalone.test(config, checkpoint=run.checkpoint, quiet=True, seed=3, save_embeddings=tmp_path / "there")
    assert told.embeddings == tmp_path / "there.npz"
    there = read_saved(tmp_path / "there.npz")
    assert {**there.about, "made": None} == {**about, "made": None}
    np.testing.assert_array_equal(there.embeddings, saved.embeddings)


def test_tests_between_steps_leave_the_last_ones_result(data: Path, tmp_path: Path) -> None:
    config = tiny.config(data, with_test=True)
    config["evaluator_cfg"]["save_embeddings"] = str(tmp_path / "made" / "e.npz")
    trained = standalone.train(config, output=tmp_path, quiet=True)
    saved = read_saved(tmp_path / "made" / "e.npz")
    digest = hashlib.sha256(trained.checkpoint.read_bytes()).hexdigest()
    assert saved.about["checkpoint"] == {"path": trained.checkpoint.as_posix(), "sha256": digest, "iteration": 12}
    assert evaluate_file(tmp_path / "made" / "e.npz") == trained.evaluations[12]


def test_a_result_that_could_not_be_written_is_refused_before_training(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for given, message in (
        (str(tmp_path / "file" / "e.npz"), "cannot be written"),
        (5, "valid string"),
        ("", "no file"),
    ):
        config = tiny.config(data, with_test=True)
        config["evaluator_cfg"]["save_embeddings"] = given
        with pytest.raises(GaitextError, match=message):
            standalone.train(config, output=tmp_path / "output", quiet=True)
    assert not (tmp_path / "output").exists()


def test_killed_and_resumed_is_as_if_never_stopped(data: Path, run: standalone.TrainResult, tmp_path: Path) -> None:
    root = _link(data, tmp_path / "killed")
    killed = _start(root, 1, TINY_DIES_AT="11")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    log = root / "output" / "CASIA-B" / "Tiny" / "tiny" / "log.csv"
    assert len(log.read_text().splitlines()) == 1 + 3  # iteration 9's row is after the last checkpoint
    with log.open("a") as stream:
        stream.write("12,0.0")  # a line cut short
    again = standalone.train(tiny.config(data), output=root / "output", resume=True, quiet=True)
    assert again.rows == run.rows
    _same(again.checkpoint, run.checkpoint)


def test_resuming_a_finished_run_changes_nothing(data: Path, run: standalone.TrainResult) -> None:
    before = run.checkpoint.read_bytes()
    again = standalone.train(tiny.config(data), output=run.folder.parents[2], resume=True, quiet=True)
    assert again.rows == run.rows
    assert run.checkpoint.read_bytes() == before


def test_restore_hint_goes_on_there_or_starts_from_a_file(
    data: Path, run: standalone.TrainResult, tmp_path: Path
) -> None:
    output = run.folder.parents[2]
    shorter = standalone.train(tiny.config(data, restore_hint=8), output=output, quiet=True)
    assert shorter.rows == run.rows
    config = tiny.config(data, restore_hint=str(run.checkpoint), total_iter=3, optimizer_reset=True)
    fresh = standalone.train(config, output=tmp_path, quiet=True)
    assert fresh.iteration == 3
    assert fresh.rows[0]["loss"] < run.rows[0]["loss"]
    with pytest.raises(CheckpointError, match="tiny-00012"):
        standalone.train(tiny.config(data, restore_hint=7), output=output, quiet=True)


def test_a_new_run_never_mixes_with_an_old_one(data: Path, tmp_path: Path) -> None:
    old = standalone.train(tiny.config(data), output=tmp_path, quiet=True)
    log = (old.folder / "log.csv").read_text()
    fresh = tiny.config(data, restore_hint=str(old.checkpoint))
    for config in (tiny.config(data), fresh):
        with pytest.raises(ConfigError, match=r"(?s)Tiny/tiny: .*--resume.*--overwrite"):
            standalone.train(config, output=tmp_path, quiet=True)
    assert (old.folder / "log.csv").read_text() == log
    with pytest.raises(ConfigError, match="begins anew"):
        standalone.train(tiny.config(data), output=tmp_path, resume=True, overwrite=True, quiet=True)
    with pytest.raises(ConfigError, match="begins anew"):
        standalone.train(tiny.config(data, restore_hint=4), output=tmp_path, overwrite=True, quiet=True)

    # The weights to start from lie in the folder that is moved.
    fresh["trainer_cfg"].update(total_iter=4)
    new = standalone.train(fresh, output=tmp_path, overwrite=True, seed=1, quiet=True)
    assert [p.name for p in (new.folder / "checkpoints").iterdir()] == ["tiny-00004.pt"]
    aside = new.folder.with_name("tiny.old-1")
    assert (aside / "log.csv").read_text() == log
    assert len(list((aside / "checkpoints").iterdir())) == 3
    standalone.train(tiny.config(data, total_iter=1), output=tmp_path, overwrite=True, quiet=True)
    assert (new.folder.with_name("tiny.old-2") / "checkpoints" / "tiny-00004.pt").exists()
    # Where no run has been, overwriting is beginning.
    assert (
        standalone.train(tiny.config(data, total_iter=1), output=tmp_path / "x", overwrite=True, quiet=True).rows == []
    )


def test_going_on_earlier_sets_later_checkpoints_aside(data: Path, tmp_path: Path) -> None:
    old = standalone.train(tiny.config(data), output=tmp_path, quiet=True)
    log = (old.folder / "log.csv").read_text()
    standalone.train(tiny.config(data, restore_hint=4, total_iter=5), output=tmp_path, quiet=True)
    assert sorted(p.name for p in (old.folder / "checkpoints").iterdir()) == ["tiny-00004.pt", "tiny-00005.pt"]
    aside = old.folder.with_name("tiny.old-1")
    assert (aside / "log.csv").read_text() == log
    assert sorted(p.name for p in (aside / "checkpoints").iterdir()) == ["tiny-00008.pt", "tiny-00012.pt"]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_random_state_outside_is_left_alone(data: Path, tmp_path: Path, device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU")
    torch.manual_seed(7)
    expected = torch.rand(3, device=device)
    torch.manual_seed(7)
    standalone.train(tiny.config(data, total_iter=1), device=device, output=tmp_path, quiet=True)
    assert torch.equal(torch.rand(3, device=device), expected)


def test_loader_workers_change_nothing(data: Path, run: standalone.TrainResult, tmp_path: Path) -> None:
    config = tiny.config(data)
    config["data_cfg"].update(num_workers=2, cache=True)
    assert standalone.train(config, output=tmp_path, quiet=True).rows == run.rows


def test_seeds_differ(data: Path, run: standalone.TrainResult, tmp_path: Path) -> None:
    other = standalone.train(tiny.config(data, total_iter=3), output=tmp_path, seed=1, quiet=True)
    assert other.rows[0]["loss"] != run.rows[0]["loss"]


@pytest.mark.parametrize(
    "sampler",
    [
        {"type": "BalancedTripletSampler", "batch_shuffle": True},
        {"type": "RepeatTripletSampler", "repeats": {"bg": 3, "nm": 2}},
        {"sample_type": "unfixed_unordered", "frames_num_min": 3, "frames_num_max": 6},
        {"sample_type": "fixed_ordered", "frames_skip_num": 2},
        {"sample_type": "all_ordered", "frames_all_limit": 7},
    ],
    ids=lambda s: s.get("sample_type", s.get("type")),
)
def test_samplers(data: Path, tmp_path: Path, sampler: dict[str, Any]) -> None:
    config = tiny.config(data, total_iter=2, log_iter=1)
    config["trainer_cfg"]["sampler"].update(sampler)
    assert len(standalone.train(config, output=tmp_path, quiet=True).rows) == 2


def test_the_all_triplets_loss_trains(data: Path, tmp_path: Path) -> None:
    config = tiny.config(data, log_iter=1)
    config["loss_cfg"][0].update(type="AllTripletsLoss", margin=0.5)
    rows = standalone.train(config, output=tmp_path, quiet=True).rows
    assert rows[-1]["triplet/loss"] < rows[0]["triplet/loss"]


@pytest.mark.parametrize("phase", ["trainer_cfg", "evaluator_cfg"])
def test_repeats_without_the_sampler_for_them(data: Path, tmp_path: Path, phase: str) -> None:
    config = tiny.config(data)
    config[phase]["sampler"]["repeats"] = {"bg": 3}
    with pytest.raises(ConfigError, match=rf"{phase}\.sampler.*repeats"):
        standalone.train(config, output=tmp_path, quiet=True)


@pytest.mark.parametrize(
    ("optimizer", "scheduler"),
    [
        (
            {"solver": "AdamW", "lr": 0.001, "weight_decay": 0.01},
            {"scheduler": "CyclicLR", "base_lr": 1.0e-4, "max_lr": 1.0e-2, "step_size_up": 3, "mode": "exp_range"}
            | {"gamma": 0.99, "cycle_momentum": False},
        ),
        (
            {"solver": "Adam", "lr": 0.001, "weight_decay": 0.0},
            {"scheduler": "OneCycleLR", "max_lr": 0.01, "total_steps": 12},
        ),
        ({"solver": "SGD", "lr": 0.01}, {"scheduler": "CosineAnnealingLR", "T_max": 12}),
    ],
    ids=["cyclic", "onecycle", "cosine"],
)
def test_schedules_resume(data: Path, tmp_path: Path, optimizer: dict[str, Any], scheduler: dict[str, Any]) -> None:
    config = tiny.config(data) | {"optimizer_cfg": optimizer, "scheduler_cfg": scheduler}
    whole = standalone.train(config, output=tmp_path, quiet=True)
    config["trainer_cfg"]["restore_hint"] = 4
    assert standalone.train(config, output=tmp_path, quiet=True).rows == whole.rows


def test_bf16_keeps_weights_and_losses_in_float32(data: Path, tmp_path: Path) -> None:
    config = tiny.config(data, total_iter=3) | {"fabric_cfg": {"precision": "bf16-mixed"}}
    result = standalone.train(config, output=tmp_path, quiet=True)
    assert np.isfinite(result.rows[0]["loss"])
    assert {value.dtype for value in _weights(result.checkpoint).values()} == {torch.float32}


def test_tests_in_between(data: Path, tmp_path: Path) -> None:
    result = standalone.train(tiny.config(data, with_test=True), output=tmp_path, quiet=True)
    assert list(result.evaluations) == [4, 8, 12]
    last = standalone.test(tiny.config(data), output=tmp_path, quiet=True)
    assert last.evaluation.scalars == result.evaluations[12].scalars


def test_tables_are_written_after_a_test_and_not_by_its_rehearsal(
    data: Path, run: standalone.TrainResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny.config(data)
    config["data_cfg"]["test_dataset_name"] = "PsyMo"
    config["evaluator_cfg"].update(eval_func="evaluate_PsyMo", gallery="all", table=str(tmp_path / "config.json"))
    output = run.folder.parents[2]
    there_before: list[Path] = []

    def listed(*arguments: Any) -> Any:
        there_before.extend(tmp_path.iterdir())
        return embedding(*arguments)

    embedding = tester._test
    monkeypatch.setattr(tester, "_test", listed)
    tested = standalone.test(config, iteration=12, output=output, quiet=True)
    assert there_before == []
    assert (
        json.loads((tmp_path / "config.json").read_text())["scalars"]["scalar/test_accuracy/NM@R1"]
        == (tested.evaluation.scalars["scalar/test_accuracy/NM@R1"])
    )
    (tmp_path / "config.json").unlink()
    standalone.test(config, iteration=12, output=output, quiet=True, table=tmp_path / "argument.csv")
    assert [file.name for file in tmp_path.iterdir()] == ["argument.csv"]


def test_packing_does_not_change_a_test(data: Path, run: standalone.TrainResult, tmp_path: Path) -> None:
    embeddings = []
    for pack in (1, 7):
        config = tiny.config(data)
        config["evaluator_cfg"]["sampler"]["batch_size"] = pack
        file = tmp_path / f"{pack}.npz"
        standalone.test(config, iteration=12, output=run.folder.parents[2], save_embeddings=file, quiet=True)
        embeddings.append(np.load(file)["embeddings"])
    np.testing.assert_allclose(embeddings[0], embeddings[1], rtol=1e-5, atol=1e-6)


def test_a_diverged_run_stops(data: Path, tmp_path: Path) -> None:
    config = tiny.config(data)
    config["optimizer_cfg"]["lr"] = 1.0e30
    with pytest.raises(GaitextError, match="the loss is"):
        standalone.train(config, output=tmp_path, quiet=True)


@pytest.mark.slow
def test_two_processes_do_what_one_does(data: Path, tmp_path: Path) -> None:
    root = _link(data, tmp_path / "two")
    config = tiny.config(data, with_test=True, save_iter=6)
    config["model_cfg"]["dropout"] = 0.0  # drawn per process
    one = standalone.train(config, output=tmp_path / "one", quiet=True)
    # A process that aborts while it is torn down, as gloo makes them now and then, spoils nothing.
    two = _start(root, 2, "with_test=true", "save_iter=6", TINY_DROPOUT="0", TINY_ABORTS_LAST="1")
    assert two.returncode == 0, two.stderr
    folder = root / "output" / "CASIA-B" / "Tiny" / "tiny"
    with (folder / "log.csv").open() as stream:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(stream)]
    assert len(rows) == len(one.rows)
    for ours, theirs in zip(one.rows, rows):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-5)
    for key, value in _weights(folder / "checkpoints" / "tiny-00012.pt").items():
        torch.testing.assert_close(value, _weights(one.checkpoint)[key], rtol=1e-4, atol=1e-6)
    scalars = json.loads((root / "evaluations.json").read_text())
    assert scalars == {str(i): evaluation.scalars for i, evaluation in one.evaluations.items()}


@pytest.mark.slow
def test_an_error_of_one_process_is_raised_as_it_is(tmp_path: Path) -> None:
    code = """
import tiny
from gaitext.errors import DataError
from gaitext.training.launch import launch
try:
    launch(tiny.refuse, device="cpu", devices=2, precision="32-true")
except DataError as error:
    print(error)
"""
    path = os.pathsep.join([str(_SCRIPT.parent), str(Path(gaitext.__file__).parents[1])])
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", code], env=variables, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.endswith("the file: is not to its taste\nTo mend it: try another\n"), done.stderr


def test_two_trainings_do_not_mix_in_one_folder(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0.1)
    folder = tmp_path / "CASIA-B/Tiny/tiny"
    for options in ({}, {"overwrite": True}, {"resume": True}):
        with only_one(folder, beside=True), pytest.raises(DataError, match="tiny: another gaitext process is at work"):
            standalone.train(tiny.config(data), output=tmp_path, quiet=True, **options)
    assert not folder.exists()
    standalone.train(tiny.config(data, total_iter=1), output=tmp_path, quiet=True)
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]


def test_equal_runs_write_equal_bytes(data: Path, run: standalone.TrainResult, tmp_path: Path) -> None:
    again = standalone.train(tiny.config(data), output=tmp_path, quiet=True)
    assert again.checkpoint.read_bytes() == run.checkpoint.read_bytes()


def test_a_full_disk_ends_a_training_in_a_sentence(data: Path, tmp_path: Path) -> None:
    """Whatever does not fit: a checkpoint, or TensorBoard's file."""
    for limit in (2000, 60):
        script = (
            "import resource, signal, sys\n"
            "sys.path.insert(0, sys.argv[1])\n"
            "from pathlib import Path\n"
            "import tiny\n"
            "from gaitext import standalone\n"
            "from gaitext.errors import DataError\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), int(sys.argv[4])))\n"
            "try:\n"
            "    standalone.train(tiny.config(Path(sys.argv[2])), output=sys.argv[3], quiet=True)\n"
            "except DataError as error:\n"
            "    sys.exit(str(error))\n"
        )
        command = [sys.executable, "-c", script, str(_SCRIPT.parent), str(data), str(tmp_path / str(limit)), str(limit)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 1, done.stderr
        assert "cannot be written: File too large\nTo mend it: free some space" in done.stderr
        assert "inline_container" not in done.stderr


def test_fine_tuning_on_other_people_takes_what_fits(
    data: Path, run: standalone.TrainResult, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tiny.config(data, restore_hint=str(run.checkpoint), restore_ckpt_strict=False, total_iter=2)
    config["model_cfg"]["class_num"] += 3
    tuned = standalone.train(config, output=tmp_path, quiet=True)
    assert tuned.iteration == 2
    assert "starts anew for" in caplog.text
    assert "classify.weight" in caplog.text
    before, after = _weights(run.checkpoint), _weights(tuned.checkpoint)
    assert after["network.classify.weight"].shape[0] == before["network.classify.weight"].shape[0] + 3
    state = torch.load(tuned.checkpoint, weights_only=True)["optimizer"]["state"]
    assert {tuple(entry["momentum_buffer"].shape) for entry in state.values() if "momentum_buffer" in entry} <= {
        tuple(value.shape) for value in after.values()
    }
    config["trainer_cfg"]["restore_ckpt_strict"] = True
    with pytest.raises(CheckpointError, match="another shape, such as 'classify"):
        standalone.train(config, output=tmp_path / "strict", quiet=True)
