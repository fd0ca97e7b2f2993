"""What ``gaitext correct pretrain`` reads: one YAML of typed settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from gaitext.config import Settings, load_yaml
from gaitext.restoration.settings import ModelSettings, Share
from gaitext.training.pace import PaceSettings

QualityFactor = Annotated[int, Field(ge=1, le=100)]
Crf = Annotated[float, Field(ge=0, le=51)]
PixelLoss = Literal["l1", "l2"]


class FootageSettings(Settings):
    """Where good pictures come from.

    Attributes:
        pictures: folders; every picture in them and below is one. They are compressed by JPEG only.
        videos: videos, folders of videos, trees ``<id>/<type>/<view>`` of videos or frames, folders of
            ``gaitext walkers``. They are compressed by H.264, and their frames by JPEG as well.
        crops: ``data.cache`` of ``gaitext correct train``, whose pairs of crops are taken as they are.
    """

    pictures: tuple[Path, ...] = ()
    videos: tuple[Path, ...] = ()
    crops: tuple[Path, ...] = ()

    @model_validator(mode="after")
    def _something(self) -> FootageSettings:
        if not (self.pictures or self.videos or self.crops):
            raise ValueError("names nothing: give pictures, videos or crops")
        return self


class RestorerDataSettings(FootageSettings):
    """Good pictures, and how their H.264 is made.

    Attributes:
        cache: folder that frames and their H.264 are kept in, unpacked.
        held_out: what is not trained on, to measure on; None holds out a share.
        held_out_share: of each kind's pictures or clips, of trees by identity; at least one where there are two.
        crf: x264's constant rate factors are drawn evenly between these two.
        rounds: how many versions of each clip there are, each of a crf of its own.
        frames: kept of each clip, evenly spread; all are encoded.
        crops_crf: of ``crops`` whose degraded video was not made by ``gaitext degrade --crf``.
        seed: of what is held out, and of the crfs.
    """

    cache: Path
    held_out: FootageSettings | None = None
    held_out_share: float = Field(0.1, gt=0, lt=1)
    crf: tuple[Crf, Crf] = (30.0, 51.0)
    rounds: int = Field(2, ge=1)
    frames: int = Field(16, ge=1)
    crops_crf: Crf | None = None
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _range(self) -> RestorerDataSettings:
        if self.crf[0] > self.crf[1]:
            raise ValueError(f"crf: {self.crf[0]:g} is above {self.crf[1]:g}")
        return self


class RestorerModelSettings(ModelSettings):
    """FBCNN, and where training begins.

    Attributes:
        start: of fresh weights: ``identity`` gives pictures back as they are, at every quality; ``random`` is
            what torch draws.
    """

    start: Literal["identity", "random"] = "identity"

    @property
    def sizes(self) -> dict[str, Any]:
        return self.model_dump(exclude={"weights", "start"})


class RestorerTrainerSettings(PaceSettings):
    """How long and how fast, and what a batch is; published values are FBCNN's (docs/artifact-correction.md).

    Attributes:
        patch: height and width of what is cut from pictures.
        quality: JPEG quality factors are drawn from these two and all between.
        h264: share of each batch that is H.264's; the rest is JPEG's. 0 as published.
        pixel_loss: ``l1``, as published, or ``l2``, the mean of squares. From the identity ``l1`` learns slowly: most
            pixels of plain pictures are right already, and their median error is 0.
        quality_weight: of the predictor's loss, λ.
        validation_frames: held-out frames at most, evenly spread; 0 takes all.
        validation_size: of the middle of each held-out frame, pixels; 0 takes the whole.
    """

    lr: float = Field(1e-4, gt=0)
    patch: int = Field(96, ge=16, le=1024)
    quality: tuple[QualityFactor, QualityFactor] = (10, 95)
    h264: Share = 0.5
    pixel_loss: PixelLoss = "l1"
    quality_weight: float = Field(0.1, ge=0)
    validation_frames: int = Field(32, ge=0)
    validation_size: int = Field(256, ge=0)

    @model_validator(mode="after")
    def _sensible(self) -> RestorerTrainerSettings:
        if self.quality[0] > self.quality[1]:
            raise ValueError(f"quality: {self.quality[0]} is above {self.quality[1]}")
        if 0 < self.validation_size < 16:
            raise ValueError(f"validation_size: {self.validation_size} pixels are too few: 16, or 0 for all")
        return self


class RestorerConfig(Settings):
    """The whole file.

    Attributes:
        name: of the run's folder below ``--output``.
        data, model, trainer: see there.
    """

    name: str = Field("restorer", pattern=r"^[^/.][^/]*$")
    data: RestorerDataSettings
    model: RestorerModelSettings = RestorerModelSettings()
    trainer: RestorerTrainerSettings = RestorerTrainerSettings()

    @model_validator(mode="after")
    def _possible(self) -> RestorerConfig:
        if self.model.image_channels != 3:
            raise ValueError(f"model.image_channels: {self.model.image_channels}; pictures are RGB: 3")
        if self.trainer.h264 and not (self.data.videos or self.data.crops):
            share = self.trainer.h264
            raise ValueError(
                f"trainer.h264: {share:g} of a batch is H.264's, and data has no videos and no crops: write 0"
            )
        return self

    @classmethod
    def of(cls, config: str | Path | Mapping[str, Any] | RestorerConfig) -> RestorerConfig:
        """The settings of a YAML file, of its contents, or as they are.

        Raises:
            ConfigError: naming every wrong key.
        """
        if isinstance(config, RestorerConfig):
            return config
        if isinstance(config, Mapping):
            return cls.parse(config, where="config")
        return cls.parse(load_yaml(config), where=str(config))
