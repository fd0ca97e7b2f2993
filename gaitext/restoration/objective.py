"""What a corrector is trained by: the poses that a frozen estimator then finds (artifact correction, Fig. 1, Eq. 1)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gaitext.errors import ConfigError, ShapeError
from gaitext.losses import CoordinateL1Loss
from gaitext.pose import TEMPERATURE, PoseEstimator, soft_argmax

#: Whether the corrector sees the estimator's input (192×256), or the window at the video's own resolution.
CorrectAt = Literal["input", "native"]
#: Of the heatmap term's targets, heatmap pixels: HRNet's for 256×192.
SIGMA = 2.0


class CorrectionOutput(NamedTuple):
    """What :class:`CorrectionObjective` returns.

    Attributes:
        losses: ``loss``, the weighted sum, with a gradient; and, detached, ``coordinates`` and, where it
            counts, ``heatmaps``, unweighted, and ``l2``, the joints' mean distance in input pixels. Empty
            without targets.
        keypoints: [N, 17, 3] by soft-argmax, x and y in pixels of the estimator's input, and the peak's height.
        heatmaps: [N, 17, h, w], the estimator's.
        corrected: [N, 3, *input_size], what the estimator has seen; not clamped to 0..1.
    """

    losses: dict[str, Tensor]
    keypoints: Tensor
    heatmaps: Tensor
    corrected: Tensor


class CorrectionObjective(nn.Module):
    """Correct, estimate, decode, compare: L_AC = Σ |p̂ − p| (Eq. 1), and a term of heatmaps if wanted.

    All coordinates are pixels of the estimator's input (192×256), integers being pixel centres.
    The estimator is no submodule: ``state_dict()`` holds the corrector's weights (under ``corrector.``)
    and nothing else, and neither ``train()`` nor an optimiser gets hold of the estimator.

    Args:
        corrector: called with (images, ``quality``), keeping their shape, such as
            :class:`~gaitext.models.FBCNN`; None corrects nothing (the baseline).
        estimator: frozen; gradients must flow through it.
        quality: 1 − QF/100 for the corrector; the paper's 0.5.
        temperature: of :func:`~gaitext.pose.decoding`.
        coordinate_weight: of the sum of coordinates' distances.
        heatmap_weight: of the mean squared difference from Gaussian heatmaps; 0 leaves it out.
        reduction: of :class:`~gaitext.losses.CoordinateL1Loss`; ``sum`` is the paper's.
        correct_at: ``input``: images are brought to the estimator's input first, ``native``: corrected first.

    Raises:
        ConfigError: an estimator without gradients.

    >>> from gaitext.models import FBCNN
    >>> from gaitext.pose import load_estimator
    >>> corrector = FBCNN(channels=(4, 4), blocks=1, embedding_size=4).freeze_all_but_reconstruction()
    >>> objective = CorrectionObjective(corrector, load_estimator("movenet:lightning"))
    >>> output = objective(torch.rand(2, 3, 256, 192), torch.full((2, 17, 2), 90.0))
    >>> output.losses["loss"].backward()
    >>> output.keypoints.shape
    torch.Size([2, 17, 3])
    """

    def __init__(
        self,
        corrector: nn.Module | None,
        estimator: PoseEstimator,
        *,
        quality: float = 0.5,
        temperature: float = TEMPERATURE,
        coordinate_weight: float = 1.0,
        heatmap_weight: float = 0.0,
        reduction: Literal["sum", "frame", "mean"] = "sum",
        correct_at: CorrectAt = "input",
    ) -> None:
        super().__init__()
        if corrector is not None and not estimator.differentiable:
            raise ConfigError(
                "no gradients flow through it",
                where=f"estimator {estimator.settings.get('estimator', type(estimator).__name__)}",
                how="train with one that is a torch network: mmpose:…, vitpose:… or movenet",
            )
        if correct_at not in ("input", "native"):
            raise ConfigError(f"is {correct_at!r}", where="correct_at", how="choose input or native")
        self.corrector = corrector
        self.estimator = estimator
        self.quality, self.temperature, self.correct_at = quality, temperature, correct_at
        self.coordinate_weight, self.heatmap_weight = coordinate_weight, heatmap_weight
        self.coordinates = CoordinateL1Loss(reduction)

    def forward(self, images: Tensor, targets: Tensor | None = None, weights: Tensor | None = None) -> CorrectionOutput:
        """Correct, estimate and compare.

        Args:
            images: [N, 3, H, W] in 0..1, or uint8: degraded crops, of the estimator's input size or, with
                its shape or another, of any (see :func:`fit_to_input`).
            targets: [N, 17, 2 or more]: x and y in input pixels; what has no weight may hold anything. None
                computes no loss.
            weights: [N, 17], how much each joint counts; None counts all.

        Raises:
            ShapeError: other shapes.
        """
        if images.dtype == torch.uint8:
            images = images.float() / 255
        corrected = self.correct(images)
        # Mixed precision is the corrector's: in bfloat16 neighbouring pixels of a peak are equal, and so is what is
        # decoded from them, to a quarter pixel.
        with torch.autocast(corrected.device.type, enabled=False):
            heatmaps = self.estimator.heatmaps(corrected.float())
        size = self.estimator.heatmap_size
        places = rescaled(soft_argmax(heatmaps, self.temperature), size, self.estimator.input_size)
        keypoints = torch.cat((places, heatmaps.detach().float().amax((-2, -1))[..., None]), -1)
        losses = {} if targets is None else self._compare(places, heatmaps, targets[..., :2], weights)
        return CorrectionOutput(losses, keypoints, heatmaps, corrected)

    def correct(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] in 0..1 as the estimator sees them: corrected, [N, 3, *input_size]."""
        size = self.estimator.input_size
        if self.corrector is None:
            return fit_to_input(images, size)
        if self.correct_at == "input":
            images = fit_to_input(images, size)
        # On a CPU a training step takes less than half as long with channels last.
        ready = images.contiguous(memory_format=torch.channels_last)
        restored: Tensor = self.corrector(ready, self.quality)
        return restored if self.correct_at == "input" else fit_to_input(restored, size)

    def _compare(self, places: Tensor, heatmaps: Tensor, targets: Tensor, weights: Tensor | None) -> dict[str, Tensor]:
        targets = targets.to(places.device, torch.float32)
        weights = None if weights is None else weights.to(places.device, torch.float32)
        distance, info = self.coordinates(places, targets, weights)
        total = self.coordinate_weight * distance
        losses = {"coordinates": info["loss"], "l2": info["l2"]}
        if self.heatmap_weight:
            there = rescaled(targets, self.estimator.input_size, self.estimator.heatmap_size)
            apart = heatmap_mse(heatmaps, there, weights)
            total = total + self.heatmap_weight * apart
            losses["heatmaps"] = apart.detach()
        return {"loss": total, **losses}


