"""RG-Gait's study through the command line: killed at each of its stages, it ends as one that was not."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from gaitext.config import load_yaml, merge
from gaitext.walkers import WalkerSettings, write_dataset
from tests.studies.undisturbed import do_undisturbed

ROOT = Path(__file__).parents[2]
WALKERS = {"identities": 6, "train_identities": 3, "types": ["nm-01", "nm-02", "nm-05"], "views": ["000", "090"]}
STUDY = {
    "kind": "rg-gait",
    "title": "Small",
    "seeds": [0],
    "occlusions": ["top", "middle"],
    "seen": ["top"],
    "new": ["middle"],
    "tables": ["retention", "generalisation"],
    "adaptation": {"oem_iterations": 1, "iterations": 1},
    "claims": [{"name": "it adapts", "better": "rg_gait+new@new/probes", "than": "rg_gait@new/probes"}],
}


def begin(study: Path, out: Path) -> subprocess.Popen[bytes]:
    gaitext = [sys.executable, "-c", "from gaitext.cli import main; main()"]
    command = [*gaitext, "study", str(study), "--out", str(out), "--quiet"]
    return subprocess.Popen(
        [*command, "--jobs", "1", "--device", "cpu"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


@pytest.mark.slow
def test_a_killed_study_ends_as_one_that_was_not(tmp_path: Path) -> None:
    walkers = WalkerSettings.parse({**WALKERS, "frames": 4, "content": ["silhouettes"]}, where="walkers")
    write_dataset(walkers, tmp_path / "data", quiet=True)
    short: dict[str, Any] = {
        "data_cfg": {
            "dataset_root": str(tmp_path / "data/sequences"),
            "dataset_partition": str(tmp_path / "data/partition.json"),
        },
        "trainer_cfg": {"total_iter": 2, "save_iter": 1, "sampler": {"batch_size": [2, 2], "frames_num_fixed": 2}},
        "fabric_cfg": {"tensorboard": False},
    }
    few = {"model_cfg": {"class_num": 3}}
    for name, file, own in (
        ("oem", "tiny_oem", {}),
        ("gse", "tiny_gse", few),
        ("rg_gait", "tiny", merge({"model_cfg": {"gse": few}}, few)),
    ):
        config = merge(own, merge(short, load_yaml(ROOT / f"configs/rg-gait/{file}.yaml")))
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(config))
    study = tmp_path / "study.yaml"
    study.write_text(yaml.safe_dump({**STUDY, "stages": {n: f"{n}.yaml" for n in ("oem", "gse", "rg_gait")}}))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    do_undisturbed(study, whole)
    for seen in ("runs/*/*/done.json", "runs/rg_gait_middle*/*/start.pt", "embeddings/*/*.npz", "cells/*/*.json"):
        running = begin(study, killed)
        while running.poll() is None and not any(killed.glob(seen)):
            time.sleep(0.02)
        assert running.poll() is None, "it was not killed, but has ended"
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    assert begin(study, killed).wait() == 0
    files = {path.relative_to(whole) for end in ("*.md", "*.json", "cells/*/*.json") for path in whole.glob(end)}
    assert {"retention_probes.md", "generalisation_all.md", "claims.md", "study_results.json"} <= set(map(str, files))
    assert any("rg_gait+new@new-probes" in str(file) for file in files)
    for file in files:
        assert (killed / file).read_bytes() == (whole / file).read_bytes(), file
    assert not (killed / "embeddings").exists()
