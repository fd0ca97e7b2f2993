"""What a corrector is trained by: what a frozen estimator then finds (artifact correction, Fig. 1, Eq. 1)."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gaitext.errors import ConfigError, DataError, ShapeError
from gaitext.losses import CoordinateL1Loss
from gaitext.pose import PoseEstimator, soft_argmax
from gaitext.restoration.terms import (
    ObjectiveSettings,
    TermSettings,
    heatmap_distance,
    heatmap_mse,
    missing_mass,
    pixel_distance,
)

#: Whether the corrector sees the estimator's input (192×256), or the window at the video's own resolution.
CorrectAt = Literal["input", "native"]


class CorrectionOutput(NamedTuple):
    """What :class:`CorrectionObjective` returns.

    Attributes:
        losses: ``loss``, the weighted sum, with a gradient; and, detached and unweighted, each term that counts:
            ``coordinates``, ``heatmaps``, ``mass``, ``distillation``, ``pixels``; and ``l2``, the joints' mean
            distance in input pixels. Empty without targets and originals.
        keypoints: [N, 17, 3] by soft-argmax, x and y in pixels of the estimator's input, and the peak's height.
        heatmaps: [N, 17, h, w], the estimator's.
        corrected: [N, 3, *input_size], what the estimator has seen; not clamped to 0..1.
    """

    losses: dict[str, Tensor]
    keypoints: Tensor
    heatmaps: Tensor
    corrected: Tensor


class CorrectionObjective(nn.Module):
    """Correct, estimate, decode, compare: L_AC = Σ |p̂ − p| (Eq. 1), and other terms if wanted.

    All coordinates are pixels of the estimator's input (192×256), integers being pixel centres.
    The estimator is no submodule: ``state_dict()`` holds the corrector's weights (under ``corrector.``)
    and nothing else, and neither ``train()`` nor an optimiser gets hold of the estimator.

    Args:
        corrector: called with (images, ``quality``), keeping their shape, such as
            :class:`~gaitext.models.FBCNN`; None corrects nothing (the baseline).
        estimator: frozen; gradients must flow through it.
        correct_at: ``input``: images are brought to the estimator's input first, ``native``: corrected first.
        objective: fields of :class:`~gaitext.restoration.terms.ObjectiveSettings`: the terms' weights, quality and
            temperature. By default Eq. 1 alone.

    Raises:
        ConfigError: an estimator without gradients, or a wrong field.

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
        correct_at: CorrectAt = "input",
        **objective: Any,
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
        self.settings = ObjectiveSettings.parse(objective, where="objective")
        self.correct_at, self.temperature = correct_at, self.settings.temperature_at(0)
        self.coordinates = CoordinateL1Loss(self.settings.reduction)

    def anneal(self, share: float) -> None:
        """Set the temperature to what it is after this share of the training."""
        self.temperature = self.settings.temperature_at(share)

    def forward(
        self,
        images: Tensor,
        targets: Tensor | None = None,
        weights: Tensor | None = None,
        originals: Tensor | None = None,
    ) -> CorrectionOutput:
        """Correct, estimate and compare.

        Args:
            images: [N, 3, H, W] in 0..1, or uint8: degraded crops, of the estimator's input size or, with
                its shape or another, of any (see :func:`fit_to_input`).
            targets: [N, 17, 2 or more]: x and y in input pixels; what has no weight may hold anything. None
                computes no loss.
            weights: [N, 17], how much each joint counts; None counts all.
            originals: as ``images``, the same crops before anything was lost; for the terms that compare with them.

        Raises:
            ShapeError: other shapes.
            DataError: no originals, and a term needs them.
        """
        corrected = self.correct(in_unit_range(images))
        # Mixed precision is the corrector's: in bfloat16 neighbouring pixels of a peak are equal, and so is what is
        # decoded from them, to a quarter pixel.
        with torch.autocast(corrected.device.type, enabled=False):
            heatmaps = self.estimator.heatmaps(corrected.float())
        size = self.estimator.heatmap_size
        places = rescaled(soft_argmax(heatmaps, self.temperature), size, self.estimator.input_size)
        keypoints = torch.cat((places, heatmaps.detach().float().amax((-2, -1))[..., None]), -1)
        losses: dict[str, Tensor] = {}
        if targets is not None:
            targets = targets[..., :2].to(places.device, torch.float32)
            weights = None if weights is None else weights.to(places.device, torch.float32)
            distance, info = self.coordinates(places, targets, weights)
            terms = {"coordinates": (self.settings.coordinate_weight, distance)}
            terms |= self.terms(self.settings, heatmaps, targets, weights, corrected, originals)
            total = torch.stack([weight * value for weight, value in terms.values()]).sum()
            losses = {"loss": total, **{name: value.detach() for name, (_, value) in terms.items()}, "l2": info["l2"]}
        return CorrectionOutput(losses, keypoints, heatmaps, corrected)

    def terms(
        self,
        settings: TermSettings,
        heatmaps: Tensor,
        targets: Tensor,
        weights: Tensor | None,
        corrected: Tensor,
        originals: Tensor | None,
    ) -> dict[str, tuple[float, Tensor]]:
        """The terms beside Eq. 1 that count: name -> weight and value.

        Args:
            settings: the weights.
            heatmaps: [N, 17, h, w] of the corrected images.
            targets, weights: [N, 17, 2] in input pixels, [N, 17].
            corrected, originals: as the estimator sees the one, and as :meth:`forward` is given the others.

        Raises:
            DataError: no originals, and a term needs them.
        """
        counted: dict[str, tuple[float, Tensor]] = {}
        there = rescaled(targets, self.estimator.input_size, self.estimator.heatmap_size)
        if settings.heatmap_weight:
            counted["heatmaps"] = settings.heatmap_weight, heatmap_mse(heatmaps, there, weights)
        if settings.mass_weight:
            sharp = {"temperature": self.temperature, "radius": settings.mass_radius}
            counted["mass"] = settings.mass_weight, missing_mass(heatmaps, there, weights, **sharp)
        if not settings.needs_originals:
            return counted
        if originals is None:
            raise DataError(
                "there are no original crops to compare with",
                where="distillation_weight, pixel_weight",
                how="give the original crops beside the degraded ones, or set both to 0",
            )
        shown = fit_to_input(in_unit_range(originals), self.estimator.input_size)
        if settings.distillation_weight:
            with torch.no_grad(), torch.autocast(shown.device.type, enabled=False):
                wanted = self.estimator.heatmaps(shown.float())
            counted["distillation"] = settings.distillation_weight, heatmap_distance(heatmaps, wanted)
        if settings.pixel_weight:
            counted["pixels"] = settings.pixel_weight, pixel_distance(corrected, shown)
        return counted

    def correct(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] in 0..1 as the estimator sees them: corrected, [N, 3, *input_size]."""
        size = self.estimator.input_size
        if self.corrector is None:
            return fit_to_input(images, size)
        if self.correct_at == "input":
            images = fit_to_input(images, size)
        # On a CPU a training step takes less than half as long with channels last.
        ready = images.contiguous(memory_format=torch.channels_last)
        restored: Tensor = self.corrector(ready, self.settings.quality)
        return restored if self.correct_at == "input" else fit_to_input(restored, size)


def in_unit_range(images: Tensor) -> Tensor:
    """Images in 0..1: bytes are divided by 255, floats taken as they are."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


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
