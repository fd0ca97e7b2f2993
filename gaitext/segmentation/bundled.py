"""The segmenter that needs nothing but gaitext: BlazePose's."""

from __future__ import annotations

from typing import Any

import torch

from gaitext.execution.stages import spread
from gaitext.pose import check_images
from gaitext.pose.torch_estimator import chosen_device, state_digest
from gaitext.segmentation.blazepose import SIZE, load_blazepose


class BundledSegmenter:
    """A :class:`~gaitext.segmentation.Segmenter`: BlazePose's network, which masks the person in the crop's middle.

    Args:
        device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ConfigError: no such device.
        CheckpointError: the package's weights are missing or damaged.
    """

    input_size = SIZE

    def __init__(self, *, device: str = "auto") -> None:
        self.device = chosen_device(device)
        network = load_blazepose().requires_grad_(False)
        self.settings: dict[str, Any] = {
            "segmenter": "bundled",
            "network": "blazepose-full",
            "sha256": state_digest(network),
        }
        # Convolutions are fastest with channels last, on CPU and GPU alike.
        self._network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def masks(self, images: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Masks of RGB crops; see :class:`~gaitext.segmentation.Segmenter`. The network asks for no boxes."""
        check_images(images, self.input_size, type(self).__name__)
        if len(images) == 0:
            return torch.zeros(0, *self.input_size, device=images.device)
        return self._mask(images) if self.device.type != "cpu" else spread(self._mask, images)

    @torch.no_grad()
    def _mask(self, images: torch.Tensor) -> torch.Tensor:
        ready = images.to(self.device, torch.float32).contiguous(memory_format=torch.channels_last)
        masks: torch.Tensor = self._network(ready)
        return masks.to(images.device)
