"""What the hosts train as ``ArtifactCorrector``: its settings, and the corrector before its frozen estimator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from gaitext import checkpoints
from gaitext.config import Settings
from gaitext.errors import DataError
from gaitext.models.fbcnn import FBCNN, FBCNNSettings
from gaitext.pose import TEMPERATURE, TorchEstimator, decode_heatmaps, load_estimator
from gaitext.restoration.objective import CorrectionObjective, rescaled

__all__ = ["ArtifactCorrectorSettings", "HostedCorrector", "pad_sequences"]


class ArtifactCorrectorSettings(Settings):
    """``model_cfg`` of ``ArtifactCorrector``.

    Attributes:
        corrector: FBCNN's sizes; by default the published ones.
        checkpoint: weights that training begins with: the released ``fbcnn_color.pth``, or a corrector's.
            None: those that change nothing. Not read where training goes on, nor in a test.
        estimator: specification, as for ``gaitext extract``; gradients must flow through it.
        quality: 1 − QF/100, how strongly to correct.
        temperature: of :func:`~gaitext.pose.soft_argmax`, in training.
        heatmap_weight: of the mean squared difference from Gaussian heatmaps, beside the coordinates' loss;
            0 leaves it out.
        min_score: joints of target poses with a lower score, or 0, do not count.
        frames_per_step: so many frames go through the networks at a time. Of a larger training batch the parts
            are computed a second time for their gradients: memory is bounded, at a third more work. No number
            changes by it.
        test_frames: frames that a test sequence may have: results are padded to it, as the toolboxes concatenate
            those of all sequences.
    """

    corrector: FBCNNSettings = FBCNNSettings()
    checkpoint: str | None = None
    estimator: str = "bundled"
    quality: float = Field(0.5, ge=0, le=1)
    temperature: float = Field(TEMPERATURE, gt=0)
    heatmap_weight: float = Field(0.0, ge=0)
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
        super().__init__(corrector, estimator, quality=settings.quality, temperature=settings.temperature)
        self.settings = settings

    def begin(self) -> None:
        """Give the corrector the weights that training begins with."""
        assert isinstance(self.corrector, FBCNN)
        if self.settings.checkpoint is None:
            self.corrector.start_as_identity(self.settings.quality)
        else:
            checkpoints.load(self.corrector, self.settings.checkpoint)

    def found(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Correct and estimate, with a graph where gradients are enabled.

        Args:
            images: [N, 3, *input_size] in 0..1.

        Returns:
            Keypoints by soft-argmax [N, 17, 3] in pixels of the images, heatmaps [N, 17, h, w], and the
            corrected images.
        """
        if isinstance(self.estimator, TorchEstimator):
            self.estimator.to(images.device)
        limit = self.settings.frames_per_step
        if len(images) <= limit:
            return self._part(images)
        parts = [checkpoint(self._part, part, use_reentrant=False) for part in images.split(limit)]
        keypoints, heatmaps, corrected = (torch.cat(each) for each in zip(*parts))
        return keypoints, heatmaps, corrected

    @torch.no_grad()
    def decoded(self, images: Tensor) -> Tensor:
        """Poses [N, 17, 3] in pixels of the images, decoded as ``gaitext extract`` does."""
        if isinstance(self.estimator, TorchEstimator):
            self.estimator.to(images.device)
        parts = images.split(self.settings.frames_per_step)
        heatmaps = [self.estimator.heatmaps(self.correct(part)).float().cpu() for part in parts]
        poses = torch.from_numpy(decode_heatmaps(torch.cat(heatmaps).numpy()))
        places = rescaled(poses[..., :2], self.estimator.heatmap_size, self.estimator.input_size)
        missing = poses[..., 2:] <= 0
        return torch.cat((places.masked_fill(missing, 0), poses[..., 2:]), -1).to(images.device)

    def _part(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
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
