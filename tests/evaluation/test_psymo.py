"""PsyMo's protocol against nested loops, and what must hold of any protocol."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext.errors import ConfigError, DataError
from gaitext.evaluation import EvaluationResult, evaluate_PsyMo
from gaitext.evaluation.psymo import GALLERIES, VARIATIONS
from gaitext.evaluation.ranking import Sequences, match
from tests.evaluation.expected import plain_distances, summed

Data = dict[str, Any]
Row = tuple[str, str, str]
TYPES = ("nm-01", "nm-02", "bg", "cl", "wss", "wsf", "ph", "txt")
VIEWS = ("000", "045", "090", "180", "225", "270")
NUMBERS = ("R1", "R5", "mAP", "chance")


def dataset(rows: list[Row], embeddings: Any) -> Data:
    labels, types, views = (list(column) for column in zip(*rows))
    return {"embeddings": np.asarray(embeddings, np.float32), "labels": labels, "types": types, "views": views}


def everything(identities: int, types: tuple[str, ...] = TYPES, views: tuple[str, ...] = VIEWS) -> list[Row]:
    return [(str(i), kind, view) for i in range(identities) for kind in types for view in views]


def random_data(rows: list[Row], seed: int = 0, integers: int = 0) -> Data:
    """Embeddings near their identity's; with ``integers``, so many values, so that distances tie exactly."""
    generator = np.random.default_rng(seed)
    if integers:
        return dataset(rows, generator.integers(0, integers, (len(rows), 2, 1)))
    centre = {row[0]: generator.normal(size=(4, 2)) for row in rows}
    return dataset(rows, [centre[row[0]] + 1.5 * generator.normal(size=(4, 2)) for row in rows])


def slow(data: Data, gallery: str, exclude: bool, metric: str = "euc") -> dict[tuple[str, str], list[float]]:
    """(variation, angle or "mean") -> rank-1, rank-5, mAP, chance, by the protocol's words."""
    n = len(data["labels"])
    rows = list(zip(data["labels"], data["types"], map(int, data["views"])))
    apart = plain_distances(data["embeddings"], data["embeddings"], metric)
    variation = [kind.split("-")[0] for _, kind, _ in rows]
    normal = [kind for _, kind, _ in rows if kind.split("-")[0] == "nm"]
    first = min(normal, key=lambda kind: (int((kind + "-0").split("-")[1]), kind)) if normal else None
    angles = sorted({view for _, _, view in rows})

    def walk(i: int) -> tuple[Any, ...]:
        identity, kind, view = rows[i]
        return (identity, kind, view >= 180) if exclude else (identity, kind, view)

    def average(values: list[float]) -> float:
        there = [value for value in values if not math.isnan(value)]
        return sum(there) / len(there) if there else math.nan

    result = {}
    for name in VARIATIONS:
        by_angle: list[list[float]] = []
        for here in angles:
            cells: list[list[float]] = []
            for there in angles:
                if here == there:
                    continue
                trials: list[tuple[float, float, float, float]] = []
                for i in range(n):
                    if variation[i] != name or rows[i][2] != here or (gallery == "nm" and rows[i][1] == first):
                        continue
                    shown = [j for j in range(n) if rows[j][2] == there]
                    if gallery == "nm":
                        shown = [j for j in shown if rows[j][1] == first]
                    elif gallery == "same":
                        shown = [j for j in shown if variation[j] == name]
                    if not shown:
                        continue
                    ranked = [j for j in shown if walk(j) != walk(i)]
                    right = [rows[j][0] == rows[i][0] for j in ranked]
                    if not any(right) and any(rows[j][0] == rows[i][0] for j in shown):
                        continue  # all that would be right is the probe's own
                    cmc, precision = summed([apart[i, j] for j in ranked], right, 5)
                    trials.append((cmc[0], cmc[4], precision, sum(right) / max(1, len(right))))
                cells.append([100 * average([t[k] for t in trials]) for k in range(4)])
            numbers = [average([cell[k] for cell in cells]) for k in range(4)]
            by_angle.append(numbers)
            result[name, f"{here:03d}"] = numbers
        result[name, "mean"] = [average([numbers[k] for numbers in by_angle]) for k in range(4)]
    for column in [*(f"{angle:03d}" for angle in angles), "mean"]:
        result["mean", column] = [average([result[name, column][k] for name in VARIATIONS]) for k in range(4)]
    return result


