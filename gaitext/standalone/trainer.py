"""The training phase: checks first, then the loop in every process."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gaitext.errors import ConfigError, DataError
from gaitext.standalone.check import check_leaves
from gaitext.standalone.data import SequenceDataset, find_leaves
from gaitext.standalone.launch import launch, resolve_device, resolve_precision
from gaitext.standalone.loop import Job, TrainResult, run_job
from gaitext.standalone.runs import checkpoint_path, latest_checkpoint
from gaitext.standalone.settings import HostConfig
from gaitext.standalone.transforms import build_chains
from gaitext.standalone.validation import validate

__all__ = ["TrainResult", "train"]

log = logging.getLogger(__name__)


def train(
    config: str | Path | Mapping[str, Any],
    *,
    device: str = "cpu",
    devices: int = 1,
    precision: str | None = None,
    resume: bool = False,
    seed: int = 0,
    output: str | Path = "output",
    quiet: bool = False,
) -> TrainResult:
    """Train a model as the config says.

    Every random draw is a function of ``seed`` and the iteration (and, inside the network, of the
    process), so a run that was killed and resumed gives the numbers of one that was not, and the
    number of loader workers changes nothing.

    Args:
        config: a YAML file in the toolboxes' format, or its contents.
        device: ``cpu``, ``cuda`` or ``auto``.
        devices: number of processes, one per GPU. Under torchrun its processes are used.
        precision: ``32-true``, ``bf16-mixed`` or ``16-mixed``; None: as the config says.
        resume: go on from the run's latest checkpoint, if there is one.
        seed: of everything random.
        output: the folder that holds all runs.
        quiet: no progress bar.

    Raises:
        ConfigError: the config is wrong; in particular ``class_num`` is smaller than the number
            of training identities.
        DataError: data are missing or damaged, or the loss is no longer a number.
        CheckpointError: the checkpoint to restore is missing or of another model.
        MissingDependencyError: lightning is not installed.
    """
    validate(config, training=True, world_size=devices)
    host = HostConfig.read(config)
    device = resolve_device(device)
    chosen = resolve_precision(precision, host.fabric, host.trainer.enable_float16, device)
    if host.trainer.sync_BN and devices > 1 and device == "cpu":
        raise ConfigError(
            "torch synchronises batch statistics on GPUs only",
            where="trainer_cfg.sync_BN",
            how="train with one process, or set sync_BN: false (each process then normalises over its own share)",
        )
    dataset = _training_dataset(host, seed)
    folder = host.folder(output, training=True)
    restore, goes_on = _restore(host, folder, resume)
    job = Job(host, dataset, folder, restore, goes_on, seed, quiet)
    result: TrainResult = launch(
        run_job,
        job,
        device=device,
        devices=devices,
        precision=chosen,
        find_unused_parameters=host.trainer.find_unused_parameters,
    )
    return result


def _training_dataset(host: HostConfig, seed: int) -> SequenceDataset:
    """The training set, after all checks that can be made before training."""
    found = find_leaves(host.data, training=True, allow_missing=host.fabric.allow_missing)
    if host.fabric.check != "none":
        check_leaves(found, host.data, host.fabric.check).raise_problems()
    chains = build_chains(host.trainer.transform, where="trainer_cfg.transform")
    dataset = SequenceDataset(found, host.data, host.trainer.sampler.frames, chains, seed)
    few = [label for label, indices in dataset.indices_dict.items() if len(indices) < 2]
    if len(few) == len(dataset.label_set) or len(dataset.label_set) < 2:
        raise DataError(
            f"{len(dataset.label_set)} training identities, {len(few)} of them with a single sequence",
            where=host.data.dataset_root,
            how="learning to compare needs two identities, and two sequences of one of them",
        )
    if few:
        log.warning("%d training identities have a single sequence: %s", len(few), ", ".join(few[:10]))
    return dataset


def _restore(host: HostConfig, folder: Path, resume: bool) -> tuple[Path | None, bool]:
    """The checkpoint to start from, and whether to go on at its iteration."""
    latest = latest_checkpoint(folder) if resume else None
    if latest is not None:
        return latest, True
    if resume:
        log.warning("%s has no checkpoint to resume from", folder)
    hint = host.trainer.restore_hint
    if isinstance(hint, int):
        return (checkpoint_path(folder, hint), True) if hint else (None, False)
    return Path(hint), False
