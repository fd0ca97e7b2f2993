"""Which files an ONNX network is made of, against the onnx package's own reader."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from gaitext.errors import ConfigError
from gaitext.pose.onnx import external_files, onnx_sha256

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def network(path: Path, places: dict[str, str], value: float = 1.0) -> Path:
    """A sum of weights, of which those in ``places`` are kept in files beside; one more within a branch of an If."""
    weights = [numpy_helper.from_array(np.full(2000, value, np.float32), name) for name in ("a", "b", "c")]
    for weight in weights:
        if weight.name in places:
            onnx.external_data_helper.set_external_data(weight, places[weight.name])
    inner = numpy_helper.from_array(np.full(2000, value, np.float32), "d")
    if "d" in places:
        onnx.external_data_helper.set_external_data(inner, places["d"])
    out = helper.make_tensor_value_info("o", TensorProto.FLOAT, [2000])
    branch = helper.make_graph([helper.make_node("Constant", [], ["o"], value=inner)], "branch", [], [out])
    nodes = [
        helper.make_node("If", ["which"], ["picked"], then_branch=branch, else_branch=branch),
        helper.make_node("Sum", ["x", "a", "b", "c", "picked"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [2000]),
            helper.make_tensor_value_info("which", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2000])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return path


def test_the_files_that_tensors_name_are_found_wherever_they_stand(tmp_path: Path) -> None:
    assert external_files(network(tmp_path / "n.onnx", {})) == []
    (tmp_path / "deep").mkdir()
    places = {"a": "n.onnx.data", "b": "n.onnx.data", "c": "deep/other.bin", "d": "branch.bin"}
    path = network(tmp_path / "n.onnx", places)
    assert external_files(path) == ["branch.bin", "deep/other.bin", "n.onnx.data"]


def test_new_weights_beside_the_file_are_another_network(tmp_path: Path) -> None:
    path = network(tmp_path / "n.onnx", {"a": "n.onnx.data"})
    graph, weights = path.read_bytes(), (tmp_path / "n.onnx.data").read_bytes()
    first = onnx_sha256(path)
    assert first != hashlib.sha256(graph).hexdigest()
    changed = bytearray(weights)
    changed[len(changed) // 2] ^= 1
    (tmp_path / "n.onnx.data").write_bytes(changed)
    assert path.read_bytes() == graph
    assert onnx_sha256(path) != first
    (tmp_path / "n.onnx.data").write_bytes(weights)
    assert onnx_sha256(path) == first
    (tmp_path / "n.onnx.data").unlink()
    with pytest.raises(ConfigError, match=r"its weights are in n\.onnx\.data, which is not there"):
        onnx_sha256(path)


def test_a_network_in_one_file_keeps_its_sha256(tmp_path: Path) -> None:
    path = network(tmp_path / "n.onnx", {})
    assert onnx_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_is_no_onnx_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = network(tmp_path / "n.onnx", {"a": "n.onnx.data"})
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"\xff" * 100, b"\x0f\x00"):
        path.write_bytes(damaged)
        with pytest.raises(ConfigError, match="cannot be read as ONNX"):
            onnx_sha256(path)
