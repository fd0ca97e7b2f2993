"""ArtifactCorrector in the hosts: its settings, the corrector before its frozen estimator, its inputs and losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gaitext import checkpoints
from gaitext.errors import ConfigError, DataError
from gaitext.models.fbcnn import FBCNN, FBCNNSettings
from gaitext.models.packing import sequence_lengths
from gaitext.pose import TorchEstimator, load_estimator
from gaitext.restoration.objective import CorrectionObjective
from gaitext.restoration.terms import TermSettings
from gaitext.restoration.validation import decode
from gaitext.toolboxes.adapter import Host, HostInputs, HostOutput, ListedTransform, ModelAdapter


class ArtifactCorrectorSettings(TermSettings):
    """``model_cfg`` of ``ArtifactCorrector``: the terms beside the coordinates' loss, which ``loss_cfg`` weighs, and

    Attributes:
        corrector: FBCNN's sizes; by default the published ones.
        checkpoint: weights that training begins with: the released ``fbcnn_color.pth``, a restorer's (``gaitext
            correct pretrain``) or a corrector's. None: those that change nothing. Not read where training goes on,
            nor in a test.
        estimator: specification, as for ``gaitext extract``; gradients must flow through it.
        min_score: joints of target poses with a lower score, or 0, do not count.
        frames_per_step: so many frames go through the networks at a time. Of a larger training batch the parts
            are computed a second time for their gradients: memory is bounded, at a third more work. No number
            changes by it.
        test_frames: frames that a test sequence may have: results are padded to it, as the toolboxes concatenate
            those of all sequences.
    """

    corrector: FBCNNSettings = FBCNNSettings()
    checkpoint: str | None = None
    estimator: str = "movenet"
    min_score: float = 0.0
    frames_per_step: int = Field(64, ge=1)
    test_frames: int = Field(720, ge=1)


class HostedCorrector(CorrectionObjective):
    """The corrector, and the estimator out of the host's reach.

    The estimator is no submodule: a host can neither switch it to training, initialise or convert it, nor
    give it to the optimizer, nor write it into a checkpoint. It follows the images to their device.
    """

    def __init__(self, settings: ArtifactCorrectorSettings) -> None:
        corrector = FBCNN(**settings.corrector.model_dump()).freeze_all_but_reconstruction()
        # The toolboxes choose a rank's GPU after they have built the model.
        estimator = load_estimator(settings.estimator, device="cpu")
        super().__init__(corrector, estimator, **{name: getattr(settings, name) for name in TermSettings.model_fields})
        self.checkpoint, self.frames_per_step = settings.checkpoint, settings.frames_per_step

    def begin(self) -> None:
        """Give the corrector the weights that training begins with."""
        assert isinstance(self.corrector, FBCNN)
        if self.checkpoint is None:
            self.corrector.start_as_identity(self.settings.quality)
        else:
            checkpoints.load(self.corrector, self.checkpoint)

    def found(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Correct and estimate, with a graph where gradients are enabled.

        Args:
            images: [N, 3, *input_size] in 0..1.

        Returns:
            Keypoints by soft-argmax [N, 17, 3] in pixels of the images, heatmaps [N, 17, h, w], and the
            corrected images.
        """
        limit = self.frames_per_step
        if len(images) <= limit:
            return self._part(images)
        parts = [checkpoint(self._part, part, use_reentrant=False) for part in images.split(limit)]
        keypoints, heatmaps, corrected = (torch.cat(each) for each in zip(*parts))
        return keypoints, heatmaps, corrected

    @torch.no_grad()
    def decoded(self, images: Tensor) -> Tensor:
        """Poses [N, 17, 3] in pixels of the images, decoded as ``gaitext extract`` does, on their device."""
        size = self.estimator.input_size
        return torch.cat([decode(self._part(part)[1], size) for part in images.split(self.frames_per_step)])

    def _part(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if isinstance(self.estimator, TorchEstimator):
            self.estimator.to(images.device)
        output = self(images)
        return output.keypoints, output.heatmaps, output.corrected


def pad_sequences(frames: Tensor, lengths: Sequence[int], limit: int) -> Tensor:
    """Frames [ΣT, …] of sequences one after the other as [n, limit, …], NaN behind each one's last.

    Raises:
        DataError: a sequence is longer.
    """
    if max(lengths) > limit:
        raise DataError(
            f"a test sequence has {max(lengths)} frames, results are padded to {limit}",
            where="model_cfg.test_frames",
            how="raise it, or lower evaluator_cfg.sampler.frames_all_limit",
        )
    padded = frames.new_full((len(lengths), limit, *frames.shape[1:]), torch.nan)
    for row, sequence in zip(padded, frames.split(list(lengths))):
        row[: len(sequence)] = sequence
    return padded


#: Frames of a batch that the log shows.
_SHOWN = 4
_INPUTS = (
    "degraded crops, original ones where a term needs them, target poses and, if there are any, the persons' boxes"
)


class ArtifactCorrectorAdapter(ModelAdapter):
    """FBCNN before a frozen pose estimator (artifact correction, Fig. 1).

    Inputs: crops [T, 3, H, W] of degraded video, of the estimator's input size, through ``CropInput``; with
    ``distillation_weight`` or ``pixel_weight``, in training, the same of original video;
    poses [T, 17, 3] in pixels of the crops, a score of 0 being a joint that is not known; and, for the area
    in OKS, the persons' boxes [T, 4] in the same pixels, if there are any.

    Loss: ``coordinates`` on the keypoints (Eq. 1), and each weighted term that counts: ``heatmaps``, ``mass``,
    ``distillation``, ``pixels`` (:class:`~gaitext.restoration.terms.TermSettings`).
    A test's ``predictions``, ``targets`` and ``boxes`` are [n, test_frames, …], NaN behind a sequence's last frame.
    """

    name = "ArtifactCorrector"
    settings_type = ArtifactCorrectorSettings
    settings: ArtifactCorrectorSettings

    def build(self, host: Host | None = None) -> nn.Module:
        host = host or Host()
        network = HostedCorrector(self.settings)
        if host.fresh:
            network.begin()
        origin = {key: value for key, value in network.estimator.settings.items() if key in ("estimator", "sha256")}
        host.say(f"estimator {self.settings.estimator}, frozen: {origin}")
        return network

    @property
    def loss_names(self) -> Mapping[str, Sequence[str]] | None:
        return {"coordinates": ("coordinates", "targets", "weights")}

    def check_transforms(self, lists: Sequence[Sequence[ListedTransform]]) -> None:
        if not 2 <= len(lists) <= 4:
            raise ConfigError(
                f"{len(lists)} inputs are used; {self.name} reads {_INPUTS}",
                where="data_cfg.data_in_use",
                how="switch two to four inputs on, each with a transform list of its own",
            )
        if not any(transform.name == "CropInput" for transform in lists[0]):
            raise ConfigError(
                "nothing makes numbers in 0..1 of the crops' bytes",
                where=lists[0][0].where if lists[0] else "transform[0]",
                how="let the crops' list of transforms begin with CropInput",
            )

    def check_sampler(self, sampler: Mapping[str, Any], where: str) -> None:
        padded = self.settings.test_frames
        limit = sampler.get("frames_all_limit", -1)
        testing = where.startswith("evaluator_cfg") and str(sampler.get("sample_type")).startswith("all")
        if testing and isinstance(limit, int) and limit > padded:
            raise ConfigError(
                f"test sequences may have {limit} frames, but results are padded to {padded}",
                where=f"{where}.frames_all_limit",
                how="write the same as in model_cfg.test_frames",
            )

    @torch.no_grad()
    def check_batch(self, network: nn.Module, inputs: HostInputs) -> None:
        assert isinstance(network, HostedCorrector)
        estimator, (crops, originals, poses, boxes) = network.estimator, _read(inputs)
        size = tuple(estimator.input_size)
        shapes = {"crops": (crops, (3, *size)), "poses": (poses, (17, 3))}
        shapes |= {} if originals is None else {"original crops": (originals, (3, *size))}
        shapes |= {} if boxes is None else {"boxes": (boxes, (4,))}
        for name, (sequence, wanted) in shapes.items():
            if tuple(sequence.shape[1:]) != wanted:
                found, needed = (", ".join(map(str, shape)) for shape in (sequence.shape[1:], wanted))
                raise DataError(
                    f"{name} are [T, {found}]",
                    where="data_cfg.data_in_use",
                    how=f"{self.name} reads {_INPUTS}; with this estimator {name} are [T, {needed}]",
                )
        points = poses[_known(poses, self.settings.min_score)][:, :2]
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

    def run(self, network: nn.Module, inputs: HostInputs, *, training: bool) -> HostOutput:
        assert isinstance(network, HostedCorrector)
        crops, originals, poses, boxes = _read(inputs)
        if not training:
            lengths = sequence_lengths(inputs.sequences[0], inputs.lengths, where=self.name)
            results = {"predictions": network.decoded(crops), "targets": poses}
            results |= {} if boxes is None else {"boxes": boxes}
            limit = self.settings.test_frames
            return HostOutput(
                {}, {name: pad_sequences(each.float(), lengths, limit) for name, each in results.items()}, {}
            )
        network.anneal(inputs.trained_share)
        keypoints, heatmaps, corrected = network.found(crops)
        weights = _known(poses, self.settings.min_score).to(keypoints.dtype)
        targets = poses[..., :2]
        fed: dict[str, Any] = {
            "coordinates": {"coordinates": keypoints[..., :2], "targets": targets, "weights": weights}
        }
        terms = network.terms(self.settings, heatmaps, targets, weights, corrected, originals)
        fed |= {name: weight * value for name, (weight, value) in terms.items()}
        images = {"degraded": crops[:_SHOWN], "corrected": corrected[:_SHOWN].detach().clamp(0, 1)}
        return HostOutput(fed, {}, images)


def _read(inputs: HostInputs) -> tuple[Tensor, Tensor | None, Tensor, Tensor | None]:
    """Crops [N, 3, H, W], original ones, poses [N, 17, 3] and boxes [N, 4] of a batch's frames, packed or not."""
    crops, second = inputs.sequence(0, "degraded crops"), inputs.sequence(1, "target poses")
    originals = second.flatten(0, 1) if second.ndim == crops.ndim else None  # poses have an axis less
    place = 1 if originals is None else 2
    poses = inputs.sequence(place, "target poses").flatten(0, 1)
    boxes = inputs.sequence(place + 1, "boxes").flatten(0, 1) if len(inputs.sequences) > place + 1 else None
    return crops.flatten(0, 1), originals, poses, boxes


def _known(poses: Tensor, min_score: float) -> Tensor:
    """Which joints of poses [..., 17, 3] count: [..., 17]."""
    return (poses[..., 2] > 0) & (poses[..., 2] >= min_score)
