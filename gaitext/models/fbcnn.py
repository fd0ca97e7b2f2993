"""FBCNN: a U-Net that takes compression artifacts away, as much as a quality factor says (Jiang et al., ICCV 2021)."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Union, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from gaitext import checkpoints
from gaitext.config import Settings
from gaitext.errors import CheckpointError, ConfigError, ShapeError
from gaitext.models.fbcnn_layers import (
    DownLevel,
    QualityPredictor,
    ResidualBlock,
    UpLevel,
    check_images,
    modulated,
    padded,
)
from gaitext.models.published_keys import FBCNN_KEYS
from gaitext.models.tiling import Tiles, batched, tiled

#: One number for all images, or [N, 1]: 1 − QF/100 of the JPEG quality factor QF, in 0..1.
Quality = Union[float, Tensor]
Positive = Annotated[int, Field(ge=1)]


class FBCNNSettings(Settings):
    """Sizes of FBCNN; the defaults are those of the published ``fbcnn_color.pth`` (71.92 M parameters).

    Attributes:
        image_channels: 3 for RGB, 1 for the published grey variants.
        channels: of each resolution, the full one first; every level halves it.
        blocks: residual blocks at each level, on either way, and in the predictor.
        embedding_size: width of the quality embedding.
        skip: add the input to the output, so that the network makes the difference alone. The published one has no
            such skip, and a fresh one that begins as the identity learns from there several times as slowly: every
            step of Adam disturbs the weights that copy the image (docs/artifact-correction.md, "A fresh network").
    """

    image_channels: int = Field(3, ge=1)
    channels: tuple[Positive, ...] = Field((64, 128, 256, 512), min_length=2)
    blocks: int = Field(4, ge=1)
    embedding_size: int = Field(512, ge=1)
    skip: bool = False


class FBCNN(nn.Module):
    """Correct images [N, 3, H, W] in 0..1, which gives images of the same shape, not clamped.

    A head, down levels of residual blocks, an encoder and a decoder body at the lowest resolution,
    and up levels whose blocks are modulated by what the quality embedding says: x + γ·res(x) + β.
    What each level had on the way down is added on the way up. There is no skip from input to output, unless
    ``skip`` asks for one.

    Keywords are the fields of :class:`FBCNNSettings`. Published weights are loaded by
    :func:`gaitext.checkpoints.load`.

    >>> network = FBCNN(channels=(4, 6, 8, 10), blocks=1, embedding_size=5).eval()
    >>> network(torch.rand(2, 3, 21, 13), quality=0.5).shape
    torch.Size([2, 3, 21, 13])
    """

    #: The published checkpoints' names for this network's weights, for gaitext.checkpoints.
    published_keys = FBCNN_KEYS

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.settings = FBCNNSettings.parse(settings, where="FBCNN")
        channels, blocks = self.settings.channels, self.settings.blocks
        least, embedding = channels[-1], self.settings.embedding_size
        self.head = nn.Conv2d(self.settings.image_channels, channels[0], 3, padding=1)
        # Level i is at 1 / 2^i of the resolution on the way down and up alike.
        self.down = nn.ModuleList(DownLevel(here, below, blocks) for here, below in pairwise(channels))
        self.encoder = nn.Sequential(*(ResidualBlock(least) for _ in range(blocks)))
        self.decoder = nn.Sequential(*(ResidualBlock(least) for _ in range(blocks)))
        self.up = nn.ModuleList(UpLevel(below, here, blocks) for here, below in pairwise(channels))
        self.tail = nn.Conv2d(channels[0], self.settings.image_channels, 3, padding=1)
        self.predictor = QualityPredictor(least, blocks)
        self.embedding = nn.Sequential(
            nn.Linear(1, embedding),
            nn.ReLU(),
            nn.Linear(embedding, embedding),
            nn.ReLU(),
            nn.Linear(embedding, embedding),
            nn.ReLU(),
        )
        self.gamma = nn.ModuleList(nn.Sequential(nn.Linear(embedding, c), nn.Sigmoid()) for c in channels[:-1])
        self.beta = nn.ModuleList(nn.Sequential(nn.Linear(embedding, c), nn.Tanh()) for c in channels[:-1])
        if self.settings.skip:  # so that weights alone say it
            self.register_buffer("skip", torch.ones(()))
        self._frozen = False

    @property
    def multiple(self) -> int:
        """Heights and widths are padded to a multiple of this: 8 for three levels."""
        return int(2 ** len(self.down))

    def forward(self, images: Tensor, quality: Quality | None = None) -> Tensor:
        """Correct images.

        Args:
            images: [N, 3, H, W] in 0..1, any H and W.
            quality: 1 − QF/100, how strongly to correct: 0 for hardly compressed images, towards 1
                for badly compressed ones. A number, or [N, 1]. The predictor does not run then; a
                single value is folded into the blocks' second convolutions, with gradients as they
                are. None has the predictor estimate it for each image.

        Returns:
            [N, 3, H, W], not clamped.

        Raises:
            ShapeError: other shapes.
            ConfigError: a number outside 0..1.
        """
        check_images(images, self.settings.image_channels)
        given = None if quality is None else self._quality(quality, images)
        return self._restore(images, given)[0]

    def restore(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Correct images [N, 3, H, W] by the quality that the predictor estimates; that, [N, 1], is returned, too."""
        check_images(images, self.settings.image_channels)
        return self._restore(images, None)

    def _restore(self, images: Tensor, quality: Tensor | None) -> tuple[Tensor, Tensor]:
        height, width = images.shape[-2:]
        encoded, skips = self._encode(images)
        used: Tensor = self.predictor(encoded) if quality is None else quality
        modulation = self.modulation(used)
        x = self.decoder(encoded)
        for level in reversed(range(len(self.up))):
            x = self.up[level](x + skips[level + 1], *modulation[level])
        restored: Tensor = self.tail(x + skips[0])[..., :height, :width]
        return (restored + images if self.settings.skip else restored), used

    def predict_quality(self, images: Tensor) -> Tensor:
        """The predictor's estimate of 1 − QF/100 for images [N, 3, H, W] in 0..1: [N, 1] in 0..1."""
        check_images(images, self.settings.image_channels)
        estimate: Tensor = self.predictor(self._encode(images)[0])
        return estimate

    def modulation(self, quality: Tensor) -> list[tuple[Tensor, Tensor]]:
        """γ and β of each level, the full resolution first: [N, C] each, of quality [N, 1]."""
        embedded = self.embedding(quality)
        return [(gamma(embedded), beta(embedded)) for gamma, beta in zip(self.gamma, self.beta)]

    def fixed(
        self,
        quality: float,
        *,
        dtype: torch.dtype = torch.float32,
        tiles: Tiles | None = None,
        batch_size: int | None = None,
    ) -> FixedFBCNN:
        """A copy for use at one quality: no predictor, no embedding, γ and β folded into the weights.

        Args:
            quality: 1 − QF/100, in 0..1; the paper's is 0.5.
            dtype: of weights and computation; bfloat16 or float16 where the device is fast at it.
            tiles: cut larger images into tiles, which bounds memory.
            batch_size: images (or tiles) that go through the network at a time; None takes all.

        Raises:
            ConfigError: a quality outside 0..1.
        """
        _check_quality(quality)
        return FixedFBCNN(self, quality, dtype=dtype, tiles=tiles, batch_size=batch_size)

    # What the corrector trains (artifact correction §III-C) ---------------------------------------

    def reconstruction_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of what makes the image: head, levels, encoder, decoder and tail."""
        for module in (self.head, self.down, self.encoder, self.decoder, self.up, self.tail):
            yield from module.parameters()

    @torch.no_grad()
    def start_as_identity(self, quality: float | None = None) -> FBCNN:
        """Change the weights so that images come back as they are, and training can begin there.

        With ``skip`` the tail is 0. Without, a fresh network would first have to learn copying: the head's
        first channels copy the image, the tail reads them alone, and nothing is added on the way up:
        all other weights stay as they are, and every weight of the last level and the tail has a gradient.

        Args:
            quality: at which they come back, where γ and β are not to change; None: at every quality, as β of
                the copying channels is made 0.

        Raises:
            ConfigError: fewer channels at full resolution than the image has, or a quality outside 0..1.
        """
        if quality is not None:
            _check_quality(quality)
        if self.settings.skip:
            self.tail.weight.zero_()
            self.tail.bias.zero_()  # type: ignore[union-attr]
            return self
        copied, first = self.settings.image_channels, self.settings.channels[0]
        if first < copied:
            raise ConfigError(f"{first} channels cannot hold an image of {copied}", where="FBCNN.channels")
        if quality is None:
            linear = cast(nn.Linear, cast(nn.Sequential, self.beta[0])[0])
            linear.weight[:copied] = 0
            linear.bias[:copied] = 0
        gamma, beta = self.modulation(self.head.weight.new_full((1, 1), quality or 0.0))[0]
        level = cast(UpLevel, self.up[0])
        level.grow.weight[:, :copied] = 0
        level.grow.bias[:copied] = 0  # type: ignore[index]
        for block in level.blocks:
            second = cast(ResidualBlock, block).conv2
            second.weight[:copied] = 0
            second.bias[:copied] = -(beta / gamma)[0, :copied]  # type: ignore[index]
        self.head.weight[:copied] = 0
        self.tail.weight.zero_()
        self.head.bias[:copied] = 0  # type: ignore[index]
        self.tail.bias.zero_()  # type: ignore[union-attr]
        for channel in range(copied):
            self.head.weight[channel, channel, 1, 1] = 1
            self.tail.weight[channel, channel, 1, 1] = 1
        return self

    def freeze_all_but_reconstruction(self) -> FBCNN:
        """Freeze predictor, quality embedding and γ/β maps, and keep them in evaluation mode from now on."""
        self._frozen = True
        for module in self._quality_modules():
            module.requires_grad_(False)
        return self.train(self.training)

    def train(self, mode: bool = True) -> FBCNN:
        """As of every module; what is frozen stays in evaluation mode."""
        super().train(mode)
        if self._frozen:
            for module in self._quality_modules():
                module.eval()
        return self

    def _quality_modules(self) -> tuple[nn.Module, ...]:
        return self.predictor, self.embedding, self.gamma, self.beta

    def _encode(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The encoder's output, and what each level had; the last of them is the encoder's input."""
        x = self.head(padded(images, self.multiple))
        skips = []
        for level in self.down:
            skips.append(x)
            x = level(x)
        skips.append(x)
        return self.encoder(x), skips

    def _quality(self, quality: Quality, images: Tensor) -> Tensor:
        """Quality as [1, 1] or [N, 1]."""
        if not isinstance(quality, Tensor):
            _check_quality(quality)
            return images.new_full((1, 1), float(quality))
        if tuple(quality.shape) not in ((len(images), 1), (1, 1)):
            raise ShapeError(
                f"quality has shape {list(quality.shape)} for {len(images)} images",
                where="FBCNN",
                how="give a number or [N, 1]",
            )
        return quality.to(images)


