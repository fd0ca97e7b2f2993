"""The artifact corrector in the hosts: degraded crops, target poses, and what is told of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gaitext.errors import ConfigError, DataError
from gaitext.models.packing import sequence_lengths
from gaitext.restoration.objective import heatmap_mse, rescaled
from gaitext.toolboxes.adapter import Host, HostInputs, HostOutput, ListedTransform, ModelAdapter
from gaitext.toolboxes.models.artifact_corrector_network import (
    ArtifactCorrectorSettings,
    HostedCorrector,
    pad_sequences,
)

__all__ = ["ArtifactCorrectorAdapter"]

#: Frames of a batch that the log shows.
_SHOWN = 4
_INPUTS = "degraded crops, target poses and, if there are any, the persons' boxes"


def _settings(model_cfg: Mapping[str, Any]) -> ArtifactCorrectorSettings:
    own = {key: value for key, value in model_cfg.items() if key != "model"}
    return ArtifactCorrectorSettings.parse(own, where="model_cfg")


class ArtifactCorrectorAdapter(ModelAdapter):
    """FBCNN before a frozen pose estimator (artifact correction, Fig. 1).

    Inputs: crops [T, 3, H, W] of degraded video, of the estimator's input size, through ``CropInput``;
    poses [T, 17, 3] in pixels of the crops, a score of 0 being a joint that is not known; and, for the area
    in OKS, the persons' boxes [T, 4] in the same pixels, if there are any.

    Loss: ``coordinates`` on the keypoints (Eq. 1); with ``heatmap_weight`` the weighted term ``heatmaps`` is added.
    A test's ``predictions``, ``targets`` and ``boxes`` are [n, test_frames, …], NaN behind a sequence's last frame.
    """

    name = "ArtifactCorrector"

    @classmethod
    def build(cls, model_cfg: Mapping[str, Any]) -> nn.Module:
        return cls._build(_settings(model_cfg), fresh=True)

    @classmethod
    def build_in(cls, model_cfg: Mapping[str, Any], host: Host) -> nn.Module:
        settings = _settings(model_cfg)
        network = cls._build(settings, host.fresh)
        told = {key: value for key, value in network.estimator.settings.items() if key in ("estimator", "sha256")}
        host.say(f"estimator {settings.estimator}, frozen: {told}")
        return network

    @classmethod
    def _build(cls, settings: ArtifactCorrectorSettings, fresh: bool) -> HostedCorrector:
        network = HostedCorrector(settings)
        if fresh:
            network.begin()
        return network

    @classmethod
    def class_count(cls, model_cfg: Mapping[str, Any]) -> int | None:
        _settings(model_cfg)  # an error now
        return None

    @classmethod
    def loss_names(cls, model_cfg: Mapping[str, Any]) -> Mapping[str, Sequence[str]] | None:
        return {"coordinates": ("coordinates", "targets", "weights")}

    @classmethod
    def check_transforms(cls, model_cfg: Mapping[str, Any], lists: Sequence[Sequence[ListedTransform]]) -> None:
        if len(lists) not in (2, 3):
            raise ConfigError(
                f"{len(lists)} inputs are used; {cls.name} reads {_INPUTS}",
                where="data_cfg.data_in_use",
                how="switch two or three inputs on, each with a transform list of its own",
            )
        if not any(transform.name == "CropInput" for transform in lists[0]):
            raise ConfigError(
                "nothing makes numbers in 0..1 of the crops' bytes",
                where=lists[0][0].where if lists[0] else "transform[0]",
                how="let the crops' list of transforms begin with CropInput",
            )

    @classmethod
    def check_sampler(cls, model_cfg: Mapping[str, Any], sampler: Mapping[str, Any], where: str) -> None:
        settings = _settings(model_cfg)
        limit = sampler.get("frames_all_limit", -1)
        testing = where.startswith("evaluator_cfg") and str(sampler.get("sample_type")).startswith("all")
        if testing and isinstance(limit, int) and limit > settings.test_frames:
            raise ConfigError(
                f"test sequences may have {limit} frames, but results are padded to {settings.test_frames}",
                where=f"{where}.frames_all_limit",
                how="write the same as in model_cfg.test_frames",
            )

    @classmethod
    @torch.no_grad()
    def check_batch(cls, network: nn.Module, inputs: HostInputs) -> None:
        assert isinstance(network, HostedCorrector)
        estimator, (crops, poses, boxes) = network.estimator, _read(inputs)
        size = tuple(estimator.input_size)
        shapes = {"crops": (crops, (3, *size)), "poses": (poses, (17, 3))}
        shapes |= {} if boxes is None else {"boxes": (boxes, (4,))}
        for name, (sequence, wanted) in shapes.items():
            if tuple(sequence.shape[1:]) != wanted:
                found, needed = (", ".join(map(str, shape)) for shape in (sequence.shape[1:], wanted))
                raise DataError(
                    f"{name} are [T, {found}]",
                    where="data_cfg.data_in_use",
                    how=f"{cls.name} reads {_INPUTS}; with this estimator {name} are [T, {needed}]",
                )
        points = poses[_known(poses, network.settings.min_score)][:, :2]
        if not len(points):
            return
        height, width = size
        low, high = points.amin(0), points.amax(0)
        outside = ((points < -0.5) | (points > points.new_tensor([width, height]) - 0.5)).any(-1)
        rows, columns = estimator.heatmap_size
        if bool(outside.float().mean() > 0.5):
            found = "mostly outside the crops: pixels of the frame, it seems"
        elif float(high[0]) < columns and float(high[1]) < rows and float(low.min()) >= -0.5:
            found = f"all within {columns}×{rows}: pixels of heatmaps, it seems"
        else:
            return
        raise DataError(
            f"the first batch's poses are {found}",
            where="data_cfg.data_in_use",
            how=f"give poses in pixels of the {width}×{height} crops",
        )

    @classmethod
    def run(cls, network: nn.Module, inputs: HostInputs, *, training: bool) -> HostOutput:
        assert isinstance(network, HostedCorrector)
        crops, poses, boxes = _read(inputs)
        if not training:
            lengths = sequence_lengths(inputs.sequences[0], inputs.lengths, where=cls.name)
            told = {"predictions": network.decoded(crops), "targets": poses}
            told |= {} if boxes is None else {"boxes": boxes}
            limit = network.settings.test_frames
            return HostOutput(
                {}, {name: pad_sequences(each.float(), lengths, limit) for name, each in told.items()}, {}
            )
        keypoints, heatmaps, corrected = network.found(crops)
        weights = _known(poses, network.settings.min_score).to(keypoints.dtype)
        targets = poses[..., :2]
        fed: dict[str, Any] = {
            "coordinates": {"coordinates": keypoints[..., :2], "targets": targets, "weights": weights}
        }
        if network.settings.heatmap_weight:
            there = rescaled(targets, network.estimator.input_size, network.estimator.heatmap_size)
            fed["heatmaps"] = network.settings.heatmap_weight * heatmap_mse(heatmaps, there, weights)
        images = {"degraded": crops[:_SHOWN], "corrected": corrected[:_SHOWN].detach().clamp(0, 1)}
        return HostOutput(fed, {}, images)


def _read(inputs: HostInputs) -> tuple[Tensor, Tensor, Tensor | None]:
    """Crops [N, 3, H, W], poses [N, 17, 3] and boxes [N, 4] of a batch's frames, packed or not."""
    crops, poses = inputs.sequence(0, "degraded crops"), inputs.sequence(1, "target poses")
    boxes = inputs.sequence(2, "boxes").flatten(0, 1) if len(inputs.sequences) > 2 else None
    return crops.flatten(0, 1), poses.flatten(0, 1), boxes


def _known(poses: Tensor, min_score: float) -> Tensor:
    """Which joints of poses [..., 17, 3] count: [..., 17]."""
    return (poses[..., 2] > 0) & (poses[..., 2] >= min_score)
