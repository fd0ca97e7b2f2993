"""Who trains and tests for tools/rg_gait_study.py: the embedded host, or a linked toolbox."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import yaml

from gaitext import standalone
from gaitext.errors import ConfigError, GaitextError
from gaitext.evaluation import PROTOCOLS, Gait, cross_view
from gaitext.store import atomic_path

__all__ = ["Embedded", "StudyHost", "Toolbox", "logged_ranks"]

Config = dict[str, Any]


class StudyHost(Protocol):
    """Trains and tests one system."""

    def train(self, config: Config, seed: int) -> Path:
        """The checkpoint at the end of a training, which is run, or gone on with, unless it is there."""
        ...

    def test(self, config: Config, checkpoint: Path, seed: int, clean: Config) -> dict[str, float]:
        """``all rank-1``, ``all rank-5``, in percent; ``probes …`` with the gallery embedded as ``clean`` says."""
        ...


class Embedded:
    """The embedded host.

    Args:
        output: the folder that holds all runs, one folder per seed.
        device: ``cpu``, ``cuda`` or ``auto``.
    """

    def __init__(self, output: Path, device: str) -> None:
        self.output, self.device = output, device

    def train(self, config: Config, seed: int) -> Path:
        output = self.output / f"seed-{seed}"
        last = _last_checkpoint(output, config)
        if last.exists():
            return last
        begun = any(last.parent.glob("*.pt"))
        result = standalone.train(config, device=self.device, output=output, seed=seed, resume=begun)
        if result.checkpoint.name != last.name:
            raise ConfigError(f"ended with {result.checkpoint}, not with {last.name}", where=last.parent)
        return result.checkpoint

    def test(self, config: Config, checkpoint: Path, seed: int, clean: Config) -> dict[str, float]:
        data = config["data_cfg"]
        dataset = data.get("test_dataset_name") or data["dataset_name"]
        if dataset not in PROTOCOLS:
            raise ConfigError(
                f"no rank-5 of {dataset} in the embedded host",
                where="data_cfg.test_dataset_name",
                how=f"study it with --toolbox, or use data of {', '.join(PROTOCOLS)}",
            )
        protocol = replace(PROTOCOLS[dataset], ranks=5)
        whole = self.output / f"seed-{seed}" / f"whole-{checkpoint.stem}.npz"
        if not whole.exists():
            self._embed(clean, checkpoint, whole)
        found = _read(whole)
        if config != clean:
            file = self.output / f"seed-{seed}" / "embeddings.npz"
            self._embed(config, checkpoint, file)
            found = _read(file)
        numbers = {}
        for occluded in ("all", "probes"):
            if occluded == "probes":
                gallery = protocol.select(found["types"], protocol.gallery)
                found["embeddings"][gallery] = _read(whole)["embeddings"][gallery]
            scalars = cross_view(Gait.of_data(found), protocol, config["evaluator_cfg"].get("metric", "euc")).scalars
            for k in (1, 5):
                values = [value for name, value in scalars.items() if name.endswith(f"@R{k}")]
                numbers[f"{occluded} rank-{k}"] = float(np.nanmean(values))
        return numbers

    def _embed(self, config: Config, checkpoint: Path, file: Path) -> None:
        config = copy.deepcopy(config)
        config["evaluator_cfg"]["sampler"]["batch_size"] = 8  # packed; it does not change results
        standalone.test(
            config, checkpoint=checkpoint, device=self.device, output=self.output, save_embeddings=file, quiet=True
        )


def _read(file: Path) -> dict[str, np.ndarray]:
    with np.load(file) as saved:
        return dict(saved)


class Toolbox:
    """A linked toolbox, run through ``gaitext run``; configs and logs are kept in the study's folder.

    Args:
        root: of the toolbox.
        out: the study's folder; its name keeps this study's runs in the toolbox apart.
        device: ``cpu``, ``cuda`` or ``auto``.
    """

    def __init__(self, root: Path, out: Path, device: str) -> None:
        self.root, self.out, self.device = root.resolve(), out.resolve(), device

    def train(self, config: Config, seed: int) -> Path:
        config = self._named(config)
        last = _last_checkpoint(self.root / "output", config)
        if not last.exists():
            self._run(config, "train")
        if not last.exists():
            raise GaitextError("the training has left no checkpoint", where=last, how=f"see the logs in {self.out}")
        return last

    def test(self, config: Config, checkpoint: Path, seed: int, clean: Config) -> dict[str, float]:
        config = self._named(config)
        config["evaluator_cfg"]["restore_hint"] = str(checkpoint)
        return {f"all {rank}": value for rank, value in logged_ranks(self._run(config, "test")).items()}

    def _named(self, config: Config) -> Config:
        config = copy.deepcopy(config)
        for section in ("trainer_cfg", "evaluator_cfg"):
            config[section]["save_name"] = f"{self.out.name}-{config[section]['save_name']}"
        return config

    def _run(self, config: Config, phase: str) -> str:
        name = config["trainer_cfg"]["save_name"]
        file = self.out / "configs" / f"{config['model_cfg']['model']}-{name}-{phase}.yaml"
        with atomic_path(file) as temporary:
            temporary.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        gaitext = [sys.executable, "-c", "from gaitext.cli import main; main()"]
        command = [*gaitext, "run", str(self.root), "--device", self.device]
        command += ["--", "--cfgs", str(file), "--phase", phase]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        log = file.with_suffix(".log")
        with atomic_path(log) as temporary:
            temporary.write_text(done.stdout, encoding="utf-8")
        if done.returncode:
            raise GaitextError(f"ended with status {done.returncode}", where=" ".join(command), how=f"see {log}")
        return done.stdout


def _last_checkpoint(output: Path, config: Config) -> Path:
    trainer = config["trainer_cfg"]
    folder = output / config["data_cfg"]["dataset_name"] / config["model_cfg"]["model"] / trainer["save_name"]
    return folder / "checkpoints" / f"{trainer['save_name']}-{trainer['total_iter']:05}.pt"


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
