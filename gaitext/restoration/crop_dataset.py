"""Crops as a data set on which a toolbox trains and tests ``ArtifactCorrector``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gaitext.config import load_yaml
from gaitext.errors import ConfigError
from gaitext.restoration.correction_settings import CorrectionConfig
from gaitext.restoration.crop_data import check_split, read_split
from gaitext.restoration.crops import CropReport, prepare_crops
from gaitext.restoration.targets import find_targets
from gaitext.store import write_json

__all__ = ["prepare_crop_dataset"]


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
    if not isinstance(config, CorrectionConfig):
        contents = config if isinstance(config, Mapping) else load_yaml(config)
        config = CorrectionConfig.parse(contents, where="config" if isinstance(config, Mapping) else str(config))
    data = config.data
    if data.crops.correct_at != "input":
        raise ConfigError(
            "a toolbox's model corrects crops of the estimator's input size",
            where="data.crops.correct_at",
            how="write input",
        )
    targets = find_targets(data.truth, data.degraded, data.boxes)
    there = {target.identity for target in targets}
    split = read_split(data.split, there, data.split_seed)
    check_split(split, there, ("train", "test"), data.split)
    report = prepare_crops(targets, data.cache, data.crops, workers=workers, quiet=quiet)
    partition = {"TRAIN_SET": split.train, "TEST_SET": split.test, "VAL_SET": split.val}
    write_json(data.cache / "partition.json", {name: list(identities) for name, identities in partition.items()})
    return report
