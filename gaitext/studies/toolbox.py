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
from gaitext.evaluation.short_numbers import short_numbers
from gaitext.store import atomic_path
from gaitext.training.runs import checkpoint_path

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


def toolbox_test(
    root: Path, config: Config, checkpoint: Path, folder: Path, device: str, saved: Path | None = None
) -> dict[str, float]:
    """The numbers that the toolbox has written to its log, under the names that :func:`logged_numbers` gives them.

    Args:
        saved: where its ``save_embeddings`` is to leave the result.

    Raises:
        GaitextError: the test has failed.
        DataError: its log holds no number.
    """
    config = _named(config, folder)
    config["evaluator_cfg"]["restore_hint"] = str(checkpoint)
    if saved is not None:
        config["evaluator_cfg"]["save_embeddings"] = str(saved.absolute())
    log = _run(root, config, folder, "test", device)
    numbers = logged_numbers(log)
    if not numbers:
        written = re.search(r"(\w+) result saved to (\S+)", log)
        if written:
            raise DataError(
                f"{written[1]}'s protocol gives no number: its server keeps the labels",
                where=config["evaluator_cfg"].get("eval_func"),
                how=f"hand in {written[2]}; no study can decide a claim there",
            )
        raise DataError("the log holds no number of a protocol", where=folder, how="see the log there")
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


_NUMBER = r"[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|nan|inf)"
_IN_NUMPY = rf"(?:np\.float\d+\()?({_NUMBER})"
#: Where a toolbox writes a condition's name otherwise.
_SPELT = {"Umberalla": "Umbrella"}
#: CCPG's headings, and how its conditions' numbers are called beneath them. The heading that includes a probe's own
#: camera is no protocol of a paper's.
_CCPG = (
    (r"===Rank-1 \(Exclude identical-view cases for Person Re-Identification\)===", "-ReID@R1"),
    (r"===mAP \(Exclude identical-view cases for Person Re-Identification\)===", "-ReID@mAP"),
    (r"===mINP \(Exclude identical-view cases for Person Re-Identification\)===", "-ReID@mINP"),
    (r"===Rank-1 \(Exclude identical-view cases\)===", "@R1"),
)
#: What ``evaluate_scoliosis`` and ``evaluate_segmentation`` write before their numbers.
_PLAIN = {
    "Total Accuracy": "accuracy",
    "Macro-avg Precision": "precision",
    "Macro-avg Recall": "recall",
    "Macro-avg F1 Score": "F1",
    "mIOU": "mIOU",
}


def logged_numbers(log: str) -> dict[str, float]:
    """What an evaluation function of a toolbox has written to its log, by the names that gaitext's own cells have.

    * ``evaluate_indoor_dataset``: ``NM``, ``NM@R5``, …; with ``cross_view_gallery`` ``NM``, ``NM@mAP``.
    * ``evaluate_CCPG``: ``CL-ReID``, ``CL-ReID@mAP``, ``CL-ReID@mINP``, and ``CL`` of pairs of cameras.
    * ``evaluate_Gait3D``, ``evaluate_FreeGait``, ``evaluate_CCGR_MINI``: ``mean`` (rank-1), ``mean@R5``, ``mean@R10``,
      ``mean@mAP``, ``mean@mINP``; ``evaluate_real_scene``: ``mean``, ``mean@R5``, ``mean@R10``, ``mean@R20``.
    * ``evaluate_scoliosis``: ``accuracy``, ``precision``, ``recall``, ``F1``; ``evaluate_segmentation``: ``mIOU``.
    * gaitext's own: their scalars.

    Means over conditions are added as :func:`~gaitext.evaluation.short_numbers.short_numbers` has them. A number that
    the log says twice is taken from the last time. Empty: there is none.

    >>> logged_numbers("{'scalar/test_accuracy/Rank-1': 51.5, 'scalar/test_accuracy/mAP': np.float64(40.0)}")
    {'mean': 51.5, 'mean@mAP': 40.0}
    """
    found: dict[str, float] = {}
    # Numbers of each view first: where a toolbox writes their mean as well, that replaces ours.
    for name, rank, of_views in re.findall(r"([A-Z][\w-]*)@(R\d+): \[([^\]]*)\]", log):
        views = [float(each) for each in re.findall(_NUMBER, of_views)]
        found[f"{name}@{rank}"] = float(np.mean(views)) if views else math.nan
    for name, kind, value in re.findall(rf"(?:(?<=\s)|^)([A-Za-z][\w-]*)@(\w+): ({_NUMBER})", log, re.MULTILINE):
        found[f"{name}@{kind}"] = float(value)
    for heading, kind in ((r"=+ Rank@1 Acc =+", "R1"), (r"=+ mAP =+", "mAP")):
        for block in re.findall(rf"{heading}\n((?:[A-Z]+:\s*\[[^\]]*\], mean: [^\n]*\n?)+)", log):
            for name, value in re.findall(rf"([A-Z]+):\s*\[[^\]]*\], mean: ({_NUMBER})%", block):
                found[f"{name}@{kind}"] = float(value)
    for heading, kind in _CCPG:
        for line in re.findall(rf"{heading}[^\n]*\n([^\n]*)", log):
            for name, value in re.findall(rf"\b(CL|UP|DN|BG): ({_NUMBER})", line):
                found[f"{name}{kind}"] = float(value)
    for rank, value in re.findall(rf"==Rank-(\d+)==[^\n]*\n[^\n]*?({_NUMBER})\s*$", log, re.MULTILINE):
        found[f"mean@R{rank}"] = float(value)
    for name, value in re.findall(rf"'scalar/test_accuracy/(Rank-\d+|mAP|mINP)': {_IN_NUMPY}", log):
        found[f"mean@{name.replace('Rank-', 'R')}"] = float(value)
    for name, short in _PLAIN.items():
        for value in re.findall(rf"\b{name}: ({_NUMBER})", log):
            found[short] = float(value)
    return short_numbers({_spelt_right(name): value for name, value in found.items()})


def _spelt_right(name: str) -> str:
    condition, at, kind = name.partition("@")
    return _SPELT.get(condition, condition) + at + kind
