"""Pose estimators as ONNX files, run by onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Union

import numpy as np
import torch

from gaitext.errors import ConfigError, ShapeError
from gaitext.pose.estimator import HEATMAP_SHAPE, INPUT_SIZE, check_heatmaps, check_images, mirror_heatmaps
from gaitext.pose.onnx_session import onnx_sha256, open_session

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

    The network takes RGB [B, 3, H, W] and returns heatmaps [B, 17, h, w]; input and output may
    have any name, and other outputs are ignored. H and W are the file's. B may be dynamic or fixed. With a fixed B
    (many published files have B = 1) the images are fed B at a time, the last group filled up by
    repeating an image: rewriting the file's batch dimension would need the ``onnx`` package, and
    fails where a reshape inside the network has the batch size built in.

    Args:
        path: the .onnx file.
        normalise: what the network was trained with.
        threads: of onnxruntime; 0 for ``OMP_NUM_THREADS``, or one per core.
        providers: onnxruntime's execution providers, in order; by default CUDA where this
            onnxruntime has it, and the CPU.
        input_size: H and W, where the file leaves them open; 256 and 192 unless given.
        flip_test: average with the heatmaps of the mirrored images: twice the time.
        shift_mirrored: move those one pixel to the right; a file does not say whether its network
            wants it (see :func:`~gaitext.pose.mirror_heatmaps`).

    Raises:
        ConfigError: the file is missing or is not ONNX, ``normalise`` is unknown, or
            ``input_size`` is not the file's.
        ShapeError: the network's input or output has another shape.
        MissingDependencyError: onnxruntime is not installed.
    """

    differentiable = False

    def __init__(
        self,
        path: str | Path,
        *,
        normalise: Normalisation = "imagenet",
        threads: int = 0,
        providers: Sequence[str] | None = None,
        input_size: tuple[int, int] | None = None,
        flip_test: bool = False,
        shift_mirrored: bool = False,
    ) -> None:
        self.path = Path(path)
        mean, std = _normalisation(normalise)
        self._mean = torch.tensor(mean, dtype=torch.float32)[:, None, None]
        self._std = torch.tensor(std, dtype=torch.float32)[:, None, None]
        self._session: Any = open_session(self.path, "the estimator 'onnx:'", threads=threads, providers=providers)
        self.flip_test, self.shift_mirrored = flip_test, shift_mirrored
        self._input, self._dtype, self.batch, self.input_size = self._find_input(input_size)
        self._output, self.heatmap_size = self._find_output()
        self.settings: dict[str, Any] = {
            "estimator": "onnx",
            "file": self.path.name,
            "sha256": onnx_sha256(self.path),
            "normalise": normalise if isinstance(normalise, str) else [list(mean), list(std)],
        }
        if self.input_size != INPUT_SIZE:
            self.settings["input_size"] = list(self.input_size)
        if flip_test:
            self.settings |= {"flip_test": True, "shift_mirrored": shift_mirrored}

    def heatmaps(self, images: torch.Tensor) -> torch.Tensor:
        """Heatmaps of RGB crops.

        Args:
            images: [N, 3, *input_size], float32 in 0..1, on any device.

        Returns:
            [N, 17, *heatmap_size], float32, on the images' device.

        Raises:
            ShapeError: wrong images, or an output of another shape than the file announced.
        """
        check_images(images, self.input_size, "OnnxEstimator")
        if len(images) == 0:
            return torch.zeros(0, HEATMAP_SHAPE[0], *self.heatmap_size, device=images.device)
        ready = ((images.detach().cpu().float() - self._mean) / self._std).numpy().astype(self._dtype, copy=False)
        maps = self._batches(ready)
        check_heatmaps(maps, images, self.path, self.heatmap_size)
        if self.flip_test:
            mirrored = self._batches(np.ascontiguousarray(ready[..., ::-1]))
            maps = (maps + mirror_heatmaps(mirrored, self.shift_mirrored)) * 0.5
        return maps.to(images.device)

    def _batches(self, images: np.ndarray) -> torch.Tensor:
        step = self.batch or len(images)
        parts = [self._run(images[start : start + step]) for start in range(0, len(images), step)]
        return torch.from_numpy(np.concatenate(parts))

    def _run(self, images: np.ndarray) -> np.ndarray:
        count = len(images)
        if self.batch and count < self.batch:
            images = np.concatenate((images, images[-1:].repeat(self.batch - count, axis=0)))
        (output,) = self._session.run([self._output], {self._input: images})
        return np.asarray(output[:count], dtype=np.float32)

    def _find_input(self, asked: tuple[int, int] | None) -> tuple[str, Any, int, tuple[int, int]]:
        """Name, dtype, fixed batch size (0: dynamic) and (height, width) of the only input."""
        inputs = self._session.get_inputs()
        listed = ", ".join(f"{i.name} {i.shape}" for i in inputs)
        how = "gaitext feeds RGB crops as [N, 3, height, width]"
        if len(inputs) != 1 or not _fits(inputs[0].shape, (3, None, None)):
            raise ShapeError(f"the network's inputs are {listed}", where=self.path, how=how)
        if inputs[0].type not in _TYPES:
            raise ShapeError(f"its input is {inputs[0].type}", where=self.path, how="it must take float32 or float16")
        shape = inputs[0].shape or [None] * 4
        wanted = asked or INPUT_SIZE
        height, width = (size if isinstance(size, int) else want for size, want in zip(shape[2:], wanted))
        if asked is not None and (height, width) != tuple(asked):
            raise ConfigError(
                f"its input is {height}×{width}, not {asked[0]}×{asked[1]}", where=self.path, how="leave input_size out"
            )
        return inputs[0].name, _TYPES[inputs[0].type], shape[0] if isinstance(shape[0], int) else 0, (height, width)

    def _find_output(self) -> tuple[str, tuple[int, int]]:
        """Name of the output of heatmaps, and their (height, width)."""
        outputs = self._session.get_outputs()
        for output in outputs:
            if not _fits(output.shape, (HEATMAP_SHAPE[0], None, None)):
                continue
            sizes = (output.shape or [None] * 4)[2:]
            if all(isinstance(size, int) for size in sizes):
                return str(output.name), (sizes[0], sizes[1])
            # The file does not say: run it.
            (maps,) = self._session.run([output.name], {self._input: self._blank()})
            if maps.ndim == 4 and maps.shape[1] == HEATMAP_SHAPE[0]:
                return str(output.name), (maps.shape[2], maps.shape[3])
            raise ShapeError(f"its output {output.name} is {list(maps.shape)}", where=self.path, how=_WANTED)
        listed = ", ".join(f"{o.name} {o.shape}" for o in outputs)
        raise ShapeError(
            f"none of the network's outputs is [N, 17, height, width]: {listed}", where=self.path, how=_WANTED
        )

    def _blank(self) -> np.ndarray:
        return np.zeros((self.batch or 1, 3, *self.input_size), self._dtype)


_WANTED = "gaitext needs a COCO-17 heatmap network (HRNet, ViTPose, SimpleBaseline), exported without decoding"


def _fits(shape: Sequence[Any] | None, wanted: tuple[int | None, ...]) -> bool:
    """Whether [N, …] of a file, dynamic dimensions being text or None, can be [N, *wanted].

    A None in ``wanted`` stands for any size.
    """
    if not shape:  # the file does not say: a run will
        return True
    return len(shape) == len(wanted) + 1 and all(
        not isinstance(size, int) or want is None or size == want for size, want in zip(shape[1:], wanted)
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
