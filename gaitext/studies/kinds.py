"""The kinds of studies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gaitext.studies.compression import CompressionStudy
from gaitext.studies.recognition import RecognitionStudy
from gaitext.studies.rg_gait import RGGaitStudy

__all__ = ["KINDS"]

#: ``kind`` in the YAML -> what makes the :class:`~gaitext.studies.driver.Study` of its values and its file's path.
KINDS: dict[str, Callable[[Mapping[str, Any], Path], Any]] = {
    "compression": CompressionStudy,
    "recognition": RecognitionStudy,
    "rg-gait": RGGaitStudy,
}
