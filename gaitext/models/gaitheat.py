"""GaitHeat: gait recognition from the heatmaps of a pose estimator (Fu et al., ECCV 2024)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from gaitext.models.gaitheat_inputs import Frames, augment, normalise_sequences, read_frames
from gaitext.models.gaitheat_settings import GaitHeatSettings
from gaitext.models.heads import BNNeck, Head, HeadOutput, Heads
from gaitext.models.packing import MaxOverTime, chunks, max_over_time
from gaitext.models.pgha import KeypointAttention, PoseGuidedAlignment, heatmap_peaks
from gaitext.models.published_keys import GAITHEAT_KEYS
from gaitext.models.resnet import Stem, channels_last, stage, strongest
from gaitext.skeleton import SPINE_JOINTS, resolve_partition


@dataclass(frozen=True)
class GaitHeatOutput:
    """What training needs.

    Attributes:
        heads: branch (``local``, ``global``, ``fusion``) -> its embeddings [n, c, p] and logits
            [n, classes, p].
        preview: [T, 1, H, W], the first sequence's widest map as the network saw it, in 0..1.
    """

    heads: dict[str, HeadOutput]
    preview: Tensor


class GaitHeat(nn.Module):
    """Alignment, part merging, a shared ResNet9 and up to three heads.

    Keywords are the fields of :class:`~gaitext.models.gaitheat_settings.GaitHeatSettings`;
    default construction is the published network (16.94 M parameters with 74 classes).

    >>> network = GaitHeat(class_num=74, channels=(8, 8, 16, 16), embedding_size=8).eval()
    >>> network(torch.rand(2, 3, 17, 64, 48)).shape
    torch.Size([2, 8, 16])
    """

    def __init__(self, class_num: int = 74, **settings: Any) -> None:
        super().__init__()
        self._build(GaitHeatSettings.parse({"class_num": class_num, **settings}, where="GaitHeat"))

    @classmethod
    def from_settings(cls, settings: GaitHeatSettings) -> GaitHeat:
        """Build from settings that are already validated."""
        network = cls.__new__(cls)
        nn.Module.__init__(network)
        network._build(settings)
        return network

    def _build(self, settings: GaitHeatSettings) -> None:
        self.settings = settings
        self.partition = resolve_partition(settings.partition, settings.joints)
        self.alignment = PoseGuidedAlignment(settings.alignment)
        self.attention = KeypointAttention(settings.joints) if settings.alignment.attention else None
        channels = settings.channels
        inputs = (channels[0], *channels[:-1])
        sizes = list(zip(inputs, channels, settings.blocks, settings.strides))
        self.stem = Stem(1, channels[0])
        self.stages = nn.ModuleList(stage(*size) for size in sizes)
        # The fusion branch starts from what stage 1 computes: its own stages are 2 to 4.
        fusion = sizes[1:] if "fusion" in settings.branches else []
        self.fusion_stages = nn.ModuleList(stage(*size) for size in fusion)
        self.heads = Heads(
            {
                b: Head(settings.bins, channels[-1], settings.embedding_size, settings.class_num)
                for b in settings.branches
            }
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)

    #: The published checkpoints' names for this network's weights, for gaitext.checkpoints.
    published_keys = GAITHEAT_KEYS

    def forward(
        self,
        heatmaps: Tensor,
        seqL: Tensor | Sequence[int] | None = None,
        poses: Tensor | None = None,
        *,
        crops: Tensor | None = None,
        matrices: Tensor | None = None,
    ) -> GaitHeatOutput | Tensor:
        """Recognise walks.

        Args:
            heatmaps: [n, T, V, H, W], or packed [1, ΣT, V, H, W] with ``seqL``; K part maps in
                place of V where they are merged offline. Any range: normalised per sequence.
            seqL: [1, n] lengths of packed sequences.
            poses: [n, T, 17, 3] (x, y, score), for ``alignment.keypoints: poses``, in the
                pixels that ``alignment.pose_pixels`` says.
            crops: [n, T, 4], the crop boxes (x, y, w, h) in frame pixels that the heatmaps show,
                for ``alignment.pose_pixels: frame``.
            matrices: [n, T, 2, 3], for ``alignment.keypoints: matrices``.

        Returns:
            In training :class:`GaitHeatOutput`; in evaluation the embedding [n, c, p] alone:
            the fusion branch's, or, without it, the other branches' side by side along p.

        Raises:
            ShapeError: naming the input, its shape and the shape that was expected.
        """
        given = self._read(heatmaps, seqL, poses, crops, matrices, augmented=self.training)
        return self._train(*given) if self.training else self._embed(*given, bnneck=self.settings.inference == "bnneck")

    def signature(
        self,
        heatmaps: Tensor,
        seqL: Tensor | Sequence[int] | None = None,
        poses: Tensor | None = None,
        *,
        crops: Tensor | None = None,
        matrices: Tensor | None = None,
    ) -> Tensor:
        """The embedding before the BNNeck [n, c, p], in training and evaluation, of sequences as they are.

        Arguments are :meth:`forward`'s. Nothing is augmented; the alignment's coin is the alignment's own mode.
        """
        return self._embed(*self._read(heatmaps, seqL, poses, crops, matrices, augmented=False), bnneck=False)

    @property
    def signature_neck(self) -> BNNeck:
        """The BNNeck that takes :meth:`signature`: of several branches, side by side along p."""
        return BNNeck.side_by_side([self.heads[branch].neck for branch in self.inference_branches])  # type: ignore[misc]

    def remove_neck(self) -> None:
        """Keep only what :meth:`signature` needs."""
        self.heads = Heads({branch: self.heads[branch] for branch in self.inference_branches})
        for head in self.heads.values():
            head.neck = nn.Identity()

    def _read(
        self,
        heatmaps: Tensor,
        seqL: Tensor | Sequence[int] | None,
        poses: Tensor | None,
        crops: Tensor | None,
        matrices: Tensor | None,
        *,
        augmented: bool,
    ) -> tuple[Frames, Sequence[int]]:
        """Checked and normalised frames, and the sequences' lengths."""
        frames, lengths = read_frames(self.settings, heatmaps, seqL, poses=poses, crops=crops, matrices=matrices)
        if augmented:
            frames = augment(frames, lengths, self.settings)
        if self.settings.alignment.enabled and self.settings.alignment.needs is None:
            # Before normalisation, so that scores are the estimator's.
            frames = replace(frames, keypoints=self._peaks(frames.heatmaps))
        return replace(frames, heatmaps=normalise_sequences(frames.heatmaps, lengths)), lengths

    # From frames to maps (Eqs. 1–5) -------------------------------------------------------------

    def part_maps(self, frames: Tensor, keypoints: Tensor | None = None, matrices: Tensor | None = None) -> Tensor:
        """Align normalised frames [N, V, H, W] and merge them (Eq. 5).

        Returns:
            [N, m, H, W]: the global map first, where a branch needs it, then the K local ones.
        """
        merge = self.settings.alignment.merge
        move: Callable[[Tensor], Tensor] = nn.Identity()
        if self.settings.alignment.enabled:
            if keypoints is None and matrices is None:
                keypoints = self._peaks(frames)
            move = alignment = self.alignment(keypoints=keypoints, matrices=matrices)
            if self.attention is not None:
                assert keypoints is not None  # the settings allow no matrices then
                return self._merge(
                    self.attention(alignment(frames), frames, alignment.points(keypoints).to(frames.dtype))
                )
        if merge == "after":
            return self._merge(move(frames))
        return self._with_global(move(frames)) if merge == "offline" else move(self._merge(frames))

    def _peaks(self, frames: Tensor) -> Tensor:
        """Keypoints [N, 17, 3] from the maxima; only those that are needed are looked for."""
        if self.attention is not None:
            return heatmap_peaks(frames)
        keypoints = frames.new_zeros(frames.shape[0], 17, 3)
        spine = list(SPINE_JOINTS)
        keypoints[:, spine] = heatmap_peaks(frames[:, spine])
        return keypoints

    def _merge(self, frames: Tensor) -> Tensor:
        branches = self.settings.branches
        maps = [frames.amax(1)] if "global" in branches else []
        if "local" in branches:
            maps += [frames[:, list(part)].amax(1) for part in self.partition.values()]
        return torch.stack(maps, 1)

    def _with_global(self, parts: Tensor) -> Tensor:
        branches = self.settings.branches
        maps = [parts.amax(1, keepdim=True)] if "global" in branches else []
        return torch.cat([*maps, parts] if "local" in branches else maps, 1)

    # From maps to embeddings (Eqs. 6–8) ---------------------------------------------------------

    def _features(self, maps: Tensor, branches: Sequence[str]) -> dict[str, Tensor]:
        """Feature maps [N, c, h, w] of the branches, frame by frame, from maps [N, m, H, W]."""
        count = maps.shape[1]
        x = self.stem(channels_last(maps.flatten(0, 1)[:, None]))
        fused: Tensor | None = None
        for index, shared in enumerate(self.stages):
            x = shared(x)
            if "fusion" in branches:
                top = strongest(x, count)
                # Eq. 8
                fused = top if fused is None else self.fusion_stages[index - 1](fused) + top
        x = x.unflatten(0, (-1, count))
        has_global = "global" in self.settings.branches
        features: dict[str, Tensor] = {}
        for branch in branches:
            if branch == "fusion":
                assert fused is not None
                features[branch] = fused
            elif branch == "global":
                features[branch] = x[:, 0]
            else:  # Eq. 7
                features[branch] = x[:, int(has_global) :].amax(1)
        return features

    def _train(self, frames: Frames, lengths: Sequence[int]) -> GaitHeatOutput:
        maps = self.part_maps(frames.heatmaps, frames.keypoints, frames.matrices)
        features = self._features(maps, self.settings.branches)
        heads = {name: self.heads[name](max_over_time(f, lengths)) for name, f in features.items()}
        return GaitHeatOutput(heads, maps[: lengths[0]].detach().amax(1, keepdim=True))

    @property
    def inference_branches(self) -> tuple[str, ...]:
        """Branches whose embeddings are compared at test."""
        return ("fusion",) if "fusion" in self.settings.branches else self.settings.branches

    def _embed(self, frames: Frames, lengths: Sequence[int], *, bnneck: bool) -> Tensor:
        """The embedding [n, c, p], computing nothing that it does not need; without gradients in chunks."""
        trunk = (self.stem, self.stages, self.fusion_stages)
        strongest_yet = {branch: MaxOverTime(lengths) for branch in self.inference_branches}
        for piece in chunks(self.settings.chunk, frames.heatmaps, trunk):
            chunk = frames[piece]
            maps = self.part_maps(chunk.heatmaps, chunk.keypoints, chunk.matrices)
            for branch, features in self._features(maps, self.inference_branches).items():
                strongest_yet[branch].add(features)
        embedded = [self.heads[b].embed(each.result(), bnneck=bnneck) for b, each in strongest_yet.items()]  # type: ignore[operator]
        return embedded[0] if len(embedded) == 1 else torch.cat(embedded, -1)
