"""What heatmaps of crops are worth: COCO keypoint AP, PCK, errors, left-right swaps, scores."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np

from gaitext.pose import decode_heatmaps
from gaitext.skeleton import COCO_JOINTS, MIRROR_PAIRS

#: OKS divides by the segment's area, which walkers' boxes have none of: COCO persons fill about
#: this share of theirs (mmpose uses it, too, where there is only a box).
FILLED = 0.53
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
        **_average_precision(poses, joints, visibility, boxes),
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
    poses: np.ndarray, joints: np.ndarray, visibility: np.ndarray, boxes: np.ndarray
) -> dict[str, float]:
    """COCO's keypoint AP, one person an image, by pycocotools with COCO's own σ for each joint."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    flags = np.where(visibility < 0, 0, np.where(visibility > SEEN, 2, 1))
    annotations: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for i, box in enumerate(boxes):
        common = {"image_id": i + 1, "category_id": 1, "id": i + 1}
        true = np.concatenate((joints[i], flags[i, :, None]), 1) * (flags[i, :, None] > 0)
        area = float(box[2] * box[3]) * FILLED
        annotations.append(
            common
            | {"keypoints": true.ravel().tolist(), "num_keypoints": int((flags[i] > 0).sum())}
            | {"bbox": box.tolist(), "area": area, "iscrowd": 0}
        )
        found.append(common | {"keypoints": poses[i].ravel().tolist(), "score": float(poses[i, :, 2].mean())})
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": i + 1} for i in range(len(boxes))],
            "categories": [{"id": 1, "name": "person", "keypoints": list(COCO_JOINTS)}],
            "annotations": annotations,
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(found), "keypoints")
        # COCO's area classes are of whole photographs' pixels; these are crops'.
        evaluation.params.areaRng = [[0, 1e10]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]  # [IoU, recall, …], [IoU, …]
    return {
        "AP": _round(precision.mean()),
        "AP50": _round(precision[0].mean()),
        "AP75": _round(precision[5].mean()),
        "AR": _round(recall.mean()),
    }


def _round(value: Any) -> float:
    return round(float(value), 4)
