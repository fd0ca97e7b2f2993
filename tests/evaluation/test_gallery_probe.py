"""The protocol for one's own data against a slow loop, and what it says of what is missing."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext.errors import ConfigError, DataError
from gaitext.evaluation import EvaluationResult, evaluate_gallery_probe
from tests.evaluation.expected import enumerated, plain_distances

Data = dict[str, Any]
PREFIX = "scalar/test_accuracy/"


def people(rows: list[tuple[str, str, str]], seed: int = 0, values: int = 0) -> Data:
    """Embeddings [n, 2, 2]; of few whole numbers, so that distances tie, where ``values`` says how many."""
    generator = np.random.default_rng(seed)
    shape = (len(rows), 2, 2)
    embeddings = generator.integers(0, values, shape) if values else generator.normal(size=shape)
    labels, types, views = (list(column) for column in zip(*rows))
    return {"embeddings": embeddings.astype(np.float32), "labels": labels, "types": types, "views": views}


def slow(
    data: Data, gallery: list[int], probes: list[int], exclude: list[str], metric: str = "euc"
) -> dict[str, float]:
    """Each probe by itself; equals in every order."""
    apart = plain_distances(data["embeddings"], data["embeddings"], metric)
    named = {"view": data["views"], "type": data["types"]}
    found: dict[str, list[float]] = {"R1": [], "R5": [], "mAP": [], "mINP": []}
    lacking = 0
    for i in probes:
        compared = [j for j in gallery if j != i and all(named[name][j] != named[name][i] for name in exclude)]
        right = [data["labels"][j] == data["labels"][i] for j in compared]
        if not any(right):
            lacking += 1
            continue
        of = enumerated([apart[i, j] for j in compared], right, 5)
        for name, value in (("R1", of["cmc"][0]), ("R5", of["cmc"][4]), ("mAP", of["ap"]), ("mINP", of["inp"])):
            found[name].append(value)
    return {name: 100 * float(np.mean(values)) if values else math.nan for name, values in found.items()} | {
        "lacking": float(lacking)
    }


def row(result: EvaluationResult, name: str) -> dict[str, float]:
    values = dict(result.tables[0].rows)[name]
    return dict(zip(result.tables[0].columns, values))


SEQUENCES = st.lists(
    st.tuples(
        st.sampled_from("abc"), st.sampled_from(["nm-01", "nm-02", "bg-01", "x"]), st.sampled_from(["000", "090"])
    ),
    min_size=2,
    max_size=7,
)


@settings(max_examples=80, deadline=None)
@given(
    SEQUENCES, st.integers(0, 99), st.sampled_from([[], ["view"], ["type"], ["view", "type"]]), st.sampled_from([0, 2])
)
def test_as_a_loop(rows: list[tuple[str, str, str]], seed: int, exclude: list[str], values: int) -> None:
    data = people(rows, seed, values)
    gallery = [i for i, (_, kind, _) in enumerate(rows) if kind.startswith("nm")]
    conditions = {
        "bag": [i for i, r in enumerate(rows) if r[1] == "bg-01"],
        "side": [i for i, r in enumerate(rows) if r[2] == "090"],
    }
    wanted = {name: slow(data, gallery, probes, exclude) for name, probes in conditions.items()}
    arguments: Data = {"gallery": "type=nm", "probe": ["bag:type=bg", "side:view=09?"], "exclude": exclude}
    if all(math.isnan(each["R1"]) for each in wanted.values()):
        with pytest.raises(DataError, match=r"gallery is empty|has a mate"):
            evaluate_gallery_probe(data, **arguments)
        return
    result = evaluate_gallery_probe(data, **arguments)
    for name, each in wanted.items():
        for number in ("R1", "R5", "mAP", "mINP"):
            assert result.scalars[f"{PREFIX}{name}@{number}"] == pytest.approx(each[number], nan_ok=True)
        assert row(result, name)["no mate"] == each["lacking"]
        assert row(result, name)["probes"] == len(conditions[name])
        assert any(f"{name}:" in note and "no mate" in note for note in result.notes) == (each["lacking"] > 0)
    there = [each["R1"] for each in wanted.values() if not math.isnan(each["R1"])]
    assert result.scalars[f"{PREFIX}mean@R1"] == pytest.approx(np.mean(there))


@pytest.mark.parametrize("metric", ["euc", "cos"])
def test_without_arguments_each_is_looked_for_among_all_others(metric: str) -> None:
    rows = [(label, kind, "000") for label in "ab" for kind in ("nm-01", "bg-01")]
    data = people(rows, 3)
    result = evaluate_gallery_probe(data, metric=metric)
    wanted = slow(data, [0, 1, 2, 3], [0, 1, 2, 3], [], metric)
    assert row(result, "probe")["rank-1"] == pytest.approx(wanted["R1"])
    assert row(result, "probe")["mINP"] == pytest.approx(wanted["mINP"])
    assert result.chance["probe"] == pytest.approx(100 / 3)
    # Nobody meets the own sequence: moving one changes no distance to itself, which would be 0 and rank-1 100.
    assert row(result, "probe")["rank-1"] < 100


def test_blocks_of_probes_are_the_same_as_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(str(i % 7), f"nm-{i:02}", f"{i % 3}") for i in range(60)]
    data = people(rows, 1)
    whole = evaluate_gallery_probe(data, exclude="view")
    monkeypatch.setattr("gaitext.evaluation.searches._HELD", 150)
    assert evaluate_gallery_probe(data, exclude="view").scalars == whole.scalars


def test_selectors_by_every_field(tmp_path: Path) -> None:
    rows = [
        (label, kind, view)
        for label, kind, view in itertools.product(("003", "004"), ("nm", "nm-02", "nmx", "bg-01"), ("000", "090"))
    ]
    data = people(rows)
    (tmp_path / "list.txt").write_text("# who\n003/nm\n004/nm-02/090\n\n")

    def counted(**selection: Any) -> int:
        result = evaluate_gallery_probe(data, probe={"some": selection})
        return int(row(result, "some")["probes"])

    assert counted(type="nm") == 8  # nm and nm-02, not nmx
    assert counted(type="nm*") == 12
    assert counted(type=["nm", "bg"]) == 12
    assert counted(view="0?0") == 16
    assert counted(view="090", type="bg") == 2
    assert counted(id="00[3]") == 8
    assert counted(file=str(tmp_path / "list.txt")) == 3
    (tmp_path / "list.txt").write_text("005/nm\n")
    with pytest.raises(DataError, match=r"005/nm.*\n.*did you mean '00[34]/nm"):
        counted(file=str(tmp_path / "list.txt"))
    text = evaluate_gallery_probe(data, gallery="type=nm|bg,view=000", probe="view=090")
    assert "gallery type=nm|bg,view=000 (6 sequences)" in text.protocol
    assert row(text, "090")["probes"] == 8


def test_sequences_without_a_mate_are_named_and_not_counted() -> None:
    rows = [("a", "nm", "0"), ("a", "bg", "9"), ("b", "bg", "0"), ("c", "nm", "5"), ("c", "bg", "5")]
    data = people(rows)
    data["embeddings"] = np.array([0, 0.1, 9, 5, 5.1], np.float32)[:, None]
    result = evaluate_gallery_probe(data, gallery={"type": "nm"}, exclude="view")
    assert row(result, "probe") == {
        **{"rank-1": 100, "rank-5": 100, "mAP": 100, "mINP": 100},
        **{"chance": 50, "probes": 3, "no mate": 2},
    }
    assert any("b/bg/0" in note and "not in the gallery" in note for note in result.notes)
    assert any("c/bg/5" in note and "identical view" in note for note in result.notes)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"gallery": "typ=nm"}, "did you mean 'type'"),
        ({"gallery": "nm"}, "type=nm"),
        ({"gallery": {"view": 90}}, "quote numbers"),
        ({"gallery": {}}, "chooses by nothing"),
        ({"probe": []}, "no condition"),
        ({"probe": {"mean": {"type": "bg"}}}, "cannot name a condition"),
        ({"probe": ["type=bg", "bg:view=0"]}, "one name"),
        ({"exclude": "camera"}, "nothing is excluded"),
        ({"gallery": "file=nowhere.txt"}, "cannot be read"),
        ({"metric": "l1"}, "metric"),
    ],
)
def test_wrong_arguments(arguments: Data, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        evaluate_gallery_probe(people([("a", "nm", "0"), ("a", "bg", "0")]), **arguments)


def test_nothing_to_compare_says_what_there_is() -> None:
    data = people([("a", "nm", "0"), ("b", "bg", "0")])
    with pytest.raises(DataError, match=r"gallery is empty: type=cl.*bg, nm"):
        evaluate_gallery_probe(data, gallery="type=cl")
    with pytest.raises(DataError, match=r"none of 1 probes .*the types bg, nm"):
        evaluate_gallery_probe(data, gallery="type=nm")
