"""The training phase: checks first, then the loop in every process."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gaitext.config import naming_file
from gaitext.errors import ConfigError, DataError
from gaitext.standalone.check import check_batch, check_leaves, check_options
from gaitext.standalone.data import SequenceDataset, build_chains, find_leaves
from gaitext.standalone.loop import Job, TrainResult, run_job
from gaitext.standalone.settings import HostConfig
from gaitext.standalone.tester import check_test, testing_set
from gaitext.training.launch import launch, leads, process_count, resolve_device, resolve_precision
from gaitext.training.runs import alone, checkpoint_path, latest_checkpoint

log = logging.getLogger(__name__)


def train(
    config: str | Path | Mapping[str, Any],
    *,
    device: str = "cpu",
    devices: int = 1,
    precision: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
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
        overwrite: begin anew where a run has left checkpoints. Its folder is renamed to
            ``<folder>.old-N``; nothing is deleted.
        seed: of everything random.
        output: the folder that holds all runs.
        quiet: no progress bar.

    Raises:
        ConfigError: the config is wrong; in particular ``class_num`` is smaller than the number
            of training identities; or the run's folder holds checkpoints, and none of ``resume``,
            ``overwrite`` and a ``restore_hint`` to go on at is given.
        DataError: data are missing or damaged, another training is at work in the run's folder, or it cannot be
            written.
        CheckpointError: the checkpoint to restore is missing or of another model.
        MissingDependencyError: lightning is not installed.
    """
    processes = process_count(devices)
    host = HostConfig.checked(config, training=True, world_size=processes)
    with naming_file(config):
        check_batch(host)
        check_options(host)
    device = resolve_device(device)
    chosen = resolve_precision(precision, host.fabric.precision, host.trainer.enable_float16, device)
    if host.trainer.sync_BN and processes > 1 and device == "cpu":
        raise ConfigError(
            "torch synchronises batch statistics on GPUs only",
            where="trainer_cfg.sync_BN",
            how="train with one process, or set sync_BN: false (each process then normalises over its own share)",
        )
    folder = host.folder(output, training=True)
    with alone(folder, first=leads()):
        _check_folder(host, folder, resume=resume, overwrite=overwrite)
        restore, goes_on = _restore(host, folder, resume)
        dataset = _training_dataset(host, seed)
        if host.trainer.with_test:
            check_test(host, testing_set(host, seed))
        job = Job(host, dataset, folder, restore, goes_on, overwrite, seed, quiet)
        result: TrainResult = launch(
            run_job,
            job,
            device=device,
            devices=devices,
            precision=chosen,
            find_unused_parameters=host.trainer.find_unused_parameters,
        )
    return result


def _check_folder(host: HostConfig, folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse to mix a new run with an earlier one's checkpoints: `--resume` could not tell them apart."""
    hint = host.trainer.restore_hint
    goes_on = resume or (isinstance(hint, int) and hint > 0)
    if overwrite and goes_on:
        raise ConfigError(
            f"overwrite begins anew, {'resume' if resume else f'restore_hint: {hint}'} goes on",
            where="overwrite" if resume else "trainer_cfg.restore_hint",
            how="choose one of the two",
        )
    latest = latest_checkpoint(folder)
    if latest is not None and not goes_on and not overwrite:
        raise ConfigError(
            f"an earlier run has left checkpoints here, up to {latest.name}",
            where=folder,
            how="go on with it (--resume), begin anew and keep it as .old-N beside (--overwrite), "
            "or choose another trainer_cfg.save_name or --output",
        )


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
