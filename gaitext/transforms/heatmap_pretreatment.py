"""Heatmaps centred and resized as silhouettes are: the pretreatment that GaitHeat does without (§3.2)."""

from __future__ import annotations

import numpy as np

from gaitext.errors import ConfigError, DataError
from gaitext.transforms.base import Array, Transform, checked

__all__ = ["HeatmapPretreatment", "fit_person"]


class HeatmapPretreatment(Transform):
    """Cuts, resizes and centres the person in heatmap space: [T, 17, H, W] -> [T, 17, height, width], float32.

    What GaitHeat replaces by pretreatment in RGB space, to compare with: it costs the summary's
    ablation 2 to 3 points. See :func:`fit_person`.

    Args:
        threshold: what counts as the person, as a share of the frame's own peak.
        height: of the maps made; the person's height in all of them.
        width: of the maps made.

    Raises:
        ConfigError: an argument is out of range.
        DataError (at call): wrong shape, no frame, no pixel, NaN.
    """

    def __init__(self, threshold: float = 0.1, height: int = 64, width: int = 48) -> None:
        if not 0 <= threshold < 1:
            raise ConfigError(
                f"threshold is {threshold}", where="HeatmapPretreatment.threshold", how="give 0 or more, less than 1"
            )
        for name, length in (("height", height), ("width", width)):
            if not isinstance(length, int) or length < 1:
                raise ConfigError(
                    f"{name} is {length}", where=f"HeatmapPretreatment.{name}", how="give whole pixels, 1 or more"
                )
        self.threshold = float(threshold)
        self.height = height
        self.width = width

    def __call__(self, sequence: Array) -> Array:
        heatmaps = checked(sequence, (17, None, None), where="HeatmapPretreatment", what="heatmaps")
        if 0 in heatmaps.shape[2:]:
            raise DataError(f"heatmaps of shape {heatmaps.shape} have no pixels", where="HeatmapPretreatment")
        return fit_person(heatmaps, (self.height, self.width), self.threshold)


def fit_person(heatmaps: Array, size: tuple[int, int] = (64, 48), threshold: float = 0.1) -> Array:
    """Let every frame's person fill the map's height, in its middle: [T, V, H, W] -> [T, V, *size], float32.

    The person is where the maximum over the channels exceeds ``threshold`` times its own peak. All
    channels alike are cut to the person's first and last row, resized (bilinear, edges on edges,
    by the one factor that makes the cut as high as the map), moved sideways by whole pixels so
    that the person's centre of mass is at most half a pixel from the middle, and cut or padded
    with zeros to the width. A frame without a value above 0 stays as it is; if the size changes,
    it becomes zero.
    """
    maps = np.asarray(heatmaps, np.float32)
    merged = maps.max(1)
    peaks = merged.max((1, 2))
    seen = peaks > 0
    fitted = np.zeros((*maps.shape[:2], *size), np.float32)
    if maps.shape[2:] == size:
        fitted[~seen] = maps[~seen]
    across, down = _weights(merged[seen], peaks[seen], size, threshold)
    # A frame at a time stays in the cache.
    for frame, rows, columns in zip(np.flatnonzero(seen), down, across):
        np.matmul(rows @ maps[frame], columns, out=fitted[frame])
    return fitted


def _weights(merged: Array, peaks: Array, size: tuple[int, int], threshold: float) -> tuple[Array, Array]:
    """How much of each column goes into each new one [T, W, width], and of the rows [T, height, H]."""
    height, width = merged.shape[1:]
    person = merged > np.float32(threshold) * peaks[:, None, None]
    rows = person.any(2)
    top, bottom = rows.argmax(1), height - 1 - rows[:, ::-1].argmax(1)
    factor = (size[0] / (bottom - top + 1))[:, None]
    y = top[:, None] + (np.arange(size[0]) + 0.5) / factor - 0.5
    y = np.clip(y, top[:, None], bottom[:, None])

    mass = np.where(person, merged, 0).sum(1, dtype=np.float64)
    # Counted from the middles of both maps, so that a mirrored frame gives the mirrored map.
    middle = (width - 1) / 2
    centre = (mass * (np.arange(width) - middle)).sum(1, keepdims=True) / mass.sum(1, keepdims=True)
    away = (np.arange(size[1]) - (size[1] - 1) / 2 + np.rint(centre * factor)) / factor
    x = np.clip(middle + away, 0, width - 1)
    across = _linear(x, width) * (np.abs(away) <= width / 2)[..., None]
    return across.astype(np.float32).transpose(0, 2, 1), _linear(y, height).astype(np.float32)


def _linear(places: Array, length: int) -> Array:
    """Weights of linear interpolation at places [T, N] among ``length`` pixels: [T, N, length]."""
    return np.clip(1 - np.abs(places[..., None] - np.arange(length)), 0, None)
