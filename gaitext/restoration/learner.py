"""What is trained: a corrector before a frozen estimator, or, to compare with, the estimator itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from gaitext import checkpoints
from gaitext.errors import ConfigError
from gaitext.models import FBCNN
from gaitext.pose import TorchEstimator, load_estimator
from gaitext.restoration.objective import (
    CorrectionObjective,
    CorrectionOutput,
    fit_to_input,
    in_unit_range,
    rescaled,
)
from gaitext.restoration.settings import CorrectionConfig
from gaitext.restoration.terms import heatmap_mse


class FinetuneObjective(nn.Module):
    """Top-down estimators' usual recipe: the mean squared difference from Gaussian heatmaps (the paper's baseline).

    Args:
        estimator: loaded with ``trainable=True``; its network is this module's, BatchNorm and all.
    """

    def __init__(self, estimator: TorchEstimator) -> None:
        super().__init__()
        self.estimator, self.network = estimator, estimator.network

    def forward(
        self,
        images: Tensor,
        targets: Tensor | None = None,
        weights: Tensor | None = None,
        originals: Tensor | None = None,
    ) -> CorrectionOutput:
        """As :class:`~gaitext.restoration.CorrectionObjective`; keypoints are not decoded in training (all NaN).

        Originals are not looked at.
        """
        fitted = fit_to_input(in_unit_range(images), self.estimator.input_size)
        heatmaps = self.network(self.estimator.normalised(fitted)).float()
        losses = {}
        if targets is not None:
            there = rescaled(targets[..., :2].float(), self.estimator.input_size, self.estimator.heatmap_size)
            losses = {"loss": heatmap_mse(heatmaps, there, weights)}
        return CorrectionOutput(losses, heatmaps.new_full((*heatmaps.shape[:2], 3), torch.nan), heatmaps, fitted)


class Learner:
    """A module to train and what of it is trained and kept.

    Attributes:
        objective: called with (images, targets, weights).
        kept: the network whose weights a checkpoint holds under ``model``.
        kind: ``corrector`` or ``estimator``.
    """

    def __init__(self, objective: CorrectionObjective | FinetuneObjective, kept: nn.Module, kind: str) -> None:
        self.objective, self.kept, self.kind = objective, kept, kind

    @property
    def needs_originals(self) -> bool:
        """Whether it is taught by original crops beside the degraded ones."""
        return isinstance(self.objective, CorrectionObjective) and self.objective.settings.needs_originals

    def anneal(self, share: float) -> None:
        """Tell the objective how much of the training is done."""
        if isinstance(self.objective, CorrectionObjective):
            self.objective.anneal(share)

    def parameters(self) -> Iterator[nn.Parameter]:
        """What is trained."""
        return (parameter for parameter in self.objective.parameters() if parameter.requires_grad)


def build_corrector(config: CorrectionConfig) -> FBCNN:
    """FBCNN as the config says, on the CPU, all but its reconstruction part frozen.

    Fresh weights are torch's current generator's, and start as the identity.

    Raises:
        CheckpointError: ``model.weights`` cannot be read or do not fit.
    """
    network = FBCNN(**config.model.sizes)
    if config.model.weights is None:
        network.start_as_identity(config.objective.quality)
    else:
        checkpoints.load(network, config.model.weights)
    return network.freeze_all_but_reconstruction()


def build_learner(config: CorrectionConfig, device: torch.device) -> Learner:
    """What the config's mode trains, the estimator on ``device``.

    Raises:
        ConfigError: an estimator that is no torch network.
    """
    name = str(device)
    options: dict[str, Any] = {"device": name, "precision": "float32"}
    if config.mode == "finetune":
        options["trainable"] = True
    if config.estimator.startswith("onnx"):
        raise ConfigError(
            "no gradients flow through it",
            where=f"estimator {config.estimator}",
            how="train with one that is a torch network: mmpose:…, vitpose:… or movenet",
        )
    # Before the estimator, which draws what it then overwrites: the same seed is the same network before any estimator.
    network = build_corrector(config) if config.mode == "correct" else None
    estimator = cast(TorchEstimator, load_estimator(config.estimator, **options))
    if network is None:
        tuned = FinetuneObjective(estimator)
        return Learner(tuned, tuned.network, "estimator")
    settings = config.objective.model_dump()
    objective = CorrectionObjective(network, estimator, correct_at=config.data.crops.correct_at, **settings)
    return Learner(objective, network, "corrector")