def heatmap_mse(heatmaps: Tensor, targets: Tensor, weights: Tensor | None = None, sigma: float = SIGMA) -> Tensor:
    """Mean squared difference from Gaussian peaks, as top-down estimators are trained by.

    Args:
        heatmaps: [N, 17, H, W].
        targets: [N, 17, 2], heatmap pixels; what has no weight may hold anything.
        weights: [N, 17]; None counts all joints.
        sigma: of the peaks, heatmap pixels.
    """
    known = torch.ones_like(targets[..., 0]) if weights is None else weights.float()
    places = torch.where(known[..., None] > 0, targets.float(), torch.zeros_like(targets, dtype=torch.float32))
    wanted = gaussian_heatmaps(places, (heatmaps.shape[-2], heatmaps.shape[-1]), sigma)
    return (known[..., None, None] * (heatmaps.float() - wanted).square()).mean()


def gaussian_heatmaps(points: Tensor, size: tuple[int, int], sigma: float = SIGMA) -> Tensor:
    """Gaussian peaks of height 1 at points [N, V, 2] (x, y in heatmap pixels): [N, V, *size]."""
    across, down = (
        torch.exp(-0.5 * ((torch.arange(length, device=points.device) - points[..., axis, None]) / sigma) ** 2)
        for axis, length in ((0, size[1]), (1, size[0]))
    )
    return down[..., :, None] * across[..., None, :]


def rescaled(points: Tensor, source: tuple[int, int], target: tuple[int, int]) -> Tensor:
    """Points [..., 2] in pixels of an image of (height, width) ``source`` as those of the same image at ``target``.

    Pixel centres are whole numbers and edges coincide: x' = (x + ½) · W'/W − ½.

    >>> rescaled(torch.tensor([0.0, 63.0]), (64, 48), (256, 192))
    tensor([  1.5000, 253.5000])
    """
    ratio = points.new_tensor((target[1] / source[1], target[0] / source[0]))
    return (points + 0.5) * ratio - 0.5


def padding(height: int, width: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """How an image grows to the shape of ``size`` (height, width): left, top, and its width and height then."""
    wide, high = max(width, round(height * size[1] / size[0])), max(height, round(width * size[0] / size[1]))
    return (wide - width) // 2, (high - height) // 2, wide, high


def fit_to_input(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring images to the estimator's input: black at both sides up to its shape, then resized, antialiased.

    A window of 400×600 (w×h) is 450×600 then, which is 3:4 (our reading of §III-A). Images that have the size
    are returned as they are.

    Args:
        images: [N, 3, H, W].
        size: height and width wanted.

    Raises:
        ShapeError: other images.
    """
    if images.ndim != 4 or 0 in images.shape[-2:]:
        raise ShapeError(f"images have shape {list(images.shape)}", where="fit_to_input", how="give [N, 3, H, W]")
    height, width = images.shape[-2:]
    left, top, wide, high = padding(height, width, size)
    padded = F.pad(images, (left, wide - width - left, top, high - height - top))
    if tuple(padded.shape[-2:]) == tuple(size):
        return padded
    # In float32: bfloat16 has no antialiased resizing everywhere.
    resized = F.interpolate(padded.float(), size, mode="bilinear", antialias=True, align_corners=False)
    return resized.to(images.dtype)
