"""What a top-down pose estimator makes of a walk: crops, heatmaps and poses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gaitext.errors import ShapeError
from gaitext.geometry import apply, crop_boxes, crop_matrices, invert
from gaitext.pose import decode_heatmaps
from gaitext.store.contract import HEATMAP_SHAPE
from gaitext.walkers.settings import WalkerSettings
from gaitext.walkers.walk import Stream, Walk, walk_generator

_SIZE = HEATMAP_SHAPE[1:]
#: σ of a peak whose limb had no thickness, heatmap pixels; HRNet is trained on targets of σ = 2.
_SIGMA = 1.6
#: Heatmap pixels per stature in a crop that is 1.25 times the person's height. A constant, so
#: that neither stature nor distance shows in a peak's width.
_PER_STATURE = _SIZE[0] / 1.25
#: Peaks are cut at this many σ, as estimators' targets are: the background is exactly 0.
_REACH = 3.5
#: A missed joint's channel is empty, or holds a weak peak, about half the time each.
_WEAK = (0.05, 0.25)


@dataclass(frozen=True)
class Observation:
    """A walk as a pose estimator sees it; a leaf's sequences.

    Attributes:
        heatmaps: [T, 17, 64, 48] float16, peaks 0.3 … 1.0, background 0.
        poses: [T, 17, 3] float32: x, y in heatmap pixels, score, decoded from the heatmaps;
            (0, 0, 0) where a channel is empty.
        poses_frame: [T, 17, 3] float32: the same in frame pixels.
        crops: [T, 4] float32: x, y, w, h of the crops in frame pixels.
        peaks: [T, 17, 2] float64: where the peaks were put, heatmap pixels (before decoding).
        scores: [T, 17] float64: how high; 0 for an empty channel.
        missed: [T, 17] bool: joints that the estimator missed.
    """

    heatmaps: np.ndarray
    poses: np.ndarray
    poses_frame: np.ndarray
    crops: np.ndarray
    peaks: np.ndarray
    scores: np.ndarray
    missed: np.ndarray


def observe(walk: Walk, settings: WalkerSettings) -> Observation:
    """Observe a walk as a pose estimator would.

    Crops are the boxes × 1.25 at 3:4. Each joint's peak is put at the joint with an error (larger
    where it is hidden, partly lasting some frames, partly the whole walk), as wide as the limb is
    thick in this walk, as high as the joint is well seen. Noise comes from the walk's own
    generator, never from the identity's.

    Args:
        walk: from :func:`gaitext.walkers.make_walk`.
        settings: ``seed``, ``joint_noise`` and ``missed`` are used.
    """
    frames = len(walk)
    rng = walk_generator(Stream.OBSERVATION, settings.seed, walk.identity, walk.kind, walk.view)
    # Stored as float32: observe through what is stored, so that poses map back exactly.
    crops = crop_boxes(walk.boxes).astype(np.float32)
    to_heatmap = crop_matrices(crops, *_SIZE)
    hidden = 1 - walk.visibility

    # Estimators differ from day to day: light, compression, the walk's clothes.
    level = settings.joint_noise * walk.clothes.blur * float(np.exp(0.15 * rng.standard_normal()))
    lasting = rng.standard_normal((1, 17, 2))
    padded = rng.standard_normal((frames + 4, 17, 2))
    slow = np.stack([padded[i : i + frames] for i in range(5)]).sum(0) / np.sqrt(5)
    error = 0.5 * lasting + 0.6 * slow + 0.6 * rng.standard_normal((frames, 17, 2))
    peaks = apply(to_heatmap, walk.keypoints) + level * (1 + 2 * hidden)[..., None] * error

    confidence = 0.90 - 0.38 * hidden + 0.03 * rng.standard_normal((1, 17)) + 0.05 * rng.standard_normal((frames, 17))
    scores = np.clip(confidence, 0.3, 1.0)
    chance = np.where(walk.visibility > 0, np.minimum(settings.missed * (1 + 4 * hidden), 1.0), 1.0)
    # What is outside the frame cannot be seen; what the body hides completely can be guessed.
    guessed = (walk.visibility <= 0) & _inside(walk)
    chance = np.where(guessed, np.minimum(settings.missed * 5, 1.0), chance)
    missed = rng.random((frames, 17)) < chance
    weak = np.where(rng.random((frames, 17)) < 0.5, rng.uniform(*_WEAK, (frames, 17)), 0.0)
    astray = rng.standard_normal((frames, 17, 2)) * 4
    scores = np.where(missed, weak, scores)
    peaks = np.where(missed[..., None], peaks + astray, peaks)

    sigma = np.sqrt(_SIGMA**2 + (_PER_STATURE * walk.thickness) ** 2)
    heatmaps = render_heatmaps(peaks, scores, np.broadcast_to(sigma, (frames, 17)))
    poses = decode_heatmaps(heatmaps)
    poses_frame = poses.copy()
    poses_frame[..., :2] = apply(invert(to_heatmap), poses[..., :2].astype(np.float64))
    poses_frame[poses[..., 2] <= 0] = 0
    return Observation(heatmaps, poses, poses_frame, crops, peaks, scores, missed)


def _inside(walk: Walk) -> np.ndarray:
    x, y = walk.keypoints[..., 0], walk.keypoints[..., 1]
    return (x > -0.5) & (x < walk.camera.width - 0.5) & (y > -0.5) & (y < walk.camera.height - 0.5)


def render_heatmaps(peaks: np.ndarray, scores: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Draw Gaussian peaks, cut to 0 beyond 3.5 σ in x or y: [T, J, 64, 48] float16.

    A Gaussian is the outer product of its two profiles, so only (64 + 48) exponentials a joint are computed. Peaks
    [T, J, 2] are x, y in heatmap pixels; scores [T, J] their heights, 0 leaving a channel empty; sigma [T, J] pixels.
    Raises ShapeError where they do not fit each other.
    """
    if peaks.shape != (*scores.shape, 2) or sigma.shape != scores.shape:
        raise ShapeError(
            f"peaks {peaks.shape}, scores {scores.shape}, sigma {sigma.shape}",
            where="render_heatmaps",
            how="give [T, J, 2], [T, J] and [T, J]",
        )
    profiles = []
    for axis, size in ((1, _SIZE[0]), (0, _SIZE[1])):
        away = (np.arange(size) - peaks[..., axis, None]) / sigma[..., None]
        profiles.append(np.where(np.abs(away) <= _REACH, np.exp(-0.5 * away**2), 0.0).astype(np.float32))
    rows = profiles[0] * scores[..., None].astype(np.float32)
    heatmaps = np.empty((*scores.shape, *_SIZE), dtype=np.float16)
    # A frame at a time stays in the cache.
    for frame in range(len(heatmaps)):
        heatmaps[frame] = rows[frame, :, :, None] * profiles[1][frame, :, None, :]
    return heatmaps
