"""GaitPT: gait recognition from poses by a pyramid of transformers (Catruna et al., FG 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gaitext.errors import ShapeError
from gaitext.models.gaitpt_blocks import Stage
from gaitext.models.gaitpt_settings import GaitPTSettings
from gaitext.models.gaitpt_windows import (
    draw_pace,
    paced_windows,
    played_length,
    random_start,
    starts,
    window_frames,
)
from gaitext.models.packing import flatten_frames, sequence_lengths
from gaitext.models.published_keys import GAITPT_KEYS
from gaitext.skeleton import coco_rows, order_mirror

__all__ = ["GaitPT"]


class GaitPT(nn.Module):
    """Four stages, each of spatial and temporal attention, and the projection of their class tokens.

    Keywords are the fields of :class:`~gaitext.models.gaitpt_settings.GaitPTSettings`; default
    construction is the published network (4.50 M parameters).

    >>> network = GaitPT(dims=(8, 8, 16, 16), depths=(1, 1, 1, 1), embedding_size=8).eval()
    >>> network(torch.rand(2, 75, 17, 3)).shape
    torch.Size([2, 8])
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self._build(GaitPTSettings.parse(settings, where="GaitPT"))

    @classmethod
    def from_settings(cls, settings: GaitPTSettings) -> GaitPT:
        """Build from settings that are already validated."""
        network = cls.__new__(cls)
        nn.Module.__init__(network)
        network._build(settings)
        return network

    def _build(self, settings: GaitPTSettings) -> None:
        self.settings = settings
        self.rows = list(coco_rows(settings.order, settings.joints))
        self.swapped = list(order_mirror(settings.order, settings.joints)) if settings.swaps else []
        inputs = (settings.channels, *settings.dims[:-1])
        sizes = zip(settings.tokens, settings.patches, inputs, settings.dims, settings.depths)
        self.stages = nn.ModuleList(
            Stage(
                *(tokens, patch, channels, size),
                depth=depth,
                heads=settings.heads,
                mlp_ratio=settings.mlp_ratio,
                dropout=settings.dropout,
                frames=settings.frames,
            )
            for tokens, patch, channels, size, depth in sizes
        )
        width = sum(tokens * size for tokens, size in zip(settings.tokens, settings.dims))
        self.head = nn.Linear(width, settings.embedding_size)

    #: The published checkpoints' names for this network's weights, for gaitext.checkpoints.
    published_keys = GAITPT_KEYS

    def forward(self, poses: Tensor, seqL: Tensor | Sequence[int] | None = None) -> Tensor:
        """Recognise walks.

        Args:
            poses: normalised coordinates [n, T, 18, 2] in ``partition``'s order, or of COCO's
                joints [n, T, 17, 2 or 3], which are ordered here and whose scores are dropped;
                packed, [1, ΣT, …] with ``seqL``. Sequences may have any length: in training one
                random window is seen of a long one, in evaluation what ``test`` says; short ones
                as ``short`` says.
            seqL: [1, n] lengths of packed sequences.

        Returns:
            [n, 256]: L2-normalised in training. In evaluation the mean of such embeddings over a
            sequence's windows, not normalised again (as published), so that its length is 1
            where there is but one window.

        Raises:
            ShapeError: naming the shape and what was expected.
        """
        poses, lengths = self._read(poses, seqL)
        return self._train(poses, lengths) if self.training else self._evaluate(poses, lengths)

    def signature(self, poses: Tensor, seqL: Tensor | Sequence[int] | None = None) -> Tensor:
        """The embedding of evaluation [n, 256], windows and all, in training too: what RG-Gait corrects."""
        return self._evaluate(*self._read(poses, seqL))

    def embed(self, windows: Tensor) -> Tensor:
        """Windows [W, T, V, c] of at most ``frames`` frames, ordered -> L2-normalised [W, 256]."""
        x, tokens = windows, []
        for stage in self.stages:
            cls, x = stage(x, last=stage is self.stages[-1])
            tokens.append(cls.flatten(1))
        embedding = self.head(torch.cat(tokens, 1))
        return F.normalize(embedding.to(self.head.weight.dtype), dim=-1)  # in full precision under autocast

    def _read(self, poses: Tensor, seqL: Tensor | Sequence[int] | None) -> tuple[Tensor, list[int]]:
        """Frames [N, V, c] of all sequences one after another, ordered, and the sequences' lengths."""
        joints, channels = self.settings.joints, self.settings.channels
        shape = tuple(poses.shape)
        ordered = len(shape) == 4 and shape[2:] == (joints, channels)
        raw = len(shape) == 4 and shape[2] == 17 and channels <= shape[3] <= 3
        if not (ordered or raw):
            raise ShapeError(
                f"poses have shape {shape}, expected [n, T, {joints}, {channels}] in the partition's order, "
                f"or COCO's joints [n, T, 17, {channels} to 3]",
                where="GaitPT",
                how="check the poses, and model_cfg.joints and model_cfg.channels",
            )
        lengths = sequence_lengths(poses, seqL, where="GaitPT")
        frames = flatten_frames(poses).to(self.head.weight.dtype)
        return (frames if ordered else frames[:, self.rows, :channels]), lengths

    def _train(self, frames: Tensor, lengths: Sequence[int]) -> Tensor:
        size, paces = self.settings.frames, self.settings.augmentation.pace
        pace = [draw_pace(length, size, paces) for length in lengths]
        played = [played_length(length, p) for length, p in zip(lengths, pace)]
        begin = [random_start(length, size) for length in played]
        offsets = [0, *accumulate(lengths)]
        embedded: list[Tensor] = []
        places: list[int] = []
        for size, chosen in self._by_size(played).items():
            first, start, length = ([values[i] for i in chosen] for values in (offsets, begin, lengths))
            if paces:
                windows = paced_windows(frames, first, start, length, [pace[i] for i in chosen], size)
            else:
                windows = frames[window_frames(first, start, length, size, frames.device)]
            embedded.append(self.embed(self._augment(windows)))
            places += chosen
        return _sorted(embedded, places)

    def _augment(self, windows: Tensor) -> Tensor:
        """Turn windows [W, T, V, c] about by chance, each for itself."""
        augmentation = self.settings.augmentation

        def chosen(chance: float) -> Tensor:
            return (torch.rand(len(windows), device=windows.device) < chance)[:, None, None, None]

        if augmentation.flip:
            windows = torch.where(chosen(augmentation.flip), windows.flip(1), windows)
        if augmentation.mirror:
            mirrored = self._mirrored(windows, augmentation.swap)
            windows = torch.where(chosen(augmentation.mirror), mirrored, windows)
        return windows

    def _evaluate(self, frames: Tensor, lengths: Sequence[int]) -> Tensor:
        settings = self.settings
        step = settings.chunk or (4 if frames.device.type == "cpu" else 256)
        step = max(1, step // settings.test.variants)
        offsets = [0, *accumulate(lengths)]
        windows = [(i, at) for i, n in enumerate(lengths) for at in starts(n, settings.frames, settings.test.windows)]
        embedded: list[Tensor] = []
        places: list[int] = []
        for size, chosen in self._by_size([lengths[i] for i, _ in windows]).items():
            owner, begin = zip(*(windows[w] for w in chosen))
            where, length = [offsets[i] for i in owner], [lengths[i] for i in owner]
            index = window_frames(where, begin, length, size, frames.device)
            for piece in index.split(step):
                variants = self._variants(frames, piece)
                embedded.append(self.embed(torch.cat(variants)).unflatten(0, (len(variants), -1)).mean(0))
            places += chosen
        every = _sorted(embedded, places)
        # A sequence has one window or two.
        last = torch.tensor([owner for owner, _ in windows]).bincount().cumsum(0) - 1
        first = torch.cat((last.new_zeros(1), last[:-1] + 1))
        if len(every) == len(lengths):
            return every
        return (every[first.to(every.device)] + every[last.to(every.device)]) / 2

    def _by_size(self, lengths: Sequence[int]) -> dict[int, list[int]]:
        """Frames of a window -> the numbers of the sequences that are seen through such a window."""
        frames = self.settings.frames
        if self.settings.short == "repeat":
            return {frames: list(range(len(lengths)))}
        sizes: dict[int, list[int]] = {}
        for i, length in enumerate(lengths):
            sizes.setdefault(min(length, frames), []).append(i)
        return sizes

    def _variants(self, frames: Tensor, index: Tensor) -> list[Tensor]:
        """The windows as they are, and turned about as ``test`` says: each [W, T, V, c]."""
        windows = frames[index]
        variants = [windows]
        if self.settings.test.flip:
            variants.append(windows.flip(1))
        if self.settings.test.mirror != "none":
            swap = self.settings.test.mirror == "swap"
            variants += [self._mirrored(each, swap) for each in variants]
        return variants

    def _mirrored(self, windows: Tensor, swap: bool) -> Tensor:
        """Windows reflected at each frame's mean x; with ``swap`` left and right joints exchanged."""
        x, rest = windows[..., :1], windows[..., 1:]
        if not swap:
            return torch.cat((2 * x.mean(2, keepdim=True) - x, rest), -1)
        seen = (windows != 0).any(-1, keepdim=True)
        middle = x.sum(2, keepdim=True) / seen.sum(2, keepdim=True).clamp_min(1)
        return torch.cat((torch.where(seen, 2 * middle - x, x), rest), -1)[:, :, self.swapped]


def _sorted(pieces: list[Tensor], places: list[int]) -> Tensor:
    """The rows of ``pieces``, each at its place."""
    rows = torch.cat(pieces)
    if places == sorted(places):
        return rows
    order = sorted(range(len(places)), key=places.__getitem__)
    return rows[torch.tensor(order, device=rows.device)]
