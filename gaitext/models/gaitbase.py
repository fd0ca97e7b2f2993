"""GaitBase: a plain silhouette baseline (Fan et al., CVPR 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from torch import Tensor, nn

from gaitext.config import Settings
from gaitext.errors import ShapeError
from gaitext.models.heads import BNNeck, Head, HeadOutput
from gaitext.models.packing import MaxOverTime, chunks, flatten_frames, max_over_time, sequence_lengths
from gaitext.models.published_keys import GAITBASE_KEYS
from gaitext.models.resnet import Stem, channels_last, stage

Positive = Annotated[int, Field(ge=1)]


class GaitBaseSettings(Settings):
    """GaitBase's ``model_cfg``; the defaults are the published sizes.

    Attributes:
        class_num: identities in training, for the classifier.
        in_channels: channels of a frame; 1 for silhouettes.
        channels, blocks, strides: the stages of the ResNet9.
        embedding_size: features of a part's embedding.
        bins: horizontal pyramid; the sum is the number of parts p.
        inference: the embedding compared at test, before the BNNeck (``fc``, published) or after it.
        chunk: frames that go through the network at once in evaluation. None: 16 on a CPU, whose
            caches hold them, 256 elsewhere.
    """

    class_num: int = Field(74, ge=1)
    in_channels: Positive = 1
    channels: tuple[Positive, Positive, Positive, Positive] = (64, 128, 256, 512)
    blocks: tuple[Positive, Positive, Positive, Positive] = (1, 1, 1, 1)
    strides: tuple[Positive, Positive, Positive, Positive] = (1, 2, 2, 1)
    embedding_size: Positive = 256
    bins: tuple[Positive, ...] = Field((16,), min_length=1)
    inference: Literal["fc", "bnneck"] = "fc"
    chunk: Positive | None = None

    @field_validator("bins", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int) else value


@dataclass(frozen=True)
class GaitBaseOutput:
    """What training needs.

    Attributes:
        head: embeddings [n, c, p] and logits [n, classes, p].
        preview: [T, C, H, W], the first sequence's frames.
    """

    head: HeadOutput
    preview: Tensor


class GaitBase(nn.Module):
    """ResNet9 on each frame, maximum over time, horizontal pyramid, separate FC, BNNeck.

    Keywords are the fields of :class:`GaitBaseSettings`. Checkpoints of the authors'
    ``Baseline`` load through :func:`gaitext.checkpoints.load`.

    >>> import torch
    >>> GaitBase(class_num=3, channels=(4, 4, 8, 8), embedding_size=6).eval()(torch.rand(2, 5, 64, 44)).shape
    torch.Size([2, 6, 16])
    """

    published_keys = GAITBASE_KEYS

    def __init__(self, class_num: int = 74, **settings: Any) -> None:
        super().__init__()
        self._build(GaitBaseSettings.parse({"class_num": class_num, **settings}, where="GaitBase"))

    @classmethod
    def from_settings(cls, settings: GaitBaseSettings) -> GaitBase:
        """Build from settings that are already validated."""
        network = cls.__new__(cls)
        nn.Module.__init__(network)
        network._build(settings)
        return network

    def _build(self, settings: GaitBaseSettings) -> None:
        self.settings = settings
        channels = settings.channels
        self.stem = Stem(settings.in_channels, channels[0])
        sizes = zip((channels[0], *channels[:-1]), channels, settings.blocks, settings.strides)
        self.stages = nn.ModuleList(stage(*size) for size in sizes)
        self.head = Head(settings.bins, channels[-1], settings.embedding_size, settings.class_num)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)

    def forward(self, silhouettes: Tensor, seqL: Tensor | Sequence[int] | None = None) -> GaitBaseOutput | Tensor:
        """Recognise walks.

        Args:
            silhouettes: [n, T, H, W] or [n, T, C, H, W] in 0..1, or packed [1, ΣT, …] with ``seqL``.
            seqL: [1, n] lengths of packed sequences.

        Returns:
            In training :class:`GaitBaseOutput`; in evaluation the embedding [n, c, p] alone.

        Raises:
            ShapeError: another shape, or rows that the pyramid's bins do not divide.
        """
        frames, lengths = self._frames(silhouettes, seqL)
        if not self.training:
            embedding = self._embed(frames, lengths)
            return self.head.neck.embed(embedding) if self.settings.inference == "bnneck" else embedding
        return GaitBaseOutput(self.head(max_over_time(self._maps(frames), lengths)), frames[: lengths[0]].detach())

    def signature(self, silhouettes: Tensor, seqL: Tensor | Sequence[int] | None = None) -> Tensor:
        """The embedding before the BNNeck [n, c, p], in training and evaluation."""
        return self._embed(*self._frames(silhouettes, seqL))

    @property
    def signature_neck(self) -> BNNeck:
        """The BNNeck that takes :meth:`signature`."""
        return self.head.neck

    def remove_neck(self) -> None:
        """Keep only what :meth:`signature` needs."""
        self.head.neck = nn.Identity()  # type: ignore[assignment]

    def _frames(self, silhouettes: Tensor, seqL: Tensor | Sequence[int] | None) -> tuple[Tensor, Sequence[int]]:
        channels = self.settings.in_channels
        given = silhouettes.unsqueeze(2) if silhouettes.ndim == 4 and channels == 1 else silhouettes
        if given.ndim != 5 or given.shape[2] != channels:
            raise ShapeError(
                f"silhouettes have shape {tuple(silhouettes.shape)}",
                where="GaitBase",
                how=f"[n, T, H, W] or [n, T, {channels}, H, W] was expected",
            )
        lengths = sequence_lengths(given, seqL, where="GaitBase")
        rows = given.shape[3]
        for stride in self.settings.strides:
            rows = -(-rows // stride)
        if any(rows % count for count in self.settings.bins):
            raise ShapeError(
                f"silhouettes of {given.shape[3]} rows become maps of {rows}",
                where="GaitBase",
                how=f"take frames of a height that bins {list(self.settings.bins)} divide there, such as 64",
            )
        return flatten_frames(given).float(), lengths

    def _maps(self, frames: Tensor) -> Tensor:
        x = self.stem(channels_last(frames))
        for stage_ in self.stages:
            x = stage_(x)
        return x

    def _embed(self, frames: Tensor, lengths: Sequence[int]) -> Tensor:
        """Before the BNNeck [n, c, p]; without gradients in chunks."""
        strongest = MaxOverTime(lengths)
        for chunk in chunks(self.settings.chunk, frames, (self.stem, self.stages)):
            strongest.add(self._maps(frames[chunk]))
        return self.head.embed(strongest.result(), bnneck=False)
