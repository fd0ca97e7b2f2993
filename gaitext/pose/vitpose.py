"""Pose estimators from transformers' VitPose checkpoints."""

from __future__ import annotations

import json
import os
import pickle
import socket
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import Tensor, nn

from gaitext.errors import CheckpointError, ConfigError, import_extra
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
        config = _read(model, "config.json")
        if config.get("model_type") != "vitpose":
            raise ConfigError(
                f"it is a model of the type '{config.get('model_type')}'",
                where=model,
                how="give one of the type 'vitpose'",
            )
        processor = _read(model, "preprocessor_config.json")
        experts = int((config.get("backbone_config") or {}).get("num_experts", 1))
        if not 0 <= dataset_index < experts:
            raise ConfigError(
                f"there is no expert {dataset_index}", where=model, how=f"it has {experts}, counted from 0"
            )
        network = _load(transformers, model)
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


@lru_cache
def _is_cut_off(model: str) -> bool:
    """Whether the hub cannot be reached, so that only what is on the disk can be had.

    Asked first, once: the hub's own client tries five times, for a quarter of a minute, for each file.
    """
    proxies = ("https_proxy", "http_proxy", "all_proxy")
    if Path(model).is_dir() or any(os.environ.get(key) or os.environ.get(key.upper()) for key in proxies):
        return False
    from huggingface_hub import constants

    hub = urlsplit(constants.ENDPOINT)
    try:
        with socket.create_connection((hub.hostname or "", hub.port or 443), timeout=5):
            return False
    except (OSError, ValueError):
        return True


def _read(model: str, name: str) -> dict[str, Any]:
    """A json file of the model."""
    from transformers.utils import cached_file

    if not Path(model).is_dir() and (model.startswith((".", "/", "~")) or model.count("/") > 1):
        raise ConfigError("no such folder", where=model, how="check the path after 'vitpose:'")
    try:
        path = Path(str(cached_file(model, name, local_files_only=_is_cut_off(model))))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{name} cannot be had ({_first(error)})",
            where=model,
            how="give a folder that holds it, or the name of a model on the Hugging Face hub while online",
        ) from error
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"is not JSON ({error})", where=path) from error
    if not isinstance(read, dict):
        raise ConfigError("holds no object", where=path)
    return read


def _load(transformers: Any, model: str) -> nn.Module:
    """The network with the model's weights, all of them and no others."""
    try:
        network, info = transformers.VitPoseForPoseEstimation.from_pretrained(
            model, output_loading_info=True, weights_only=True, local_files_only=_is_cut_off(model)
        )
    except (OSError, ValueError, RuntimeError, LookupError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"its weights cannot be loaded ({_first(error)})", where=model) from error
    kinds = ("missing_keys", "unexpected_keys", "mismatched_keys")
    wrong = {kind: sorted(map(str, info.get(kind) or ())) for kind in kinds}
    listed = "; ".join(f"{what.replace('_', ' ')}: {', '.join(keys[:3])}" for what, keys in wrong.items() if keys)
    if listed:
        raise CheckpointError(f"its weights do not fit its config: {listed}", where=model)
    loaded: nn.Module = network.float()  # a file may hold halves; precision is a setting of its own
    return loaded


def _first(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
