"""Networks as programs without gaitext: ``torch.export`` follows them, and ONNX is written of what it saw."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

import gaitext
from gaitext.errors import ConfigError, MissingDependencyError, import_extra
from gaitext.models.fbcnn import FBCNN, FixedFBCNN
from gaitext.models.gaitbase import GaitBase
from gaitext.models.gaitheat import GaitHeat
from gaitext.models.gaitpt import GaitPT
from gaitext.models.occlusion_evaluator import OcclusionEstimate, OcclusionEvaluator
from gaitext.models.rg_gait import RGGait
from gaitext.skeleton import resolve_partition
from gaitext.store import atomic_path

#: ONNX opset that is written: the first with GridSample for float64.
OPSET = 20
#: The longest sequence, largest batch and largest image that a program must be good for.
_MOST = 1 << 14


@dataclass(frozen=True)
class Interface:
    """What a network is asked and answers, when it stands alone.

    Attributes:
        inputs: name -> an example, of the sizes that the program is traced with.
        sizes: name -> axis -> a free size: its name, the least it may be, and of what it is a multiple.
        outputs: names.
    """

    inputs: dict[str, Tensor]
    sizes: dict[str, dict[int, tuple[str, int, int]]]
    outputs: tuple[str, ...] = ("embeddings",)


def interface(network: nn.Module, *, frames: int | None = None) -> Interface:
    """Inputs, free sizes and outputs of a network.

    Args:
        network: GaitHeat, GaitPT, GaitBase, RGGait over one of them, OcclusionEvaluator, FBCNN or FixedFBCNN.
        frames: T of the example. Sequences of a program may have any length, but GaitPT's: by default that of a
            window; of fewer frames exactly so many; of more, any length above a window's.

    Raises:
        ConfigError: another network, or no frames.
    """
    if frames is not None and frames < 1:
        raise ConfigError(f"{frames} frames", where="frames", how="give 1 or more")
    n = ("n", 1, 1)
    if isinstance(network, RGGait):
        found = interface(network.gse.network, frames=frames)
        if len(found.inputs) > 1:
            raise ConfigError("RG-Gait over several inputs is not exported", how="align by heatmaps alone")
        ((name, example),) = found.inputs.items()
        return Interface({"inputs": example}, {"inputs": found.sizes[name]})
    if isinstance(network, GaitHeat):
        return _of_gaitheat(network, frames or 8)
    if isinstance(network, GaitBase):
        channels = network.settings.in_channels
        shape = (2, frames or 8, 64, 44) if channels == 1 else (2, frames or 8, channels, 64, 44)
        return Interface({"silhouettes": _example(*shape)}, {"silhouettes": {0: n, 1: ("frames", 1, 1)}})
    if isinstance(network, GaitPT):
        window, length = network.settings.frames, frames or network.settings.frames
        poses = _example(2, length, network.settings.joints, network.settings.channels)
        free = {0: n, 1: ("frames", window + 1, 1)} if length > window else {0: n}
        return Interface({"poses": poses}, {"poses": free})
    if isinstance(network, OcclusionEvaluator):
        shown = _example(3, int(network.convolutions[0].in_channels), 64, 44)  # type: ignore[arg-type]
        return Interface(
            {"frames": shown}, {"frames": {0: n, 2: ("height", 8, 1), 3: ("width", 8, 1)}}, OcclusionEstimate._fields
        )
    if isinstance(network, (FBCNN, FixedFBCNN)):
        channels = network.channels if isinstance(network, FixedFBCNN) else network.settings.image_channels
        m = network.multiple
        return Interface(
            {"images": _example(2, channels, 4 * m, 3 * m)},
            {"images": {0: n, 2: ("height", 1, m), 3: ("width", 1, m)}},
            ("corrected",),
        )
    raise ConfigError(
        f"{type(network).__name__} is not exported",
        where="export",
        how="give GaitHeat, GaitPT, GaitBase, RGGait, OcclusionEvaluator or FBCNN",
    )


def _example(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def _of_gaitheat(network: GaitHeat, frames: int) -> Interface:
    settings = network.settings
    alignment = settings.alignment
    offline = alignment.merge == "offline"
    channels = len(resolve_partition(settings.partition, settings.joints)) if offline else settings.joints
    inputs = {"heatmaps": _example(2, frames, channels, *settings.map_size)}
    if alignment.needs == "poses":
        inputs["poses"] = _example(2, frames, 17, 3) * 40
        if alignment.pose_pixels == "frame":
            inputs["crops"] = torch.tensor([0.0, 0.0, 48.0, 64.0]).repeat(2, frames, 1)
    elif alignment.needs == "matrices":
        inputs["matrices"] = torch.eye(2, 3).repeat(2, frames, 1, 1)
    return Interface(inputs, {name: {0: ("n", 1, 1), 1: ("frames", 1, 1)} for name in inputs})


def export_program(network: nn.Module, *, frames: int | None = None) -> ExportedProgram:
    """What ``torch.export`` makes of a network in evaluation: for fixed batches of sequences, without ``seqL``.

    The number of sequences is free, and so are their length (of GaitPT: see :func:`interface`) and the size of images,
    in multiples of what the network halves. The numbers are the network's, but for the order they are added up in.

    Args:
        network: see :func:`interface`; it is put in evaluation mode.
        frames: see there.

    Raises:
        ConfigError: another network.

    >>> network = OcclusionEvaluator(channels=(4, 4, 8)).eval()
    >>> program, frames = export_program(network).module(), torch.rand(5, 1, 32, 32)
    >>> torch.allclose(program(frames=frames).amount, network(frames).amount)
    True
    """
    asked = interface(network, frames=frames)
    made: dict[str, Any] = {}
    shapes = {name: {axis: _dim(made, *size) for axis, size in free.items()} for name, free in asked.sizes.items()}
    # With gradients, though none is asked for: blocks that fold their BatchNorms are left as they are then.
    with torch.enable_grad():
        return torch.export.export(network.eval(), (), dict(asked.inputs), dynamic_shapes=shapes)


def _dim(made: dict[str, Any], name: str, least: int, multiple: int) -> Any:
    if name not in made:
        made[name] = Dim(name, min=least, max=_MOST // multiple)
    return multiple * made[name] if multiple > 1 else made[name]


def export_onnx(
    network: nn.Module, path: str | Path, *, frames: int | None = None, notes: Mapping[str, str] | None = None
) -> Path:
    """Write a network as ONNX, with names for its inputs, outputs and free sizes.

    Args:
        network: see :func:`export_program`.
        path: of the file; it is there as a whole or not at all.
        frames: see :func:`interface`.
        notes: written to the file's metadata, beside gaitext's version.

    Raises:
        ConfigError: another network.
        MissingDependencyError: onnx or onnxscript is not installed, or torch is older than 2.6.
    """
    for module in ("onnx", "onnxscript"):
        import_extra(module, "export", "writing ONNX")
    if not hasattr(Dim, "AUTO"):  # what came with the exporter as it is used here
        raise MissingDependencyError(
            f"writing ONNX needs torch 2.6; this is {torch.__version__}", how="pip install -U torch"
        )
    asked = interface(network, frames=frames)
    program = export_program(network, frames=frames).run_decompositions(
        {torch.ops.aten.arctan2.default: _short_arctan2}
    )
    with _quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        written: Any = torch.onnx.export(
            program,
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=list(asked.inputs),
            output_names=list(asked.outputs),
        )
    _name_sizes(written.model.graph, asked)
    written.model.producer_name, written.model.producer_version = "gaitext", gaitext.__version__
    written.model.metadata_props.update({"network": type(network).__name__, **(notes or {})})
    path = Path(path)
    with atomic_path(path) as temporary:
        written.save(str(temporary))
    return path


def _name_sizes(graph: Any, asked: Interface) -> None:
    """Give a graph's free sizes the names of the interface's in place of torch's symbols."""
    names: dict[str, str] = {}
    for value in graph.inputs:
        for axis, (name, _, _) in asked.sizes[value.name].items():
            names[str(value.shape[axis])] = name
    made = [output for node in graph for output in node.outputs]
    for value in (*graph.inputs, *graph.outputs, *made):
        for axis, size in enumerate(value.shape or ()):
            if not isinstance(size, int) and str(size) in names:
                value.shape[axis] = names[str(size)]


