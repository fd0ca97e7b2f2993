"""What heatmaps of crops are worth: COCO keypoint AP, PCK, errors, left-right swaps, scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from gaitext.evaluation import box_areas, keypoint_ap
from gaitext.pose import decode_heatmaps
from gaitext.skeleton import COCO_JOINTS, MIRROR_PAIRS

#: A joint is seen when its visibility is above.
SEEN = 0.5


def measure(
    heatmaps: np.ndarray, joints: np.ndarray, visibility: np.ndarray, boxes: np.ndarray
) -> dict[str, float | dict[str, float]]:
    """Compare heatmaps [N, 17, 64, 48] with joints [N, 17, 2], all in heatmap pixels.

    Returns:
        AP, AP50, AP75 and AR over OKS, all joints inside the frame counting; and of joints that are
        seen: PCK within a fifth of the torso, mean and median error, score, the score of hidden
        joints, the share of frames an extraction with its default threshold would keep, and the
        share of swapped pairs among those at least 3 pixels apart.
    """
    poses = decode_heatmaps(heatmaps)
    error = np.linalg.norm(poses[..., :2] - joints, axis=-1)
    seen, hidden = visibility > SEEN, (visibility >= 0) & (visibility <= SEEN)
    torso = np.linalg.norm(joints[:, (5, 6), :].mean(1) - joints[:, (11, 12), :].mean(1), axis=-1)
    scores = poses[..., 2]
    return {
        "crops": len(joints),
        # All joints inside the frame count.
        **_average_precision(poses, joints, visibility >= 0, boxes),
        "pck": _round((error < 0.2 * torso[:, None])[seen].mean()),
        "error": _round(error[seen].mean()),
        "error_median": _round(np.median(error[seen])),
        "error_hidden": _round(error[hidden].mean()),
        "error_by_joint": {name: _round(error[seen[:, j], j].mean()) for j, name in enumerate(COCO_JOINTS)},
        "swapped": _round(_swapped(poses, joints, seen)),
        "score_seen": _round(scores[seen].mean()),
        "score_hidden": _round(scores[hidden].mean()),
        "score_outside": _round(scores[visibility < 0].mean()) if (visibility < 0).any() else 0.0,
        "score_frame": _round(scores.mean()),
        "kept": _round((scores.mean(1) >= 0.4).mean()),
    }


def _swapped(poses: np.ndarray, joints: np.ndarray, seen: np.ndarray) -> float:
    """Share of pairs, both seen and apart, of which each is put nearer to the other's place."""
    swapped = counted = 0
    for left, right in MIRROR_PAIRS[2:]:  # the face's points lie too close together
        apart = np.linalg.norm(joints[:, left] - joints[:, right], axis=-1) > 3
        pair = apart & seen[:, left] & seen[:, right]
        found, true = poses[pair][:, (left, right), :2], joints[pair][:, (left, right)]
        straight = np.linalg.norm(found - true, axis=-1)
        crossed = np.linalg.norm(found - true[:, ::-1], axis=-1)
        swapped += int((crossed < straight).all(1).sum())
        counted += int(pair.sum())
    return swapped / max(counted, 1)


def _average_precision(
    poses: np.ndarray, joints: np.ndarray, inside: np.ndarray, boxes: np.ndarray
) -> dict[str, float]:
    result = keypoint_ap(poses, joints, box_areas(boxes), inside)
    return {name: _round(getattr(result, name.lower())) for name in ("AP", "AP50", "AP75", "AR")}


def _round(value: Any) -> float:
    return round(float(value), 4)
