"""What estimators that are torch networks have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gaitext.errors import ConfigError, ShapeError
from gaitext.execution.stages import spread
from gaitext.pose.estimator import HEATMAP_SHAPE, check_heatmaps, check_images, mirror_heatmaps

#: ``auto`` is float16 on CUDA and float32 on the CPU.
Precision = Literal["auto", "float32", "float16", "bfloat16"]


class TorchEstimator:
    """A :class:`~gaitext.pose.PoseEstimator` around a torch network.

    The network is frozen and in evaluation mode. Gradients flow from the heatmaps to images that
    require them; for other images no graph is built.

    Args:
        network: takes normalised images [N, 3, H, W] and returns heatmaps [N, 17, h, w]; on the
            CPU, in float32. It belongs to the estimator from now on.
        input_size: H and W.
        mean, std: of the channels in 0..1, in the order the network takes them in.
        bgr: whether that order is blue, green, red.
        settings: what decides the result beside normalisation, precision and flip test.
        where: what errors name.
        device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``.
        precision: of weights and computation.
        flip_test: average with the heatmaps of the mirrored images: twice the time.
        shift_mirrored: move those one pixel to the right (see
            :func:`~gaitext.pose.mirror_heatmaps`).
        trainable: leave the network as it is built, to be trained: not frozen, BatchNorm not folded into
            convolutions. ``network`` takes what :meth:`normalised` returns.

    Raises:
        ConfigError: no such device or precision.
        ShapeError: the network's output is something else than heatmaps of 17 joints.
    """

    differentiable = True

    def __init__(
        self,
        network: nn.Module,
        *,
        input_size: tuple[int, int],
        mean: Sequence[float],
        std: Sequence[float],
        bgr: bool = False,
        settings: dict[str, Any],
        where: str,
        device: str = "auto",
        precision: Precision = "auto",
        flip_test: bool = False,
        shift_mirrored: bool = False,
        trainable: bool = False,
    ) -> None:
        # Here, as transforms import gaitext.pose, and no networks with it.
        from gaitext.models.exact_layers import exact_on_cpu
        from gaitext.models.folding import fold_network

        self.device = chosen_device(device)
        self.dtype = chosen_dtype(precision, torch.float16 if self.device.type == "cuda" else torch.float32)
        self.input_size, self.mean, self.std, self.bgr = input_size, tuple(mean), tuple(std), bgr
        self.flip_test, self.shift_mirrored, self._where = flip_test, shift_mirrored, where
        network = network.eval().requires_grad_(trainable)
        probe = torch.randn(1, 3, *input_size, generator=torch.Generator().manual_seed(0))
        self.heatmap_size = _heatmap_size(network, probe, where)
        network = exact_on_cpu(network) if trainable else fold_network(network, probe)
        # Convolutions are fastest with channels last, on CPU and GPU alike.
        self.network = network.to(self.device, self.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._mean = torch.tensor(mean, dtype=torch.float32, device=self.device)[:, None, None]
        self._std = torch.tensor(std, dtype=torch.float32, device=self.device)[:, None, None]
        self.settings = settings | {
            "mean": [round(float(value), 6) for value in mean],
            "std": [round(float(value), 6) for value in std],
            "channels": "bgr" if bgr else "rgb",
            "input_size": list(input_size),
            "precision": str(self.dtype).removeprefix("torch."),
            "flip_test": flip_test,
        }
        if flip_test:
            self.settings["shift_mirrored"] = shift_mirrored

    def to(self, device: torch.device) -> TorchEstimator:
        """Move it to another device, as it is: the precision stays."""
        if device != self.device:
            self.network.to(device)
            self._mean, self._std, self.device = self._mean.to(device), self._std.to(device), device
        return self

    def heatmaps(self, images: Tensor) -> Tensor:
        """Heatmaps of RGB crops.

        Args:
            images: [N, 3, *input_size], float32 in 0..1, on any device.

        Returns:
            [N, 17, *heatmap_size], float32, on the images' device.

        Raises:
            ShapeError: wrong images.
        """
        check_images(images, self.input_size, type(self).__name__)
        if len(images) == 0:
            return torch.zeros(0, HEATMAP_SHAPE[0], *self.heatmap_size, device=images.device)
        whole = self.device.type != "cpu" or (torch.is_grad_enabled() and images.requires_grad)
        # Spread is all of it, not the network alone: threads that share one small operation wait for each other
        # busily, and on for a while after it.
        maps = self._estimate(images) if whole else spread(self._estimate, images)
        return check_heatmaps(maps, images, self._where, self.heatmap_size)

    def normalised(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] in 0..1 as the network takes them."""
        ready = images.to(self.device, torch.float32)
        ready = (ready.flip(1) if self.bgr else ready).sub(self._mean).div(self._std)
        return ready.to(self.dtype, memory_format=torch.channels_last)

    def _estimate(self, images: Tensor) -> Tensor:
        ready = self.normalised(images)
        maps: Tensor = self.network(ready)
        if self.flip_test:
            maps = (maps + mirror_heatmaps(self.network(ready.flip(-1)), self.shift_mirrored)) * 0.5
        return maps.to(images.device, torch.float32, memory_format=torch.contiguous_format)


def state_digest(network: nn.Module) -> str:
    """SHA-256 of the names, shapes and values of all weights, whatever file they came from."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def chosen_device(name: str) -> torch.device:
    """``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ConfigError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    how = "choose auto, cpu, cuda or cuda:N"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"unknown device '{name}'", where="device", how=how) from error
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"unknown device '{name}'", where="device", how=how)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ConfigError(f"there is no device '{name}': torch sees {count} of CUDA", where="device", how=how)
    return device


def chosen_dtype(precision: str, auto: torch.dtype) -> torch.dtype:
    """``float32``, ``float16``, ``bfloat16``, or ``auto``.

    Raises:
        ConfigError: another precision.
    """
    known = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16, "auto": auto}
    if precision not in known:
        raise ConfigError(f"unknown precision '{precision}'", where="precision", how=f"one of {', '.join(known)}")
    return known[precision]


@torch.no_grad()
def _heatmap_size(network: nn.Module, probe: Tensor, where: str) -> tuple[int, int]:
    maps = network(probe)
    if not isinstance(maps, Tensor) or maps.ndim != 4 or maps.shape[1] != HEATMAP_SHAPE[0]:
        shape = list(maps.shape) if isinstance(maps, Tensor) else f"a {type(maps).__name__}"
        raise ShapeError(
            f"the network's output is {shape}",
            where=where,
            how="gaitext needs COCO-17 heatmaps, [N, 17, height, width]",
        )
    return int(maps.shape[2]), int(maps.shape[3])
