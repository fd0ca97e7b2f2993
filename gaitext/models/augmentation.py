"""Random changes of whole sequences, applied where heatmaps, poses and lengths are together.

Not a transform of a YAML's list: the toolboxes run those on each input alone, and on several
sequences as one where sampling is ``all`` or ``unfixed`` (spec §5), so a coin tossed there can
neither agree between heatmaps and poses nor be one per sequence.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gaitext import geometry
from gaitext.models.packing import per_frame
from gaitext.skeleton import joint_mirror

__all__ = ["draw", "mirror_keypoints", "mirror_maps", "mirror_matrices", "reverse_order"]


def draw(probability: float, lengths: Sequence[int], device: torch.device) -> Tensor:
    """One coin per sequence, repeated for its frames: bool [N]."""
    coins = torch.rand(len(lengths), device=device) < probability
    return per_frame(coins, lengths)


def mirror_maps(maps: Tensor, chosen: Tensor, permutation: Sequence[int]) -> Tensor:
    """Mirror the chosen frames of [N, C, H, W] left to right and permute their channels."""
    order = torch.tensor(list(permutation), device=maps.device)
    return torch.where(chosen[:, None, None, None], maps[:, order].flip(-1), maps)


def mirror_keypoints(keypoints: Tensor, chosen: Tensor, width: int) -> Tensor:
    """Mirror keypoints [N, 17, 3] (x, y, score) in a map ``width`` pixels wide, swapping left and right."""
    mirrored = keypoints[:, list(joint_mirror())].clone()
    mirrored[..., 0] = width - 1 - mirrored[..., 0]
    return torch.where(chosen[:, None, None], mirrored, keypoints)


def mirror_matrices(matrices: Tensor, chosen: Tensor, width: int, anchor: tuple[float, float]) -> Tensor:
    """Alignment matrices [N, 2, 3] of the mirrored frames: the lean changes sign, the neck its side.

    The identity, which marks a frame that cannot be aligned, stays the identity.
    """
    target = matrices.new_tensor(anchor)
    neck = geometry.apply(geometry.invert(matrices), target.expand(len(matrices), 1, 2))[:, 0]
    neck = torch.stack((width - 1 - neck[:, 0], neck[:, 1]), -1)
    # Turn the other way about the neck, which lands on the anchor.
    turned = matrices * matrices.new_tensor([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0]])
    shift = target - geometry.apply(turned, neck[:, None])[:, 0]
    mirrored = torch.cat((turned[..., :2], shift[..., None]), -1)
    fixed = (matrices == geometry.identity(matrices[:, 0, 0])).flatten(1).all(1)
    return torch.where((chosen & ~fixed)[:, None, None], mirrored, matrices)


def reverse_order(lengths: Sequence[int], chosen: Sequence[bool], device: torch.device) -> Tensor:
    """Frame indices [N] that run the chosen sequences backwards: ``reversed = frames[order]``."""
    pieces, begin = [], 0
    for length, backwards in zip(lengths, chosen):
        piece = torch.arange(begin, begin + length, device=device)
        pieces.append(piece.flip(0) if backwards else piece)
        begin += length
    return torch.cat(pieces)
