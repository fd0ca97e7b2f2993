"""From what a host hands over to checked, augmented, normalised frames.

Augmentation stands here, where heatmaps, poses and lengths are together, and not in a YAML's list of transforms:
the toolboxes run those on each input alone, and on several sequences as one where sampling is ``all`` or
``unfixed`` (docs/toolbox-contract.md). A coin tossed there could neither agree between heatmaps and poses nor be
one per sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gaitext import geometry
from gaitext.errors import ShapeError
from gaitext.models.gaitheat_settings import GaitHeatSettings
from gaitext.models.packing import flatten_frames, per_frame, sequence_extremes, sequence_lengths
from gaitext.models.pgha import precise
from gaitext.skeleton import joint_mirror, resolve_partition


@dataclass(frozen=True)
class Frames:
    """The frames of all sequences, one after another, with what their alignment reads.

    Attributes:
        heatmaps: [N, V, H, W], or [N, K, H, W] merged offline.
        keypoints: [N, 17, 3] in heatmap pixels, if they are stored.
        matrices: [N, 2, 3], if they are given.
    """

    heatmaps: Tensor
    keypoints: Tensor | None = None
    matrices: Tensor | None = None

    def __getitem__(self, index: slice | Tensor) -> Frames:
        keypoints = None if self.keypoints is None else self.keypoints[index]
        matrices = None if self.matrices is None else self.matrices[index]
        return Frames(self.heatmaps[index], keypoints, matrices)


def read_frames(
    settings: GaitHeatSettings,
    heatmaps: Tensor,
    seqL: Tensor | Sequence[int] | None,
    *,
    poses: Tensor | None,
    crops: Tensor | None,
    matrices: Tensor | None,
) -> tuple[Frames, Sequence[int]]:
    """Check :class:`~gaitext.models.GaitHeat`'s inputs and lay their sequences one after another.

    Returns:
        The frames in float32, and the sequences' lengths.

    Raises:
        ShapeError: naming the input, its shape and the shape that was expected.
    """
    offline = settings.alignment.merge == "offline"
    channels = len(resolve_partition(settings.partition, settings.joints)) if offline else settings.joints
    _check("heatmaps", heatmaps, (channels, *settings.map_size), heatmaps)
    lengths = sequence_lengths(heatmaps, seqL, where="GaitHeat")
    keypoints = aligning = None
    if settings.alignment.needs == "poses":
        keypoints = _flat("poses", poses, (17, 3), heatmaps)
        if settings.alignment.pose_pixels == "frame":
            boxes = _flat("crops", crops, (4,), heatmaps)
            to_map = geometry.crop_matrices(precise(boxes), *settings.map_size)
            # A frame's pixels are many: in float32 places would be lost.
            keypoints = torch.cat((geometry.apply(to_map, keypoints[..., :2]), keypoints[..., 2:]), -1)
    elif settings.alignment.needs == "matrices":
        aligning = _flat("matrices", matrices, (2, 3), heatmaps)
    return Frames(flatten_frames(heatmaps).float(), keypoints, aligning), lengths


def _check(name: str, value: Tensor, tail: tuple[int, ...], heatmaps: Tensor) -> None:
    if value.ndim == 2 + len(tail) and value.shape[2:] == tail and value.shape[:2] == heatmaps.shape[:2]:
        return
    head = "n, T" if name == "heatmaps" else ", ".join(map(str, heatmaps.shape[:2]))
    raise ShapeError(
        f"{name} have shape {tuple(value.shape)}",
        where="GaitHeat",
        how=f"[{head}, {', '.join(map(str, tail))}] was expected: check the data, model_cfg.joints, "
        "model_cfg.map_size and model_cfg.alignment.merge",
    )


def _flat(name: str, value: Tensor | None, tail: tuple[int, ...], heatmaps: Tensor) -> Tensor:
    if value is None:
        raise ShapeError(
            f"{name} are missing", where="GaitHeat", how="alignment.keypoints and alignment.pose_pixels ask for them"
        )
    _check(name, value, tail, heatmaps)
    return flatten_frames(value).float()


def augment(frames: Frames, lengths: Sequence[int], settings: GaitHeatSettings) -> Frames:
    """Mirror and reverse whole sequences at random, all inputs of a sequence alike."""
    maps, keypoints, matrices = frames.heatmaps, frames.keypoints, frames.matrices
    if settings.augmentation.mirror > 0:
        chosen = draw(settings.augmentation.mirror, lengths, maps.device)
        width = settings.map_size[1]
        maps = mirror_maps(maps, chosen, settings.mirror_order)
        if keypoints is not None:
            keypoints = mirror_keypoints(keypoints, chosen, width)
        if matrices is not None:
            matrices = mirror_matrices(matrices, chosen, width, settings.alignment.anchor)
    frames = Frames(maps, keypoints, matrices)
    if settings.augmentation.reverse > 0:
        coins = (torch.rand(len(lengths)) < settings.augmentation.reverse).tolist()
        frames = frames[reverse_order(lengths, coins, maps.device)]
    return frames


def normalise_sequences(frames: Tensor, lengths: Sequence[int]) -> Tensor:
    """Min–max to [0, 1] with one minimum and one maximum per sequence (docs/gaitheat.md).

    Args:
        frames: [N, V, H, W], the frames of all sequences one after another.
        lengths: frames of each sequence.

    Returns:
        [N, V, H, W]; a constant sequence becomes all zero.
    """
    low, high = sequence_extremes(frames, lengths)
    span = (high - low).clamp_min(torch.finfo(frames.dtype).tiny)
    low, span = (per_frame(v, lengths)[:, None, None, None] for v in (low, span))
    return (frames - low) / span


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