def numbers(result: EvaluationResult) -> dict[tuple[str, str], list[float]]:
    found: dict[tuple[str, str], list[float]] = {}
    for k, table in enumerate(result.tables):
        for name, values in table.rows:
            for column, value in zip(table.columns, values):
                if column != "chance":
                    found.setdefault((name.lower(), column), [math.nan] * 4)[k] = value
    return found


def same(result: EvaluationResult, expected: dict[tuple[str, str], list[float]]) -> None:
    found = numbers(result)
    assert set(found) == set(expected)
    for key, values in expected.items():
        assert found[key][:3] == pytest.approx(values[:3], nan_ok=True), key
    chance = {name: values[-1] for name, values in result.tables[0].rows}
    for name in (*VARIATIONS, "mean"):
        shown = name if name == "mean" else name.upper()
        assert chance[shown] == pytest.approx(expected[name, "mean"][3], nan_ok=True), name
        for k, number in enumerate(NUMBERS[:3]):
            scalar = result.scalars[f"scalar/test_accuracy/{shown}@{number}"]
            assert scalar == pytest.approx(expected[name, "mean"][k], nan_ok=True)
        for (variation, angle), values in expected.items():
            if variation == name and angle != "mean":
                scalar = result.scalars[f"scalar/test_accuracy/{shown}-{angle}@R1"]
                assert scalar == pytest.approx(values[0], nan_ok=True)


CASES: dict[str, Data] = {
    "whole": random_data(everything(4)),
    "ties": random_data(everything(5, TYPES[:4], VIEWS[1:5]), integers=2),
    "all the same": random_data(everything(3, TYPES[:3], VIEWS[:3]), integers=1),
    "an angle missing for some": random_data([r for r in everything(4) if r[2] != "090" or r[0] > "1"], 1),
    "an angle missing": random_data(everything(4, views=VIEWS[:4]), 2),
    "one in the gallery": random_data([r for r in everything(4) if r[1] != "nm-01" or r[0] == "2"], 3),
    "unequal": random_data([r for i, r in enumerate(everything(5)) if (i * 7) % 11 > 3], 4),
    "absent from the gallery": random_data([r for r in everything(5) if r[1][:2] != "nm" or r[0] != "3"], 5),
    "no second run": random_data(everything(4, ("nm", "bg-01", "cl-02")), 6),
    "runs not from one": random_data(everything(3, ("nm-10", "nm-9", "bg")), 7),
    "twice the same": random_data([*everything(3), *everything(1, ("bg", "nm-01"), ("000", "045"))], 8),
}


@pytest.mark.parametrize("exclude", [False, True])
@pytest.mark.parametrize("gallery", GALLERIES)
@pytest.mark.parametrize("case", CASES)
def test_equals_nested_loops(case: str, gallery: str, exclude: bool) -> None:
    data = CASES[case]
    same(evaluate_PsyMo(data, gallery=gallery, exclude_same_walk=exclude), slow(data, gallery, exclude))


