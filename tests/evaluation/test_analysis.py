"""Analyses: the protocols' own numbers, what is resampled, and the mistakes, against loops."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitext.errors import ConfigError, DataError
from gaitext.evaluation import Analysis, Condition, analyse
from tests.evaluation import test_protocols as protocols
from tests.evaluation.expected import plain_distances
from tests.evaluation.test_gallery_probe import people
from tests.evaluation.test_psymo import CASES
from tests.evaluation.test_reid import PROBES, made, written

Data = dict[str, Any]
PREFIX = "scalar/test_accuracy/"
FEW = {"resamples": 50}


def lacking(data: Data) -> Data:
    """Without a view of some and the probes of another."""
    return protocols._keep(data, lambda i, t, v: not (i == "001" and v == "036") and (i, t) != ("002", "nm-05"))


def same(result: Analysis, condition: Condition, names: dict[str, str]) -> None:
    for score, scalar in names.items():
        expected = result.result.scalars[f"{PREFIX}{scalar}"]
        assert condition.scores[score] == pytest.approx(expected, nan_ok=True), (condition.name, score)


@pytest.mark.parametrize("metric", ["euc", "cos"])
@pytest.mark.parametrize("change", [lambda d: d, lacking, lambda d: protocols._changed(d, lambda e: np.round(e / 9))])
def test_cross_view_numbers(change: Any, metric: str) -> None:
    data = change(protocols._casia(identities=5))
    result = analyse(data, "CASIA-B", metric, **FEW)
    assert [condition.name for condition in result.conditions] == ["NM", "BG", "CL"]
    for condition in result.conditions:
        same(result, condition, {"rank-1": f"{condition.name}@R1"})
        assert condition.chance == pytest.approx(result.result.chance[condition.name])
        assert condition.probe_views == condition.gallery_views == ["000", "036", "090"]
        assert np.isnan(np.diag(condition.matrix)).all()
        row = dict(result.result.tables[0].rows)[condition.name]
        assert np.nanmean(condition.matrix, 1) == pytest.approx(row[:3])
        assert condition.cmc[0] == pytest.approx(condition.scores["rank-1"])
        assert condition.cmc[4] == pytest.approx(condition.scores["rank-5"])
        assert len(condition.cmc) == 20
    sustech = protocols._data(["a", "b", "c"], ["00-nm", "01-nm", "02-bg-cl", "03-nt"], ["000", "090"])
    result = analyse(sustech, "SUSTech1K", metric, **FEW)
    for condition in result.conditions:
        same(result, condition, {"rank-1": f"{condition.name}@R1", "rank-5": f"{condition.name}@R5"})


@pytest.mark.parametrize("exclude", [False, True])
@pytest.mark.parametrize("gallery", ["nm", "same", "all"])
@pytest.mark.parametrize("case", CASES)
def test_psymo_numbers(case: str, gallery: str, exclude: bool) -> None:
    result = analyse(CASES[case], "PsyMo", gallery=gallery, exclude_same_walk=exclude, **FEW)
    assert result.conditions
    for condition in result.conditions:
        name = condition.name
        same(result, condition, {"rank-1": f"{name}@R1", "rank-5": f"{name}@R5", "mAP": f"{name}@mAP"})
        assert condition.chance == pytest.approx(result.result.chance[name], nan_ok=True)


def test_ccpg_numbers() -> None:
    data = protocols._keep(protocols._ccpg(), lambda i, t, v: (i, v) != ("00", "01_b") and (i, t) != ("01", "U1_D0"))
    result = analyse(data, "CCPG", **FEW)
    assert len(result.conditions) == 8
    for condition in result.conditions:
        names = {"rank-1": f"{condition.name}@R1"}
        if condition.name.endswith("-ReID"):
            names |= {"mAP": f"{condition.name}@mAP", "mINP": f"{condition.name}@mINP"}
        same(result, condition, names)


@pytest.mark.parametrize("exclude", [None, "view", ["view", "type"]])
@pytest.mark.parametrize("probe", [None, ["bag:type=bg", "side:view=1"]])
def test_own_numbers(exclude: Any, probe: list[str] | None) -> None:
    rows = [(str(i % 5), ("nm-01", "nm-02", "bg-01")[i // 5 % 3], str(i % 3)) for i in range(45)]
    data = people(rows, 2)
    for gallery in (None, "type=nm"):
        result = analyse(data, "own", gallery=gallery, probe=probe, exclude=exclude, **FEW)
        for condition in result.conditions:
            name = condition.name
            same(
                result,
                condition,
                {"rank-1": f"{name}@R1", "rank-5": f"{name}@R5", "mAP": f"{name}@mAP", "mINP": f"{name}@mINP"},
            )
            assert condition.chance == pytest.approx(result.result.chance[name])


def test_own_views_are_a_matrix() -> None:
    rows = [(str(i % 5), ("nm-01", "nm-02", "bg-01")[i // 5 % 3], str(i % 3)) for i in range(45)]
    data = people(rows, 2)
    apart = plain_distances(data["embeddings"], data["embeddings"])
    condition = analyse(data, "own", gallery="type=nm", **FEW).conditions[0]
    assert condition.probe_views == condition.gallery_views == ["0", "1", "2"]
    for (row, here), (column, there) in itertools.product(enumerate("012"), repeat=2):
        right = []
        for i in [k for k, r in enumerate(rows) if r[1] == "bg-01" and r[2] == here]:
            shown = [k for k, r in enumerate(rows) if r[1] != "bg-01" and r[2] == there]
            if any(rows[k][0] == rows[i][0] for k in shown):
                right.append(rows[min(shown, key=lambda k: apart[i, k])][0] == rows[i][0])
        assert condition.matrix[row, column] == pytest.approx(100 * np.mean(right) if right else np.nan, nan_ok=True)
    apart_views = analyse(data, "own", gallery="type=nm", exclude="view", **FEW).conditions[0]
    assert np.isnan(np.diag(apart_views.matrix)).all()


def test_list_numbers(tmp_path: Path) -> None:
    data = made()
    partition = written(tmp_path / "a.json", data, "PROBE_SET", PROBES)
    result = analyse(data, "Gait3D", partition=partition, **FEW)
    (condition,) = result.conditions
    same(result, condition, {"rank-1": "Rank-1", "rank-5": "Rank-5", "mAP": "mAP", "mINP": "mINP"})
    assert condition.cmc[9] == pytest.approx(result.result.scalars[f"{PREFIX}Rank-10"])
    assert condition.probes == len(PROBES)
    scene = {**data, "types": ["01", "02", "02", "01", "02"] * 12}
    result = analyse(scene, "GREW", **FEW)
    same(result, result.conditions[0], {"rank-1": "Rank-1", "rank-5": "Rank-5"})


def test_what_the_file_says_of_its_protocol_is_taken(tmp_path: Path) -> None:
    data = made()
    partition = written(tmp_path / "a.json", data, "PROBE_SET", PROBES)
    said = {"eval_func": "evaluate_Gait3D", "dataset": "Gait3D", "metric": "cos", "partition": str(partition)}
    about = json.loads(json.dumps({"protocol": said}))
    found = analyse({**data, "about": about}, **FEW)
    assert found.result.scalars == analyse(data, "Gait3D", "cos", partition=partition, **FEW).result.scalars
    assert "metric euc" in analyse({**data, "about": about}, metric="euc", **FEW).result.protocol
    for function, dataset in (("evaluate_Gait3D", "Gait3D-Parsing"), ("evaluate_gallery_probe", "Gait3D")):
        about["protocol"] = {"eval_func": function, "dataset": dataset}  # a dataset's name may be another's, or new
        options = {"partition": partition} if function == "evaluate_Gait3D" else {}
        own = analyse({**data, "about": about}, **options, **FEW).result.protocol
        assert own.startswith(f"{dataset}: 14 probes" if options else f"{dataset}: gallery everything")
    said = {"eval_func": "evaluate_indoor_dataset", "dataset": "CASIA-E"}
    for about, message in (({}, "does not say whose protocol"), ({"protocol": said}, "for dataset 'CASIA-E'")):
        with pytest.raises(ConfigError, match=message):
            analyse({**data, "about": about})
    with pytest.raises(ConfigError, match="no protocol for 'Gait4D'"):
        analyse(data, "Gait4D")
    with pytest.raises(ConfigError, match="has no 'gallery'"):
        analyse(data, "Gait3D", gallery="nm")
    for wrong in ({"level": 1.0}, {"resamples": 0}, {"ranks": 0}):
        with pytest.raises(ConfigError):
            analyse(data, "GREW", **wrong)
    with pytest.raises(DataError, match="0 probes"):
        analyse(data, "GREW")


def test_people_and_mistakes_by_loops() -> None:
    data = protocols._casia(identities=5)
    condition = analyse(data, "CASIA-B", **FEW).conditions[0]
    apart = plain_distances(data["embeddings"], data["embeddings"])
    rows = list(zip(data["labels"], data["types"], data["views"]))
    views = ["000", "036", "090"]
    wanted: dict[int, tuple[float, int, float, float]] = {}
    by_person: dict[str, dict[tuple[str, str], list[bool]]] = {}
    recognised: dict[int, list[bool]] = {}
    for i, (label, kind, view) in enumerate(rows):
        if kind not in ("nm-05", "nm-06"):
            continue
        for other in views:
            if other == view:
                continue
            shown = [j for j, r in enumerate(rows) if r[1] in ("nm-01", "nm-02", "nm-03", "nm-04") and r[2] == other]
            mate = min(apart[i, j] for j in shown if rows[j][0] == label)
            stranger = min((j for j in shown if rows[j][0] != label), key=lambda j: apart[i, j])
            right = bool(mate < apart[i, stranger])
            by_person.setdefault(label, {}).setdefault((view, other), []).append(right)
            recognised.setdefault(i, []).append(right)
            margin = mate - apart[i, stranger]
            if margin > 0 and margin > wanted.get(i, (0,))[0]:
                wanted[i] = (margin, stranger, apart[i, stranger], mate)
    for label, cells in by_person.items():
        means = [np.mean([np.mean(cells[view, other]) for other in views if other != view]) for view in views]
        assert condition.people[label] == pytest.approx(100 * np.mean(means))
    assert dict(zip(condition.places.tolist(), condition.recognised.tolist())) == pytest.approx(
        {i: np.mean(each) for i, each in recognised.items()}
    )
    order = sorted(wanted, key=lambda i: -wanted[i][0])[:20]
    assert [mistake.probe for mistake in condition.confusions] == order
    for mistake in condition.confusions:
        _, stranger, distance, mate = wanted[mistake.probe]
        assert mistake.gallery == stranger
        assert (mistake.distance, mistake.mate_distance) == pytest.approx((distance, mate))


def test_intervals_hold_the_score_and_come_from_people() -> None:
    data = protocols._casia(identities=12)
    found = analyse(data, "CASIA-B", level=0.9, resamples=400)
    again = analyse(data, "CASIA-B", level=0.9, resamples=400)
    wider = analyse(data, "CASIA-B", level=0.99, resamples=400)
    for one, two, three in zip(found.conditions, again.conditions, wider.conditions):
        assert one.intervals == two.intervals
        for score, (low, high) in one.intervals.items():
            assert low <= one.scores[score] <= high
            assert three.intervals[score][0] < low
            assert high < three.intervals[score][1]
    alone = protocols._keep(data, lambda i, t, v: "nm-01" <= t < "nm-05" or i == "000")
    for condition in analyse(alone, "CASIA-B", **FEW).conditions:
        assert np.isnan(list(condition.intervals.values())).all()
