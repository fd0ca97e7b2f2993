"""Numbers of each identity, against loops, and their means against the protocols."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gaitext.evaluation import by_identity, evaluate_CCPG, evaluate_indoor_dataset, evaluate_PsyMo

PREFIX = "scalar/test_accuracy/"


def made(types: list[str], views: list[str], people: int = 6, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(people, 8, 2))
    rows = [(p, t, v) for p in range(people) for t in types for v in views]
    embeddings = np.stack([centres[p] + 1.3 * rng.normal(size=(8, 2)) for p, _, _ in rows]).astype(np.float32)
    labels, kinds, angles = (list(x) for x in zip(*rows))
    return {"embeddings": embeddings, "labels": [f"{p:03d}" for p in labels], "types": kinds, "views": angles}


def distance(a: Any, b: Any) -> float:
    """Mean over parts, which the protocols go by; not that of all numbers as one."""
    return float(np.mean([np.linalg.norm(a[:, part] - b[:, part]) for part in (0, 1)]))


CASIA = ["nm-01", "nm-02", "nm-05", "nm-06", "bg-01", "cl-01"]


def test_cross_view_rank1_of_each_identity_by_loops() -> None:
    data = made(CASIA, ["000", "090", "126"])
    found = by_identity(data, "CASIA-B")[f"{PREFIX}NM@R1"]
    items = list(zip(data["labels"], data["types"], data["views"]))
    for person in sorted(set(data["labels"])):
        views = []
        for view in ("000", "090", "126"):
            cells = []
            for other in {"000", "090", "126"} - {view}:
                shown = [i for i, (_, t, v) in enumerate(items) if t in ("nm-01", "nm-02") and v == other]
                hits = []
                for i, (label, kind, angle) in enumerate(items):
                    if label == person and kind in ("nm-05", "nm-06") and angle == view:
                        apart = [distance(data["embeddings"][i], data["embeddings"][j]) for j in shown]
                        hits.append(items[shown[int(np.argmin(apart))]][0] == person)
                cells.append(np.mean(hits))
            views.append(np.mean(cells))
        assert found[person] == pytest.approx(100 * np.mean(views)), person


@pytest.mark.parametrize(
    ("dataset", "types", "views", "whole"),
    [
        ("CASIA-B", CASIA, ["000", "090", "126"], lambda d: evaluate_indoor_dataset(d, "CASIA-B")),
        ("OUMVLP", ["00", "01"], ["000", "090"], lambda d: evaluate_indoor_dataset(d, "OUMVLP")),
        ("PsyMo", ["nm-01", "nm-02", "bg", "cl", "txt"], ["000", "045"], lambda d: evaluate_PsyMo(d)),
        ("CCPG", ["U0_D0", "U0_D0_BG", "U1_D1", "U1_D0", "U3_D3", "U0_D3"], ["0_0", "1_0", "2_0"], evaluate_CCPG),
    ],
)
def test_their_mean_is_the_protocols_number(dataset: str, types: list[str], views: list[str], whole: Any) -> None:
    data = made(types, views)
    scalars = whole(data).scalars
    people = by_identity(data, dataset)
    checked = 0
    for name, of in people.items():
        if np.isnan(scalars[name]):
            assert all(np.isnan(value) for value in of.values())
            continue
        assert sorted(of) == sorted(set(data["labels"])), name
        assert np.mean(list(of.values())) == pytest.approx(scalars[name]), name
        checked += 1
    assert checked >= 1
    assert any(0 < v < 100 for of in people.values() for v in of.values())  # not trivially all or nothing


def test_protocols_whose_probes_are_gallery_too_have_none() -> None:
    data = made(["nm-01", "nm-02", "bg"], ["000", "045"])
    assert by_identity(data, "PsyMo", gallery="all") == {}
    assert by_identity(data, "Gait3D") == {}
