"""Pose-guided heatmap alignment (GaitHeat §3.2, Eqs. 1–4), and the learned variant that its summary describes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gaitext import geometry
from gaitext.models.gaitheat_settings import AlignmentSettings
from gaitext.models.packing import exporting


def precise(x: Tensor) -> Tensor:
    """As positions are computed: in float64 on a CPU, in float32 elsewhere, where float64 is slow or missing.

    A position in float32 is off by some 1e-5 pixels. That alone makes ReLUs and maxima further on take other
    elements than they would, thirty times as often as all other rounding, and gradients are off by up to 1 %.
    """
    return x.to(torch.float64 if x.device.type == "cpu" else torch.float32)


def heatmap_peaks(heatmaps: Tensor) -> Tensor:
    """Position and height of each channel's maximum.

    Args:
        heatmaps: [N, V, H, W].

    Returns:
        [N, V, 3]: x, y in pixels and the peak's height; the height is −inf in a constant
        (all-zero) channel, whose argmax means nothing.
    """
    flat = heatmaps.flatten(2)
    score, index = flat.max(-1)
    width = heatmaps.shape[-1]
    x, y = index % width, torch.div(index, width, rounding_mode="floor")
    score = score.masked_fill(score <= flat.amin(-1), float("-inf"))
    return torch.stack((x.to(score.dtype), y.to(score.dtype), score), -1)


def warp(maps: Tensor, inverse: Tensor, padding: str) -> Tensor:
    """Sample maps bilinearly where the inverse map says each output pixel comes from.

    Args:
        maps: [N, C, H, W].
        inverse: [N, 2, 3], output pixels to input pixels.
        padding: ``border`` or ``zeros``.

    Returns:
        [N, C, H, W], :func:`precise`.
    """
    theta = geometry.normalised(precise(inverse), *maps.shape[-2:])
    # Half precision cannot tell neighbouring pixels apart in a grid; the release tried.
    with torch.autocast(maps.device.type, enabled=False):
        grid = F.affine_grid(theta, list(maps.shape), align_corners=False)
        return F.grid_sample(precise(maps), grid, mode="bilinear", padding_mode=padding, align_corners=False)


class Alignment:
    """How the frames of a batch are to be moved: one forward map [N, 2, 3] for each, of which the chosen ones count.

    Applying it to other maps of the same frames moves them alike. Only the chosen frames are worked on; where
    ``torch.export`` follows, which needs to know how many there are, all are, and the others come back as they were.
    """

    def __init__(self, matrices: Tensor, chosen: Tensor, padding: str) -> None:
        self.mask, self.padding = chosen, padding
        self.chosen: Tensor | None = None
        if exporting():
            # Of a spine that was not found the matrix is no number.
            self.forward_maps = torch.where(chosen[:, None, None], matrices, geometry.identity(matrices[:, 0, 0]))
        else:
            self.chosen = chosen.nonzero().squeeze(1)
            self.forward_maps = matrices[self.chosen]

    def __call__(self, maps: Tensor) -> Tensor:
        """Align maps [N, C, H, W]; frames that are not chosen are returned as they are."""
        return self._move(maps, lambda picked: warp(picked, geometry.invert(self.forward_maps), self.padding))

    def points(self, keypoints: Tensor) -> Tensor:
        """Move keypoints [N, V, 3] (x, y, score) as the maps are moved."""
        return self._move(
            keypoints,
            lambda picked: torch.cat((geometry.apply(self.forward_maps, picked[..., :2]), picked[..., 2:]), -1),
        )

    def _move(self, values: Tensor, move: Callable[[Tensor], Tensor]) -> Tensor:
        if self.chosen is None:
            mask = self.mask.view(-1, *[1] * (values.ndim - 1))
            return torch.where(mask, move(values).to(values.dtype), values)
        if len(self.chosen) == 0:
            return values
        return values.index_copy(0, self.chosen, move(values[self.chosen]).to(values.dtype))


class PoseGuidedAlignment(nn.Module):
    """Decides frame by frame whether and how to align (parameter-free).

    A frame is aligned when its spine leans by |θ| ≥ γ; in training also, with the settings'
    probability, when it leans less. In evaluation it is deterministic (the release leaves the
    coin toss on). Rotation and translation are composed into one matrix and sampled once, where
    the release samples twice.
    """

    def __init__(self, settings: AlignmentSettings) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, *, keypoints: Tensor | None = None, matrices: Tensor | None = None) -> Alignment:
        """Choose the frames to align.

        Args:
            keypoints: [N, 17, 3] in heatmap pixels (x, y, score); or
            matrices: [N, 2, 3], forward maps made by ``PoseToAlignment``; the identity marks a
                frame that cannot be aligned.
        """
        if matrices is None:
            assert keypoints is not None
            neck, hip, valid = geometry.spine(precise(keypoints), self.settings.min_score)
            matrices = geometry.alignment_matrices(neck, hip, self.settings.anchor)
        else:
            matrices = precise(matrices)
            valid = (matrices != geometry.identity(matrices[..., 0, 0])).flatten(1).any(1)
        chosen = geometry.lean_angle(matrices).abs() >= self.settings.threshold
        if self.training and self.settings.probability > 0:
            chosen = chosen | (torch.rand(chosen.shape, device=chosen.device) < self.settings.probability)
        return Alignment(matrices, chosen & valid, self.settings.padding)


class KeypointAttention(nn.Module):
    """Spatial attention per channel, conditioned on the channel's keypoint, and a residual.

    Each aligned channel is seen beside two maps that say how far every pixel lies from the
    channel's keypoint (x and y, in map widths and heights) and one that holds its score; a
    light convolution shared by all channels turns the four into a mask in 0..1. The result is
    mask · aligned + r · unaligned, with one learned r per channel that starts at zero, so that
    at the start nothing of the lean comes back. The summary (papers/gaitheat_summary.txt,
    design 3) gives the idea and no sizes; these are gaitext's.
    """

    def __init__(self, joints: int = 17, hidden: int = 8) -> None:
        super().__init__()
        self.mask = nn.Sequential(
            nn.Conv2d(4, hidden, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(hidden, 1, 3, padding=1), nn.Sigmoid()
        )
        self.residual = nn.Parameter(torch.zeros(joints))

    def forward(self, aligned: Tensor, unaligned: Tensor, keypoints: Tensor) -> Tensor:
        """Weigh the aligned maps.

        Args:
            aligned: [N, V, H, W].
            unaligned: [N, V, H, W].
            keypoints: [N, V, 3] in aligned pixels (x, y, score); an untrusted joint's score may
                be −inf.
        """
        batch, joints, height, width = aligned.shape
        x = torch.arange(width, device=aligned.device) / width
        y = torch.arange(height, device=aligned.device) / height
        dx = (x - keypoints[..., 0:1] / width)[..., None, :].expand(-1, -1, height, -1)
        dy = (y - keypoints[..., 1:2] / height)[..., :, None].expand(-1, -1, -1, width)
        score = keypoints[..., 2].clamp(0, 1)[..., None, None].expand_as(aligned)
        seen = torch.stack((aligned, dx, dy, score), 2).flatten(0, 1)
        mask = self.mask(seen).view(batch, joints, height, width)
        return mask * aligned + self.residual[:, None, None] * unaligned
