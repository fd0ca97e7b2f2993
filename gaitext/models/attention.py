"""The learned variant of alignment that the GaitHeat summary describes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["KeypointAttention"]


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
