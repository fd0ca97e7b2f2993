"""Training a corrector, or fine-tuning an estimator on the same crops: checks first, then the loop in every process."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from gaitext.config import load_yaml
from gaitext.errors import ConfigError, DataError
from gaitext.making import refuse_twins
from gaitext.restoration.crop_data import Split, check_split, read_split
from gaitext.restoration.crops import CropReport, prepare_crops
from gaitext.restoration.fit import CorrectionJob, CorrectionRun, run_correction
from gaitext.restoration.learner import build_learner
from gaitext.restoration.own_videos import OWN_CROPS, held_out, own_targets
from gaitext.restoration.settings import CorrectionConfig, with_data
from gaitext.restoration.targets import find_targets
from gaitext.store import write_json, write_partition
from gaitext.training.best import check_batch, run_folder
from gaitext.training.launch import launch, leads, resolve_device, resolve_precision

log = logging.getLogger(__name__)

#: What trains by one's own video alone.
_OWN = "correction/own_video"


def read_correction(config: str | Path | None, videos: str | Path | None = None) -> CorrectionConfig:
    """The settings of a YAML file, with one's own ``videos`` in ``data``.

    Args:
        config: the file; None: ``correction/own_video``, which has no other data.
        videos: a folder of them; None leaves what the file says.

    Raises:
        ConfigError: neither is given, or the config is wrong.
    """
    if config is None and videos is None:
        raise ConfigError(
            "there is nothing to train by", where="correct train", how="name a YAML file, or --videos FOLDER, or both"
        )
    path = config or _OWN
    values = load_yaml(path)
    if videos is not None:
        values = with_data(values, {"videos": str(videos)})
    return CorrectionConfig.parse(values, where=str(path))


def prepare_correction(
    config: str | Path | Mapping[str, Any] | CorrectionConfig, *, workers: int = 0, quiet: bool = False
) -> CropReport:
    """Cut the crops that a config asks for into its cache; what stands is kept.

    Raises:
        ConfigError: the config is wrong.
        DataError, VideoError: see :func:`~gaitext.restoration.crops.prepare_crops`.
    """
    return _prepared(CorrectionConfig.of(config), ("train", "val"), workers, quiet).report


def prepare_crop_dataset(
    config: str | Path | Mapping[str, Any] | CorrectionConfig, *, workers: int = 0, quiet: bool = False
) -> CropReport:
    """Cut the crops of all identities of a config, those for the result too, and write their partition.

    ``data.cache`` then holds ``sequences``, with leaves as of :func:`~gaitext.restoration.prepare_crops`, and
    ``partition.json``. What stands is kept, and shared with ``gaitext correct train`` of the same config.

    Args:
        config: a YAML file of :class:`~gaitext.restoration.CorrectionConfig`, its contents, or the settings. Only
            ``data`` is read; identities for validation are the partition's ``VAL_SET``, which toolboxes pass over.
        workers: processes that cut.
        quiet: no progress bar.

    Raises:
        ConfigError: the config is wrong, or asks for crops that are not of the estimator's input size.
        DataError, VideoError: see :func:`~gaitext.restoration.prepare_crops`.
    """
    config = CorrectionConfig.of(config)
    if config.data.crops.correct_at != "input":
        raise ConfigError(
            "a toolbox's model corrects crops of the estimator's input size",
            where="data.crops.correct_at",
            how="write input",
        )
    if config.data.truth is None:
        raise ConfigError(
            "one's own videos alone have no labels to test by", where="data.videos", how="give truth and degraded, too"
        )
    made = _prepared(config, ("train", "test"), workers, quiet)
    assert made.split is not None
    trained = [*made.split.train, *sorted({name.split("/")[0] for name in made.unlabelled})]
    write_partition(config.data.cache / "partition.json", trained, made.split.test, VAL_SET=list(made.split.val))
    return made.report


@dataclass(frozen=True)
class _Prepared:
    """Crops of a config, which leaves of them train, validate and have no labels, and the split of identities."""

    report: CropReport
    training: list[str]
    validation: list[str]
    unlabelled: tuple[str, ...] = ()
    split: Split | None = None

    def frames(self, leaves: Sequence[str], part: str, where: object) -> dict[str, int]:
        """Leaf -> frames of those that have any.

        Raises:
            DataError: none has.
        """
        kept = {name: self.report.leaves[name] for name in leaves if name in self.report.leaves}
        if not kept:
            raise DataError(f"no crop is of an identity for '{part}'", where=where, how="check the names there")
        return kept


def _prepared(config: CorrectionConfig, parts: Sequence[str], workers: int, quiet: bool) -> _Prepared:
    """The crops of a config, cut; in the identities' split ``parts`` must hold somebody."""
    data = config.data
    cut = partial(prepare_crops, out=data.cache, workers=workers, quiet=quiet)
    own = [] if data.videos is None else own_targets(data, config.estimator, workers=workers, quiet=quiet)
    names = [target.pair.leaf for target in own]
    if data.truth is None:
        tried = held_out(names)
        trained = [name for name in names if name not in tried] or names
        if trained == names:
            log.warning("%s shows one person: what trains validates, too", data.videos)
        return _Prepared(cut(own, settings=OWN_CROPS), trained, tried, tuple(names))
    assert data.degraded is not None
    targets = find_targets(data.truth, data.degraded, data.boxes)
    there = {target.identity for target in targets}
    split = read_split(data.split, there, data.split_seed)
    check_split(split, there, parts, data.split)
    if "test" not in parts:  # those for the result may be most
        targets = [target for target in targets if target.identity in (*split.train, *split.val)]
    refuse_twins(((t.pair.leaf, t.pair.original) for t in (*targets, *own)), how="give the videos other names")
    report = cut(targets, settings=data.crops)
    if own:
        report.add(cut(own, settings=OWN_CROPS))
    training = [*split.leaves("train", report.leaves), *names]
    return _Prepared(report, training, split.leaves("val", report.leaves), tuple(names), split)


