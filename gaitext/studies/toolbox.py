"""A linked toolbox trains and tests for a study, through ``gaitext run``."""

from __future__ import annotations

import copy
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from gaitext.errors import DataError, GaitextError
from gaitext.store import atomic_path
from gaitext.training.runs import checkpoint_path

__all__ = ["last_checkpoint", "logged_ranks", "toolbox_checkpoint", "toolbox_test", "toolbox_train"]

Config = dict[str, Any]


def toolbox_train(root: Path, config: Config, folder: Path, device: str) -> Path:
    """The checkpoint at the end of a training; config and log lie in ``folder``.

    Raises:
        GaitextError: it has failed, or left no checkpoint.
    """
    last = toolbox_checkpoint(root, config, folder)
    if not last.exists():
        _run(root, _named(config, folder), folder, "train", device)
    if not last.exists():
        raise GaitextError("the training has left no checkpoint", where=last, how=f"see the log in {folder}")
    return last


def toolbox_checkpoint(root: Path, config: Config, folder: Path) -> Path:
    """Where the toolbox will leave the last checkpoint of a training."""
    return last_checkpoint(root.resolve() / "output", _named(config, folder))


def last_checkpoint(output: Path, config: Config) -> Path:
    """Where a host that writes to ``output`` will leave a training's last one."""
    trainer, data = config["trainer_cfg"], config["data_cfg"]
    folder = output / data["dataset_name"] / config["model_cfg"]["model"] / trainer["save_name"]
    return checkpoint_path(folder, int(trainer["total_iter"]))


def toolbox_test(root: Path, config: Config, checkpoint: Path, folder: Path, device: str) -> dict[str, float]:
    """The ranks that the toolbox has written to its log: ``{"mean": …, "mean@R5": …}``.

    Raises:
        GaitextError: the test has failed.
        DataError: its log names no rank.
    """
    config = _named(config, folder)
    config["evaluator_cfg"]["restore_hint"] = str(checkpoint)
    found = logged_ranks(_run(root, config, folder, "test", device))
    names = (("mean", "rank-1"), ("mean@R5", "rank-5"))
    numbers = {name: found[key] for name, key in names if not math.isnan(found[key])}
    if not numbers:
        raise DataError("the log names no rank", where=folder, how="see the log there")
    return numbers


def _named(config: Config, folder: Path) -> Config:
    """Runs of several studies in one toolbox are kept apart by the study's folder and the system's."""
    config = copy.deepcopy(config)
    study = folder.resolve().parents[2].name
    for section in ("trainer_cfg", "evaluator_cfg"):
        config[section]["save_name"] = f"{study}-{folder.parent.name}"
    return config


def _run(root: Path, config: Config, folder: Path, phase: str, device: str) -> str:
    file = folder.resolve() / f"{phase}.yaml"
    with atomic_path(file) as temporary:
        temporary.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    gaitext = [sys.executable, "-c", "from gaitext.cli import main; main()"]
    command = [*gaitext, "run", str(root.resolve()), "--device", device, "--", "--cfgs", str(file), "--phase", phase]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    log = file.with_suffix(".log")
    with atomic_path(log) as temporary:
        temporary.write_text(done.stdout, encoding="utf-8")
    if done.returncode:
        raise GaitextError(f"ended with status {done.returncode}", where=" ".join(command), how=f"see {log}")
    return done.stdout


def logged_ranks(log: str) -> dict[str, float]:
    """Rank-1 and rank-5 that an evaluation function has written to a toolbox's log.

    Understood are ``Rank-1': 51.2`` (``evaluate_Gait3D``), ``==Rank-1==`` with the number in the next line
    (``evaluate_real_scene``), ``NM@R1: 51.2%`` and ``NM@R1: [51.2 …]`` (per view); a rank's number is the
    mean of what is found. NaN: there is none.

    >>> logged_ranks("{'scalar/test_accuracy/Rank-1': 51.5, 'scalar/test_accuracy/Rank-5': 70.0}")
    {'rank-1': 51.5, 'rank-5': 70.0}
    """
    numbers: dict[str, float] = {}
    for k in (1, 5):
        found: list[float] = []
        for text in re.findall(rf"(?:Rank-{k}'|@R{k}): *(?:np\.float\d+\()?(\[[^\]]*\]|[\d.]+)", log):
            found += [float(np.mean(list(map(float, each)))) for each in [re.findall(r"[\d.]+", text)] if each]
        found += map(float, re.findall(rf"==Rank-{k}==.*\n.*?(\d+\.\d+)\s*$", log, re.MULTILINE))
        numbers[f"rank-{k}"] = float(np.mean(found)) if found else float("nan")
    return numbers
