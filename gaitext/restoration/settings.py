"""What ``gaitext correct train`` reads: one YAML of typed settings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from gaitext.config import Settings, load_yaml
from gaitext.models.fbcnn import FBCNNSettings
from gaitext.restoration.degrade import DegradeSettings
from gaitext.restoration.objective import CorrectAt
from gaitext.restoration.terms import ObjectiveSettings
from gaitext.training.pace import PaceSettings

Share = Annotated[float, Field(ge=0, le=1)]


class CropSettings(Settings):
    """How persons are cut out of frames.

    Attributes:
        crop: ``window``: of a fixed size around the box's centre, frames whose window leaves the picture being
            dropped (§III-A); ``box``: as ``gaitext extract`` cuts, growing with the person, black outside.
        window: width and height of the window, pixels, in frames ``window_for`` pixels high; other heights
            scale it. PsyMo's frames are 1080 pixels high.
        window_for: None takes the window as it is for all.
        scale: by how much boxes grow, with ``box``.
        correct_at: where the corrector works: ``input`` keeps crops of the estimator's size, ``native``
            windows as they are in the video.
        stride: take every so many frames of a sequence.
    """

    crop: Literal["window", "box"] = "window"
    window: tuple[int, int] = (400, 600)
    window_for: int | None = Field(1080, ge=1)
    scale: float = Field(1.25, gt=0)
    correct_at: CorrectAt = "input"
    stride: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _consistent(self) -> CropSettings:
        if min(self.window) < 8:
            raise ValueError(f"a window of {self.window[0]}×{self.window[1]} pixels holds no person")
        if self.crop == "box" and self.correct_at == "native":
            raise ValueError("correct_at: native needs crops of one size: crop: window")
        return self


class DataSettings(Settings):
    """Which videos, and what is true of them: labelled ones, one's own without labels, or both.

    Attributes:
        degraded: ``--out`` of ``gaitext degrade`` on the originals.
        truth: ``--out`` of ``gaitext extract`` on the originals; or a folder of ``gaitext walkers``, whose
            renderer's keypoints are taken.
        videos: one's own video, without labels: a folder of video files, or what ``gaitext extract`` takes. People
            are found, and the videos degraded, in ``cache/videos``; what the estimator finds in the originals is
            what it is to find (``objective.distillation_weight``).
        degrade: by how much ``videos`` are.
        boxes: folder ``<id>/<type>/<view>.csv`` of the persons' boxes in the originals; None computes
            them from the extraction's crops (which were widened to 3:4: OKS' area is larger then).
        split: json ``{"train": […], "val": […], "test": […]}`` of identities; None draws 80/10/10 by ``split_seed``.
            Of ``videos`` alone one person in five validates.
        split_seed: of that draw.
        min_score: true joints of a lower score, or 0, do not count.
        cache: folder that crops are kept in.
        crops: how they are cut; those of ``videos`` by ``crop: box``.
    """

    degraded: Path | None = None
    truth: Path | None = None
    videos: Path | None = None
    degrade: DegradeSettings = DegradeSettings()
    boxes: Path | None = None
    split: Path | None = None
    split_seed: int = Field(0, ge=0)
    min_score: float = 0.0
    cache: Path
    crops: CropSettings = CropSettings()

    @model_validator(mode="after")
    def _something(self) -> DataSettings:
        if (self.truth is None) != (self.degraded is None):
            raise ValueError("truth and degraded belong together: give both")
        if self.truth is None and self.videos is None:
            raise ValueError("give truth and degraded, or videos (own ones, without labels)")
        return self


class ModelSettings(FBCNNSettings):
    """FBCNN, and where its weights come from.

    Attributes:
        weights: such as ``fbcnn_color.pth``; None starts as the identity, which changes nothing at first.
    """

    weights: Path | None = None

    @property
    def sizes(self) -> dict[str, Any]:
        """Keywords of :class:`~gaitext.models.FBCNN`."""
        return self.model_dump(exclude={"weights"})


class AugmentSettings(Settings):
    """How crops are moved in training; all off unless given (:mod:`~gaitext.restoration.augment`).

    HRNet's default for COCO at 256×192 (its ``w32_256x192_adam_lr1e-3``): rotation 45, scale 0.35, half_body 0.3, and
    the trainer's ``mirror`` 0.5.

    Attributes:
        rotation: standard deviation of the angle, degrees; drawn angles stay within twice that.
        rotation_share: chance that a crop is turned.
        scale: standard deviation of the factor around 1, which stays within 1 ± this.
        half_body: chance that what is shown is the upper or the lower body alone.
        half_body_joints: only of crops with more known joints than these.
    """

    rotation: float = Field(0.0, ge=0, le=180)
    rotation_share: Share = 0.6
    scale: float = Field(0.0, ge=0, lt=1)
    half_body: Share = 0.0
    half_body_joints: int = Field(8, ge=0)

    @property
    def moves(self) -> bool:
        """Whether anything is on."""
        return bool(self.half_body or self.scale or (self.rotation and self.rotation_share))


class TrainerSettings(PaceSettings):
    """How long and how fast a corrector, or an estimator, is trained; a batch is of crops.

    Attributes:
        epochs: instead of ``iterations``: as many as draw each crop so often on average.
        original_share: of each batch, from original instead of degraded video. The paper's is 0.
        videos_share: of each batch, from ``data.videos``, where there are labelled crops, too.
        mirror: chance that a crop is mirrored (its left and right joints exchanged). The paper's corrector has 0.
        augment: turns, scales and cuts crops. The paper's corrector has none.
        validate_on: whether ``best.pt`` is best on degraded validation crops, or on both on average.
    """

    epochs: float | None = Field(None, gt=0)
    original_share: Share = 0.0
    videos_share: Share = 0.5
    mirror: Share = 0.0
    augment: AugmentSettings = AugmentSettings()
    validate_on: Literal["degraded", "both"] = "degraded"

    @model_validator(mode="after")
    def _one_length(self) -> TrainerSettings:
        if self.epochs is not None and "iterations" in self.model_fields_set and self.iterations != 10_000:
            raise ValueError("iterations and epochs are both given: how long is it?")
        return self

    def length(self, crops: int) -> int:
        """Iterations of a run over so many crops."""
        return self.iterations if self.epochs is None else math.ceil(self.epochs * crops / self.batch_size)


def with_data(values: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A config's values with ``own`` laid over its ``data``; ``data`` of another kind is left for parsing to refuse."""
    given = values.get("data") or {}
    return {**values, "data": {**given, **own}} if isinstance(given, Mapping) else dict(values)


