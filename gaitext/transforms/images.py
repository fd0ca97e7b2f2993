"""Transforms of silhouettes [T, H, W] and of RGB frames [T, 3, H, W]."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from gaitext.errors import CheckpointError, ConfigError, DataError
from gaitext.pose.torch_estimator import chosen_device, chosen_dtype
from gaitext.transforms.base import Array, Transform, checked
from gaitext.video.digests import sha256

if TYPE_CHECKING:
    from gaitext.models import FixedFBCNN


class SilhouetteInput(Transform):
    """Checks silhouettes, makes them float32 in 0..1 and cuts their sides off.

    As OpenGait's ``BaseSilCuttingTransform``, which cuts 64×64 to 64×44, except that frames that are
    floats already are not divided.

    Args:
        cut: columns cut off on either side; 0 keeps the width.
        divisor: integers are divided by it (255 stands for 1).

    Raises:
        ConfigError: ``cut`` or ``divisor`` is out of range.
        DataError (at call): wrong shape, no frame, NaN, floats beyond 0..1, or fewer columns than are cut.
    """

    def __init__(self, cut: int = 10, divisor: float = 255.0) -> None:
        if int(cut) != cut or cut < 0:
            raise ConfigError(f"cut is {cut}", where="SilhouetteInput.cut", how="give 0 or more whole columns")
        if not divisor > 0:
            raise ConfigError(f"divisor is {divisor}", where="SilhouetteInput.divisor", how="give 255, or 1")
        self.cut = int(cut)
        self.divisor = divisor

    def __call__(self, sequence: Array) -> Array:
        silhouettes = checked(sequence, (None, None), where="SilhouetteInput", what="silhouettes")
        width = silhouettes.shape[2]
        if width <= 2 * self.cut:
            raise DataError(f"silhouettes of {width} columns cannot lose {2 * self.cut}", where="SilhouetteInput.cut")
        silhouettes = silhouettes[:, :, self.cut : width - self.cut]
        if silhouettes.dtype.kind in "uib":
            return silhouettes.astype(np.float32) / np.float32(1 if silhouettes.dtype.kind == "b" else self.divisor)
        if silhouettes.min() < 0 or silhouettes.max() > 1:
            raise DataError(
                f"silhouettes are floats from {silhouettes.min():g} to {silhouettes.max():g}",
                where="SilhouetteInput",
                how="store integers in 0..255, or floats in 0..1",
            )
        return silhouettes.astype(np.float32)


class CropInput(Transform):
    """Checks RGB crops and makes them float32 in 0..1: put it first in their list.

    The toolboxes want gradients of what transforms return, which bytes cannot have.

    Raises (at call):
        DataError: other than [T, 3, H, W], no frame, NaN, numbers that are neither bytes nor in 0..1.
    """

    def __call__(self, sequence: Array) -> Array:
        crops = checked(sequence, (3, None, None), where="CropInput", what="RGB crops")
        if crops.dtype == np.uint8:
            return crops.astype(np.float32) / np.float32(255)
        if crops.dtype.kind != "f" or float(crops.min()) < 0 or float(crops.max()) > 1:
            raise DataError(
                f"crops are {crops.dtype} from {crops.min():g} to {crops.max():g}",
                where="CropInput",
                how="give uint8, or floats in 0..1",
            )
        return crops.astype(np.float32)


#: Networks kept by a process: training and testing may use different ones.
_KEPT = 2
#: By the checkpoint's contents, quality, device and precision.
_networks: dict[tuple[Any, ...], FixedFBCNN] = {}


class ArtifactCorrection(Transform):
    """Corrects RGB frames [T, 3, H, W] or [T, H, W, 3] by an FBCNN, keeping layout, dtype and range.

    It runs where the transforms run, which in the toolboxes is the rank's own process. The network is loaded
    at the first call and then stays, whoever builds the transform anew: one per checkpoint (recognised by its
    contents), quality, device and precision. Put it before what normalises or cuts the frames.

    Toolboxes give arrays and want arrays back; bytes go to the GPU and come back as bytes. A tensor comes back as a
    tensor on its own device, and one that is on a GPU is corrected there, unless ``device`` names another.

    Args:
        checkpoint: of a corrector trained here or in a toolbox, or the released ``fbcnn_color.pth``.
        quality: 1 − QF/100, how strongly to correct; 0.5 in the paper.
        device: ``auto`` (the rank's GPU where there is one), ``cpu``, ``cuda`` or ``cuda:N``.
        batch_size: frames that go through the network at a time.
        precision: ``auto`` is bfloat16 on a GPU and float32 on the CPU; or ``float32``, ``bfloat16``, ``float16``.
        white: what white is in frames of floats: 1 or 255. Integers must be bytes.

    Raises (at call):
        ConfigError: an argument out of range, no such device, or a call in a loader's worker process.
        CheckpointError: it cannot be read, or holds no FBCNN.
        DataError: other shapes, no frame, NaN, or numbers outside 0..white.
    """

    def __init__(
        self,
        checkpoint: str,
        quality: float = 0.5,
        device: str = "auto",
        batch_size: int = 16,
        precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
        white: float = 1.0,
    ) -> None:
        if not 0 <= quality <= 1:
            raise ConfigError(f"quality is {quality!r}", where="ArtifactCorrection", how="give 1 − QF/100, in 0..1")
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size!r}", where="ArtifactCorrection", how="give 1 or more")
        if white not in (1, 255):
            raise ConfigError(f"white is {white!r}", where="ArtifactCorrection", how="give 1 or 255")
        self.checkpoint, self.quality, self.device = str(checkpoint), float(quality), device
        self.batch_size, self.precision, self.white = batch_size, precision, float(white)

    @overload
    def __call__(self, sequence: Tensor) -> Tensor: ...
    @overload
    def __call__(self, sequence: Array) -> Array: ...
    def __call__(self, sequence: Array | Tensor) -> Array | Tensor:
        if isinstance(sequence, Tensor):
            return self._corrected(sequence)
        frames = checked(sequence, (None, None, None), where="ArtifactCorrection", what="RGB frames")
        if frames.dtype not in (np.uint8, np.float16, np.float32, np.float64):
            raise self._others(str(frames.dtype))
        # A copy of what torch cannot share with numpy, such as a memory map.
        corrected: Array = self._corrected(torch.from_numpy(np.require(frames, requirements=["C", "W"]))).numpy()
        return corrected

    @torch.no_grad()
    def _corrected(self, frames: Tensor) -> Tensor:
        shape = tuple(frames.shape)
        last = shape[-1:] == (3,)
        if len(shape) != 4 or 0 in shape or last == (shape[1] == 3):
            raise DataError(
                f"frames of shape {shape}",
                where="ArtifactCorrection",
                how="[T, 3, H, W] or [T, H, W, 3] was expected, H and W other than 3",
            )
        white = self._white(frames)
        network = self._network(frames.device)
        corrected = torch.empty_like(frames)
        for start in range(0, len(frames), self.batch_size):
            rows = slice(start, start + self.batch_size)
            corrected[rows] = _correct(network, frames[rows], white, last)
        return corrected

    def _white(self, frames: Tensor) -> float:
        if frames.dtype == torch.uint8:
            return 255.0
        if not frames.is_floating_point():
            raise self._others(str(frames.dtype))
        low, high = frames.min().item(), frames.max().item()
        if not 0 <= low <= high <= self.white:  # nor is this true of NaN
            raise self._others(f"{frames.dtype} from {low:g} to {high:g}")
        return self.white

    def _others(self, what: str) -> DataError:
        return DataError(
            f"frames are {what.removeprefix('torch.')}",
            where="ArtifactCorrection",
            how=f"give uint8, or floats in 0..{self.white:g} (white: 1 or 255), not yet normalised",
        )

    def _network(self, given: torch.device) -> FixedFBCNN:
        """The network, on the device asked for; with ``auto`` on the GPU that frames are ``given`` on."""
        if get_worker_info() is not None:
            raise ConfigError(
                "correction is asked for in a loader's worker process, which has no GPU of its own",
                where="ArtifactCorrection",
                how="set data_cfg.num_workers: 0, or correct the videos beforehand (gaitext correct apply)",
            )
        path = os.path.realpath(os.path.expanduser(self.checkpoint))
        try:
            os.stat(path)
        except OSError as error:
            raise CheckpointError("no such file", where=self.checkpoint, how="check the path") from error
        if os.path.isdir(path):
            raise CheckpointError("is a folder", where=self.checkpoint, how="give the checkpoint's file")
        name = str(given) if self.device == "auto" and given.type == "cuda" else self.device
        return _load(path, sha256(path), self.quality, *_place(name, self.precision))


def _load(path: str, contents: str, quality: float, device: torch.device, dtype: torch.dtype) -> FixedFBCNN:
    """The network, from :data:`_networks` where it is there."""
    from gaitext.models import load_fbcnn  # transforms import no networks before one is wanted

    key = (contents, quality, device, dtype)
    if key not in _networks:
        network = load_fbcnn(path, rgb=True).fixed(quality, dtype=dtype)
        while len(_networks) >= _KEPT:
            del _networks[next(iter(_networks))]
        _networks[key] = network.to(device)
    return _networks[key]


def _place(name: str, precision: str) -> tuple[torch.device, torch.dtype]:
    device = chosen_device(name)
    if device.type == "cuda" and device.index is None:  # the toolboxes give each rank its GPU by set_device
        device = torch.device("cuda", torch.cuda.current_device())
    return device, chosen_dtype(precision, torch.bfloat16 if device.type == "cuda" else torch.float32)


def _correct(network: FixedFBCNN, frames: Tensor, white: float, last: bool) -> Tensor:
    """A batch of frames, in their layout and type, on the network's device."""
    device = network.head.weight.device
    images = frames.to(device).float() / white
    images = images.movedim(-1, 1) if last else images
    # The surroundings' autocast would take half precision where float32 was asked for.
    with torch.autocast(device.type, enabled=False):
        restored = network(images).clamp_(0, 1).mul_(white)
    restored = restored.movedim(1, -1) if last else restored
    return (restored if frames.is_floating_point() else restored.round_()).to(frames.dtype)
