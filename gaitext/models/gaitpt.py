"""GaitPT: gait recognition from poses by a pyramid of transformers (Catruna et al., FG 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Annotated, Any, Literal, Union

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from gaitext.config import Settings
from gaitext.errors import ShapeError
from gaitext.models.gaitpt_blocks import Stage
from gaitext.models.packing import FixedLengths, flatten_frames, sequence_lengths
from gaitext.models.published_keys import GAITPT_KEYS
from gaitext.skeleton import coco_rows, order_mirror, resolve_order

Positive = Annotated[int, Field(ge=1)]
Sizes = Annotated[tuple[Positive, ...], Field(min_length=1)]


class TestSettings(Settings):
    """What a sequence's embedding is averaged over in evaluation.

    Attributes:
        windows: sequences longer than a window are seen through ``two`` of them, one of each
            half (as published), or one in the ``center``, at half the cost.
        flip: also the windows played backwards.
        mirror: also the windows mirrored: ``plain`` reflects x at the frame's mean x (as
            published), ``swap`` exchanges left and right joints as well and leaves missing
            joints (0, 0) missing. With ``flip`` too, all four combinations.
    """

    __test__ = False  # not pytest's

    windows: Literal["two", "center"] = "two"
    flip: bool = False
    mirror: Literal["none", "plain", "swap"] = "none"

    @property
    def variants(self) -> int:
        """How many times each window is seen."""
        return (1 + self.flip) * (1 + (self.mirror != "none"))


class AugmentationSettings(Settings):
    """Random changes of whole sequences, in training only.

    They are drawn here, where a sequence's length is known, because the toolboxes transform several
    sequences as one (docs/transforms.md).

    Attributes:
        pace: one of these factors is drawn for each sequence, and the window shows it so many
            times as fast, frames in between interpolated. Published as "random pace", without
            values; 0.5 to 2 in steps of a quarter are usual. Empty: as filmed. A pace that would
            leave fewer frames than a window has is drawn only where every pace does.
        flip: chance that a window is played backwards; off as published.
        mirror: chance that a window is mirrored at each frame's mean x; off as published.
        swap: whether a mirrored window's left and right joints are exchanged; not as published.
    """

    pace: tuple[Annotated[float, Field(gt=0)], ...] = ()
    flip: float = Field(0.0, ge=0, le=1)
    mirror: float = Field(0.0, ge=0, le=1)
    swap: bool = False


class GaitPTSettings(Settings):
    """GaitPT's ``model_cfg``.

    Attributes:
        frames: T, the frames of a window: 60 on CASIA-B, 30 on GREW and Gait3D.
        channels: coordinates of a joint.
        joints: V, with the nose's copy.
        patches: how many neighbours a stage joins: joints to limbs, body parts, body.
        dims, depths: the stages' sizes and numbers of layers.
        heads: of every attention.
        mlp_ratio: the feed-forward nets' width.
        dropout: in training, of attention weights and of what is added to a residual.
        embedding_size: features of the embedding.
        partition: the order of the joints: a key of ``gaitext.skeleton.POSE_ORDERS``, or a list
            of indices, 17 standing for the nose's copy. It orders raw COCO poses; poses that the
            transform ``PoseOrder`` has ordered are taken as they are.
        short: a sequence of fewer than T frames is played again until there are T (``repeat``,
            as the toolboxes' samplers do), or seen at its own length, with the first of the
            position embeddings (``trim``).
        augmentation: see :class:`AugmentationSettings`.
        test: see :class:`TestSettings`.
        chunk: windows that go through the network at once in evaluation; bounds memory. None:
            4 on a CPU, whose caches they then fit, 256 elsewhere.
    """

    frames: int = Field(60, ge=1)
    channels: int = Field(2, ge=1)
    joints: int = Field(18, ge=1)
    patches: Sizes = (1, 3, 2, 3)
    dims: Sizes = (32, 64, 128, 256)
    depths: Sizes = (3, 3, 3, 3)
    heads: int = Field(8, ge=1)
    mlp_ratio: int = Field(4, ge=1)
    dropout: float = Field(0.05, ge=0, lt=1)
    embedding_size: int = Field(256, ge=1)
    partition: Union[str, tuple[int, ...]] = "head_upper_lower"
    short: Literal["repeat", "trim"] = "repeat"
    augmentation: AugmentationSettings = AugmentationSettings()
    test: TestSettings = TestSettings()
    chunk: Union[Positive, None] = None

    @field_validator("partition", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        # Of a list, the number of indices is looked at when the number of joints is known.
        joints = len(value) if isinstance(value, (list, tuple)) else 18
        resolve_order(value, joints, where="model_cfg.partition")
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _consistent(self) -> GaitPTSettings:
        counts = {name: len(getattr(self, name)) for name in ("patches", "dims", "depths")}
        if len(set(counts.values())) != 1:
            raise ValueError(f"patches, dims and depths name different numbers of stages: {counts}")
        tokens = self.joints
        for patch in self.patches:
            if tokens % patch:
                raise ValueError(f"patches: {tokens} tokens cannot be joined {patch} by {patch}")
            tokens //= patch
        wrong = [size for size in self.dims if size % self.heads]
        if wrong:
            raise ValueError(f"dims: {wrong[0]} features cannot be shared out among {self.heads} heads")
        resolve_order(self.partition, self.joints, where="model_cfg.partition")
        if self.swaps:
            order_mirror(self.partition, self.joints, where="model_cfg.partition")
        return self

    @property
    def swaps(self) -> bool:
        """Whether left and right joints are exchanged in some mirrored window."""
        return self.test.mirror == "swap" or (self.augmentation.swap and self.augmentation.mirror > 0)

    @property
    def order(self) -> tuple[int, ...]:
        """Place -> joint."""
        return resolve_order(self.partition, self.joints)

    @property
    def tokens(self) -> tuple[int, ...]:
        """Tokens of a frame in each stage."""
        counts: list[int] = []
        for patch in self.patches:
            counts.append((counts[-1] if counts else self.joints) // patch)
        return tuple(counts)


def starts(length: int, frames: int, windows: Literal["two", "center"]) -> list[int]:
    """First frames of a sequence's windows in evaluation.

    Two windows are the middles of [0, max(L/2, T)) and [min(L/2, L − T − 1), L − 1) (published
    for T = 60). A sequence that is no longer than a window has one.

    >>> starts(120, 60, "two"), starts(61, 60, "two"), starts(60, 60, "two")
    ([0, 59], [0, 0], [0])
    >>> starts(120, 60, "center")
    [30]
    """
    if length <= frames:
        return [0]
    if windows == "center":
        return [(length - frames) // 2]
    # As torch has them: torch.export may follow, which does not know the length yet.
    middle: Any = torch.sym_max(length // 2, frames)
    end: Any = torch.sym_min(length // 2, length - frames - 1)
    halves = ((0, middle), (end, length - 1))
    return [first + (stop - first - frames) // 2 for first, stop in halves]


def played_length(length: int, pace: float) -> int:
    """Frames of a sequence that is played ``pace`` times as fast: ⌊(T − 1)/pace⌋ + 1.

    >>> played_length(61, 2.0), played_length(61, 1.0), played_length(3, 0.5)
    (31, 61, 5)
    """
    # Rounded, or a frame that a pace such as 0.1 meets would be lost.
    return int(round((length - 1) / pace, 9)) + 1


def draw_pace(length: int, frames: int, paces: Sequence[float]) -> float:
    """One of ``paces``, of those that leave at least ``frames`` frames, if any does; 1 where there are none."""
    fitting = [pace for pace in paces if played_length(length, pace) >= frames] or list(paces)
    return fitting[int(torch.randint(len(fitting), ()))] if fitting else 1.0


def random_start(length: int, frames: int) -> int:
    """First frame of a sequence's window in training, from torch's random numbers."""
    return int(torch.randint(length - frames + 1, ())) if length > frames else 0


def paced_windows(
    frames: Tensor,
    first: Sequence[int],
    start: Sequence[int],
    length: Sequence[int],
    pace: Sequence[float],
    size: int,
) -> Tensor:
    """Windows [W, size, V, c] of sequences that are played faster or slower, frames in between interpolated.

    A joint that is missing, (0, 0), in one of the two frames follows the nearer one, half-way the
    one where it was found.

    Args:
        frames: [N, V, c], all sequences one after another.
        first: where the windows' sequences begin in ``frames``.
        start: where in its played sequence each window begins.
        length: of the windows' sequences, as filmed; a window that goes past the end goes on at the start.
        pace: of each window.
        size: frames of a window.
    """
    played = torch.tensor([played_length(n, p) for n, p in zip(length, pace)])[:, None]
    begin, offset, count = (torch.tensor(list(values))[:, None] for values in (start, first, length))
    at = ((begin + torch.arange(size)) % played) * torch.tensor(list(pace), dtype=torch.float64)[:, None]
    before = at.long()
    share = (at - before).to(frames)[..., None, None]
    after = torch.minimum(before + 1, count - 1)
    one, two = (frames[(offset + index).to(frames.device)] for index in (before, after))
    found, both = (one != 0).any(-1, keepdim=True), ((one != 0) & (two != 0)).any(-1, keepdim=True)
    nearer = torch.where((share < 0.5) | ((share == 0.5) & found), one, two)
    return torch.where(both, torch.lerp(one, two, share), nearer)


def window_frames(
    first: Sequence[int], start: Sequence[int], length: Sequence[int], size: int, device: torch.device
) -> Tensor:
    """Frame numbers [W, size] of windows.

    Args:
        first: where the windows' sequences begin in the run of all frames.
        start: where in its sequence each window begins.
        length: of the windows' sequences; a window that goes past the end goes on at the start.
        size: frames of a window.
    """
    offset, begin, count = (torch.tensor(list(values))[:, None] for values in (first, start, length))
    return (offset + (begin + torch.arange(size)) % count).to(device)


class GaitPT(nn.Module):
    """Four stages, each of spatial and temporal attention, and the projection of their class tokens.

    Keywords are the fields of :class:`~gaitext.models.gaitpt.GaitPTSettings`; default
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

    def _read(self, poses: Tensor, seqL: Tensor | Sequence[int] | None) -> tuple[Tensor, Sequence[int]]:
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
        if isinstance(lengths, FixedLengths):
            return self._evaluate_alike(frames.unflatten(0, (lengths.sequences, lengths.frames)))
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
                embedded.append(self._embed_variants(frames[piece]))
            places += chosen
        every = _sorted(embedded, places)
        # A sequence has one window or two.
        last = torch.tensor([owner for owner, _ in windows]).bincount().cumsum(0) - 1
        first = torch.cat((last.new_zeros(1), last[:-1] + 1))
        if len(every) == len(lengths):
            return every
        return (every[first.to(every.device)] + every[last.to(every.device)]) / 2

    def _evaluate_alike(self, poses: Tensor) -> Tensor:
        """Sequences [n, T, V, c], as ``torch.export`` can follow them: no lists of windows, none in pieces."""
        settings, length = self.settings, poses.shape[1]
        if length < settings.frames and settings.short == "repeat":
            poses = poses[:, torch.arange(settings.frames, device=poses.device) % length]
            length = settings.frames
        size = length if length < settings.frames else settings.frames
        # Taken by number: of a slice torch would have to prove that it lies within a length not known yet.
        window = torch.arange(size, device=poses.device)
        found = [self._embed_variants(poses[:, window + at]) for at in starts(length, size, settings.test.windows)]
        return found[0] if len(found) == 1 else (found[0] + found[1]) / 2

    def _by_size(self, lengths: Sequence[int]) -> dict[int, list[int]]:
        """Frames of a window -> the numbers of the sequences that are seen through such a window."""
        frames = self.settings.frames
        if self.settings.short == "repeat":
            return {frames: list(range(len(lengths)))}
        sizes: dict[int, list[int]] = {}
        for i, length in enumerate(lengths):
            sizes.setdefault(min(length, frames), []).append(i)
        return sizes

    def _embed_variants(self, windows: Tensor) -> Tensor:
        """Mean embedding [W, 256] of windows [W, T, V, c] as they are, and turned about as ``test`` says."""
        variants = [windows]
        if self.settings.test.flip:
            variants.append(windows.flip(1))
        if self.settings.test.mirror != "none":
            swap = self.settings.test.mirror == "swap"
            variants += [self._mirrored(each, swap) for each in variants]
        return self.embed(torch.cat(variants)).unflatten(0, (len(variants), -1)).mean(0)

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
