"""Person detectors of mmdet, run through its modules in batches."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field

from gaitext.config import Settings
from gaitext.errors import ConfigError, import_extra
from gaitext.extraction.detect.detector import Detections, Frame
from gaitext.pose import openmmlab
from gaitext.video import sha256

log = logging.getLogger(__name__)

_PERSONS = {"person", "pedestrian"}


class MmdetDetectorSettings(Settings):
    """Options of ``mmdet:CONFIG:CHECKPOINT?…``.

    Attributes:
        score: boxes with a lower score are left out; the config's own threshold holds, too.
        person: the class that is the person; None looks for its name in the data set of the config.
        device: ``cpu``, ``cuda``, ``cuda:1``; ``auto`` takes CUDA where there is one.
    """

    score: float = Field(default=0.3, ge=0, le=1)
    person: int | None = Field(default=None, ge=0)
    device: str = "auto"


def load(rest: str, options: Mapping[str, Any]) -> MmdetDetector:
    """The detector of a specification (:func:`~gaitext.extraction.detect.load_detector`)."""
    config, _, checkpoint = rest.partition(":")
    settings = MmdetDetectorSettings.parse(options, where=f"mmdet:{rest}")
    return MmdetDetector(config, checkpoint or None, settings)


class MmdetDetector:
    """A :class:`~gaitext.extraction.detect.Detector` from an mmdet config.

    Frames go through the config's own test pipeline and, as one batch, through ``test_step``. Boxes
    are those of mmdet's ``inference_detector``; where frames of a batch differ in size, smaller
    ones are padded, which may move boxes a little.

    Args:
        config: a file, or the name of one that ships with mmdet (``yolox_tiny_8xb8-300e_coco``).
            mmdet's configs are programs: loading one runs it.
        checkpoint: its weights, of which no code is run; None leaves them random, for trying out.

    Raises:
        ConfigError: no such config, or one that cannot be built or finds no persons.
        CheckpointError: weights that are missing or another network's.
        MissingDependencyError: mmdet, or mmcv with compiled operators, is not installed.
    """

    def __init__(
        self, config: str | Path, checkpoint: str | Path | None = None, settings: MmdetDetectorSettings | None = None
    ) -> None:
        options = settings or MmdetDetectorSettings()
        openmmlab.prepare("mmdet", "mmpose", "the detector 'mmdet:'")
        registry = import_extra("mmdet.registry", "mmpose", "the detector 'mmdet:'")
        self.path = openmmlab.find_config(str(config), "mmdet")
        loaded = openmmlab.read_config(self.path)
        if "model" not in loaded or "test_dataloader" not in loaded:
            raise ConfigError(
                "has no model and test_dataloader", where=self.path, how="give the config of a whole detector"
            )
        self._model: Any = openmmlab.build(registry.MODELS, loaded.model, "mmdet", 0, str(self.path))
        if checkpoint is None:
            log.warning("%s: no checkpoint, so the weights are random", self.path.name)
        else:
            openmmlab.load_weights(self._model, Path(checkpoint))
        device = options.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model.to(device).eval()
        self._pipeline = _pipeline(loaded, registry.TRANSFORMS, self.path)
        self.person = _person(loaded, registry.DATASETS, self.path) if options.person is None else options.person
        self._score = options.score
        self.settings: dict[str, Any] = {
            "detector": "mmdet",
            "config": self.path.name,
            "config_sha256": hashlib.sha256(loaded.pretty_text.encode()).hexdigest(),
            "checkpoint": None if checkpoint is None else Path(checkpoint).name,
            "sha256": None if checkpoint is None else sha256(checkpoint),
            "person": self.person,
            "score": options.score,
        }

    @torch.no_grad()
    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Persons in each frame; see :class:`~gaitext.extraction.detect.Detector`."""
        if not frames:
            return []
        # mmdet reads pictures as OpenCV does: BGR.
        packed: list[Any] = [{"img": frame[..., ::-1].copy(), "img_id": i} for i, frame in enumerate(frames)]
        for step in self._pipeline:
            packed = [step(one) for one in packed]
        results = self._model.test_step({key: [one[key] for one in packed] for key in packed[0]})
        return [self._persons(result.pred_instances, frame) for result, frame in zip(results, frames)]

    def _persons(self, found: Any, frame: Frame) -> Detections:
        kept = (found.labels == self.person) & (found.scores >= self._score)
        height, width = frame.shape[:2]
        corners = found.bboxes[kept].double().cpu().numpy().reshape(-1, 4).clip(0, (width, height, width, height))
        scores = found.scores[kept].double().cpu().numpy()
        boxes = np.column_stack((corners[:, :2], corners[:, 2:] - corners[:, :2], scores))
        boxes = boxes[(boxes[:, 2:4] > 0).all(1)]
        return boxes[np.argsort(-boxes[:, 4], kind="stable")]


def _pipeline(config: Any, transforms: Any, path: Path) -> list[Any]:
    """The steps of the test pipeline, fed with arrays."""
    data = config.test_dataloader.dataset
    while "pipeline" not in data and "dataset" in data:
        data = data.dataset
    steps = [step for step in data.get("pipeline", ()) if "LoadAnnotations" not in str(step["type"])]
    if not steps or "LoadImage" not in str(steps[0]["type"]):
        raise ConfigError("its test pipeline does not begin by loading a picture", where=path)
    return [transforms.build(step) for step in ({"type": "mmdet.LoadImageFromNDArray"}, *steps[1:])]


def _person(config: Any, datasets: Any, path: Path) -> int:
    """The number of the class named person: what the config's data set says, or its kind."""
    data = config.test_dataloader.dataset
    for place in (data.get("metainfo"), getattr(datasets.get(str(data.get("type"))), "METAINFO", None)):
        found = {str(key).lower(): value for key, value in (place or {}).items()}.get("classes") or ()
        names = [found] if isinstance(found, str) else list(found)
        for number, name in enumerate(names):
            if str(name).lower() in _PERSONS:
                return number
        if names:
            break
    raise ConfigError("does not say which class is the person", where=path, how="say it: mmdet:…?person=0")
