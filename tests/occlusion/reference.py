"""Occlusions pixel by pixel, written down from the paper's description; slow."""

import math

import numpy as np

from gaitext.occlusion import Occlusion


def hidden(occlusion: Occlusion, t: int, y: int, x: int, height: int, width: int) -> bool:
    """Whether pixel (x, y) of frame t is behind the occluder."""
    if occlusion.type == "none":
        return False
    if occlusion.type == "top":
        return y < round(occlusion.rows * height)
    if occlusion.type == "bottom":
        return height - 1 - y < round(occlusion.rows * height)
    if occlusion.type == "middle":
        first = round((1 - occlusion.rows) * height / 2)
        last = round((1 + occlusion.rows) * height / 2)
        return first <= y < last
    # A patch on the bottom edge, or a pole, that set out at x = 0 in the first frame.
    left = round(occlusion.speed * t * height / 64)
    right = left + round(occlusion.width * width)
    high = height if occlusion.type == "pole" else round(occlusion.height * height)
    return left <= x < right and height - 1 - y < high


def stretched(frame: np.ndarray, kept: list[int], binary: bool) -> np.ndarray:
    """The kept rows of [H, W], resized to H rows as an image is; binary at half the maximum."""
    height, width = frame.shape
    out = np.zeros((height, width))
    for y in range(height):
        at = (y + 0.5) * len(kept) / height - 0.5
        low = math.floor(at)
        share = at - low
        first, second = (kept[min(max(k, 0), len(kept) - 1)] for k in (low, low + 1))
        for x in range(width):
            out[y, x] = (1 - share) * float(frame[first, x]) + share * float(frame[second, x])
    if binary:
        out = np.where(out > float(frame.max()) / 2, float(frame.max()), 0)
    return out


def occluded(frames: np.ndarray, occlusion: Occlusion, binary: bool) -> np.ndarray:
    """Frames [T, H, W] occluded, float64."""
    _, height, width = frames.shape
    out = frames.astype(np.float64)
    for t in range(len(frames)):
        for y in range(height):
            for x in range(width):
                if hidden(occlusion, t, y, x, height, width):
                    out[t, y, x] = 0
        if occlusion.resize and occlusion.type in ("top", "bottom"):
            kept = [y for y in range(height) if not hidden(occlusion, t, y, 0, height, width)]
            if len(kept) < height:
                out[t] = stretched(frames[t], kept, binary)
    return out
