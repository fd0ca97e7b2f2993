"""What a corrector's heatmaps and pictures are compared with: the terms of its loss, and how much each counts."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from gaitext.config import Settings
from gaitext.errors import ShapeError
from gaitext.pose import TEMPERATURE

Weight = Annotated[float, Field(ge=0)]

#: Of the heatmap term's targets, heatmap pixels: HRNet's for 256×192.
SIGMA = 2.0


class TermSettings(Settings):
    """The terms beside Eq. 1, by weight; 0 leaves a term out, as published.

    Attributes:
        quality: 1 − QF/100, how strongly to correct; the paper's is 0.5.
        temperature: of the softmax over a heatmap: as a share of its peak in :func:`~gaitext.pose.soft_argmax`, as it
            is in the term of mass. At the end of training, where it falls.
        temperature_start: at its beginning; it falls geometrically. None: it does not change. At 0.05 a peak far from
            the true joint leaves no gradient there; at 0.2 it does, but what is decoded lies nearer the middle.
        heatmap_weight: of :func:`heatmap_mse`, the squared difference from Gaussian heatmaps.
        mass_weight: of :func:`missing_mass`, the negative log of the softmax's mass near the true joint.
        mass_radius: how near, heatmap pixels.
        distillation_weight: of :func:`heatmap_distance` from the frozen estimator's own heatmaps of the original crop,
            which needs no true joints.
        pixel_weight: of :func:`pixel_distance` from the original crop, which keeps colours.
    """

    quality: float = Field(0.5, ge=0, le=1)
    temperature: float = Field(TEMPERATURE, gt=0)
    temperature_start: float | None = Field(None, gt=0)
    heatmap_weight: Weight = 0.0
    mass_weight: Weight = 0.0
    mass_radius: float = Field(2.0, ge=0.75)
    distillation_weight: Weight = 0.0
    pixel_weight: Weight = 0.0

    @property
    def needs_originals(self) -> bool:
        """Whether a term compares with the original crop."""
        return bool(self.distillation_weight or self.pixel_weight)

    def temperature_at(self, share: float) -> float:
        """The temperature after this share of the training.

        >>> round(TermSettings(temperature=0.05, temperature_start=0.2).temperature_at(0.5), 6)
        0.1
        """
        if self.temperature_start is None:
            return self.temperature
        return float(self.temperature_start ** (1 - share) * self.temperature**share)


class ObjectiveSettings(TermSettings):
    """Keywords of :class:`~gaitext.restoration.CorrectionObjective`; the paper's loss is the sum of coordinates.

    Attributes:
        coordinate_weight: of Eq. 1.
        reduction: of its distances: ``sum`` (the paper's), or ``frame``, which does not grow with the batch.
    """

    coordinate_weight: Weight = 1.0
    reduction: Literal["sum", "frame", "mean"] = "sum"

    @model_validator(mode="after")
    def _some_term(self) -> ObjectiveSettings:
        if not any(value for name, value in self if name.endswith("_weight")):
            raise ValueError("every weight is 0: nothing would be learnt")
        return self

    @property
    def needs_targets(self) -> bool:
        """Whether a term compares with true joints."""
        return bool(self.coordinate_weight or self.heatmap_weight or self.mass_weight)


def heatmap_mse(heatmaps: Tensor, targets: Tensor, weights: Tensor | None = None, sigma: float = SIGMA) -> Tensor:
    """Mean squared difference from Gaussian peaks, as top-down estimators are trained by.

    Args:
        heatmaps: [N, 17, H, W].
        targets: [N, 17, 2], heatmap pixels; what has no weight may hold anything.
        weights: [N, 17]; None counts all joints.
        sigma: of the peaks, heatmap pixels.
    """
    known, places = _known(targets, weights)
    wanted = gaussian_heatmaps(places, (heatmaps.shape[-2], heatmaps.shape[-1]), sigma)
    return (known[..., None, None] * (heatmaps.float() - wanted).square()).mean()


def missing_mass(
    heatmaps: Tensor, targets: Tensor, weights: Tensor | None = None, *, temperature: float, radius: float
) -> Tensor:
    """−log of the share of softmax(heatmap / temperature) that lies near the true joint, mean over joints.

    However far the peak is, the gradient at the true place is as large as the share that is missing there; that of a
    distance between places (Eq. 1) is the share itself, which is nothing where the peak is elsewhere. Unlike in
    decoding, the temperature is not a share of the peak: where peaks are low, gradients would grow without limit.

    Args:
        heatmaps: [N, 17, H, W], computed in float32.
        targets: [N, 17, 2], heatmap pixels; what has no weight may hold anything. A joint that no pixel is near to,
            as it lies outside the map, does not count.
        weights: [N, 17]; None counts all joints alike.
        temperature: in the heatmap's own units.
        radius: of what is near, heatmap pixels; from ¾ on there is a pixel near every place in the map.

    Returns:
        A scalar; 0 where no joint counts.
    """
    known, places = _known(targets, weights)
    height, width = heatmaps.shape[-2:]
    x, y = (torch.arange(length, device=heatmaps.device) for length in (width, height))
    apart = (x - places[..., None, :1]).square() + (y[:, None] - places[..., None, 1:]).square()
    near = (apart <= radius**2).flatten(-2)
    known = known * near.any(-1)
    logits = heatmaps.float().flatten(-2) / temperature
    # A joint that does not count: all is near, whose log is 0 and has no NaN as a gradient.
    there = torch.where(near | (known[..., None] <= 0), logits, -torch.inf).logsumexp(-1)
    missing = logits.logsumexp(-1) - there
    return (known * missing).sum() / known.sum().clamp(min=torch.finfo(torch.float32).tiny)


def heatmap_distance(heatmaps: Tensor, wanted: Tensor) -> Tensor:
    """Squared difference of heatmaps [N, 17, H, W], summed over a map's pixels, mean over joints and images.

    Raises:
        ShapeError: other shapes.
    """
    if heatmaps.shape != wanted.shape:
        raise ShapeError(f"heatmaps are {list(heatmaps.shape)} and {list(wanted.shape)}", where="heatmap_distance")
    return (heatmaps.float() - wanted.float()).square().sum((-2, -1)).mean()


def pixel_distance(corrected: Tensor, originals: Tensor) -> Tensor:
    """Mean absolute difference of pictures [N, 3, H, W] in 0..1, FBCNN's own loss.

    Raises:
        ShapeError: other shapes.
    """
    if corrected.shape != originals.shape:
        raise ShapeError(f"pictures are {list(corrected.shape)} and {list(originals.shape)}", where="pixel_distance")
    return (corrected.float() - originals.float()).abs().mean()


def gaussian_heatmaps(points: Tensor, size: tuple[int, int], sigma: float = SIGMA) -> Tensor:
    """Gaussian peaks of height 1 at points [N, V, 2] (x, y in heatmap pixels): [N, V, *size]."""
    across, down = (
        torch.exp(-0.5 * ((torch.arange(length, device=points.device) - points[..., axis, None]) / sigma) ** 2)
        for axis, length in ((0, size[1]), (1, size[0]))
    )
    return down[..., :, None] * across[..., None, :]


def _known(targets: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Weights [N, 17] in float32, and targets with zeros where there is none: NaN × 0 would still be NaN."""
    known = torch.ones_like(targets[..., 0], dtype=torch.float32) if weights is None else weights.float()
    return known, torch.where(known[..., None] > 0, targets.float(), torch.zeros_like(targets, dtype=torch.float32))
