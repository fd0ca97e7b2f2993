"""AP against hand-worked cases and pycocotools' own run; distances against loops."""

import contextlib
import io
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext.errors import DataError, MissingDependencyError, ShapeError
from gaitext.evaluation import (
    COCO_SIGMAS,
    box_areas,
    evaluate_pose,
    joint_boxes,
    joint_distances,
    keypoint_ap,
    oks,
    pose_distances,
)

pytest.importorskip("pycocotools")


def people(n: int, seed: int = 0, error: float = 6.0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Predictions [n, 17, 3], targets [n, 17, 2], areas [n] and joints seen [n, 17]."""
    rng = np.random.default_rng(seed)
    targets = rng.uniform(0, 200, (n, 17, 2))
    spread = rng.exponential(error, (n, 1, 1))
    predictions = np.concatenate((targets + spread * rng.standard_normal((n, 17, 2)), rng.random((n, 17, 1))), 2)
    return predictions, targets, rng.uniform(2000, 20000, n), rng.random((n, 17)) > 0.3


def with_oks(similarity: float, area: float = 5000.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A prediction of exactly this OKS and its target: each joint is as far off as its σ says."""
    rng = np.random.default_rng(seed)
    target = rng.uniform(0, 100, (17, 2))
    # exp(-d² / (8 σ² area)) = similarity
    far = np.sqrt(-8 * np.square(COCO_SIGMAS) * area * math.log(similarity))
    angle = rng.uniform(0, 2 * np.pi, 17)
    prediction = target + far[:, None] * np.stack((np.cos(angle), np.sin(angle)), 1)
    return prediction, target


def test_sigmas_are_cocos() -> None:
    from pycocotools.cocoeval import Params

    np.testing.assert_allclose(COCO_SIGMAS, Params("keypoints").kpt_oks_sigmas)


@pytest.mark.parametrize(
    ("similarity", "passed"), [(0.72, 5), (0.51, 1), (0.49, 0), (0.949, 9), (0.951, 10), (0.999, 10)]
)
def test_ap_is_the_share_of_thresholds_passed(similarity: float, passed: int) -> None:
    prediction, target = with_oks(similarity)
    found = np.concatenate((prediction, np.ones((17, 1))), 1)[None]
    assert oks(found, target[None], np.array([5000.0])) == pytest.approx([similarity])
    result = keypoint_ap(found, target[None], np.array([5000.0]))
    assert [result.ap, result.ar] == pytest.approx([passed / 10] * 2)
    assert [result.ap50, result.ap75] == pytest.approx([float(passed >= 1), float(passed >= 6)])
    # The same distances count less on a larger person.
    larger = keypoint_ap(found, target[None], np.array([50_000.0]))
    assert larger.ap == pytest.approx(sum(similarity**0.1 >= t / 100 for t in range(50, 100, 5)) / 10)


def test_a_confident_mistake_halves_the_precision() -> None:
    right, target = with_oks(0.99)
    wrong = target + 500
    found = np.stack((right, wrong))
    targets = np.stack((target, target))
    areas = np.full(2, 5000.0)
    # Recall reaches 1/2: 51 of COCO's 101 recalls (0, 0.01, … 0.5), at precision 1 or 1/2.
    sure = keypoint_ap(found, targets, areas, scores=np.array([0.9, 0.1]))
    assert sure.ap == pytest.approx(51 / 101)
    mistaken = keypoint_ap(found, targets, areas, scores=np.array([0.1, 0.9]))
    assert mistaken.ap == pytest.approx(0.5 * 51 / 101)
    assert mistaken.ar == pytest.approx(0.5)
    # Without scores of their own, poses are as sure as their joints on average.
    joint_scores = np.linspace(0, 1, 17)[None, :, None] * np.array([0.2, 1.8])[:, None, None]
    assert keypoint_ap(np.concatenate((found, joint_scores), 2), targets, areas).ap == pytest.approx(mistaken.ap)


def test_joints_that_are_not_annotated_do_not_count() -> None:
    prediction, target = with_oks(0.97)
    prediction[[0, 5, 9]] += 1000
    found = np.concatenate((prediction, np.ones((17, 1))), 1)[None]
    seen = np.ones((1, 17), bool)
    seen[0, [0, 5, 9]] = False
    area = np.array([5000.0])
    assert oks(found, target[None], area)[0] == pytest.approx(0.97 * 14 / 17)
    assert oks(found, target[None], area, seen)[0] == pytest.approx(0.97)
    assert keypoint_ap(found, target[None], area, seen).ap == pytest.approx(1)
    assert keypoint_ap(found, target[None], area).ap == pytest.approx(0.6)  # 0.799: 0.50 to 0.75
    # A person of whom nothing is known is left out, wherever the prediction is.
    twice = keypoint_ap(
        found.repeat(2, 0), target[None].repeat(2, 0), area.repeat(2), np.stack((seen[0], ~seen[0] & False))
    )
    assert twice.ap == pytest.approx(1)
    assert twice.persons == 1


def own_run(
    predictions: np.ndarray, targets: np.ndarray, areas: np.ndarray, seen: np.ndarray
) -> tuple[Any, np.ndarray]:
    """pycocotools fed by hand with its own defaults: (stats, OKS of each image)."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    annotations, results = [], []
    for i in range(len(targets)):
        keypoints: list[float] = []
        for joint in range(17):
            keypoints += [*targets[i, joint], 2] if seen[i, joint] else [0, 0, 0]
        annotations.append(
            {"id": i + 1, "image_id": i + 1, "category_id": 1, "iscrowd": 0, "area": areas[i], "bbox": [0, 0, 1, 1]}
            | {"keypoints": keypoints, "num_keypoints": int(seen[i].sum())}
        )
        flat = [v for x, y, s in predictions[i] for v in (x, y, s)]
        results.append(
            {"image_id": i + 1, "category_id": 1, "keypoints": flat, "score": float(predictions[i, :, 2].mean())}
        )
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": i + 1} for i in range(len(targets))],
            "categories": [{"id": 1, "name": "person"}],
            "annotations": annotations,
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        similar = [float(np.ravel(evaluation.ious[(i + 1, 1)])[0]) for i in range(len(targets))]
    return evaluation.stats, np.array(similar)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 30), st.integers(0, 999), st.floats(1, 30))
def test_equals_pycocotools_own_run(n: int, seed: int, error: float) -> None:
    predictions, targets, areas, seen = people(n, seed, error)
    seen[:, 0] = True
    stats, similar = own_run(predictions, targets, areas, seen)
    result = keypoint_ap(predictions, targets, areas, seen)
    assert [result.ap, result.ap50, result.ap75, result.ar] == pytest.approx([*stats[:3], stats[5]])
    np.testing.assert_allclose(oks(predictions, targets, areas, seen), similar, rtol=1e-9)


def test_distances_in_both_readings() -> None:
    predictions, targets, _, seen = people(5, 3)
    apart = joint_distances(predictions, targets, seen)
    mean, norm = pose_distances(apart)
    for n in range(5):
        lengths = [math.dist(predictions[n, v, :2], targets[n, v]) for v in range(17) if seen[n, v]]
        assert mean[n] == pytest.approx(sum(lengths) / len(lengths))
        numbers = [predictions[n, v, a] - targets[n, v, a] for v in range(17) if seen[n, v] for a in (0, 1)]
        assert norm[n] == pytest.approx(math.sqrt(sum(x * x for x in numbers)))
    full = pose_distances(joint_distances(predictions, targets))[1]
    np.testing.assert_allclose(full, np.linalg.norm((predictions[..., :2] - targets).reshape(5, 34), axis=1))
    nothing = pose_distances(np.full((1, 17), np.nan))
    assert np.isnan(nothing[0][0])
    assert np.isnan(nothing[1][0])


def test_areas_and_boxes() -> None:
    assert box_areas(np.array([3.0, 4.0, 10.0, 20.0])) == pytest.approx(0.53 * 200)
    pose = np.array([[float(v), 2.0 * v, 1.0] for v in range(17)])
    assert joint_boxes(pose).tolist() == [0, 0, 16, 32]
    seen = np.zeros(17, bool)
    assert joint_boxes(pose, seen).tolist() == [0, 0, 0, 0]
    seen[[3, 5]] = True
    assert joint_boxes(pose, seen).tolist() == [3, 6, 2, 4]


def sequences() -> dict[str, Any]:
    """Two sequences of 5 and 3 frames, the shorter one filled with NaN."""
    predictions, targets, _, seen = people(10, 7, 3.0)
    targets = np.concatenate((targets, np.where(seen, 0.9, 0.0)[..., None]), 2)
    boxes = np.concatenate((np.zeros((10, 2)), np.full((10, 2), 150.0)), 1)
    data = {"predictions": predictions, "targets": targets, "boxes": boxes}
    data = {name: array.reshape(2, 5, *array.shape[1:]) for name, array in data.items()}
    for array in data.values():
        array[1, 3:] = np.nan
    return data | {"types": ["nm", "cl"], "labels": [0, 1], "views": ["000", "000"]}


def test_evaluating_sequences(tmp_path: Path) -> None:
    data = sequences()
    before = data["predictions"].copy()
    result = evaluate_pose(data, "PsyMo", pixels="of the crop", distances=tmp_path / "d.npz", table=tmp_path / "t.csv")
    flat = {name: data[name].reshape(10, *data[name].shape[2:])[:8] for name in ("predictions", "targets", "boxes")}
    seen = flat["targets"][..., 2] > 0
    whole = keypoint_ap(flat["predictions"], flat["targets"], box_areas(flat["boxes"]), seen)
    mean, norm = pose_distances(joint_distances(flat["predictions"], flat["targets"], seen))
    scalars = {name.rpartition("/")[2]: value for name, value in result.scalars.items()}
    assert scalars["AP"] == pytest.approx(100 * whole.ap)
    assert scalars["AR"] == pytest.approx(100 * whole.ar)
    assert scalars["L2"] == pytest.approx(mean.mean())
    assert scalars["L2-norm"] == pytest.approx(norm.mean())
    assert 0 < whole.ap < 1
    precision, lengths, joints = result.tables
    assert [name for name, _ in precision.rows] == ["all", "cl", "nm"]
    nm = keypoint_ap(flat["predictions"][:5], flat["targets"][:5], box_areas(flat["boxes"][:5]), seen[:5])
    assert dict(precision.rows)["nm"][0] == pytest.approx(100 * nm.ap)
    assert dict(lengths.rows)["cl"] == pytest.approx(
        [mean[5:].mean(), np.median(mean[5:]), norm[5:].mean(), np.median(norm[5:])]
    )
    assert "of the crop" in lengths.title
    assert len(joints.rows) == 17
    assert "0.53 of the person's box" in result.protocol
    assert any("joints are not known" in note for note in result.notes)
    with np.load(tmp_path / "d.npz") as saved:
        np.testing.assert_allclose(saved["norm"], norm)
        assert saved["joints"].shape == (8, 17)
    np.testing.assert_array_equal(data["predictions"], before)
    assert result.units["scalar/test_accuracy/L2"] == " pixels"
    assert "0.53 of the person's box" in (tmp_path / "t.csv").read_text()
    # Frames without sequences are as good.
    assert evaluate_pose(flat).scalars == pytest.approx(result.scalars)


def test_without_boxes_and_with_a_higher_threshold() -> None:
    data = sequences()
    del data["boxes"]
    result = evaluate_pose(data)
    flat = data["targets"].reshape(10, 17, 3)[:8]
    seen = flat[..., 2] > 0
    expected = keypoint_ap(data["predictions"].reshape(10, 17, 3)[:8], flat, box_areas(joint_boxes(flat, seen)), seen)
    assert result.scalars["scalar/test_accuracy/AP"] == pytest.approx(100 * expected.ap)
    assert "around the true joints" in result.protocol
    with pytest.raises(DataError, match="no true joint is known"):
        evaluate_pose(data, min_score=0.95)


def test_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    predictions, targets, areas, seen = people(3)
    with pytest.raises(ShapeError, match=r"predictions are \[3, 17, 2\]"):
        keypoint_ap(predictions[..., :2], targets, areas)
    with pytest.raises(ShapeError, match="seen and areas do not fit 3"):
        keypoint_ap(predictions, targets, areas[:2], seen[:2])
    with pytest.raises(DataError, match="no person"):
        keypoint_ap(predictions, targets, areas, seen & False)
    with pytest.raises(DataError, match="holds no targets"):
        evaluate_pose({"predictions": predictions, "embeddings": predictions})
    with pytest.raises(ShapeError, match=r"boxes are \[1\]"):
        evaluate_pose({"predictions": predictions, "targets": targets, "boxes": [1]})
    lost = predictions.copy()
    lost[1, 4] = np.nan
    with pytest.raises(DataError, match="hold NaN"):
        evaluate_pose({"predictions": lost, "targets": targets})
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(MissingDependencyError, match=r"gaitext\[coco\]"):
        keypoint_ap(predictions, targets, areas)
