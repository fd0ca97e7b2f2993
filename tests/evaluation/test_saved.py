"""Saved results: what is written and read, what is refused without being unpickled or allocated, and evaluation."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitext.errors import ConfigError, DataError, ShapeError
from gaitext.evaluation import evaluate_file, evaluate_gallery_probe, evaluate_indoor_dataset
from gaitext.evaluation.saved import read_saved, write_saved

GOOD: dict[str, Any] = {
    "embeddings": np.arange(48, dtype=np.float32).reshape(6, 4, 2),
    "labels": np.array(["a", "a", "b", "b", "c", "c"]),
    "types": np.array(["nm-01", "nm-05"] * 3),
    "views": np.array(["000", "090"] * 3),
}


def save(path: Path, **changed: Any) -> Path:
    np.savez(path, **{name: value for name, value in (GOOD | changed).items() if value is not None})
    return path


@pytest.mark.parametrize("compressed", [False, True])
def test_what_numpy_wrote_comes_back(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "e.npz"
    given = GOOD | {"embeddings": np.asfortranarray(GOOD["embeddings"].astype(">f8")), "labels": np.arange(6)}
    (np.savez_compressed if compressed else np.savez)(path, **given)
    found = read_saved(path)
    assert found.embeddings.dtype == np.float32
    np.testing.assert_array_equal(found.embeddings, given["embeddings"])
    assert [list(found.labels), list(found.types), list(found.views)] == [
        ["0", "1", "2", "3", "4", "5"],
        ["nm-01", "nm-05"] * 3,
        ["000", "090"] * 3,
    ]
    assert found.paths is None
    assert found.about == {}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": GOOD["labels"][:, None]}, r"'labels' is \[6, 1\], not \[6\]"),
        ({"types": np.array(5)}, r"'types' is \[\], not \[6\]"),
        ({"embeddings": np.array(["x"] * 6)}, "'embeddings' holds <U1, not numbers"),
        ({"embeddings": np.zeros(6)}, r"'embeddings' is \[6\], not \[n, c, p\]"),
        ({"embeddings": np.zeros((0, 4, 2))}, "not"),
        ({"embeddings": np.zeros((6, 4, 2), complex)}, "holds complex128"),
        ({"labels": GOOD["labels"].astype(object)}, "'labels' holds Python objects, which are not read"),
        ({"labels": np.zeros(6, [("a", "f4")])}, "'labels' holds"),
        ({"views": None}, "lacks 'views'"),
        ({"embeddings": np.full((6, 4, 2), np.nan)}, "embeddings hold NaN or infinity"),
        ({"embeddings": np.full((6, 4, 2), 1e300)}, "embeddings hold NaN or infinity"),
    ],
)
def test_other_arrays_are_refused_with_the_file(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    path = save(tmp_path / "e.npz", **changed)
    with pytest.raises(DataError, match=message) as caught:
        evaluate_file(path, "CASIA-B")
    assert str(path) in str(caught.value)


def with_header(path: Path, header: str) -> Path:
    """The good file, whose embeddings' header says otherwise."""
    buffer = io.BytesIO()
    np.savez(buffer, **GOOD)
    with zipfile.ZipFile(buffer) as archive, zipfile.ZipFile(path, "w") as changed:
        for name in archive.namelist():
            content = archive.read(name)
            if name == "embeddings.npy":
                text = header.encode("latin-1")
                content = b"\x93NUMPY\x02\x00" + len(text).to_bytes(4, "little") + text + content[128:]
            changed.writestr(name, content)
    return path


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 4, 2), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (6, 4, 3), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-6, -4, 2), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (6, 4, 2), }",
        "[" * 5000,
        " " * 60000,
        "",
    ],
)
def test_a_header_that_lies_allocates_nothing(tmp_path: Path, header: str) -> None:
    path = with_header(tmp_path / "e.npz", header)
    with pytest.raises(DataError, match=r"e\.npz: "):
        read_saved(path)


