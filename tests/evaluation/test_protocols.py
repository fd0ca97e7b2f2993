"""Protocols and metrics against slow loops and OpenGait's evaluator."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from gaitext.errors import ConfigError, DataError, ShapeError
from gaitext.evaluation import (
    PROTOCOLS,
    chance_rank1,
    distances,
    evaluate_CCPG,
    evaluate_indoor_dataset,
    rank,
)
from gaitext.evaluation.cross_view import excluding_identical, mean, missing
from tests.evaluation.toolbox import TOOLBOXES, functions

Data = dict[str, Any]


def _data(labels: list[str], types: list[str], views: list[str], seed: int = 0, noise: float = 3.0) -> Data:
    """Every combination, embedded near its identity."""
    generator = np.random.default_rng(seed)
    rows = [(i, t, v) for i in labels for t in types for v in views]
    centre = {i: generator.normal(size=(6, 3)) for i in labels}
    embeddings = np.stack([centre[i] + noise * generator.normal(size=(6, 3)) for i, _, _ in rows]).astype(np.float32)
    return {
        "embeddings": embeddings,
        "labels": [r[0] for r in rows],
        "types": [r[1] for r in rows],
        "views": [r[2] for r in rows],
    }


def _casia(seed: int = 0, identities: int = 6) -> Data:
    types = [f"nm-{i:02d}" for i in range(1, 7)] + ["bg-01", "bg-02", "cl-01", "cl-02"]
    return _data([f"{i:03d}" for i in range(identities)], types, ["000", "036", "090"], seed)


def _keep(data: Data, keep: Any) -> Data:
    chosen = [i for i in range(len(data["labels"])) if keep(data["labels"][i], data["types"][i], data["views"][i])]
    return {key: value[chosen] if key == "embeddings" else [value[i] for i in chosen] for key, value in data.items()}


def _slow_distance(a: Any, b: Any, metric: str) -> float:
    total = 0.0
    for part in range(a.shape[1]):
        x, y = a[:, part].astype(float), b[:, part].astype(float)
        if metric == "euc":
            total += math.sqrt(sum((p - q) ** 2 for p, q in zip(x, y)))
        else:
            total += 1 - float(x @ y) / math.sqrt(float(x @ x) * float(y @ y))
    return total / a.shape[1]


@pytest.mark.parametrize("metric", ["euc", "cos"])
def test_distances_by_hand(metric: str) -> None:
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(3, 5, 2)), generator.normal(size=(4, 5, 2))
    expected = [[_slow_distance(a, b, metric) for b in y] for a in x]
    np.testing.assert_allclose(distances(x, y, metric), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(
        distances(x[:, :, 0], y[:, :, :1], metric), distances(x[:, :, :1], y[:, :, 0], metric)
    )


def test_wrong_distances() -> None:
    with pytest.raises(ConfigError, match="euc or cos"):
        distances(np.zeros((1, 2)), np.zeros((1, 2)), "l2")
    with pytest.raises(ShapeError):
        distances(np.zeros((1, 2)), np.zeros((1, 3)))


def _slow_cross_view(data: Data, probes: tuple[str, ...], gallery: tuple[str, ...]) -> dict[str, float]:
    n = len(data["labels"])
    views = sorted(set(data["views"]))
    result = {}
    for view in views:
        cells = []
        for other in views:
            if other == view:
                continue
            hits = []
            for i in range(n):
                if data["types"][i] not in probes or data["views"][i] != view:
                    continue
                there = [j for j in range(n) if data["types"][j] in gallery and data["views"][j] == other]
                best = min(there, key=lambda j: _slow_distance(data["embeddings"][i], data["embeddings"][j], "euc"))
                hits.append(data["labels"][best] == data["labels"][i])
            cells.append(sum(hits) / len(hits))
        result[view] = 100 * sum(cells) / len(cells)
    return result


def test_casia_b_by_hand() -> None:
    data = _casia(identities=3)
    result = evaluate_indoor_dataset(data, "CASIA-B")
    for condition, probes in PROTOCOLS["CASIA-B"].probes.items():
        slow = _slow_cross_view(data, probes, PROTOCOLS["CASIA-B"].gallery)
        row = dict(result.tables[0].rows)[condition]
        assert row[:3] == pytest.approx(list(slow.values()))
        assert row[3] == pytest.approx(sum(slow.values()) / 3)
        assert result.scalars[f"scalar/test_accuracy/{condition}@R1"] == row[3]
        assert result.chance[condition] == pytest.approx(100 / 3)
    assert result.notes == []


def test_what_is_missing_is_said_and_never_zero() -> None:
    data = _keep(_casia(), lambda i, t, v: t != "cl-01" and t != "cl-02" and not (t.startswith("bg") and v == "036"))
    result = evaluate_indoor_dataset(data, "CASIA-B")
    rows = dict(result.tables[0].rows)
    assert all(math.isnan(x) for x in rows["CL"])
    assert math.isnan(rows["BG"][1])
    assert rows["BG"][3] == pytest.approx((rows["BG"][0] + rows["BG"][2]) / 2)
    assert any(note.startswith("CL: there are no probes") for note in result.notes)
    assert any("036→000" in note for note in result.notes)
    assert "| CL | – |" in str(result)
    lonely = _keep(_casia(), lambda i, t, v: not (i == "000" and t.startswith("nm-0") and t < "nm-05"))
    assert any("4 of" in n or "no match" in n for n in evaluate_indoor_dataset(lonely, "CASIA-B").notes)


@pytest.mark.parametrize(
    ("keep", "named"),
    [
        (lambda i, t, v: v == "000", "two views"),
        (lambda i, t, v: t > "nm-04" or t < "nm", "gallery is empty"),
        (
            lambda i, t, v: t in ("nm-01", "nm-02"),
            "of type nm-05, .* or cl-02, .* nm-03 or nm-04; there are nm-01, nm-02",
        ),
        (lambda i, t, v: False, "cannot evaluate"),
    ],
)
def test_unusable_test_sets(keep: Any, named: str) -> None:
    with pytest.raises(DataError, match=named):
        evaluate_indoor_dataset(_keep(_casia(), keep), "CASIA-B")


def test_nan_embeddings_are_refused_by_name() -> None:
    data = _casia()
    data["embeddings"][7, 0, 0] = np.nan
    with pytest.raises(DataError, match="000/nm-03/036"):
        evaluate_indoor_dataset(data, "CASIA-B")


def test_unknown_datasets_name_the_nearest() -> None:
    with pytest.raises(ConfigError, match="CASIA-B"):
        evaluate_indoor_dataset(_casia(), "CASIAB")
    with pytest.raises(ConfigError, match="CCPG"):
        evaluate_CCPG(_ccpg(), "CASIA-B")


def test_sustech_matches_parts_of_names() -> None:
    types = ["00-nm", "01-nm", "02-bg-cl", "03-nt"]
    result = evaluate_indoor_dataset(_data(["a", "b", "c"], types, ["000", "090"], noise=0.01), "SUSTech1K")
    row = {name: values[-2] for name, values in result.tables[0].rows}
    assert row["Bag"] == row["Clothing"] == row["Night"] == row["Overall"] == 100
    assert math.isnan(row["Umbrella"])
    assert result.scalars["scalar/test_accuracy/Bag@R5"] == 100


def test_chance_is_what_random_embeddings_reach() -> None:
    labels = np.array(["a"] * 3 + ["b"])
    assert chance_rank1(np.array(["a", "b", "c"]), labels) == pytest.approx(100 * (0.75 + 0.25 + 0) / 3)


def _slow_ranking(apart: Any, probes: Any, gallery: Any, keep: Any) -> tuple[list[float], list[float], list[int]]:
    precisions, penalties, firsts = [], [], []
    for i in range(len(probes)):
        order = [j for j in sorted(range(len(gallery)), key=lambda j: apart[i, j]) if keep[i, j]]
        hits = [rank_ + 1 for rank_, j in enumerate(order) if gallery[j] == probes[i]]
        if hits:
            precisions.append(sum((k + 1) / r for k, r in enumerate(hits)) / len(hits))
            penalties.append(len(hits) / hits[-1])
            firsts.append(hits[0])
    return precisions, penalties, firsts


@pytest.mark.parametrize("rows", [3, 512])
def test_ranking_by_hand(rows: int) -> None:
    generator = np.random.default_rng(0)
    apart = generator.random((10, 15))
    probes, gallery = generator.integers(0, 5, 10).astype(str), generator.integers(0, 4, 15).astype(str)
    keep = generator.random((10, 15)) < 0.7
    ranking = rank(apart, probes, gallery, keep, rows=rows)
    precisions, penalties, firsts = _slow_ranking(apart, probes, gallery, keep)
    np.testing.assert_allclose(ranking.precision, precisions)
    np.testing.assert_allclose(ranking.penalty, penalties)
    np.testing.assert_allclose(ranking.cmc, [np.mean([f <= k for f in firsts]) for k in range(1, 16)])
    assert ranking.valid.sum() == len(firsts)
    with pytest.raises(DataError, match="no probe's identity"):
        rank(apart, np.full(10, "x"), gallery)


def _ccpg(seed: int = 0) -> Data:
    types = ["U0_D0", "U0_D0_BG", "U0_D3", "U1_D0", "U1_D1", "U2_D2", "U3_D3"]
    return _data([f"{i:02d}" for i in range(5)], types, ["00_a", "01_b", "02_c"], seed)


def test_ccpg_leaves_its_data_alone_and_notes_what_is_missing() -> None:
    data = _ccpg()
    evaluate_CCPG(data)
    assert data["views"][0] == "00_a"
    result = evaluate_CCPG(_keep(data, lambda i, t, v: t != "U3_D3"))
    assert math.isnan(dict(result.tables[0].rows)["UP"][0])
    assert any(note.startswith("UP: 0 probes") for note in result.notes)
    single = evaluate_CCPG(_keep(data, lambda i, t, v: v == "00_a" or i == "00"))
    assert any("no match from another camera" in note for note in single.notes)


@pytest.mark.parametrize(
    ("keep", "named"),
    [
        (lambda i, t, v: v == "00_a", r"all sequences are of one camera \(00\)"),
        (lambda i, t, v: t == "U0_D0", "CL looks for U0_D0_BG or U0_D0 in U1_D1.*there are the types U0_D0"),
        (lambda i, t, v: (t[:2] == "U0") == (i < "02"), "no probe has a match from another camera"),
    ],
)
def test_ccpg_says_what_is_missing(keep: Any, named: str) -> None:
    data = _keep(_ccpg(), lambda i, t, v: t in ("U0_D0", "U1_D1") and keep(i, t, v))
    with pytest.raises(DataError, match=named):
        evaluate_CCPG(data)


@pytest.mark.parametrize(
    ("dataset", "looked", "types"),
    [
        ("OUMVLP", "of type 00, the gallery of type 01; there are 01", ["01"]),
        ("SUSTech1K", "any that contains 01-nm, bg, .* any that contains 00-nm; there are 00-nm", ["00-nm"]),
    ],
)
def test_what_was_looked_for_and_what_there_is(dataset: str, looked: str, types: list[str]) -> None:
    with pytest.raises(DataError, match=looked):
        evaluate_indoor_dataset(_data(["a", "b"], types, ["000", "090"]), dataset)


def _evaluated(data: Data, dataset: str, metric: str = "euc") -> Any:
    return evaluate_CCPG(data, metric=metric) if dataset == "CCPG" else evaluate_indoor_dataset(data, dataset, metric)


def _changed(data: Data, change: Any) -> Data:
    return {**data, "embeddings": change(np.asarray(data["embeddings"], np.float64))}


SETS = {"CASIA-B": lambda: _casia(identities=5), "CCPG": lambda: _ccpg(3)}


@pytest.mark.parametrize("dataset", SETS)
@pytest.mark.parametrize(
    "change",
    [
        lambda e: (e * 1e19).astype(np.float32),
        lambda e: (e * 1e-25).astype(np.float32),
        lambda e: e * 1e300,
        lambda e: e * 1e-300,
        lambda e: e + 1e4,
        lambda e: e + 1e9 * np.arange(1, 19).reshape(6, 3),
        lambda e: -3 * e,
    ],
    ids=["large", "small", "huge", "tiny", "shifted", "far", "turned"],
)
def test_offset_and_unit_do_not_matter(dataset: str, change: Any) -> None:
    data = SETS[dataset]()
    found = _evaluated(_changed(data, change), dataset)
    assert found.scalars == pytest.approx(_evaluated(data, dataset).scalars, nan_ok=True)
    assert found.notes == []


@pytest.mark.parametrize("dataset", SETS)
@pytest.mark.parametrize("metric", ["euc", "cos"])
@pytest.mark.parametrize("levels", [1.5, 9.0, None])
def test_no_order_of_files_wins_a_tie(dataset: str, metric: str, levels: float | None) -> None:
    data = _changed(SETS[dataset](), lambda e: e if levels is None else np.round(e / levels))
    before = _evaluated(data, dataset, metric)
    assert any(" probes tie" in note for note in before.notes) == (levels == 9.0)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(data["labels"]))
        shuffled = {
            key: value[order] if key == "embeddings" else [value[i] for i in order] for key, value in data.items()
        }
        after = _evaluated(shuffled, dataset, metric)
        assert after.scalars == pytest.approx(before.scalars, nan_ok=True)
        assert after.notes == before.notes


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("metric", ["euc", "cos"])
@pytest.mark.parametrize("dataset", SETS)
def test_collapsed_embeddings_are_worth_chance(dataset: str, metric: str, dtype: Any) -> None:
    data = SETS[dataset]()
    data["embeddings"] = np.full(data["embeddings"].shape, 3.7, dtype)
    found = _evaluated(data, dataset, metric)
    for condition, chance in found.chance.items():
        assert found.scalars[f"scalar/test_accuracy/{condition}@R1"] == pytest.approx(chance)
    assert found.chance == pytest.approx(dict.fromkeys(found.chance, 20))
    assert "collapsed" in found.notes[0]
    assert any(" of " in note and " probes tie" in note for note in found.notes)


@pytest.mark.parametrize("shift", [1e6, 2e6])
@pytest.mark.parametrize("dataset", SETS)
def test_small_embeddings_far_from_the_origin_are_told_apart(dataset: str, shift: float) -> None:
    """Of unit length, 1e6 off, float32: a number has some five values left, and 256 of them tell everybody apart."""
    data = SETS[dataset]()
    rng = np.random.default_rng(0)
    own = {label: rng.normal(size=(256, 2)) for label in sorted(set(data["labels"]))}
    embeddings = np.stack([own[label] + rng.normal(size=(256, 2)) for label in data["labels"]])
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    data["embeddings"] = (embeddings + shift).astype(np.float32)
    found = _evaluated(data, dataset)
    plain = _evaluated({**data, "embeddings": data["embeddings"].astype(np.float64) - shift}, dataset)
    assert found.scalars == pytest.approx(plain.scalars, nan_ok=True)
    assert min(value for name, value in found.scalars.items() if name.endswith("@R1")) > 80
    assert "collapsed, or an offset" in found.notes[0]
    assert plain.notes == found.notes[1:]


def test_doubled_sequences_change_no_rank() -> None:
    data = _casia(identities=5)
    twice = {k: np.concatenate([v, v]) if k == "embeddings" else [*v, *v] for k, v in data.items()}
    found = evaluate_indoor_dataset(twice, "CASIA-B")
    assert found.scalars == pytest.approx(evaluate_indoor_dataset(data, "CASIA-B").scalars)
    assert found.notes == []  # equals of one identity decide nothing


def test_ccpg_with_ties_by_hand() -> None:
    """Two people; the other camera's two gallery sequences are equally near to every probe."""
    rows = [(i, t, v) for i in "ab" for t in ("U0_D0_BG", "U0_D0") for v in ("00_x", "01_x")]
    embeddings = np.array([[0.0] if t == "U0_D0_BG" else [1.0] for _, t, _ in rows])
    labels, types, views = (list(each) for each in zip(*rows))
    data = {"embeddings": embeddings, "labels": labels, "types": types, "views": views}
    found = evaluate_CCPG(data)
    # Re-identification: of the gallery a00, a01, b00, b01 each probe misses its own of its camera: one match of three.
    assert found.scalars["scalar/test_accuracy/BG-ReID@R1"] == pytest.approx(100 / 3)
    for number in ("mAP", "mINP"):
        mean = 100 * np.mean([1, 1 / 2, 1 / 3])
        assert found.scalars[f"scalar/test_accuracy/BG-ReID@{number}"] == pytest.approx(mean)
    assert found.scalars["scalar/test_accuracy/BG@R1"] == pytest.approx(50)
    assert any(note.startswith("BG: 4 of 4 probes tie") for note in found.notes)


