"""Protocols with a list of probes or of the gallery, against loops and against the toolboxes' functions."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitext.errors import ConfigError, DataError
from gaitext.evaluation import (
    EvaluationResult,
    evaluate_CCGR_MINI,
    evaluate_FreeGait,
    evaluate_Gait3D,
    evaluate_GREW_local,
    evaluate_real_scene,
)
from tests.evaluation.expected import enumerated, plain_distances
from tests.evaluation.toolbox import TOOLBOXES, functions

Data = dict[str, Any]
PREFIX = "scalar/test_accuracy/"
FUNCTIONS = {
    "Gait3D": (evaluate_Gait3D, "PROBE_SET"),
    "FreeGait": (evaluate_FreeGait, "PROBE_SET"),
    "CCGR-MINI": (evaluate_CCGR_MINI, "GALLERY_SET"),
}


def made(people: int = 12, each: int = 5, seed: int = 0, values: int = 0) -> Data:
    """Sequences of people; of few whole numbers, so that distances tie, where ``values`` says how many."""
    generator = np.random.default_rng(seed)
    rows = [(f"{i:04d}", f"camid{k}_videoid1", f"seq{k % 2}") for i in range(people) for k in range(each)]
    shape = (len(rows), 2, 2) if values else (len(rows), 8, 4)
    centre = generator.normal(size=(people, *shape[1:]))
    noise = generator.normal(size=shape)
    drawn = generator.integers(0, values, shape) if values else centre[[int(r[0]) for r in rows]] + 2 * noise
    labels, types, views = (list(column) for column in zip(*rows))
    return {"embeddings": drawn.astype(np.float32), "labels": labels, "types": types, "views": views}


def names(data: Data) -> list[str]:
    return ["-".join(each) for each in zip(data["labels"], data["types"], data["views"])]


def written(path: Path, data: Data, key: str, probes: list[int]) -> Path:
    listed = probes if key == "PROBE_SET" else [i for i in range(len(data["labels"])) if i not in probes]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({key: [names(data)[i] for i in listed] + ["9999-somebody-else"]}))
    return path


PROBES = [i for i in range(60) if i % 5 == 0 or i in (3, 8)]


def slow(data: Data, probes: list[int], metric: str = "euc") -> dict[str, float]:
    apart = plain_distances(data["embeddings"], data["embeddings"], metric)
    gallery = [j for j in range(len(apart)) if j not in probes]
    found: dict[str, list[float]] = {name: [] for name in ("Rank-1", "Rank-5", "Rank-10", "mAP", "mINP")}
    for i in probes:
        right = [data["labels"][j] == data["labels"][i] for j in gallery]
        if not any(right):
            continue
        order = np.argsort(apart[i, gallery], kind="stable")
        places = np.flatnonzero(np.array(right)[order]) + 1
        for k in (1, 5, 10):
            found[f"Rank-{k}"].append(float(places[0] <= k))
        found["mAP"].append(float(np.mean(np.arange(1, len(places) + 1) / places)))
        found["mINP"].append(len(places) / places[-1])
    return {f"{PREFIX}{name}": 100 * float(np.mean(values)) for name, values in found.items()}


@pytest.mark.parametrize("metric", ["euc", "cos"])
@pytest.mark.parametrize("dataset", FUNCTIONS)
def test_as_a_loop(dataset: str, metric: str, tmp_path: Path) -> None:
    function, key = FUNCTIONS[dataset]
    data = made()
    result = function(data, metric=metric, partition=written(tmp_path / "a.json", data, key, PROBES))
    assert result.scalars == pytest.approx(slow(data, PROBES, metric))
    assert result.chance["probe"] == pytest.approx(chance(data, PROBES))
    assert result.notes == []
    assert result.about["dataset"] == dataset


def chance(data: Data, probes: list[int]) -> float:
    gallery = [label for i, label in enumerate(data["labels"]) if i not in probes]
    return 100 * float(np.mean([gallery.count(data["labels"][i]) / len(gallery) for i in probes]))


def test_ties_are_means_over_all_orders(tmp_path: Path) -> None:
    data = made(3, 3, values=2)
    probes = [0, 3, 6]
    gallery = [1, 2, 4, 5, 7, 8]
    apart = plain_distances(data["embeddings"], data["embeddings"])
    every = [
        enumerated(apart[i, gallery].tolist(), [data["labels"][j] == data["labels"][i] for j in gallery], 5)
        for i in probes
    ]
    result = evaluate_Gait3D(data, partition=written(tmp_path / "a.json", data, "PROBE_SET", probes))
    assert result.scalars[f"{PREFIX}Rank-1"] == pytest.approx(100 * np.mean([one["cmc"][0] for one in every]))
    assert result.scalars[f"{PREFIX}mAP"] == pytest.approx(100 * np.mean([one["ap"] for one in every]))
    assert result.scalars[f"{PREFIX}mINP"] == pytest.approx(100 * np.mean([one["inp"] for one in every]))
    assert any("tie" in note for note in result.notes)


def test_a_probe_without_a_mate_is_left_out_and_noted(tmp_path: Path) -> None:
    data = made()
    alone = [*PROBES, *range(55, 60)]
    result = evaluate_Gait3D(data, partition=written(tmp_path / "a.json", data, "PROBE_SET", sorted(set(alone))))
    assert result.scalars == pytest.approx(slow(data, sorted(set(alone))))
    assert result.notes == ["5 of 18 probes have no mate in the gallery, and are left out"]


def test_grew_s_held_out_training_identities(tmp_path: Path) -> None:
    """The published list has neither the type nor the toolboxes' word ``train``."""
    data = made()
    data["types"] = ["00"] * 60
    data["views"] = [f"q{i}" for i in range(60)]
    (tmp_path / "a.json").write_text(json.dumps({"PROBE_SET": [f"{data['labels'][i]}-q{i}" for i in PROBES]}))
    result = evaluate_GREW_local(data, partition=tmp_path / "a.json")
    assert result.scalars == pytest.approx(slow(data, PROBES))
    data["labels"] = [f"{label}train" for label in data["labels"]]
    assert evaluate_GREW_local(data, partition=tmp_path / "a.json").scalars == result.scalars


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("{", "cannot be read"),
        ('{"TEST_SET": []}', "no list 'PROBE_SET'"),
        ('{"PROBE_SET": [3]}', "no list 'PROBE_SET'"),
        ('{"PROBE_SET": ["0-a-b"]}', "PROBE_SET lists none of the 60 sequences: it lists 0-a-b; there are 0000-camid0"),
        (None, "there is no file"),
    ],
)
def test_other_partition_files(content: str | None, named: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "a.json").write_text(content)
    with pytest.raises((ConfigError, DataError), match=named):
        evaluate_Gait3D(made(), partition=tmp_path / "a.json")


