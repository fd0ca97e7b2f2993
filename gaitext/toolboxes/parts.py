"""Everything gaitext registers in a host, under the host's own names.

One table per extension point; hosts look a part up here by the name a YAML gives.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from gaitext import evaluation, losses, transforms
from gaitext.toolboxes.adapter import ModelAdapter
from gaitext.toolboxes.models import (
    ArtifactCorrectorAdapter,
    GaitBaseAdapter,
    GaitHeatAdapter,
    GaitPTAdapter,
    MimicGaitAdapter,
    RGGaitAdapter,
    RGGaitOEMAdapter,
)
from gaitext.toolboxes.samplers import BalancedTripletSampler, RepeatTripletSampler
from gaitext.transforms.base import Transform

MODELS: dict[str, type[ModelAdapter]] = {
    adapter.name: adapter
    for adapter in (
        GaitHeatAdapter,
        GaitPTAdapter,
        GaitBaseAdapter,
        RGGaitOEMAdapter,
        RGGaitAdapter,
        MimicGaitAdapter,
        ArtifactCorrectorAdapter,
    )
}


def adapter_for(model_cfg: Mapping[str, Any]) -> ModelAdapter:
    """The adapter of one of gaitext's models, ``model_cfg.model``, with its settings.

    Raises:
        ConfigError: a setting is unknown, missing or wrong.
    """
    return MODELS[model_cfg["model"]](model_cfg, MODELS)


#: Transform classes: built with keyword arguments from the YAML, called on arrays [T, …].
TRANSFORMS: dict[str, type[Transform]] = {name: getattr(transforms, name) for name in transforms.__all__}

#: Losses that no toolbox has. Called with keyword tensors; return (loss [p], info).
LOSSES: dict[str, type[nn.Module]] = {
    "AllTripletsLoss": losses.AllTripletsLoss,
    "BatchHardTripletLoss": losses.BatchHardTripletLoss,
    "CoordinateL1Loss": losses.CoordinateL1Loss,
    "OcclusionLoss": losses.OcclusionLoss,
}

#: Samplers that no toolbox has. Built with the host's dataset and keyword arguments from the YAML.
SAMPLERS: dict[str, type] = {
    "BalancedTripletSampler": BalancedTripletSampler,
    "RepeatTripletSampler": RepeatTripletSampler,
}

#: Evaluation functions. Called with (features, dataset name) and the keys of ``evaluator_cfg`` they name.
EVALUATIONS: dict[str, Callable[..., Any]] = {
    "evaluate_GREW_local": evaluation.evaluate_GREW_local,
    "evaluate_OEM": evaluation.evaluate_OEM,
    "evaluate_PsyMo": evaluation.evaluate_PsyMo,
    "evaluate_gallery_probe": evaluation.evaluate_gallery_probe,
    "evaluate_pose": evaluation.evaluate_pose,
}

#: Evaluation function -> a check of its arguments (``dataset`` and its own), before anything is embedded.
EVALUATION_CHECKS: dict[str, Callable[..., None]] = {
    "evaluate_GREW_local": evaluation.check_listed,
    "evaluate_PsyMo": evaluation.check_PsyMo,
    "evaluate_gallery_probe": evaluation.check_gallery_probe,
}


class Compose:
    """Applies transforms one after the other: OpenGait's ``Compose``, for a toolbox without it.

    FastPoseGait has none; with this one, a config that lists ``type: Compose`` runs in all hosts.

    Args:
        trf_cfg: the transforms' entries, each with its ``type``, looked up as the toolbox does.
    """

    def __init__(self, trf_cfg: Sequence[Mapping[str, Any]]) -> None:
        self.transforms = importlib.import_module("data.transform").get_transform(list(trf_cfg))

    def __call__(self, sequence: Any) -> Any:
        for transform in self.transforms:
            sequence = transform(sequence)
        return sequence


#: kind -> parts that one toolbox has and another lacks; registered where they are lacking.
SUPPLIED: dict[str, dict[str, type]] = {"transform": {"Compose": Compose}}