@pytest.fixture(params=TOOLBOXES)
def toolbox(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A toolbox's own evaluator."""
    with functions(request.param) as found:
        if found is None:
            pytest.skip(f"{TOOLBOXES[request.param][0]} is not set")
        yield found


@pytest.mark.toolbox
@pytest.mark.parametrize("metric", ["euc", "cos"])
@pytest.mark.parametrize("dataset", ["CASIA-B", "OUMVLP", "SUSTech1K"])
def test_cross_view_equals_the_toolboxes(toolbox: Any, dataset: str, metric: str) -> None:
    if dataset == "CASIA-B":
        data = _casia(seed=1, identities=10)
    elif dataset == "OUMVLP":
        data = _data([f"{i:05d}" for i in range(20)], ["00", "01"], ["000", "015", "030"])
    else:
        names = ["00-nm", "01-nm", "01-bg", "02-cl-nt", "03-cr", "04-ub", "02-uf", "03-oc"]
        data = _data([f"{i:04d}" for i in range(8)], names, ["000", "045", "090"])
    theirs = toolbox.evaluator.evaluate_indoor_dataset(data, dataset, metric)
    ours = evaluate_indoor_dataset(data, dataset, metric)
    assert theirs
    for key, value in theirs.items():
        # They round each pair of views to two digits.
        assert ours.scalars[key.replace("Umberalla", "Umbrella")] == pytest.approx(float(value), abs=0.0051)


@pytest.mark.toolbox
@pytest.mark.parametrize("metric", ["euc", "cos"])
def test_ccpg_equals_the_toolboxes(toolbox: Any, metric: str) -> None:
    ours = evaluate_CCPG(_ccpg(2), "CCPG", metric)
    theirs = toolbox.evaluator.evaluate_CCPG(_ccpg(2), "CCPG", metric)
    gait = dict(ours.tables[1].rows)
    for condition in ("CL", "UP", "DN", "BG"):
        cells = theirs[f"scalar/test_accuracy/{condition}"]
        mean = toolbox.evaluator.de_diag(cells)
        assert gait[condition][-2] == pytest.approx(float(mean), abs=0.0051)
    printed = [line for line in toolbox.lines if line.startswith("CL: ") and "UP" in line]
    for line, column in zip(printed[:3], range(3)):  # rank-1, mAP, mINP
        values = [float(part.split(":")[1]) for part in line.split(",\t")]
        assert [row[1][column] for row in ours.tables[0].rows] == pytest.approx(values, abs=0.00051)


def test_cells_without_a_number_are_left_out() -> None:
    table = np.array([[90.0, 10.0, np.nan], [20.0, 90.0, 40.0], [np.nan, np.nan, 90.0]])
    rows = excluding_identical(table)
    np.testing.assert_array_equal(rows, [10.0, 30.0, np.nan])
    assert mean(rows) == 20.0
    assert math.isnan(mean(np.array([np.nan])))
    assert "b→c" not in missing("NM", ["a", "b", "c"], table, 5)[0]
    assert "a→c, c→a, c→b" in missing("NM", ["a", "b", "c"], table, 5)[0]
