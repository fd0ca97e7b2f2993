"""What the YAML of a study of artifact correction says."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, model_validator

from gaitext.config import Settings, load_yaml, merge
from gaitext.evaluation.psymo import VARIATIONS
from gaitext.restoration import DegradeSettings
from gaitext.restoration.settings import CorrectionConfig
from gaitext.studies.checking import check_config, check_embedded, told_of
from gaitext.studies.settings import StudySettings
from gaitext.walkers import WalkerSettings
from gaitext.walkers.settings import PROTOCOLS

__all__ = [
    "METHODS",
    "PICTURES",
    "VIDEOS",
    "CompressionSettings",
    "GaitSettings",
    "correction_config",
    "gait_config",
    "gait_metrics",
]

#: Systems, in the order of the paper's table.
METHODS = ("base", "released", "fine-tuned", "corrected")
#: Systems that nothing of this study trains.
UNTRAINED = ("base", "released")
#: Conditions of poses; with ``gait-`` before them, those of recognition.
VIDEOS = ("degraded", "original")
#: Files that this kind of study writes beside those of all.
PICTURES = ("histogram", "examples", "panels")


class GaitSettings(Settings):
    """How identities are told.

    Attributes:
        config: of a GaitPT, such as gaitpt/tiny.yaml, relative to the study's. It is trained on the label source's
            poses of the identities that correctors are trained on (§IV-B): the extraction's that stands for the truth,
            or, of walkers, the renderer's.
        overrides: laid over it.
        seed: of its training.
        seeds: of correction's training, whose test poses are recognised; None: all of the study's.
    """

    config: Path
    overrides: dict[str, Any] = Field(default_factory=dict)
    seed: int = 0
    seeds: tuple[int, ...] | None = Field(None, min_length=1)


class CompressionSettings(StudySettings):
    """A study of kind ``compression``.

    Attributes:
        walkers: rendered and degraded first; None: ``correction.data`` names what ``gaitext degrade`` and
            ``gaitext extract`` made.
        degrade: how much is lost; of walkers.
        correction: what ``gaitext correct train`` takes, or its file, relative to the study's; with walkers, its data's
            folders are filled in. As there, paths in it start from where the command is given.
        released: ``fbcnn_color.pth``, likewise; None leaves that system out: its rows hold dashes.
        test_stride: poses are measured in every so many frames of a test sequence; recognition takes all.
        recognition: None: there are no conditions ``gait-degraded`` and ``gait-original``.
        nproc: GPUs, or processes, of one training; with several, trainings are done one after another.
    """

    KIND: ClassVar[str] = "compression"

    walkers: dict[str, Any] | None = None
    degrade: DegradeSettings = DegradeSettings()
    correction: Path | dict[str, Any]
    released: Path | None = None
    test_stride: int = Field(1, ge=1)
    recognition: GaitSettings | None = None
    nproc: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _names(self) -> CompressionSettings:
        for table in self.tables:
            if table.name in PICTURES:
                raise ValueError(f"tables: '{table.name}' is what another file of the study is called")
        content = (self.walkers or {}).get("content")
        if self.walkers is not None and not {"keypoints", "video"} <= set(content or ()):
            raise ValueError("walkers.content: name keypoints and video, which are the truth and what is degraded")
        return self

    @property
    def gait_seeds(self) -> tuple[int, ...]:
        """Those whose test poses are recognised."""
        if self.recognition is None:
            return ()
        asked = self.recognition.seeds
        return self.seeds if asked is None else tuple(seed for seed in self.seeds if seed in asked)


def correction_config(settings: CompressionSettings, root: Path, filled: dict[str, Any] | None) -> CorrectionConfig:
    """What ``gaitext correct train`` is given, its paths absolute.

    Args:
        settings: the study's.
        root: the folder of its YAML.
        filled: laid over its ``data``.

    Raises:
        ConfigError: it is wrong.
    """
    given = settings.correction
    values = dict(given) if isinstance(given, dict) else load_yaml(root / given)
    if filled is not None:
        values["data"] = {**(values.get("data") or {}), **{key: str(value) for key, value in filled.items()}}
    config = CorrectionConfig.parse(values, where="correction" if isinstance(given, dict) else str(root / given))
    data = {name: value.resolve() for name, value in config.data if isinstance(value, Path)}
    changes: dict[str, Any] = {"data": config.data.model_copy(update=data)}
    if config.model.weights is not None:
        changes["model"] = config.model.model_copy(update={"weights": config.model.weights.resolve()})
    return config.model_copy(update=changes)


def gait_metrics(settings: CompressionSettings) -> set[str]:
    """What cells of recognition will have: numbers by variation, and by its probe angle."""
    given = settings.walkers
    views = WalkerSettings.parse(given, where="walkers").views if given is not None else PROTOCOLS["psymo"][1]
    names = [*(name.upper() for name in VARIATIONS), "mean"]
    return {name + end for name in names for end in ("", "@R5", "@mAP", *(f"-{view}" for view in views or ()))}


def gait_config(settings: GaitSettings, root: Path) -> dict[str, Any]:
    """GaitPT's config, without its data's place.

    Raises:
        ConfigError: it is wrong; what concerns the data is seen when they are there.
    """
    config = merge(settings.overrides, load_yaml(root / settings.config))
    with told_of("recognition"):
        there = {"data_cfg": {"dataset_root": ".", "dataset_partition": "."}}
        check_embedded(check_config(merge(there, config), with_data=False))
    return config
