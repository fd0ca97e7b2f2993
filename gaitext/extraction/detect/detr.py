"""Person detectors of transformers: RT-DETR, D-FINE, RF-DETR, DETR and their kin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field

from gaitext.config import Settings
from gaitext.errors import ConfigError, import_extra
from gaitext.extraction.detect.detector import Detections, Frame
from gaitext.pose.hub import load_network, load_processor, person_class, read_json
from gaitext.pose.torch_estimator import chosen_device, state_digest


class DetrDetectorSettings(Settings):
    """Options of ``detr:MODEL?…``.

    Attributes:
        score: boxes with a lower score are left out.
        person: the number of the class that is the person; None looks for its name among the config's ``id2label``.
        device: ``cpu``, ``cuda``, ``cuda:1``; ``auto`` takes CUDA where there is one.
    """

    score: float = Field(default=0.3, ge=0, le=1)
    person: int | None = Field(default=None, ge=0)
    device: str = "auto"


def load(rest: str, options: Mapping[str, Any]) -> DetrDetector:
    """The detector of a specification (:func:`~gaitext.extraction.detect.load_detector`)."""
    return DetrDetector(rest, DetrDetectorSettings.parse(options, where=f"detr:{rest}"))


class DetrDetector:
    """A :class:`~gaitext.extraction.detect.Detector` from a model that transformers' ``AutoModelForObjectDetection``
    reads.

    Frames go through the model's own image processor, in one batch, and boxes are those of its
    ``post_process_object_detection``.

    Args:
        model: a folder with ``config.json``, ``preprocessor_config.json`` and weights (safetensors, or
            ``pytorch_model.bin``, of which tensors alone are unpickled), or the name of a repository on the Hugging
            Face hub, such as ``PekingU/rtdetr_r18vd``, which is downloaded once. No code of the model is run.

    Raises:
        ConfigError: no such folder or name, no object detector, or one that does not say which class is the person.
        CheckpointError: the weights are damaged or do not fit.
        MissingDependencyError: transformers is not installed.
    """

    def __init__(self, model: str, settings: DetrDetectorSettings | None = None) -> None:
        options = settings or DetrDetectorSettings()
        transformers = import_extra("transformers", "detr", "the detector 'detr:'")
        config = read_json(model, "config.json", "detr")
        self.person = person_class(config, model, "detr") if options.person is None else options.person
        self._processor, processing = load_processor(model, "detr", "detr")
        if not hasattr(self._processor, "post_process_object_detection"):
            raise ConfigError(
                f"a model of the type '{config.get('model_type')}' finds no boxes",
                where=model,
                how="give an object detector of transformers, such as detr:PekingU/rtdetr_r18vd",
            )
        network = load_network(transformers.AutoModelForObjectDetection, model)
        self._device = chosen_device(options.device)
        self._model = network.to(self._device).eval()
        self._score = options.score
        self.settings: dict[str, Any] = {
            "detector": "detr",
            "model": Path(model).name,
            "sha256": state_digest(network),
            "processor_sha256": processing,
            "person": self.person,
            "score": options.score,
        }

    @torch.inference_mode()
    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Persons in each frame; see :class:`~gaitext.extraction.detect.Detector`."""
        if not frames:
            return []
        inputs = self._processor(images=[np.ascontiguousarray(frame) for frame in frames], return_tensors="pt")
        outputs = self._model(**{name: value.to(self._device) for name, value in inputs.items() if name != "labels"})
        found = self._processor.post_process_object_detection(
            outputs, threshold=self._score, target_sizes=[frame.shape[:2] for frame in frames]
        )
        return [self._persons(one, frame) for one, frame in zip(found, frames)]

    def _persons(self, found: Mapping[str, torch.Tensor], frame: Frame) -> Detections:
        kept = found["labels"] == self.person
        height, width = frame.shape[:2]
        corners = found["boxes"][kept].double().cpu().numpy().reshape(-1, 4).clip(0, (width, height, width, height))
        scores = found["scores"][kept].double().cpu().numpy()
        boxes = np.column_stack((corners[:, :2], corners[:, 2:] - corners[:, :2], scores))
        boxes = boxes[(boxes[:, 2:4] > 0).all(1)]
        return boxes[np.argsort(-boxes[:, 4], kind="stable")]
