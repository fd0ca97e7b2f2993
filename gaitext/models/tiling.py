"""Networks from image to image on images too large for memory: overlapping tiles, blended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gaitext.errors import ConfigError


@dataclass(frozen=True)
class Tiles:
    """How large images are cut.

    Where two tiles overlap, one fades into the other over the middle third; nearer to its own
    edge than a third of the overlap, where it lacks its surroundings, a tile does not count. From
    an overlap of three times the network's receptive radius on, the result is that of the whole
    image; with less it differs near the seams by what the network takes from that far.

    Attributes:
        size: height and width of a tile, pixels.
        overlap: by how much neighbouring tiles overlap at least, pixels.
    """

    size: int = 512
    overlap: int = 96

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.size:
            raise ConfigError(
                f"tiles of {self.size} pixels cannot overlap by {self.overlap}",
                where="tiles",
                how="give an overlap from 0 to less than the size",
            )


def tiled(
    function: Callable[[Tensor], Tensor],
    images: Tensor,
    tiles: Tiles,
    *,
    multiple: int = 1,
    batch_size: int | None = None,
) -> Tensor:
    """Apply ``function`` tile by tile and blend.

    Args:
        function: of [n, C, h, w], keeping h and w; it need not know how large the image is.
        images: [N, C, H, W], H and W multiples of ``multiple``.
        tiles: their size and overlap.
        multiple: tiles begin and end at multiples of this, as the network's strides need.
        batch_size: tiles given to ``function`` at a time; None gives those of an image all at once.

    Returns:
        What ``function`` gives for the images, [N, C', H, W].

    Raises:
        ConfigError: tiles are too small for ``multiple``.
    """
    size = tiles.size - tiles.size % multiple
    step = (size - tiles.overlap) // multiple * multiple
    if step < 1:
        raise ConfigError(
            f"tiles of {tiles.size} pixels that overlap by {tiles.overlap} do not get on in steps of {multiple}",
            where="tiles",
            how=f"let the size be larger than the overlap by at least {multiple}",
        )
    rows, columns = (_starts(length, size, step) for length in images.shape[-2:])
    places = [(y, x) for y in rows for x in columns]
    if len(places) == 1:
        return batched(function, images, batch_size)
    blended: Tensor | None = None
    total = images.new_zeros(images.shape[-2:])
    for index in range(len(images)):
        for first in range(0, len(places), batch_size or len(places)):
            here = places[first : first + (batch_size or len(places))]
            cut = torch.stack([images[index, :, y : y + size, x : x + size] for y, x in here])
            for (y, x), tile in zip(here, function(cut)):
                weight = _weight(images, (y, x), tile, size, tiles.overlap)
                if blended is None:
                    blended = tile.new_zeros(len(images), len(tile), *images.shape[-2:])
                blended[index, :, y : y + size, x : x + size] += tile * weight.to(tile)
                if index == 0:
                    total[y : y + size, x : x + size] += weight
    assert blended is not None
    return blended.div_(total.to(blended))


def batched(function: Callable[[Tensor], Tensor], images: Tensor, batch_size: int | None) -> Tensor:
    """Apply ``function`` to ``batch_size`` images at a time; None: to all."""
    if batch_size is None or len(images) <= batch_size:
        return function(images)
    return torch.cat([function(part) for part in images.split(batch_size)])


def _starts(length: int, size: int, step: int) -> list[int]:
    """Where tiles begin along an axis; the last one is moved back to end with the image."""
    if length <= size:
        return [0]
    return [*range(0, length - size, step), length - size]


def _weight(images: Tensor, start: tuple[int, int], tile: Tensor, size: int, overlap: int) -> Tensor:
    """How much each pixel of a tile counts, [h, w]."""
    along = [
        _ramp(length, begin > 0, begin + size < whole, overlap).to(images.device)
        for length, begin, whole in zip(tile.shape[-2:], start, images.shape[-2:])
    ]
    return along[0][:, None] * along[1]


def _ramp(length: int, before: bool, after: bool, overlap: int) -> Tensor:
    """Along an axis: nothing for a third of the overlap from an inner edge, rising over the second third."""
    none = overlap // 3
    rising = overlap - 2 * none
    distance = torch.arange(length) + 0.5 - none
    weight = torch.ones(length)
    if rising:
        ramp = (distance / rising).clamp(0, 1)
        weight = weight * (ramp if before else 1) * (ramp.flip(0) if after else 1)
    return weight
