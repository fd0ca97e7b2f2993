"""Saved embeddings: what is read, and what is refused by name without being unpickled or allocated."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitext.errors import DataError
from gaitext.evaluation import evaluate_file
from gaitext.evaluation.saved import read_embeddings

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
    found = read_embeddings(path)
    for name, value in given.items():
        np.testing.assert_array_equal(found[name], value)
    assert found["embeddings"].dtype == np.float32


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
        read_embeddings(path)


def test_bombs_damage_and_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "e.npz"
    np.savez_compressed(path, **{**GOOD, "embeddings": np.zeros((6, 1 << 22), np.float32)})
    with pytest.raises(DataError, match="'embeddings' would grow from"):
        read_embeddings(path)
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
            read_embeddings(path)
    flipped = bytearray(content)
    flipped[content.index(GOOD["embeddings"].tobytes()) + 50] ^= 1  # the checksum tells
    path.write_bytes(flipped)
    with pytest.raises(DataError, match="Bad CRC"):
        read_embeddings(path)
    np.save(tmp_path / "e.npy", GOOD["embeddings"])
    with pytest.raises(DataError, match="is a single array"):
        read_embeddings(tmp_path / "e.npy")
    with pytest.raises(DataError, match="no such file"):
        read_embeddings(tmp_path / "none.npz")
