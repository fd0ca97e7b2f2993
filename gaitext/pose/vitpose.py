"""Pose estimators from transformers' VitPose checkpoints."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from gaitext.errors import ConfigError, import_extra
from gaitext.pose.hub import load_network, read_json
from gaitext.pose.torch_estimator import Precision, TorchEstimator, state_digest


class VitPoseEstimator(TorchEstimator):
    """ViTPose and ViTPose++ as transformers holds them (``VitPoseForPoseEstimation``).

    Size, mean and standard deviation come from the image processor's file. Heatmaps are equal to
    those of transformers' own processor and model on the same crops.

    Args:
        model: a folder with ``config.json``, ``preprocessor_config.json`` and weights
            (safetensors, or ``pytorch_model.bin``, of which tensors alone are unpickled), or the
            name of a repository on the Hugging Face hub, such as
            ``usyd-community/vitpose-base-simple``, which is downloaded once.
        dataset_index: the expert of a ViTPose++ network: 0 COCO, 1 AiC, 2 MPII, 3 AP-10K,
            4 APT-36K, 5 COCO-WholeBody.
        device, precision, flip_test, trainable: see :class:`~gaitext.pose.TorchEstimator`.

    Raises:
        ConfigError: no such folder or name, another kind of network, or no such expert.
        CheckpointError: the weights are damaged or do not fit.
        MissingDependencyError: transformers is not installed.
    """

    def __init__(
        self,
        model: str,
        *,
        dataset_index: int = 0,
        device: str = "auto",
        precision: Precision = "auto",
        flip_test: bool = False,
        trainable: bool = False,
    ) -> None:
        transformers = import_extra("transformers", "vitpose", "the estimator 'vitpose:'")
        config = read_json(model, "config.json", "vitpose")
        if config.get("model_type") != "vitpose":
            raise ConfigError(
                f"it is a model of the type '{config.get('model_type')}'",
                where=model,
                how="give one of the type 'vitpose'",
            )
        processor = read_json(model, "preprocessor_config.json", "vitpose")
        experts = int((config.get("backbone_config") or {}).get("num_experts", 1))
        if not 0 <= dataset_index < experts:
            raise ConfigError(
                f"there is no expert {dataset_index}", where=model, how=f"it has {experts}, counted from 0"
            )
        network = load_network(transformers.VitPoseForPoseEstimation, model)
        size = processor.get("size") or {"height": 256, "width": 192}
        normalised = processor.get("do_normalize", True)
        mean = processor.get("image_mean") if normalised else None
        std = processor.get("image_std") if normalised else None
        # Images of 0..255 are first multiplied by this; 1/255 makes them those of 0..1.
        factor = 255 * float(processor.get("rescale_factor", 1 / 255)) if processor.get("do_rescale", True) else 255.0
        super().__init__(
            _Network(network, dataset_index if experts > 1 else None),
            input_size=(int(size["height"]), int(size["width"])),
            mean=[value / factor for value in mean or (0.0,) * 3],
            std=[value / factor for value in std or (1.0,) * 3],
            settings={
                "estimator": "vitpose",
                "model": Path(model).name,
                "sha256": state_digest(network),
                "dataset_index": dataset_index,
            },
            where=model,
            device=device,
            precision=precision,
            flip_test=flip_test,
            trainable=trainable,
            # All of them were trained with unbiased data processing.
            shift_mirrored=False,
        )


class _Network(nn.Module):
    def __init__(self, model: nn.Module, expert: int | None) -> None:
        super().__init__()
        self.model = model
        self.expert = expert

    def forward(self, images: Tensor) -> Tensor:
        if self.expert is None:
            maps: Tensor = self.model(pixel_values=images).heatmaps
        else:
            index = torch.full((len(images),), self.expert, device=images.device)
            maps = self.model(pixel_values=images, dataset_index=index).heatmaps
        return maps
