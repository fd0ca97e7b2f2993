"""Person detectors of mmdet, run through its modules in batches."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field

from gaitext.config import Settings
from gaitext.errors import CheckpointError, ConfigError, MissingDependencyError, nearest
from gaitext.extraction.detect.detector import Detections, Frame
from gaitext.video import sha256

__all__ = ["MmdetDetector", "MmdetDetectorSettings", "load"]

_PERSONS = {"person", "pedestrian"}


class MmdetDetectorSettings(Settings):
    """Options of ``mmdet:CONFIG:CHECKPOINT?…``.

    Attributes:
        score: boxes with a lower score are left out; the config's own threshold holds, too.
        person: the class that is the person; None looks for its name in the checkpoint and in the
            data set that the config names.
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

    Frames go through the config's own test pipeline and, as one batch, through ``test_step``.

    Args:
        config: a file, or the name of one that ships with mmdet (``yolox_tiny_8xb8-300e_coco``).
            mmdet's configs are programs: loading one runs it.
        checkpoint: published weights, read with ``weights_only``; None leaves them random, for
            tests.

    Raises:
        ConfigError: no such config, or one that cannot be built or finds no persons.
        CheckpointError: weights that are missing, unsafe to read, or another network's.
        MissingDependencyError: mmdet, or mmcv with compiled operators, is not installed.
    """

    def __init__(
        self, config: str | Path, checkpoint: str | Path | None = None, settings: MmdetDetectorSettings | None = None
    ) -> None:
        options = settings or MmdetDetectorSettings()
        parts = _import()
        self.path = _find_config(str(config), Path(parts["mmdet"].__file__).parent)
        loaded = _load_config(parts, self.path)
        device = options.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        _forget_pretrained(loaded.model)
        try:
            self._model: Any = parts["MODELS"].build(loaded.model)
        except Exception as error:  # a registry raises what the classes do
            raise ConfigError(f"cannot be built ({error})", where=self.path) from error
        meta = _load_weights(self._model, Path(checkpoint)) if checkpoint is not None else {}
        self._model.to(device).eval()
        self._pipeline = parts["Compose"](_pipeline(loaded, self.path))
        self.person = _person(meta, loaded, parts["DATASETS"], self.path) if options.person is None else options.person
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
        packed = [self._pipeline({"img": frame[..., ::-1].copy(), "img_id": i}) for i, frame in enumerate(frames)]
        results = self._model.test_step({key: [one[key] for one in packed] for key in packed[0]})
        return [self._persons(result.pred_instances, frame) for result, frame in zip(results, frames)]

    def _persons(self, found: Any, frame: Frame) -> Detections:
        kept = (found.labels == self.person) & (found.scores >= self._score)
        corners = found.bboxes[kept].double().cpu().numpy().reshape(-1, 4)
        scores = found.scores[kept].double().cpu().numpy()
        height, width = frame.shape[:2]
        corners = corners.clip(0, (width, height, width, height))
        boxes = np.column_stack((corners[:, :2], corners[:, 2:] - corners[:, :2], scores))
        boxes = boxes[(boxes[:, 2:4] > 0).all(1)]
        return boxes[np.argsort(-boxes[:, 4], kind="stable")]


def _import() -> dict[str, Any]:
    """mmdet's parts, with all its networks registered."""
    try:
        import mmdet
        from mmdet.registry import DATASETS, MODELS
        from mmdet.utils import register_all_modules
        from mmengine.config import Config
        from mmengine.dataset import Compose

        register_all_modules(init_default_scope=True)
    except (ImportError, AssertionError) as error:  # it asserts the version of mmcv
        lite = "mmcv._ext" in str(error)
        raise MissingDependencyError(
            "the detector 'mmdet:' needs mmdet and mmcv with its compiled operators"
            + (", which mmcv-lite does not have" if lite else f" ({error})"),
            how="pip install openmim && mim install 'mmcv>=2.0,<2.2' mmdet, or take a detector 'onnx:…'",
        ) from error
    return {"mmdet": mmdet, "MODELS": MODELS, "DATASETS": DATASETS, "Config": Config, "Compose": Compose}