def test_cosines() -> None:
    same(evaluate_PsyMo(CASES["whole"], metric="cos", gallery="all"), slow(CASES["whole"], "all", False, "cos"))


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["nm-01", "nm-02", "bg", "ph"]), st.sampled_from(VIEWS[1:5])),
        min_size=2,
        max_size=30,
    ),
    gallery=st.sampled_from(sorted(GALLERIES)),
    exclude=st.booleans(),
    integers=st.sampled_from([0, 2, 4]),
    seed=st.integers(0, 2**16),
)
def test_any_set_equals_nested_loops(rows: list[Row], gallery: str, exclude: bool, integers: int, seed: int) -> None:
    data = random_data(rows, seed, integers)
    expected = slow(data, gallery, exclude)
    try:
        result = evaluate_PsyMo(data, gallery=gallery, exclude_same_walk=exclude)
    except DataError:
        assert math.isnan(expected["mean", "mean"][0])
        return
    same(result, expected)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    gallery=st.sampled_from(sorted(GALLERIES)),
    exclude=st.booleans(),
    integers=st.sampled_from([0, 2, 5]),
)
def test_order_does_not_matter(seed: int, gallery: str, exclude: bool, integers: int) -> None:
    data = random_data([r for i, r in enumerate(everything(4)) if (i * 5 + seed) % 7 > 1], seed, integers)
    order = np.random.default_rng(seed).permutation(len(data["labels"]))
    shuffled = {key: value[order] if key == "embeddings" else [value[i] for i in order] for key, value in data.items()}
    before, after = (evaluate_PsyMo(d, gallery=gallery, exclude_same_walk=exclude) for d in (data, shuffled))
    assert after.scalars == pytest.approx(before.scalars, nan_ok=True)
    assert after.notes == before.notes


@pytest.mark.parametrize("exclude", [False, True])
@pytest.mark.parametrize("gallery", GALLERIES)
def test_perfect_embeddings_give_100(gallery: str, exclude: bool) -> None:
    rows = everything(6)
    data = dataset(rows, [[100.0 * int(row[0]), i] for i, row in enumerate(rows)])
    data["embeddings"][:, 1] *= 1e-3
    result = evaluate_PsyMo(data, gallery=gallery, exclude_same_walk=exclude)
    assert set(result.scalars.values()) == {100.0}
    if gallery != "same" or not exclude:
        assert result.notes == []


def test_a_probe_never_meets_its_own_recording() -> None:
    """Each walk's embedding is its own only, so the same walk from another camera is all that could match."""
    rows = everything(4)
    walks = sorted({(i, kind, view >= "180") for i, kind, view in rows})
    places = {walk: np.eye(len(walks))[k] for k, walk in enumerate(walks)}
    data = dataset(rows, [places[i, kind, view >= "180"] for i, kind, view in rows])
    by_another_camera = evaluate_PsyMo(data, gallery="all").scalars["scalar/test_accuracy/BG@R1"]
    excluded = evaluate_PsyMo(data, gallery="all", exclude_same_walk=True).scalars["scalar/test_accuracy/BG@R1"]
    # Of five other angles two see the same walk; all else is equally far, 8 of 32 sequences are right, and 7 of 31
    # without the walk itself.
    assert by_another_camera == pytest.approx(100 * (2 + 3 * 8 / 32) / 5)
    assert excluded == pytest.approx(100 * (2 * 7 / 31 + 3 * 8 / 32) / 5)


