"""What ``gaitext correct train`` reads: one YAML of typed settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from gaitext.config import Settings, load_yaml
from gaitext.models.fbcnn import FBCNNSettings
from gaitext.pose import TEMPERATURE
from gaitext.restoration.objective import CorrectAt

__all__ = ["CorrectionConfig", "CropSettings", "ObjectiveSettings", "TrainerSettings"]

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
    """Which videos, and what is true of them.

    Attributes:
        degraded: ``--out`` of ``gaitext degrade`` on the originals.
        truth: ``--out`` of ``gaitext extract`` on the originals; or a folder of ``gaitext walkers``, whose
            renderer's keypoints are taken.
        boxes: folder ``<id>/<type>/<view>.csv`` of the persons' boxes in the originals; None reckons
            them back from the extraction's crops (which were widened to 3:4: OKS' area is larger then).
        split: json ``{"train": […], "val": […], "test": […]}`` of identities; None draws 80/10/10 by ``split_seed``.
        split_seed: of that draw.
        min_score: true joints of a lower score, or 0, do not count.
        cache: folder that crops are kept in.
        crops: how they are cut.
    """

    degraded: Path
    truth: Path
    boxes: Path | None = None
    split: Path | None = None
    split_seed: int = Field(0, ge=0)
    min_score: float = 0.0
    cache: Path
    crops: CropSettings = CropSettings()


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


class ObjectiveSettings(Settings):
    """Keywords of :class:`~gaitext.restoration.CorrectionObjective`; the paper's loss is the sum of coordinates.

    Attributes:
        temperature: of soft-argmax.
        coordinate_weight, heatmap_weight: of the two terms.
        reduction: of the coordinates' distances: ``sum`` (Eq. 1), or ``frame``, which does not grow with the batch.
        quality: 1 − QF/100.
    """

    temperature: float = Field(TEMPERATURE, gt=0)
    coordinate_weight: float = Field(1.0, ge=0)
    heatmap_weight: float = Field(0.0, ge=0)
    reduction: Literal["sum", "frame", "mean"] = "sum"
    quality: Share = 0.5


class TrainerSettings(Settings):
    """How long and how fast.

    Attributes:
        iterations: in all.
        batch_size: crops an iteration, over all processes.
        lr: AdamW's highest rate.
        warmup: share of the iterations until it is highest; it falls to 0 by a cosine from there.
        weight_decay: AdamW's.
        clip: the gradient's largest norm; 0 does not clip.
        average: what is validated and kept as best are weights averaged over iterations: each step's count
            1 − this, all before this (0.98: over about 50). 0, as published, averages nothing.
        original_share: of each batch, from original instead of degraded video. The paper's is 0.
        mirror: chance that a crop is mirrored (its left and right joints exchanged). The paper's is 0.
        log_every, save_every, validate_every: iterations.
        validation_frames: at most so many, evenly spread; 0 takes all.
        validate_on: whether ``best.pt`` is best on degraded validation crops, or on both on average.
        precision: ``32-true``, ``bf16-mixed`` or ``16-mixed``.
        images: corrections shown in TensorBoard's log; 0 shows none.
    """

    iterations: int = Field(10_000, ge=1)
    batch_size: int = Field(32, ge=1)
    lr: float = Field(1e-4, gt=0)
    warmup: Share = 0.05
    weight_decay: float = Field(0.0, ge=0)
    clip: float = Field(0.0, ge=0)
    average: float = Field(0.0, ge=0, lt=1)
    original_share: Share = 0.0
    mirror: Share = 0.0
    log_every: int = Field(50, ge=1)
    save_every: int = Field(1000, ge=1)
    validate_every: int = Field(1000, ge=1)
    validation_frames: int = Field(0, ge=0)
    validate_on: Literal["degraded", "both"] = "degraded"
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    images: int = Field(4, ge=0)


class CorrectionConfig(Settings):
    """The whole file.

    Attributes:
        name: of the run's folder below ``--output``.
        mode: ``correct`` trains a corrector before the frozen estimator; ``finetune`` the estimator itself on the
            same crops, by the mean squared difference of heatmaps (the paper's baseline).
        estimator: specification, as for ``gaitext extract``.
        data, model, objective, trainer: see there. ``finetune`` has its own ``finetune_trainer``, by
            default ``trainer``.
    """

    name: str = Field("correction", pattern=r"^[^/.][^/]*$")
    mode: Literal["correct", "finetune"] = "correct"
    estimator: str
    data: DataSettings
    model: ModelSettings = ModelSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    trainer: TrainerSettings = TrainerSettings()
    finetune_trainer: TrainerSettings | None = None

    @classmethod
    def read(cls, path: str | Path) -> CorrectionConfig:
        """Read a YAML file.

        Raises:
            ConfigError: naming every wrong key.
        """
        return cls.parse(load_yaml(path), where=str(path))

    @property
    def steps(self) -> TrainerSettings:
        """The trainer's settings of this mode."""
        if self.mode == "finetune" and self.finetune_trainer is not None:
            return self.finetune_trainer
        return self.trainer
