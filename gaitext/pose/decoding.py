"""From heatmaps to keypoints."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gaitext.errors import ShapeError

__all__ = ["decode_heatmaps"]


def decode_heatmaps(heatmaps: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Keypoints of heatmaps: the highest pixel, moved a quarter pixel towards its higher neighbour.

    This is how top-down estimators (SimpleBaseline, HRNet, ViTPose) decode by default. The move is
    made per axis, and only where both neighbours exist and differ. A channel whose highest value
    is not positive has no peak: it becomes (0, 0, 0), which gaitext reads as a missing joint.

    Args:
        heatmaps: [..., V, H, W].

    Returns:
        [..., V, 3], float32: x and y in heatmap pixels (integers are pixel centres), and the
        value of the peak as score.

    Raises:
        ShapeError: fewer than three axes, or an empty map.

    >>> maps = np.zeros((1, 5, 5)); maps[0, 2, 3] = 0.8; maps[0, 2, 4] = 0.2
    >>> decode_heatmaps(maps).round(2).tolist()
    [[3.25, 2.0, 0.800000011920929]]
    """
    maps = np.asarray(heatmaps)
    if maps.ndim < 3 or 0 in maps.shape[-2:]:
        raise ShapeError(f"heatmaps have shape {list(maps.shape)}", where="decode_heatmaps", how="give [..., V, H, W]")
    height, width = maps.shape[-2:]
    flat = maps.reshape(-1, height * width)
    # The bits of floats above 0 are ordered as integers are, and numpy is slow with halves. Those
    # below 0 are ordered wrongly, but are no peaks.
    best = (flat.view(np.int16) if flat.dtype == np.float16 else flat).argmax(-1)
    y, x = np.divmod(best, width)
    each = np.arange(len(flat))

    def at(dx: int, dy: int) -> npt.NDArray[np.float32]:
        row, column = np.clip(y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)
        # float16 differences of neighbouring large values would round to a tie.
        return flat[each, row * width + column].astype(np.float32)

    score = at(0, 0)
    inner_x, inner_y = (x > 0) & (x < width - 1), (y > 0) & (y < height - 1)
    keypoints = np.stack(
        (
            x + 0.25 * np.sign(at(1, 0) - at(-1, 0)) * inner_x,
            y + 0.25 * np.sign(at(0, 1) - at(0, -1)) * inner_y,
            score,
        ),
        -1,
    ).astype(np.float32)
    keypoints[score <= 0] = 0
    return keypoints.reshape(*maps.shape[:-2], 3)