def _short_arctan2(y: Tensor, x: Tensor) -> Tensor:
    """GaitHeat's angle in float32: of float64 onnxruntime has none. It moves no pixel by more than 1e-5."""
    if y.dtype != torch.float64:
        return NotImplemented
    return torch.atan2(y.float(), x.float()).double()


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter logs what it does step by step."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def onnx_difference(network: nn.Module, path: str | Path, *, frames: int | None = None, seed: int = 0) -> float:
    """The greatest absolute difference between an ONNX file's outputs, run by onnxruntime, and the network's.

    Both are given random inputs of other sizes than the file was traced with, where they are free.

    Args:
        network: that was written.
        path: the file.
        frames: as it was written with.
        seed: of the inputs.

    Raises:
        MissingDependencyError: onnxruntime is not installed.
    """
    runtime = import_extra("onnxruntime", "export", "running ONNX")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    asked = interface(network, frames=frames)
    inputs = {}
    for name, example in asked.inputs.items():
        shape = list(example.shape)
        for axis, (_, least, multiple) in asked.sizes[name].items():
            shape[axis] = max(shape[axis] + multiple, least * multiple)
        if name in ("crops", "matrices"):  # not any numbers will do
            inputs[name] = example[:1, :1].expand(shape).contiguous()
        else:
            inputs[name] = _example(*shape, seed=seed) * (40 if name == "poses" and shape[-1] == 3 else 1)
    with torch.no_grad():
        wanted = network.eval()(**inputs)
    found = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    outputs = [wanted] if isinstance(wanted, Tensor) else list(wanted)
    return max(float(np.abs(one.numpy() - other).max()) for one, other in zip(outputs, found))