def _find_config(config: str, package: Path) -> Path:
    path = Path(config)
    if path.suffix == ".py" and path.is_file():
        return path
    shipped = {found.stem: found for found in sorted((package / ".mim" / "configs").glob("*/*.py"))}
    name = path.name.removesuffix(".py")
    if name not in shipped:
        guess = nearest(name, shipped)
        raise ConfigError(
            "is neither a file nor a config that ships with mmdet",
            where=config,
            how=f"did you mean '{guess}'?" if guess else "give the path of a config's .py file",
        )
    return shipped[name]


def _load_config(parts: Mapping[str, Any], path: Path) -> Any:
    try:
        config = parts["Config"].fromfile(str(path))
    except Exception as error:  # it runs the file
        raise ConfigError(f"cannot be loaded ({error})", where=path) from error
    if "model" not in config or "test_dataloader" not in config:
        raise ConfigError("has no model and test_dataloader", where=path, how="give the config of a whole detector")
    return config


def _forget_pretrained(model: Any) -> None:
    """Take out the weights of the backbone, which would be downloaded and then overwritten."""
    if isinstance(model, dict):
        start = model.get("init_cfg")
        if isinstance(start, dict) and start.get("type") == "Pretrained":
            model["init_cfg"] = None
        if "pretrained" in model:
            model["pretrained"] = None
    for value in model.values() if isinstance(model, dict) else model if isinstance(model, (list, tuple)) else ():
        _forget_pretrained(value)


def _load_weights(model: Any, path: Path) -> dict[str, Any]:
    """Load a checkpoint and return its ``meta``."""
    if not path.is_file():
        raise CheckpointError("no such file", where=path, how="check the path after the config and the second colon")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # an unpickler may raise anything on other files
        raise CheckpointError(
            f"cannot be read safely ({str(error).splitlines()[0]})",
            where=path,
            how="publish it first, which leaves only weights: tools/model_converters/publish_model.py of mmdet",
        ) from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
    if not isinstance(state, dict):
        raise CheckpointError("holds no weights", where=path)
    known = model.state_dict()
    # Where a preprocessor keeps its mean is a matter of mmdet's version; the config says it, too.
    missing = [key for key in known if key not in state and not key.startswith("data_preprocessor.")]
    wrong = [key for key in known if key in state and known[key].shape != state[key].shape]
    if missing or wrong:
        what = f"lacks {missing[0]}" if missing else f"has another shape of {wrong[0]}"
        raise CheckpointError(
            f"{what} ({len(missing)} missing, {len(wrong)} of another shape)",
            where=path,
            how="give the checkpoint of this config",
        )
    model.load_state_dict(state, strict=False)
    meta = loaded.get("meta")
    return meta if isinstance(meta, dict) else {}


def _pipeline(config: Any, path: Path) -> list[Any]:
    """The test pipeline, fed with arrays."""
    data = config.test_dataloader.dataset
    while "pipeline" not in data and "dataset" in data:
        data = data.dataset
    steps = [step for step in data.get("pipeline", ()) if "LoadAnnotations" not in str(step["type"])]
    if not steps or "LoadImage" not in str(steps[0]["type"]):
        raise ConfigError("its test pipeline does not begin by loading a picture", where=path)
    return [{"type": "mmdet.LoadImageFromNDArray"}, *steps[1:]]


def _person(meta: Mapping[str, Any], config: Any, datasets: Any, path: Path) -> int:
    """The number of the class named person."""
    places = [meta.get("dataset_meta"), {"classes": meta.get("CLASSES")}]
    data = config.test_dataloader.dataset
    places += [data.get("metainfo"), getattr(datasets.get(str(data.get("type"))), "METAINFO", None)]
    for place in places:
        place = {str(key).lower(): value for key, value in (place or {}).items()}
        names = place.get("classes") or ()
        names = [names] if isinstance(names, str) else list(names)
        for number, name in enumerate(names):
            if str(name).lower() in _PERSONS:
                return number
        if names:
            break
    raise ConfigError("does not say which class is the person", where=path, how="say it: mmdet:…?person=0")