def train_correction(
    config: str | Path | Mapping[str, Any] | CorrectionConfig,
    *,
    finetune: bool = False,
    device: str = "cpu",
    devices: int = 1,
    precision: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    seed: int = 0,
    output: str | Path = "output",
    workers: int = 0,
    quiet: bool = False,
) -> CorrectionRun:
    """Train as a config says; the folder is ``output/<name>`` (with ``-finetuned`` for the estimator).

    Every draw is a function of ``seed`` and the iteration, so that a run that was killed and resumed gives the
    numbers of one that was not. ``best.pt`` has the weights that were best by AP on the validation identities, or by
    the mean of it and AP on originals (``validate_on: both``).

    Args:
        config: a YAML file (:class:`~gaitext.restoration.settings.CorrectionConfig`), its contents, or
            the settings.
        finetune: train the estimator itself instead, as ``mode: finetune``.
        device: ``cpu``, ``cuda`` or ``auto``.
        devices: processes, one per GPU. Under torchrun its processes are used.
        precision: ``32-true``, ``bf16-mixed`` or ``16-mixed``; None: as the config says.
        resume: go on from the latest checkpoint, if there is one.
        overwrite: begin anew where a run has left checkpoints; its folder is renamed, not deleted.
        seed: of everything random.
        output: the folder that holds all runs.
        workers: processes that cut crops.
        quiet: no progress bar.

    Raises:
        ConfigError: the config is wrong, or the run's folder holds checkpoints and neither ``resume`` nor
            ``overwrite`` is given.
        DataError: data are missing or damaged, or the loss is no longer a number.
        CheckpointError: weights are missing or of another model.
        MissingDependencyError: lightning is not installed.
    """
    settings = CorrectionConfig.of(config)
    if finetune:
        # Parsed anew, as there are data that an estimator cannot be fine-tuned by.
        settings = CorrectionConfig.parse({**settings.model_dump(), "mode": "finetune"}, where="config")
    check_batch(settings.steps.batch_size, devices)
    device = resolve_device(device)
    chosen = resolve_precision(precision, settings.steps.precision, False, device)
    folder = Path(output) / (settings.name + ("-finetuned" if settings.mode == "finetune" else ""))
    with run_folder(folder, resume=resume, overwrite=overwrite) as latest:
        # Before the crops, which may take hours: weights and estimator can be read.
        with torch.random.fork_rng(devices=[]):
            build_learner(settings, torch.device("cpu"))
        made = _prepared(settings, ("train", "val"), workers, quiet)
        report = made.report
        log.info("%s", report)
        job = CorrectionJob(
            json.loads(settings.model_dump_json()),
            folder,
            latest,
            overwrite,
            seed,
            quiet,
            made.frames(made.training, "train", settings.data.split),
            made.frames(made.validation, "val", settings.data.split),
            made.unlabelled,
        )
        result: CorrectionRun = launch(run_correction, job, device=device, devices=devices, precision=chosen)
        if leads():
            counted = {"frames": report.frames, "dropped": report.dropped, "leaves": report.leaves}
            write_json(folder / "crops.json", counted)
    return result
