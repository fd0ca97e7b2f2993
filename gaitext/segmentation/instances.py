"""Instance segmentation by models of transformers: Mask2Former, MaskFormer, EoMT, RF-DETR and their kin."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gaitext.errors import ConfigError, import_extra
from gaitext.pose import check_images
from gaitext.pose.hub import load_network, load_processor, person_class, read_json
from gaitext.pose.torch_estimator import chosen_device, state_digest


class InstanceSegmenter:
    """A :class:`~gaitext.segmentation.Segmenter` from an instance-segmentation model of transformers.

    Crops go through the model's own image processor and its ``post_process_instance_segmentation``. Of the people it
    finds in a crop the one is taken whose mask's box overlaps the person's box most; where none overlaps it, the mask
    is empty.

    Args:
        model: a folder with ``config.json``, ``preprocessor_config.json`` and weights (safetensors, or
            ``pytorch_model.bin``, of which tensors alone are unpickled), or the name of a repository on the Hugging
            Face hub, such as ``tue-mps/coco_instance_eomt_large_640``, which is downloaded once. No code of the model
            is run.
        score: people that the model is less sure of are left out.
        person: the number of the class that is the person; None looks for its name among the config's ``id2label``.
        size: height and width of the crops it is given, before its own processor resizes them.
        device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ConfigError: no such folder or name, no instance segmentation, or no class that is the person.
        CheckpointError: the weights are damaged or do not fit.
        MissingDependencyError: transformers is not installed.
    """

    def __init__(
        self, model: str, *, score: float = 0.5, person: int | None = None, size: int = 512, device: str = "auto"
    ) -> None:
        transformers = import_extra("transformers", "vitpose", "the segmenter 'hf:'")
        if not 0 <= score <= 1:
            raise ConfigError(f"score is {score}", where=f"hf:{model}", how="give 0..1")
        if size < 32:
            raise ConfigError(f"size is {size}", where=f"hf:{model}", how="give 32 pixels or more, such as 512")
        config = read_json(model, "config.json", "hf")
        kind = config.get("model_type")
        self.person = person_class(config, model, "hf") if person is None else person
        self._processor, processing = load_processor(model, "hf", "vitpose")
        auto = _loader(transformers, kind)
        if auto is None or not hasattr(self._processor, "post_process_instance_segmentation"):
            raise ConfigError(
                f"a model of the type '{kind}' segments no instances",
                where=model,
                how="give one that does, of the type mask2former, maskformer, eomt or rf_detr",
            )
        network = load_network(auto, model)
        self.input_size = (int(size), int(size))
        self.device, self._score = chosen_device(device), float(score)
        self._network = network.to(self.device).eval().requires_grad_(False)
        self.settings: dict[str, Any] = {
            "segmenter": "hf",
            "model": Path(model).name,
            "sha256": state_digest(network),
            "processor_sha256": processing,
            "person": self.person,
            "score": self._score,
            "size": int(size),
        }

    @torch.no_grad()
    def masks(self, images: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Masks of RGB crops, 0 or 1; see :class:`~gaitext.segmentation.Segmenter`."""
        check_images(images, self.input_size, type(self).__name__)
        result = torch.zeros(len(images), *self.input_size, device=images.device)
        if len(images) == 0:
            return result
        pictures = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        inputs = self._processor(images=list(pictures), return_tensors="pt")
        names = inspect.signature(self._network.forward).parameters
        given = {name: value.to(self.device) for name, value in inputs.items() if name in names and name != "labels"}
        outputs = self._network(**given)
        process = self._processor.post_process_instance_segmentation
        options: dict[str, Any] = {"threshold": self._score, "target_sizes": [self.input_size] * len(images)}
        if "return_binary_maps" in inspect.signature(process).parameters:
            options["return_binary_maps"] = True  # people's masks may overlap
        for mask, found, box in zip(result, process(outputs, **options), boxes.double().cpu().numpy()):
            people = self._people(found)
            if people:
                overlaps = [_overlap(person, box) for person in people]
                if max(overlaps) > 0:
                    mask.copy_(torch.from_numpy(people[int(np.argmax(overlaps))]))
        return result

    def _people(self, found: Mapping[str, Any]) -> list[npt.NDArray[np.bool_]]:
        """Masks of the people that were found in a crop."""
        maps, segments = found["segmentation"], found["segments_info"]
        if maps is None or not segments:
            return []
        maps = np.asarray(maps.cpu() if isinstance(maps, torch.Tensor) else maps)
        each = maps > 0.5 if maps.ndim == 3 else [maps == segment["id"] for segment in segments]
        people = [mask for mask, segment in zip(each, segments) if int(segment["label_id"]) == self.person]
        return [np.asarray(mask, bool) for mask in people if mask.any()]


def _loader(transformers: Any, kind: Any) -> Any:
    """The class of transformers that loads models of a type, or None."""
    if kind in ("oneformer", "videomt"):  # want a text, or a video
        return None
    for auto in (transformers.AutoModelForInstanceSegmentation, transformers.AutoModelForUniversalSegmentation):
        if any(config.model_type == kind for config in auto._model_mapping):
            return auto
    return None


def _overlap(mask: npt.NDArray[np.bool_], box: npt.NDArray[np.float64]) -> float:
    """Intersection over union of a mask's box and a box x, y, w, h."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    low = np.array([columns[0], rows[0]])
    high = np.array([columns[-1] + 1, rows[-1] + 1])
    shared = np.clip(np.minimum(high, box[:2] + box[2:]) - np.maximum(low, box[:2]), 0, None).prod()
    return float(shared / ((high - low).prod() + box[2:].prod() - shared))
