"""How near estimated poses come to the true ones: Table I and Fig. 4 of the artifact-correction paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gaitext.errors import DataError, ShapeError
from gaitext.evaluation.keypoints import (
    FILLED,
    Array,
    KeypointAP,
    box_areas,
    joint_boxes,
    joint_distances,
    keypoint_ap,
    pose_distances,
)
from gaitext.evaluation.result import EvaluationResult, Table, check_table_path, write_result
from gaitext.skeleton import COCO_JOINTS
from gaitext.store import atomic_path


def evaluate_pose(
    data: dict[str, Any],
    dataset: str = "",
    min_score: float = 0.0,
    pixels: str = "",
    distances: str | Path | None = None,
    table: str | Path | None = None,
) -> EvaluationResult:
    """COCO keypoint AP and L2 distances of poses.

    OKS divides by the person's area, which is 0.53 · w · h of ``boxes``, and of the box around the
    true joints where there are none (that is smaller, and AP with it lower).

    Args:
        data: ``predictions`` [n, T, 17, 3] (x, y, score), ``targets`` [n, T, 17, 3] or [n, T, 17, 2] in the
            same pixels, and, where known, ``boxes`` [n, T, 4] (x, y, w, h) of the persons in those pixels.
            Sequences shorter than T are filled with NaN. [N, 17, …] without sequences is as good.
            ``types`` [n], where there are sequences, adds a row for each. Not changed.
        dataset: named in the result; any will do.
        min_score: true joints with a lower score, or the score 0, are not known and do not count.
        pixels: what coordinates are measured in, for the tables, such as "of the 256×192 crop".
        distances: write the distances of every pose to this ``.npz``: ``joints`` [N, 17] (NaN: not
            known), ``mean`` and ``norm`` [N], for :func:`gaitext.inspect.figures.distances_figure`.
        table: write the result to this ``.md``, ``.csv`` or ``.json``.

    Returns:
        Tables of AP and of distances, and of each joint's mean distance; scalars ``AP``, ``AP50``, ``AP75``,
        ``AR`` in percent, ``L2`` (the mean over joints) and ``L2-norm`` (of all 34 numbers) in pixels.

    Raises:
        ShapeError: other shapes.
        ConfigError: a ``table`` of another kind.
        DataError: no predictions or targets, or nothing to compare.
        MissingDependencyError: pycocotools is not installed.
    """
    check_table_path(table)
    predictions, targets, boxes, kinds = _read(data)
    frames = ~(np.isnan(predictions).all((-2, -1)) & np.isnan(targets).all((-2, -1)))
    predictions, targets, kinds = predictions[frames], targets[frames], kinds[frames]
    if np.isnan(predictions).any():
        # Left out, the hardest frames would not count; counted, pycocotools would take them for right.
        raise DataError("predictions hold NaN where there is a target", where="evaluate_pose")
    seen: Any = ~np.isnan(targets).any(-1)
    if targets.shape[-1] == 3:
        seen &= (targets[..., 2] > 0) & (targets[..., 2] >= min_score)
    if boxes is not None:
        boxes = boxes[frames]
    areas = box_areas(joint_boxes(targets, seen) if boxes is None else boxes)
    apart = joint_distances(predictions, targets, seen)
    mean, norm = pose_distances(apart)
    rows: dict[str, Array] = {"all": np.ones(len(predictions), bool)}
    names = sorted(set(kinds.tolist()))
    if len(names) > 1:
        rows |= {name: kinds == name for name in names}
    measured = {
        name: keypoint_ap(predictions[row], targets[row], areas[row], seen[row])
        for name, row in rows.items()
        if seen[row].any()
    }
    if "all" not in measured:
        raise DataError(
            f"no true joint is known: in {len(targets)} frames of type {', '.join(names) or '(none)'} none has a score "
            f"above 0 and of {min_score} or more",
            where="evaluate_pose",
            how="lower min_score, or check the targets",
        )
    if distances is not None:
        with atomic_path(distances) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, joints=apart, mean=mean, norm=norm)
    precision = [(name, [100 * v for v in (ap.ap, ap.ap50, ap.ap75, ap.ar)]) for name, ap in measured.items()]
    lengths = [(name, _lengths(mean[rows[name]], norm[rows[name]])) for name in measured]
    joints = [(name, [float(np.nanmean(apart[:, j])) if seen[:, j].any() else np.nan]) for j, name in _joints()]
    unit = f"pixels {pixels}".strip()
    tables = [
        Table("Keypoint AP (OKS, %)", ["AP", "AP50", "AP75", "AR"], precision),
        Table(
            f"L2 distance ({unit})",
            ["joints' mean", "median of it", "norm of all", "median of it"],
            lengths,
        ),
        Table(f"Mean distance of each joint ({unit})", ["mean"], joints),
    ]
    whole = measured["all"]
    scalars = {f"scalar/test_accuracy/{name}": value for name, value in _scalars(whole, lengths[0][1]).items()}
    area = f"{FILLED} of " + ("the box around the true joints" if boxes is None else "the person's box")
    result = EvaluationResult(
        f"poses{f' of {dataset}' if dataset else ''}: {whole.persons} frames; OKS with {area} as area",
        tables,
        scalars,
        notes=_notes(seen, whole),
        about={"dataset": dataset, "frames": whole.persons, "area": area, "min_score": str(min_score)},
        units={f"scalar/test_accuracy/{name}": " pixels" for name in ("L2", "L2-norm")},
    )
    if table is not None:
        write_result(result, table)
    return result


def _read(data: dict[str, Any]) -> tuple[Array, Array, Array | None, Array]:
    """Predictions, targets and boxes of frames [N, …], and the type of each frame."""
    missing = [name for name in ("predictions", "targets") if name not in data]
    if missing:
        raise DataError(
            f"holds no {' and no '.join(missing)}; there are {', '.join(sorted(map(str, data))) or 'none'}",
            where="evaluate_pose",
            how="it evaluates models that estimate poses, such as ArtifactCorrector",
        )
    predictions, targets = np.asarray(data["predictions"], np.float64), np.asarray(data["targets"], np.float64)
    boxes = None if data.get("boxes") is None else np.asarray(data["boxes"], np.float64)
    lead = predictions.shape[:-2]
    fits = len(lead) in (1, 2) and predictions.shape[-2:] == (17, 3)
    if not fits or targets.shape not in ((*lead, 17, 2), (*lead, 17, 3)):
        raise ShapeError(
            f"predictions are {list(predictions.shape)}, targets {list(targets.shape)}",
            where="evaluate_pose",
            how="give [n, T, 17, 3] both, or [N, 17, 3]",
        )
    if boxes is not None and boxes.shape != (*lead, 4):
        raise ShapeError(f"boxes are {list(boxes.shape)}", where="evaluate_pose", how=f"give {[*lead, 4]}")
    kinds = np.asarray(data.get("types", []), dtype=str)
    repeat = lead[1] if len(lead) == 2 else 1
    kinds = kinds.repeat(repeat) if len(kinds) == lead[0] else np.full(int(np.prod(lead)), "")
    flat = None if boxes is None else boxes.reshape(-1, 4)
    return predictions.reshape(-1, 17, 3), targets.reshape(-1, 17, targets.shape[-1]), flat, kinds


def _lengths(mean: Array, norm: Array) -> list[float]:
    return [float(value) for array in (mean, norm) for value in (np.nanmean(array), np.nanmedian(array))]


def _joints() -> list[tuple[int, str]]:
    return list(enumerate(COCO_JOINTS))


def _scalars(ap: KeypointAP, lengths: list[float]) -> dict[str, float]:
    precision = {name: 100 * float(getattr(ap, name.lower())) for name in ("AP", "AP50", "AP75", "AR")}
    return precision | {"L2": lengths[0], "L2-norm": lengths[2]}


def _notes(seen: Array, ap: KeypointAP) -> list[str]:
    notes = []
    if ap.persons < len(seen):
        notes.append(f"{len(seen) - ap.persons} of {len(seen)} frames have no known joint and are left out")
    hidden = int((~seen[seen.any(1)]).sum())
    if hidden:
        notes.append(f"{hidden} of {ap.persons * 17} joints are not known and do not count")
    return notes
