"""Mutated embeddings: an .npz whose arrays, headers or bytes are not what `gaitext evaluate` wants."""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from gaitext.errors import GaitextError
from gaitext.evaluation import evaluate_file

from .damage import damaged, sentence

__all__ = ["check", "mutate"]

_TYPES = [kind for kind in ("nm-01", "nm-05", "bg-01", "cl-01") for _ in range(2)]


def _good(rng: random.Random) -> dict[str, np.ndarray[Any, Any]]:
    draw = np.random.default_rng(rng.randrange(2**32))
    labels = [label for label in ("001", "002", "003") for _ in _TYPES]
    return {
        "embeddings": draw.normal(size=(24, 4, 2)).astype(np.float32),
        "labels": np.array(labels),
        "types": np.array(_TYPES * 3),
        "views": np.array(["000", "090"] * 12),
        "paths": np.array(["a/b"] * 24),
        "about": np.array(_about(rng)),
    }


def _about(rng: random.Random) -> str:
    """What made the embeddings, as JSON; its protocol may be odd, or it no JSON."""
    values: tuple[Any, ...] = (
        "CASIA-B",
        "PsyMo",
        "own",
        "evaluate_PsyMo",
        "evaluate_gallery_probe",
        "nm",
        5,
        [],
        {"a": 1},
    )
    told = {
        key: rng.choice(values) for key in ("eval_func", "dataset", "metric", "gallery", "data") if rng.random() < 0.5
    }
    text = json.dumps({"protocol": told if rng.random() < 0.8 else rng.choice(values)})
    return text if rng.random() < 0.8 else rng.choice(("[" * 9000, "{", "null", '{"a": NaN}', '"\\ud800"', text[:-1]))


def _others(array: np.ndarray[Any, Any], rng: random.Random) -> np.ndarray[Any, Any]:
    """An array of another kind or shape."""
    return rng.choice(
        (
            lambda: array.astype(object),
            lambda: array[..., None],
            lambda: np.atleast_1d(array)[:-1],
            lambda: np.atleast_1d(array)[:0],
            lambda: np.array(5),
            lambda: array.astype("U"),
            lambda: array.astype("S"),
            lambda: np.zeros(24, "M8[s]"),
            lambda: np.zeros(24, [("a", "f4")]),
            lambda: np.zeros(24, complex),
            lambda: np.zeros(24, bool),
            lambda: np.full(array.shape, np.nan),
            lambda: np.full(array.shape, 1e300),
            lambda: np.zeros((24, 0)),
            lambda: np.zeros(24, "U0"),
            lambda: np.arange(24),
            lambda: np.asfortranarray(array),
            lambda: array.astype(">f8") if array.dtype.kind == "f" else array.astype(">U9"),
        )
    )()


def _entry(array: np.ndarray[Any, Any], rng: random.Random) -> bytes:
    """An array's bytes, whose header may lie."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=True)
    content = buffer.getvalue()
    if rng.random() < 0.4:
        header = rng.choice(
            (
                "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 4, 2), }",
                "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
                "{'descr': '<U99999999', 'fortran_order': False, 'shape': (24,), }",
                "{'descr': '|O', 'fortran_order': False, 'shape': (24,), }",
                "{'descr': '<f4', 'fortran_order': 5, 'shape': (24,), }",
                "{'descr': 'zzz', 'fortran_order': False, 'shape': (24,), }",
                "{'descr': '<f4', 'fortran_order': False, 'shape': [24], }",
                "{'descr': '<f4', 'fortran_order': False, 'shape': (True,), }",
                "{'descr': " + "(" * 300 + ")" * 300 + "}",
                "[" * 5000,
                "{" + " " * 60000 + "}",
                "",
                "\xff\xfe",
            )
        ).encode("latin-1")
        version = rng.choice(((1, 0), (2, 0), (3, 0), (9, 9)))
        length = struct.pack("<H" if version == (1, 0) else "<I", len(header) + rng.choice((0, 0, 5)))
        content = b"\x93NUMPY" + bytes(version) + length + header + content[128:]
    return content


def mutate(rng: random.Random) -> tuple[bytes, str]:
    """A file of embeddings with some damage, and its suffix."""
    arrays = _good(rng)
    for name in list(arrays):
        if rng.random() < 0.2:
            arrays[name] = _others(arrays[name], rng)
        elif rng.random() < 0.05:
            del arrays[name]
    buffer = io.BytesIO()
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, array in arrays.items():
            content = _entry(array, rng) if rng.random() < 0.3 else None
            if content is None:
                plain = io.BytesIO()
                np.lib.format.write_array(plain, array, allow_pickle=True)
                content = plain.getvalue()
            archive.writestr(f"{name}.npy", content)
        if rng.random() < 0.05:
            archive.writestr("more.npy", zlib.compress(b"0" * 1000))
    if rng.random() < 0.05:
        return _entry(arrays.get("embeddings", np.zeros(3)), rng), ".npz"
    content = buffer.getvalue()
    return (damaged(content, rng) if rng.random() < 0.4 else content), ".npz"


def check(path: Path) -> str:
    """Evaluate it under both kinds of protocol, and under its own.

    Returns:
        "read" if any can use it, or "refused".

    Raises:
        AssertionError: an error that does not name the file.
    """
    word = "refused"
    for dataset in ("CASIA-B", "PsyMo", None):
        try:
            evaluate_file(path, dataset)
        except GaitextError as error:
            sentence(error, path)
        else:
            word = "read"
    return word
