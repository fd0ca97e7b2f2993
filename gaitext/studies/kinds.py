"""The kinds of studies, and reading one from its YAML."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gaitext.config import find_config, load_yaml
from gaitext.errors import ConfigError, suggest
from gaitext.studies.compression import CompressionStudy
from gaitext.studies.driver import Study
from gaitext.studies.recognition import RecognitionStudy
from gaitext.studies.rg_gait import RGGaitStudy

#: ``kind`` in the YAML -> what makes the study of its values and its file's path.
KINDS: dict[str, Callable[[Mapping[str, Any], Path], Study]] = {
    "compression": CompressionStudy,
    "recognition": RecognitionStudy,
    "rg-gait": RGGaitStudy,
}


def parse_study(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Study:
    """The study that a YAML file describes, ready for :func:`~gaitext.studies.run_study`.

    Kinds: ``recognition`` (systems trained and tested on data sets), ``rg-gait`` (RG-Gait's tables) and
    ``compression`` (those of artifact correction).

    Args:
        path: the file, or a shipped study's name (``studies/gaitheat_walkers``); other files it names are relative
            to it.
        overrides: laid over its top level.

    Raises:
        ConfigError: the file is no study.
    """
    path = find_config(path)
    values = {**load_yaml(path), **(overrides or {})}
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ConfigError(f"is {kind!r}", where=f"{path}: kind", how=suggest(str(kind), KINDS))
    return KINDS[kind](values, path)