def test_bombs_damage_and_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "e.npz"
    np.savez_compressed(path, **{**GOOD, "embeddings": np.zeros((6, 1 << 22), np.float32)})
    with pytest.raises(DataError, match="'embeddings' would grow from"):
        read_saved(path)
    content = save(path).read_bytes()
    for damaged in (
        content[: len(content) // 2],
        content[:-5],
        b"",
        b"text",
        content.replace(b"PK\x03\x04", b"PK\x03\x05"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"e\.npz: holds no saved embeddings"):
            read_saved(path)
    flipped = bytearray(content)
    flipped[content.index(GOOD["embeddings"].tobytes()) + 50] ^= 1  # the checksum tells
    path.write_bytes(flipped)
    with pytest.raises(DataError, match="Bad CRC"):
        read_saved(path)
    np.save(tmp_path / "e.npy", GOOD["embeddings"])
    with pytest.raises(DataError, match="is a single array"):
        read_saved(tmp_path / "e.npy")
    with pytest.raises(DataError, match="no such file"):
        read_saved(tmp_path / "none.npz")


ABOUT: dict[str, Any] = {
    "host": "embedded",
    "config": {"model_cfg": {"model": "GaitHeat", "share": float("inf"), "sizes": (1, np.int64(2))}},
    "protocol": {"eval_func": "evaluate_indoor_dataset", "dataset": "CASIA-B", "metric": "cos"},
    "checkpoint": {"path": Path("a") / "b.pt", "iteration": 10},
}


def test_a_result_comes_back_with_what_made_it(tmp_path: Path) -> None:
    data = GOOD | {"embeddings": GOOD["embeddings"].astype(np.float16), "logits": object(), "views": [0, 90] * 3}
    paths = [tmp_path / "a", "", *"bcd", "folder\udc80"]
    path = write_saved(tmp_path / "deep" / "e.pt", data, paths=paths, about=ABOUT)
    assert path == tmp_path / "deep" / "e.npz"
    found = read_saved(path)
    np.testing.assert_array_equal(found.embeddings, GOOD["embeddings"])
    assert found.embeddings.dtype == np.float32
    assert found.views.tolist() == ["0", "90"] * 3
    assert found.paths is not None
    assert found.paths.tolist() == [(tmp_path / "a").as_posix(), "", "b", "c", "d", "folder\\udc80"]
    assert found.about == {
        "host": "embedded",
        "config": {"model_cfg": {"model": "GaitHeat", "share": "inf", "sizes": [1, 2]}},
        "protocol": ABOUT["protocol"],
        "checkpoint": {"path": str(Path("a") / "b.pt"), "iteration": 10},
    }
    assert len(found) == 6
    # numpy alone reads it, too.
    with np.load(path) as arrays:
        assert json.loads(str(arrays["about"])) == found.about


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    one = write_saved(tmp_path / "one.npz", GOOD, paths=["x"] * 6, about=ABOUT)
    two = write_saved(tmp_path / "two.npz", dict(reversed(GOOD.items())), paths=["x"] * 6, about=ABOUT)
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    ("changed", "paths", "message"),
    [
        ({"types": None}, None, "no types"),
        ({"labels": ["a"]}, None, "cannot be written"),
        ({}, ["a"], "'paths': 1"),
        ({"embeddings": np.zeros((6, 4, 2, 1))}, None, "embeddings must be"),
    ],
)
def test_what_would_not_be_read_is_not_written(
    tmp_path: Path, changed: dict[str, Any], paths: list[str] | None, message: str
) -> None:
    data = {key: value for key, value in (GOOD | changed).items() if value is not None}
    with pytest.raises((DataError, ShapeError), match=message):
        write_saved(tmp_path / "e.npz", data, paths=paths)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "e.npz").mkdir()
    with pytest.raises(DataError, match="is a folder"):
        write_saved(tmp_path / "e", GOOD)
    with pytest.raises(ConfigError, match="names no file"):
        write_saved("", GOOD)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ("{", "holds no saved embeddings"),
        ("[]", "holds a list, not an object"),
        ('{"a": NaN}', "holds no saved embeddings"),
        ('{"a": "\\ud800"}', "holds no saved embeddings"),
        ('{"a": ' + "9" * 5000 + "}", "holds no saved embeddings"),
        ("[" * 100_000, "holds no saved embeddings"),
        (np.array(["{}"]), r"'about' is \[1\], not one text"),
        (np.array('{"protocol": ["a"]}'), "'about' holds list as 'protocol'"),
        (np.array('{"config": 3}'), "'about' holds int as 'config'"),
        (np.array(5), "'about' holds int64, not texts"),
        (np.array({}, object), "'about' holds Python objects"),
        (np.array("x" * (2 << 20)), "'about' has"),
    ],
)
def test_an_about_that_is_no_json_object_is_refused(tmp_path: Path, about: Any, message: str) -> None:
    path = save(tmp_path / "e.npz", about=about)
    with pytest.raises(DataError, match=message):
        read_saved(path)


def test_paths_that_are_not_one_for_each_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'paths' is \[2\], not \[6\]"):
        read_saved(save(tmp_path / "e.npz", paths=np.array(["a", "b"])))
    with pytest.raises(DataError, match="'paths' holds int64"):
        read_saved(save(tmp_path / "e.npz", paths=np.arange(6)))