def test_a_probe_is_not_its_own_match_even_in_one_gallery() -> None:
    people = Sequences(np.array([[[0.0]], [[5.0]], [[1.0]], [[7.0]]]), np.array([0, 0, 1, 2]), np.array([0, 1, 2, 3]))
    found = match(people, people)
    assert found.first.within(3).tolist() == [[0, 1, 1], [0, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert found.withheld.tolist() == [False, False, True, True]
    assert found.chance.tolist() == [1 / 3, 1 / 3, 0, 0]


@pytest.mark.parametrize("held", [1, 40, 2**24])
@pytest.mark.parametrize("values", [2, 10_000])
def test_ranks_are_means_over_orders_of_the_equals(held: int, values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gaitext.evaluation.ranking._HELD", held)
    generator = np.random.default_rng(0)
    embeddings = generator.integers(0, values, (37, 1, 1)).astype(np.float32)
    people = Sequences(embeddings, generator.integers(0, 6, 37), generator.integers(0, 12, 37))
    found = match(people, people)
    apart = plain_distances(embeddings, embeddings)
    for i in range(37):
        shown = [j for j in range(37) if people.own[j] != people.own[i]]
        right = [people.identity[j] == people.identity[i] for j in shown]
        cmc, precision = summed(apart[i, shown].tolist(), right, 9)
        assert found.first.within(9)[i] == pytest.approx(cmc)
        assert found.precision[i] == pytest.approx(precision, nan_ok=True)
    nobody = people.where(np.zeros(0, int))
    assert match(nobody, people).precision.shape == (0,)
    assert match(people, nobody).first.size.tolist() == [0] * 37


def test_the_tables_are_shaped_as_table_ii_and_say_the_reading() -> None:
    result = evaluate_PsyMo(CASES["whole"], exclude_same_walk=True)
    assert [table.title.split()[0] for table in result.tables] == ["Rank-1", "Rank-5", "mAP"]
    assert result.tables[0].columns == [*VIEWS, "mean", "chance"]
    assert result.tables[2].columns == [*VIEWS, "mean"]
    assert [name for name, _ in result.tables[0].rows] == ["NM", "BG", "CL", "WSS", "WSF", "PH", "TXT", "mean"]
    assert "gallery nm" in result.protocol
    assert "own walk excluded" in result.protocol
    assert result.about["gallery types"] == "nm-01"
    assert result.about["probes"] == 4 * 7 * 6
    assert result.chance == pytest.approx(dict.fromkeys((v.upper() for v in VARIATIONS), 25))


def test_oddities_are_noted() -> None:
    rows = [r for r in everything(3) if r[1] != "ph" and r != ("2", "nm-01", "000")]
    result = evaluate_PsyMo(random_data([*rows, ("0", "run", "000"), ("0", "bg", "045")]))
    notes = "\n".join(result.notes)
    assert "1 sequences of other types (run) are left out" in notes
    assert "1 sequences have the identity, type and view of another" in notes
    assert "PH: there are no probes" in notes
    assert "BG: 5 of 19 probes have no match in some gallery angle" in notes
    own = evaluate_PsyMo(random_data(everything(2)), gallery="same", exclude_same_walk=True)
    assert any(note.startswith("BG: 12 of 12 probes have at some gallery angle") for note in own.notes)
    assert not any(note.startswith("NM") for note in own.notes)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"dataset": "CASIA-B"}, "test_dataset_name: PsyMo"),
        ({"metric": "l2"}, "euc or cos"),
        ({"gallery": "al"}, "did you mean 'all'"),
        ({"exclude_same_walk": "yes"}, "true or false"),
        ({"table": "a.txt"}, r"\.md, \.csv or \.json"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        evaluate_PsyMo(CASES["whole"], **arguments)


@pytest.mark.parametrize(
    ("rows", "arguments", "named"),
    [
        (everything(2, views=("000",)), {}, "two views"),
        (everything(2, views=("000", "left")), {}, "0/nm-01/left: its view 'left' is no angle"),
        (everything(2, views=("000", "360")), {}, "no angle"),
        (everything(2, types=("run", "jump")), {}, "there are jump, run"),
        (everything(2, types=("bg", "cl")), {}, "the gallery is empty"),
        (everything(2, types=("nm",)), {}, "looked for types nm, bg, .* but for nm, .* there are nm at 000"),
        ([("0", "bg", "000"), ("0", "cl", "045")], {"gallery": "same"}, "own variation, .* are bg at 000, cl at 045"),
    ],
)
def test_unusable_sets(rows: list[Row], arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(DataError, match=named):
        evaluate_PsyMo(random_data(rows), **arguments)


def test_data_are_left_alone() -> None:
    data = random_data(everything(3))
    before = data["embeddings"].copy()
    evaluate_PsyMo(data, gallery="all", exclude_same_walk=True)
    np.testing.assert_array_equal(data["embeddings"], before)
