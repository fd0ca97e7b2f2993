"""Pose estimators as ONNX files, and opening ONNX files with onnxruntime, the same way for every kind of network."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Union

import numpy as np
import torch

from gaitext.errors import ConfigError, ShapeError, import_extra
from gaitext.pose.estimator import HEATMAP_SHAPE, INPUT_SIZE, check_heatmaps, check_images, mirror_heatmaps
from gaitext.video.digests import content_sha256

#: Name -> (mean, standard deviation) of the RGB channels in 0..1.
NORMALISATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
#: onnxruntime's names of the input types gaitext feeds -> numpy's.
INPUT_TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16"}
#: A key of :data:`NORMALISATIONS`, or (mean, standard deviation), three numbers each.
Normalisation = Union[str, Sequence[Sequence[float]]]


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
        if inputs[0].type not in INPUT_TYPES:
            raise ShapeError(f"its input is {inputs[0].type}", where=self.path, how="it must take float32 or float16")
        shape = inputs[0].shape or [None] * 4
        wanted = asked or INPUT_SIZE
        height, width = (size if isinstance(size, int) else want for size, want in zip(shape[2:], wanted))
        if asked is not None and (height, width) != tuple(asked):
            raise ConfigError(
                f"its input is {height}×{width}, not {asked[0]}×{asked[1]}", where=self.path, how="leave input_size out"
            )
        return (
            inputs[0].name,
            np.dtype(INPUT_TYPES[inputs[0].type]),
            shape[0] if isinstance(shape[0], int) else 0,
            (height, width),
        )

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


def open_session(path: Path, purpose: str, *, threads: int = 0, providers: Sequence[str] | None = None) -> Any:
    """An ``onnxruntime.InferenceSession``.

    Args:
        purpose: what needs it, for the error where onnxruntime is missing.
        threads: of onnxruntime; 0 for ``OMP_NUM_THREADS``, by which the processes of
            :mod:`gaitext.execution` share the cores, and one per core where that is not set.
        providers: execution providers, in order; by default CUDA where this onnxruntime has it, and
            the CPU.

    Raises:
        ConfigError: the file is missing or is not ONNX.
        MissingDependencyError: onnxruntime is not installed.
    """
    runtime = import_extra("onnxruntime", "onnx", purpose)
    if not path.is_file():
        raise ConfigError("no such file", where=path, how="check the path after 'onnx:'")
    options = runtime.SessionOptions()
    omp_threads = os.environ.get("OMP_NUM_THREADS", "")  # which onnxruntime itself does not look at
    options.intra_op_num_threads = threads or (int(omp_threads) if omp_threads.isdigit() else 0)
    options.log_severity_level = 3  # old exports warn once per weight
    # Between batches its idle threads would otherwise spin and take the cores from the decoder.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    available = runtime.get_available_providers()
    chosen = providers or [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in available]
    try:
        return runtime.InferenceSession(str(path), options, providers=list(chosen))
    except Exception as error:  # onnxruntime's exceptions have no base class of their own
        raise ConfigError(f"onnxruntime cannot load it ({error})", where=path) from error


#: Messages of onnx.proto: field -> the message in it. What else a field holds does not matter here.
_FIELDS: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Node": {5: "Attribute"},
    "Function": {7: "Node", 11: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "Entry"},
}
#: Levels of graphs within graphs' attributes, and the messages between them.
_DEEPEST = 200


def onnx_sha256(path: str | Path) -> str:
    """SHA-256 of a network: of its file alone, or of that and every file of external data that it names.

    Raises:
        ConfigError: it cannot be read as ONNX, or names a file that is not there.
    """
    path = Path(path)
    own = content_sha256(path)
    names = external_files(path)
    if not names:
        return own
    hashed = hashlib.sha256(own.encode())
    for name in names:
        if not (path.parent / name).is_file():
            raise ConfigError(f"its weights are in {name}, which is not there", where=path, how="put it beside")
        hashed.update(name.encode() + b"\0" + content_sha256(path.parent / name).encode())
    return hashed.hexdigest()


def external_files(path: str | Path) -> list[str]:
    """Places of the files that a network's tensors are kept in, relative to its own folder, sorted.

    Raises:
        ConfigError: it cannot be read as ONNX.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            if not path.stat().st_size:
                return []
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return sorted(set(_locations(content, 0, len(content), "Model", 0)))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot be read as ONNX ({error})", where=path) from error


def _locations(content: mmap.mmap, start: int, end: int, message: str, depth: int) -> Iterator[str]:
    """Values of the entries ``location`` below a message."""
    if depth > _DEEPEST:
        raise ValueError("graphs are nested too deep")
    if message == "Entry":
        found = {field: content[at:to] for field, at, to in _parts(content, start, end) if field in (1, 2)}
        if found.get(1) == b"location":
            yield found.get(2, b"").decode()
        return
    for field, at, to in _parts(content, start, end):
        below = _FIELDS[message].get(field)
        if below is not None:
            yield from _locations(content, at, to, below, depth + 1)


def _parts(content: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """A protobuf message's fields of bytes: number, start, end. Other fields are passed over."""
    while at < end:
        key, at = _number(content, at, end)
        kind = key & 7
        if kind == 0:
            _, at = _number(content, at, end)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        elif kind == 2:
            length, at = _number(content, at, end)
            if length > end - at:
                raise ValueError("a part is longer than the whole")
            yield key >> 3, at, at + length
            at += length
        else:
            raise ValueError(f"there is no wire type {kind}")


def _number(content: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """A varint, and where it ends."""
    value = shift = 0
    while at < end and shift < 64:
        byte = content[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at
    raise ValueError("it is cut short")