def cross(seed: int = 0) -> dict[str, Any]:
    """Four people, all of CASIA-B's types, three views."""
    types = [f"{kind}-{i:02d}" for kind, count in (("nm", 6), ("bg", 2), ("cl", 2)) for i in range(1, count + 1)]
    rows = [(label, kind, view) for label in "abcd" for kind in types for view in ("000", "018", "036")]
    generator = np.random.default_rng(seed)
    embeddings = generator.normal(size=(len(rows), 3, 2)).astype(np.float32)
    embeddings += np.array(["abcd".index(row[0]) for row in rows])[:, None, None] * 0.3
    labels, kinds, views = (np.array(column) for column in zip(*rows))
    return {"embeddings": embeddings, "labels": labels, "types": kinds, "views": views}


def protocol(**about: Any) -> dict[str, Any]:
    return {"protocol": about}


def test_a_file_is_evaluated_as_its_test_was(tmp_path: Path) -> None:
    data = cross()
    path = write_saved(tmp_path / "e.npz", data, about=ABOUT)
    assert str(evaluate_file(path)) == str(evaluate_indoor_dataset(data, "CASIA-B", "cos"))
    assert str(evaluate_file(path, metric="euc")) == str(evaluate_indoor_dataset(data, "CASIA-B", "euc"))
    assert str(evaluate_file(path, "own")) == str(evaluate_gallery_probe(data, "own", "cos"))
    assert str(evaluate_file(path, probe="type=bg")) == str(evaluate_gallery_probe(data, "own", "cos", probe="type=bg"))

    told = {"eval_func": "evaluate_gallery_probe", "dataset": "mine", "metric": "euc", "gallery": "type=nm"}
    path = write_saved(path, data, about=protocol(**told, exclude="view", table="/nowhere/a.md", probe=None))
    own = {"gallery": "type=nm", "exclude": "view"}
    assert str(evaluate_file(path)) == str(evaluate_gallery_probe(data, "mine", **own))
    assert str(evaluate_file(path, exclude="type", probe="type=bg")) == str(
        evaluate_gallery_probe(data, "mine", **own | {"exclude": "type", "probe": "type=bg"})
    )
    # Another protocol does not take over the arguments of this one.
    assert str(evaluate_file(path, "CASIA-B")) == str(evaluate_indoor_dataset(data, "CASIA-B"))


def test_a_file_that_names_no_protocol_is_evaluated_as_before(tmp_path: Path) -> None:
    data = cross()
    path = write_saved(tmp_path / "e.npz", data)
    assert str(evaluate_file(path)) == str(evaluate_indoor_dataset(data, "CASIA-B"))
    assert str(evaluate_file(path, gallery="type=nm")) == str(evaluate_gallery_probe(data, gallery="type=nm"))


def test_a_toolbox_protocol_is_found_by_its_dataset(tmp_path: Path) -> None:
    data = cross()
    told: dict[str, Any] = {"eval_func": "identification", "dataset": "CASIA-B", "metric": "euc"}
    path = write_saved(tmp_path / "e.npz", data, about=protocol(**told, cross_view_gallery=False))
    assert str(evaluate_file(path)) == str(evaluate_indoor_dataset(data, "CASIA-B"))
    write_saved(path, data, about=protocol(**told, cross_view_gallery=True))
    with pytest.raises(ConfigError, match="'cross_view_gallery' set to True"):
        evaluate_file(path)
    write_saved(path, data, about=protocol(**told | {"dataset": "Scoliosis1K"}))
    with pytest.raises(ConfigError, match="evaluated 'Scoliosis1K' by 'identification'"):
        evaluate_file(path)
    assert str(evaluate_file(path, "CASIA-B")) == str(evaluate_indoor_dataset(data, "CASIA-B"))


@pytest.mark.parametrize(
    "told",
    [
        {"eval_func": ["x"], "dataset": {"a": 1}},
        {"eval_func": "evaluate_indoor_dataset", "dataset": 5},
        {"eval_func": "evaluate_indoor_dataset", "dataset": "CASIA-B", "metric": ["euc"]},
        {"eval_func": "evaluate_gallery_probe", "dataset": "x", "gallery": 5},
        {"eval_func": "evaluate_gallery_probe", "dataset": "x", "exclude": {"a": []}},
        {"eval_func": "evaluate_PsyMo", "dataset": "PsyMo", "exclude_same_walk": "x", "gallery": []},
        {"eval_func": "evaluate_indoor_dataset", "dataset": "CASIA-B", "data": "x"},
    ],
)
def test_an_odd_protocol_of_a_file_is_a_clear_error(tmp_path: Path, told: dict[str, Any]) -> None:
    path = write_saved(tmp_path / "e.npz", cross(), about=protocol(**told))
    with pytest.raises((ConfigError, DataError), match=r"e\.npz"):
        evaluate_file(path)
