"""From heatmaps to keypoints: as estimators do, and so that gradients flow back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gaitext.errors import ConfigError, ShapeError


@overload
def decode_heatmaps(heatmaps: Tensor) -> Tensor: ...
@overload
def decode_heatmaps(heatmaps: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]: ...
def decode_heatmaps(heatmaps: npt.NDArray[np.floating] | Tensor) -> npt.NDArray[np.float32] | Tensor:
    """Keypoints of heatmaps: the highest pixel, moved a quarter pixel towards its higher neighbour.

    This is how top-down estimators (SimpleBaseline, HRNet, ViTPose) decode by default. The move is
    made per axis, and only where both neighbours exist and differ. A channel whose highest value
    is not positive has no peak: it becomes (0, 0, 0), which gaitext reads as a missing joint.

    Args:
        heatmaps: [..., V, H, W], an array or a tensor.

    Returns:
        [..., V, 3], float32: x and y in heatmap pixels (integers are pixel centres), and the
        value of the peak as score. Of a tensor a tensor, computed and kept on its device, without a gradient;
        of an array an array, the same numbers. (On a CPU numpy finds the highest pixel in a fifth of torch's time.)

    Raises:
        ShapeError: fewer than three axes, or an empty map.

    >>> maps = np.zeros((1, 5, 5)); maps[0, 2, 3] = 0.8; maps[0, 2, 4] = 0.2
    >>> decode_heatmaps(maps).round(2).tolist()
    [[3.25, 2.0, 0.800000011920929]]
    """
    maps = heatmaps.detach() if isinstance(heatmaps, Tensor) else np.asarray(heatmaps)
    if maps.ndim < 3 or 0 in maps.shape[-2:]:
        raise ShapeError(f"heatmaps have shape {list(maps.shape)}", where="decode_heatmaps", how="give [..., V, H, W]")
    size = maps.shape[-2], maps.shape[-1]
    if isinstance(maps, Tensor):
        values = maps.reshape(-1, size[0] * size[1])
        points = _peaks(torch, values.argmax(-1), lambda at: values.gather(-1, at[:, None])[:, 0], size)
        return points.float().reshape(*maps.shape[:-2], 3)
    flat = maps.reshape(-1, size[0] * size[1])
    # The bits of floats above 0 are ordered as integers are, and numpy is slow with halves. Those
    # below 0 are ordered wrongly, but are no peaks.
    best = (flat.view(np.int16) if flat.dtype == np.float16 else flat).argmax(-1)
    each = np.arange(len(flat))
    found: npt.NDArray[np.float32] = _peaks(np, best, lambda at: flat[each, at], size).astype(np.float32)
    return found.reshape(*maps.shape[:-2], 3)


def _peaks(library: Any, best: Any, values: Callable[[Any], Any], size: tuple[int, int]) -> Any:
    """The rule of :func:`decode_heatmaps`, for numpy and for torch.

    Args:
        library: whichever of the two.
        best: [N], the highest pixel of each map, counted along its rows.
        values: gives the maps' values [N] at such pixels [N].
        size: height and width.

    Returns:
        [N, 3].
    """
    height, width = size
    y, x = best // width, best % width

    def at(dx: int, dy: int) -> Any:
        return values((y + dy).clip(0, height - 1) * width + (x + dx).clip(0, width - 1))

    def move(before: Any, after: Any, inside: Any) -> Any:
        # Compared, not subtracted: halves' differences would round to a tie.
        return 0.25 * (inside & (after > before)) - 0.25 * (inside & (after < before))

    across = move(at(-1, 0), at(1, 0), (x > 0) & (x < width - 1))
    down = move(at(0, -1), at(0, 1), (y > 0) & (y < height - 1))
    score = values(best)
    return library.where((score <= 0)[:, None], 0, library.stack((x + across, y + down, score), -1))


#: Of the peak's height. Sharp enough that 3,000 pixels of nothing weigh nothing beside a peak with
#: σ = 2, and soft enough that the pixels around it count.
TEMPERATURE = 0.05
#: Lower peaks are taken for this high: where there is none, noise must not look like one.
_LEAST = 0.05


def soft_argmax(heatmaps: Tensor, temperature: float = TEMPERATURE, *, window: int | None = None) -> Tensor:
    """Keypoints as the mean place under softmax(heatmap / (temperature · peak)), differentiable everywhere.

    The peak's height (at least 0.05, no gradient) makes the result independent of a heatmap's
    scale: low peaks are decoded as sharply as high ones. Of a Gaussian of σ = 2 pixels and any height
    from 0.05 on, the result is within 0.05 pixels of the true centre, 0.10 where the border cuts the
    peak. :func:`~gaitext.pose.decode_heatmaps`, which rounds, is within 0.25 and, in the outermost pixel, 0.5:
    so the two agree to 0.25 pixels and there to 0.51; with a window, which stays in the middle of such a pixel
    as decoding does (and has no gradient across the border), to 0.25 everywhere.

    With several peaks the mean lies between them, by their heights. That is what lets a loss lower
    a wrong peak and raise the right one, the more the higher the temperature.

    Args:
        heatmaps: [..., V, H, W], any float type; computed in float32.
        temperature: as a share of the peak's height.
        window: count only pixels at most so far, along each axis, from the highest one (and no
            farther than its own distance from the border, whose cut would pull otherwise): no other
            peak counts then. None counts all.

    Returns:
        [..., V, 2], float32: x and y in heatmap pixels, integers being pixel centres.

    Raises:
        ShapeError: fewer than three axes, or an empty map.
        ConfigError: a temperature that is not positive, or a negative window.

    >>> y, x = torch.meshgrid(torch.arange(64.0), torch.arange(48.0), indexing="ij")
    >>> soft_argmax(torch.exp(-((x - 20.25) ** 2 + (y - 31) ** 2) / 8)[None]).round(decimals=1)
    tensor([[20.2000, 31.0000]])
    """
    if heatmaps.ndim < 3 or 0 in heatmaps.shape[-2:]:
        raise ShapeError(f"heatmaps have shape {list(heatmaps.shape)}", where="soft_argmax", how="give [..., V, H, W]")
    if not temperature > 0 or (window is not None and window < 0):
        raise ConfigError(f"temperature {temperature:g}, window {window}", where="soft_argmax", how="both are positive")
    height, width = heatmaps.shape[-2:]
    logits = sharpened(heatmaps, temperature)
    if window is not None:
        place = heatmaps.detach().float().flatten(-2).argmax(-1, keepdim=True)
        logits = logits.masked_fill(~_near(place, height, width, window), -torch.inf)
    weights = logits.softmax(-1).unflatten(-1, (height, width))
    # The sums along one axis, then the mean along the other. Not a matrix product, which autocast
    # would take in half precision.
    x = (weights.sum(-2) * torch.arange(width, device=logits.device)).sum(-1)
    y = (weights.sum(-1) * torch.arange(height, device=logits.device)).sum(-1)
    return torch.stack((x, y), -1)


def sharpened(heatmaps: Tensor, temperature: float) -> Tensor:
    """(heatmap − peak) / (temperature · peak) of maps [..., H, W], float32 [..., H · W]: a softmax's logits.

    The peak's height, at least 0.05, has no gradient.
    """
    maps = heatmaps.float().flatten(-2)
    peak = maps.detach().amax(-1, keepdim=True)
    return (maps - peak) / (temperature * peak.clamp(min=_LEAST))


def _near(place: Tensor, height: int, width: int, window: int) -> Tensor:
    """Which pixels [..., H · W] lie in the windows around ``place`` [..., 1]."""
    pixels = torch.arange(height * width, device=place.device)
    near = torch.ones((), dtype=torch.bool, device=place.device)
    for at, here, length in ((place % width, pixels % width, width), (place // width, pixels // width, height)):
        reach = torch.minimum(at, length - 1 - at).clamp(max=window)
        near = near & ((here - at).abs() <= reach)
    return near