def test_without_a_file_the_toolboxs_place_is_looked_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = made()
    with pytest.raises(ConfigError, match=r"datasets/Gait3D/Gait3D\.json cannot be read"):
        evaluate_Gait3D(data)
    written(tmp_path / "datasets/Gait3D/Gait3D.json", data, "PROBE_SET", PROBES)
    assert evaluate_Gait3D(data).scalars == pytest.approx(slow(data, PROBES))


def scene() -> Data:
    data = made(12, 4)
    data["types"] = ["01", "02"] * 24
    return data


def test_a_scene_tells_probes_and_gallery_apart_by_type() -> None:
    data = scene()
    data["labels"][0] = data["labels"][2] = "nobody's"  # its probes count as wrong
    data["types"][0] = data["types"][2] = "02"
    result = evaluate_real_scene(data)
    apart = plain_distances(data["embeddings"], data["embeddings"])
    gallery = [j for j, kind in enumerate(data["types"]) if kind == "01"]
    firsts = []
    for i in [j for j, kind in enumerate(data["types"]) if kind == "02"]:
        order = sorted(gallery, key=lambda j: apart[i, j])
        right = [k for k, j in enumerate(order, 1) if data["labels"][j] == data["labels"][i]]
        firsts.append(right[0] if right else 1000)
    for k in (1, 5, 10, 20):
        assert result.scalars[f"{PREFIX}Rank-{k}"] == pytest.approx(100 * np.mean([first <= k for first in firsts]))
    assert any("count as wrong" in note for note in result.notes)
    with pytest.raises(ConfigError, match="no probes and gallery are known of 'CASIA-B'"):
        evaluate_real_scene(data, "CASIA-B")
    with pytest.raises(DataError, match=r"0 probes .* there are the types 01"):
        evaluate_real_scene({**data, "types": ["01"] * 48})