def _check_quality(quality: float) -> None:
    if not 0 <= quality <= 1:
        raise ConfigError(
            f"quality is {quality:g}", where="FBCNN", how="give 1 − QF/100, in 0..1: 0.5 for a quality factor of 50"
        )


class FixedFBCNN(nn.Module):
    """What :meth:`gaitext.models.FBCNN.fixed` returns: the same images for less work.

    The predictor and its blocks are gone; γ scales the weights and the bias of each modulated
    block's second convolution, β is added to that bias. Weights lie channels last, in which
    convolutions are fastest on CPUs and GPUs alike. They are frozen; gradients flow to images that
    require them.

    Args:
        network: whose weights are copied.
        quality: 1 − QF/100, in 0..1.
        dtype: of weights and computation.
        tiles: how larger images are cut; None takes them whole.
        batch_size: images, or tiles, that go through at a time; None takes all.
    """

    def __init__(
        self,
        network: FBCNN,
        quality: float,
        *,
        dtype: torch.dtype = torch.float32,
        tiles: Tiles | None = None,
        batch_size: int | None = None,
    ) -> None:
        super().__init__()
        self.quality, self.tiles, self.batch_size = quality, tiles, batch_size
        self.channels, self.multiple = network.settings.image_channels, network.multiple
        self.skip = network.settings.skip
        self.head, self.tail = copy.deepcopy(network.head), copy.deepcopy(network.tail)
        self.down, self.up = copy.deepcopy(network.down), copy.deepcopy(network.up)
        self.body = nn.Sequential(*copy.deepcopy(network.encoder), *copy.deepcopy(network.decoder))
        with torch.no_grad():
            weight = network.head.weight
            levels = network.modulation(weight.new_full((1, 1), quality))
            for level, (gamma, beta) in zip(self.up, levels):
                for block in cast(UpLevel, level).blocks:
                    _modulate(cast(ResidualBlock, block), gamma[0], beta[0])
        self.eval().requires_grad_(False)
        self.to(weight.device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """Correct images [N, 3, H, W] in 0..1: the same shape and dtype, not clamped.

        Raises:
            ShapeError: other shapes.
        """
        check_images(images, self.channels)
        if images.shape[0] == 0:
            return torch.zeros_like(images)
        height, width = images.shape[-2:]
        ready = padded(images, self.multiple).to(self.head.weight.dtype, memory_format=torch.channels_last)
        if self.tiles is None:
            restored = batched(self._run, ready, self.batch_size)
        else:
            restored = tiled(self._run, ready, self.tiles, multiple=self.multiple, batch_size=self.batch_size)
        restored = restored[..., :height, :width].to(images.dtype, memory_format=torch.contiguous_format)
        return restored.add_(images) if self.skip else restored

    def _run(self, x: Tensor) -> Tensor:
        x = self.head(x)
        skips = []
        for level in self.down:
            skips.append(x)
            x = level(x)
        skips.append(x)
        x = self.body(x)
        for index in reversed(range(len(self.up))):
            x = self.up[index](x.add_(skips[index + 1]))
        restored: Tensor = self.tail(x.add_(skips[0]))
        return restored


def _modulate(block: ResidualBlock, gamma: Tensor, beta: Tensor) -> None:
    weight, bias = modulated(block.conv2, gamma, beta)
    block.conv2.weight, block.conv2.bias = nn.Parameter(weight), nn.Parameter(bias)


def load_fbcnn(source: str | Path | Mapping[str, Any], where: object = None, *, rgb: bool = False) -> FBCNN:
    """An :class:`FBCNN` of whatever sizes a checkpoint has, with its weights, in evaluation mode.

    Args:
        source: a file or state dict: the published ``fbcnn_color.pth``, an :class:`FBCNN`'s own weights, or
            a checkpoint of a corrector that was trained here or in a toolbox.
        where: what errors name, of a state dict from a file.
        rgb: whether it must be a corrector of RGB images.

    Raises:
        CheckpointError: it cannot be read, holds no whole FBCNN, or one of other images.

    >>> small = FBCNN(channels=(4, 6, 8), blocks=2, embedding_size=5)
    >>> load_fbcnn({"model": {f"network.corrector.{k}": v for k, v in small.state_dict().items()}}).settings.channels
    (4, 6, 8)
    """
    where = source if isinstance(source, (str, Path)) else where or "state dict"
    try:
        weights = checkpoints.named(checkpoints.read_state_dict(source), ("head.weight",), FBCNN.published_keys)
        network = FBCNN(**_sizes_of(weights, where))
        checkpoints.load(network, weights)
    except CheckpointError as error:
        raise CheckpointError(error.what, where=where, how=error.how) from error
    channels = network.settings.image_channels
    if rgb and channels != 3:
        raise CheckpointError(f"corrects images of {channels} channels, no RGB", where=where, how="use fbcnn_color.pth")
    if not all(torch.isfinite(value).all() for value in network.state_dict().values()):
        raise CheckpointError("holds weights that are no numbers", where=where, how="take one before training diverged")
    return network.eval()


def _sizes_of(weights: Mapping[str, Tensor], where: object) -> dict[str, Any]:
    # That no level or block is left out is for the strict loading to find.
    downs = sum(re.fullmatch(r"down\.\d+\.shrink\.weight", key) is not None for key in weights)
    blocks = sum(re.fullmatch(r"encoder\.\d+\.conv1\.weight", key) is not None for key in weights)
    try:
        head = weights["head.weight"]
        return {
            "image_channels": head.shape[1],
            "channels": (head.shape[0], *(weights[f"down.{n}.shrink.weight"].shape[0] for n in range(max(1, downs)))),
            "blocks": max(1, blocks),
            "embedding_size": weights["embedding.0.weight"].shape[0],
            "skip": "skip" in weights,
        }
    except (KeyError, IndexError) as error:
        found = f"{error} is missing" if isinstance(error, KeyError) else "shapes are others"
        raise CheckpointError(
            f"holds no FBCNN ({found})",
            where=where,
            how="give fbcnn_color.pth, or a checkpoint of a corrector trained with gaitext",
        ) from error