class CorrectionConfig(Settings):
    """The whole file.

    Attributes:
        name: of the run's folder below ``--output``.
        mode: ``correct`` trains a corrector before the frozen estimator; ``finetune`` the estimator itself on the
            same crops, by the mean squared difference of heatmaps (the paper's baseline).
        estimator: specification, as for ``gaitext extract``.
        data: crops to learn from.
        model: the corrector.
        objective: its loss.
        trainer: how long and how fast.
        finetune_trainer: the same, for ``finetune``; None: ``trainer``.
    """

    name: str = Field("correction", pattern=r"^[^/.][^/]*$")
    mode: Literal["correct", "finetune"] = "correct"
    estimator: str
    data: DataSettings
    model: ModelSettings = ModelSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    trainer: TrainerSettings = TrainerSettings()
    finetune_trainer: TrainerSettings | None = None

    @model_validator(mode="after")
    def _movable(self) -> CorrectionConfig:
        for name, steps in (("trainer", self.trainer), ("finetune_trainer", self.finetune_trainer)):
            if steps is not None and steps.augment.moves and self.data.crops.correct_at == "native":
                raise ValueError(f"{name}.augment: moves crops of the estimator's size: data.crops.correct_at: input")
        return self

    @model_validator(mode="after")
    def _without_labels(self) -> CorrectionConfig:
        if self.data.videos is None:
            return self
        if self.data.crops.correct_at == "native":
            raise ValueError("data.videos: their crops are of the estimator's size: data.crops.correct_at: input")
        if self.mode == "finetune":
            raise ValueError("data.videos: has no labels, which an estimator is fine-tuned by: leave it out")
        if not self.objective.distillation_weight:
            raise ValueError(
                "data.videos: has no labels: give objective.distillation_weight, by which crops are learnt from alone"
            )
        return self

    @classmethod
    def read(cls, path: str | Path) -> CorrectionConfig:
        """Read a YAML file.

        Raises:
            ConfigError: naming every wrong key.
        """
        return cls.parse(load_yaml(path), where=str(path))

    @classmethod
    def of(cls, config: str | Path | Mapping[str, Any] | CorrectionConfig) -> CorrectionConfig:
        """The settings of a YAML file, of its contents, or as they are."""
        if isinstance(config, CorrectionConfig):
            return config
        return cls.parse(config, where="config") if isinstance(config, Mapping) else cls.read(config)

    @property
    def steps(self) -> TrainerSettings:
        """The trainer's settings of this mode."""
        if self.mode == "finetune" and self.finetune_trainer is not None:
            return self.finetune_trainer
        return self.trainer
