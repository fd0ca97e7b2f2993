"""Pose estimators as ONNX files, run by onnxruntime."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Union

import numpy as np
import torch

from gaitext.errors import ConfigError, ShapeError, import_extra
from gaitext.pose.estimator import HEATMAP_SHAPE, INPUT_SIZE, check_heatmaps

__all__ = ["NORMALISATIONS", "Normalisation", "OnnxEstimator"]

#: Name -> (mean, standard deviation) of the RGB channels in 0..1.
NORMALISATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
#: A key of :data:`NORMALISATIONS`, or (mean, standard deviation), three numbers each.
Normalisation = Union[str, Sequence[Sequence[float]]]

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OnnxEstimator:
    """A :class:`~gaitext.pose.PoseEstimator` from an ONNX file.

    The network takes RGB [B, 3, 256, 192] and returns heatmaps [B, 17, 64, 48]; input and output
    may have any name, and other outputs are ignored. B may be dynamic or fixed. With a fixed B
    (many published files have B = 1) the images are fed B at a time, the last group filled up by
    repeating an image: rewriting the file's batch dimension would need the ``onnx`` package, and
    fails where a reshape inside the network has the batch size built in.

    Args:
        path: the .onnx file.
        normalise: what the network was trained with.
        threads: of onnxruntime, 0 for one per core.
        providers: onnxruntime's execution providers, in order; by default CUDA where this
            onnxruntime has it, and the CPU.

    Raises:
        ConfigError: the file is missing or is not ONNX, or ``normalise`` is unknown.
        ShapeError: the network's input or output has another shape.
        MissingDependencyError: onnxruntime is not installed.
    """

    input_size = INPUT_SIZE
    differentiable = False

    def __init__(
        self,
        path: str | Path,
        *,
        normalise: Normalisation = "imagenet",
        threads: int = 0,
        providers: Sequence[str] | None = None,
    ) -> None:
        runtime = import_extra("onnxruntime", "onnx", "the estimator 'onnx:'")
        self.path = Path(path)
        mean, std = _normalisation(normalise)
        self._mean = torch.tensor(mean, dtype=torch.float32)[:, None, None]
        self._std = torch.tensor(std, dtype=torch.float32)[:, None, None]
        if not self.path.is_file():
            raise ConfigError("no such file", where=self.path, how="check the path after 'onnx:'")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # old exports warn once per weight
        # Between batches its idle threads would otherwise spin and take the cores from the decoder.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        available = runtime.get_available_providers()
        chosen = providers or [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in available]
        try:
            self._session: Any = runtime.InferenceSession(str(self.path), options, providers=list(chosen))
        except Exception as error:  # onnxruntime's exceptions have no base class of their own
            raise ConfigError(f"onnxruntime cannot load it ({error})", where=self.path) from error
        self._input, self._dtype, self.batch = self._find_input()
        self._output = self._find_output()
        self.settings: dict[str, Any] = {
            "estimator": "onnx",
            "file": self.path.name,
            "sha256": _digest(self.path),
            "normalise": normalise if isinstance(normalise, str) else [list(mean), list(std)],
        }

    def heatmaps(self, images: torch.Tensor) -> torch.Tensor:
        """Heatmaps of RGB crops.

        Args:
            images: [N, 3, 256, 192], float32 in 0..1.

        Returns:
            [N, 17, 64, 48], float32, on the CPU.

        Raises:
            ShapeError: wrong images, or an output of another shape than the file announced.
        """
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, *INPUT_SIZE):
            raise ShapeError(
                f"images have shape {list(images.shape)}", where="OnnxEstimator", how="give [N, 3, 256, 192]"
            )
        if len(images) == 0:
            return torch.zeros(0, *HEATMAP_SHAPE)
        ready = ((images.detach().cpu().float() - self._mean) / self._std).numpy().astype(self._dtype, copy=False)
        step = self.batch or len(ready)
        parts = [self._run(ready[start : start + step]) for start in range(0, len(ready), step)]
        return check_heatmaps(torch.from_numpy(np.concatenate(parts)), images, self.path)

    def _run(self, images: np.ndarray) -> np.ndarray:
        count = len(images)
        if self.batch and count < self.batch:
            images = np.concatenate((images, images[-1:].repeat(self.batch - count, axis=0)))
        (output,) = self._session.run([self._output], {self._input: images})
        return np.asarray(output[:count], dtype=np.float32)

    def _find_input(self) -> tuple[str, Any, int]:
        """Name, dtype and fixed batch size (0: dynamic) of the only input."""
        inputs = self._session.get_inputs()
        listed = ", ".join(f"{i.name} {i.shape}" for i in inputs)
        how = "gaitext feeds RGB crops as [N, 3, 256, 192]; export the 256×192 version of the network"
        if len(inputs) != 1 or not _fits(inputs[0].shape, (3, *INPUT_SIZE)):
            raise ShapeError(f"the network's inputs are {listed}", where=self.path, how=how)
        if inputs[0].type not in _TYPES:
            raise ShapeError(f"its input is {inputs[0].type}", where=self.path, how="it must take float32 or float16")
        batch = inputs[0].shape[0]
        return inputs[0].name, _TYPES[inputs[0].type], batch if isinstance(batch, int) else 0

    def _find_output(self) -> str:
        outputs = self._session.get_outputs()
        for output in outputs:
            if _fits(output.shape, HEATMAP_SHAPE):
                return str(output.name)
        listed = ", ".join(f"{o.name} {o.shape}" for o in outputs)
        raise ShapeError(
            f"none of the network's outputs is [N, 17, 64, 48]: {listed}",
            where=self.path,
            how="gaitext needs a COCO-17 heatmap network (HRNet, ViTPose, SimpleBaseline), exported without decoding",
        )


def _fits(shape: Sequence[Any] | None, wanted: tuple[int, ...]) -> bool:
    """Whether [N, …] of a file, dynamic dimensions being text or None, can be [N, *wanted]."""
    if not shape:  # the file does not say: the first run will
        return True
    return len(shape) == len(wanted) + 1 and all(
        not isinstance(size, int) or size == want for size, want in zip(shape[1:], wanted)
    )


def _normalisation(normalise: Normalisation) -> tuple[Sequence[float], Sequence[float]]:
    if isinstance(normalise, str):
        if normalise not in NORMALISATIONS:
            raise ConfigError(
                f"unknown normalisation '{normalise}'", where="normalise", how=f"one of {', '.join(NORMALISATIONS)}"
            )
        return NORMALISATIONS[normalise]
    if len(normalise) != 2 or any(len(part) != 3 for part in normalise) or not all(normalise[1]):
        raise ConfigError(
            f"{normalise!r} is no normalisation", where="normalise", how="give (mean, std), three numbers each, std ≠ 0"
        )
    return normalise[0], normalise[1]


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
