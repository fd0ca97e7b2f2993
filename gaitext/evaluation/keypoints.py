"""What estimated keypoints are worth: COCO's OKS and AP, and distances."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitext.errors import DataError, ShapeError, import_extra
from gaitext.skeleton import COCO_JOINTS

Array = npt.NDArray[Any]

#: COCO's tolerance for each joint, σ, in units of the square root of the person's area.
COCO_SIGMAS = (
    *(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062),
    *(0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
)
#: OKS divides by the area of the person's segment. Where there is only a box, this share of it is
#: taken, about what persons in COCO fill of theirs; mmpose does the same for datasets without segments.
FILLED = 0.53


@dataclass(frozen=True)
class KeypointAP:
    """COCO's keypoint metrics as pycocotools gives them, in 0..1.

    Attributes:
        ap: mean over OKS thresholds 0.50, 0.55, … 0.95.
        ap50, ap75: at one threshold.
        ar: mean recall over the thresholds.
        persons: how many were evaluated.
    """

    ap: float
    ap50: float
    ap75: float
    ar: float
    persons: int


def box_areas(boxes: Array) -> Array:
    """The areas OKS divides by, of boxes [..., 4] (x, y, w, h): 0.53 · w · h, [...].

    >>> box_areas(np.array([[0, 0, 10.0, 20.0]])).round(6).tolist()
    [106.0]
    """
    boxes = np.asarray(boxes, np.float64)
    return FILLED * boxes[..., 2] * boxes[..., 3]


def joint_boxes(poses: Array, seen: Array | None = None) -> Array:
    """Boxes [..., 4] (x, y, w, h) around the joints of poses [..., 17, 2 or 3] that are seen.

    For where a person's box is not known. It is smaller than that: it ends at ankles, wrists and eyes.

    Args:
        seen: bool [..., 17]; None: all.
    """
    places = np.asarray(poses, np.float64)[..., :2]
    marked: Any = np.ones(places.shape[:-1], bool) if seen is None else np.asarray(seen, bool)
    low = np.where(marked[..., None], places, np.inf).min(-2)
    high = np.where(marked[..., None], places, -np.inf).max(-2)
    boxes: Array = np.concatenate((low, np.maximum(high - low, 0)), -1)
    return np.where(marked.any(-1)[..., None], boxes, 0.0)


def oks(predictions: Array, targets: Array, areas: Array, seen: Array | None = None) -> Array:
    """Object keypoint similarity of each pose with its own target: the mean over joints of exp(−d² / 8σ²·area).

    Written out, with COCO's k = 2σ: exp(−d² / (2 · area · k²)).

    Args:
        predictions, targets: [N, 17, 2 or 3], in the same pixels.
        areas: [N], in their squares, as of :func:`box_areas`.
        seen: bool [N, 17], joints that count; None: all.

    Returns:
        [N] in 0..1; NaN where no joint counts.
    """
    apart = joint_distances(predictions, targets, seen)
    spread = 2 * (2 * np.asarray(COCO_SIGMAS)) ** 2 * (np.asarray(areas, np.float64)[:, None] + np.spacing(1))
    return _mean(np.exp(-(apart**2) / spread))


def joint_distances(predictions: Array, targets: Array, seen: Array | None = None) -> Array:
    """Euclidean distances [..., 17] of poses [..., 17, 2 or 3]; NaN where a joint is not seen."""
    found, true = (np.asarray(poses, np.float64)[..., :2] for poses in (predictions, targets))
    if found.shape != true.shape or found.ndim < 2:
        raise ShapeError(f"predictions are {list(np.shape(predictions))}, targets {list(np.shape(targets))}")
    apart: Array = np.linalg.norm(found - true, axis=-1)
    return apart if seen is None else np.where(np.asarray(seen, bool), apart, np.nan)


def pose_distances(distances: Array) -> tuple[Array, Array]:
    """A pose's L2 distance in its two readings, of :func:`joint_distances` [..., 17].

    The artifact-correction paper's Fig. 4 does not say which it shows.

    Returns:
        The mean over its joints [...], and the norm of all its 34 numbers' differences [...], both
        over the joints that are seen; NaN where none is.
    """
    none = np.isnan(distances).all(-1)
    norms = np.sqrt(np.nansum(np.square(distances), -1))
    return _mean(distances), np.where(none, np.nan, norms)


def keypoint_ap(
    predictions: Array, targets: Array, areas: Array, seen: Array | None = None, scores: Array | None = None
) -> KeypointAP:
    """COCO's keypoint AP by pycocotools, one person an image, with COCO's σ and all areas in one class.

    Args:
        predictions: [N, 17, 3], x, y, score, or [N, 17, 2] with ``scores``.
        targets: [N, 17, 2 or 3], in the same pixels.
        areas: [N], in their squares, as of :func:`box_areas`.
        seen: bool [N, 17], joints that are annotated; None: all. Persons with none are left out.
        scores: [N], how sure each pose is; None: the mean of its joints' scores.

    Raises:
        ShapeError: other shapes.
        DataError: no person has an annotated joint.
        MissingDependencyError: pycocotools is not installed.
    """
    api = import_extra("pycocotools.coco", "coco", "COCO's keypoint AP")
    evaluator = import_extra("pycocotools.cocoeval", "coco", "COCO's keypoint AP")
    predictions, targets = np.asarray(predictions, np.float64), np.asarray(targets, np.float64)
    marked: Array = np.ones(targets.shape[:2], bool) if seen is None else np.asarray(seen, bool)
    _check(predictions, targets, marked, np.asarray(areas), scores)
    sure = predictions[..., 2].mean(-1) if scores is None else np.asarray(scores, np.float64)
    kept = np.flatnonzero(marked.any(1))
    if not len(kept):
        raise DataError("no person has a joint to compare with", where="keypoint_ap", how="check the targets' scores")
    annotations: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for number, row in enumerate(kept.tolist(), 1):
        common = {"image_id": number, "category_id": 1, "id": number}
        # Flag 2: annotated and visible. What is not annotated is (0, 0, 0).
        true = np.where(marked[row, :, None], np.concatenate((targets[row, :, :2], np.full((17, 1), 2)), 1), 0)
        area = float(areas[row])
        annotations.append(
            common
            | {"keypoints": true.ravel().tolist(), "num_keypoints": int(marked[row].sum())}
            | {"bbox": joint_boxes(targets[row], marked[row]).tolist(), "area": area, "iscrowd": 0}
        )
        ours = np.concatenate((predictions[row, :, :2], np.ones((17, 1))), 1)
        found.append(common | {"keypoints": ours.ravel().tolist(), "score": float(sure[row])})
    with contextlib.redirect_stdout(io.StringIO()):
        truth = api.COCO()
        truth.dataset = {
            "images": [{"id": annotation["image_id"]} for annotation in annotations],
            "categories": [{"id": 1, "name": "person", "keypoints": list(COCO_JOINTS)}],
            "annotations": annotations,
        }
        truth.createIndex()
        evaluation = evaluator.COCOeval(truth, truth.loadRes(found), "keypoints")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    # [threshold, recall, 1, 1, 1] and [threshold, 1, 1, 1]
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]
    return KeypointAP(
        ap=float(precision.mean()),
        ap50=float(precision[0].mean()),
        ap75=float(precision[5].mean()),
        ar=float(recall.mean()),
        persons=len(kept),
    )


def _check(predictions: Array, targets: Array, seen: Array, areas: Array, scores: Array | None) -> None:
    count = len(predictions)
    widths = (3,) if scores is None else (2, 3)
    if predictions.shape[1:] not in [(17, width) for width in widths]:
        raise ShapeError(
            f"predictions are {list(predictions.shape)}", where="keypoint_ap", how="give [N, 17, 3]: x, y, score"
        )
    shapes = {
        "targets": targets.shape in ((count, 17, 2), (count, 17, 3)),
        "seen": seen.shape == (count, 17),
        "areas": areas.shape == (count,),
        "scores": scores is None or np.shape(scores) == (count,),
    }
    wrong = [name for name, fits in shapes.items() if not fits]
    if wrong:
        raise ShapeError(f"{' and '.join(wrong)} do not fit {count} predictions", where="keypoint_ap")


def _mean(values: Array) -> Array:
    """Mean over the last axis of what is no NaN; NaN where all is."""
    count = (~np.isnan(values)).sum(-1)
    total = np.nansum(values, -1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