@pytest.fixture(params=TOOLBOXES)
def toolbox(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A toolbox's own evaluator."""
    with functions(request.param) as found:
        if found is None:
            pytest.skip(f"{TOOLBOXES[request.param][0]} is not set")
        yield found


def same(theirs: dict[str, Any], ours: EvaluationResult) -> None:
    """To more digits than are printed; theirs are products of float32."""
    for name, value in theirs.items():
        assert ours.scalars[name] == pytest.approx(float(value), abs=0.0051), name


@pytest.mark.toolbox
@pytest.mark.parametrize("metric", ["euc", "cos"])
@pytest.mark.parametrize("dataset", FUNCTIONS)
def test_lists_equal_the_toolboxes(
    toolbox: Any, dataset: str, metric: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    function, key = FUNCTIONS[dataset]
    theirs = getattr(toolbox.evaluator, function.__name__, None)
    if theirs is None:
        pytest.skip("the toolbox has none")
    data = made(20, 6, seed=1)
    probes = [i for i in range(120) if i % 6 in (0, 4)] + list(range(115, 120))  # the last has no mate
    monkeypatch.chdir(tmp_path)
    written(tmp_path / f"datasets/{dataset}/{dataset}.json", data, key, sorted(set(probes)))
    found = theirs(data, dataset, metric)
    assert set(found) == {f"{PREFIX}{name}" for name in ("Rank-1", "Rank-5", "Rank-10", "mAP", "mINP")}
    same(found, function(data, metric=metric))


@pytest.mark.toolbox
@pytest.mark.parametrize("metric", ["euc", "cos"])
def test_a_scene_equals_the_toolboxes(toolbox: Any, metric: str) -> None:
    data = made(24, 4, seed=2)
    data["types"] = ["01", "02"] * 48
    data["labels"][0] = "nobody's"
    theirs = toolbox.evaluator.evaluate_real_scene(data, "GREW", metric)
    ours = evaluate_real_scene(data, "GREW", metric)
    same(theirs, ours)
    printed = dict(zip(toolbox.lines[::2], toolbox.lines[1::2]))
    for k in (1, 5, 10, 20):
        assert ours.scalars[f"{PREFIX}Rank-{k}"] == pytest.approx(float(printed[f"==Rank-{k}=="]), abs=0.0051)


@pytest.mark.toolbox
def test_ties_are_what_the_toolboxes_say_on_average(
    toolbox: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each order of the files theirs is another number; the mean over all orders of the gallery is ours."""
    data = made(3, 3, seed=4, values=2)
    probes = [0, 3, 6]
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "datasets/Gait3D/Gait3D.json", data, "PROBE_SET", probes)
    ours = evaluate_Gait3D(data)
    assert any("tie" in note for note in ours.notes)
    every = []
    for order in itertools.permutations([1, 2, 4, 5, 7, 8]):
        chosen = [*probes, *order]
        moved = {
            key: value[chosen] if key == "embeddings" else [value[i] for i in chosen] for key, value in data.items()
        }
        # Their rank-10 needs ten gallery sequences: some that are far from everybody.
        far = np.full((4, 2, 2), 1e3, np.float32)
        names = ["nobody"] * 4
        longer = {
            "embeddings": np.concatenate([moved["embeddings"], far]),
            **{key: [*moved[key], *names] for key in ("labels", "types", "views")},
        }
        every.append(toolbox.evaluator.evaluate_Gait3D(longer, "Gait3D"))
    for name in ("Rank-1", "Rank-5", "mAP", "mINP"):
        values = [float(one[PREFIX + name]) for one in every]
        assert np.mean(values) == pytest.approx(ours.scalars[PREFIX + name], abs=1e-4), name
    assert len({float(one[PREFIX + "mAP"]) for one in every}) > 1
