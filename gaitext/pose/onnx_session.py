"""Opening an ONNX file with onnxruntime, the same way for every kind of network.

What an ONNX network is made of: its file, and the files of weights that it names (external data).

Digests of files.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gaitext.errors import ConfigError, import_extra
from gaitext.video.digests import content_sha256

__all__ = ["INPUT_TYPES", "external_files", "file_digest", "onnx_sha256", "open_session"]


#: onnxruntime's names of the input types gaitext feeds -> numpy's.
INPUT_TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16"}


def open_session(path: Path, purpose: str, *, threads: int = 0, providers: Sequence[str] | None = None) -> Any:
    """An ``onnxruntime.InferenceSession``.

    Args:
        purpose: what needs it, for the error where onnxruntime is missing.
        threads: of onnxruntime; 0 for ``OMP_NUM_THREADS``, by which the processes of
            :mod:`gaitext.execution` share the cores, and one per core where that is not set.
        providers: execution providers, in order; by default CUDA where this onnxruntime has it, and
            the CPU.

    Raises:
        ConfigError: the file is missing or is not ONNX.
        MissingDependencyError: onnxruntime is not installed.
    """
    runtime = import_extra("onnxruntime", "onnx", purpose)
    if not path.is_file():
        raise ConfigError("no such file", where=path, how="check the path after 'onnx:'")
    options = runtime.SessionOptions()
    told = os.environ.get("OMP_NUM_THREADS", "")  # which onnxruntime itself does not look at
    options.intra_op_num_threads = threads or (int(told) if told.isdigit() else 0)
    options.log_severity_level = 3  # old exports warn once per weight
    # Between batches its idle threads would otherwise spin and take the cores from the decoder.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    available = runtime.get_available_providers()
    chosen = providers or [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in available]
    try:
        return runtime.InferenceSession(str(path), options, providers=list(chosen))
    except Exception as error:  # onnxruntime's exceptions have no base class of their own
        raise ConfigError(f"onnxruntime cannot load it ({error})", where=path) from error


#: Messages of onnx.proto: field -> the message in it. What else a field holds does not matter here.
_FIELDS: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Node": {5: "Attribute"},
    "Function": {7: "Node", 11: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "Entry"},
}
#: Levels of graphs within graphs' attributes, and the messages between them.
_DEEPEST = 200


def onnx_sha256(path: str | Path) -> str:
    """SHA-256 of a network: of its file alone, or of that and every file of external data that it names.

    Raises:
        ConfigError: it cannot be read as ONNX, or names a file that is not there.
    """
    path = Path(path)
    own = content_sha256(path)
    names = external_files(path)
    if not names:
        return own
    hashed = hashlib.sha256(own.encode())
    for name in names:
        if not (path.parent / name).is_file():
            raise ConfigError(f"its weights are in {name}, which is not there", where=path, how="put it beside")
        hashed.update(name.encode() + b"\0" + content_sha256(path.parent / name).encode())
    return hashed.hexdigest()


def external_files(path: str | Path) -> list[str]:
    """Places of the files that a network's tensors are kept in, relative to its own folder, sorted.

    Raises:
        ConfigError: it cannot be read as ONNX.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            if not path.stat().st_size:
                return []
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return sorted(set(_locations(content, 0, len(content), "Model", 0)))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot be read as ONNX ({error})", where=path) from error


def _locations(content: mmap.mmap, start: int, end: int, message: str, depth: int) -> Iterator[str]:
    """Values of the entries ``location`` below a message."""
    if depth > _DEEPEST:
        raise ValueError("graphs are nested too deep")
    if message == "Entry":
        found = {field: content[at:to] for field, at, to in _parts(content, start, end) if field in (1, 2)}
        if found.get(1) == b"location":
            yield found.get(2, b"").decode()
        return
    for field, at, to in _parts(content, start, end):
        below = _FIELDS[message].get(field)
        if below is not None:
            yield from _locations(content, at, to, below, depth + 1)


def _parts(content: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """A protobuf message's fields of bytes: number, start, end. Other fields are passed over."""
    while at < end:
        key, at = _number(content, at, end)
        kind = key & 7
        if kind == 0:
            _, at = _number(content, at, end)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        elif kind == 2:
            length, at = _number(content, at, end)
            if length > end - at:
                raise ValueError("a part is longer than the whole")
            yield key >> 3, at, at + length
            at += length
        else:
            raise ValueError(f"there is no wire type {kind}")


def _number(content: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """A varint, and where it ends."""
    value = shift = 0
    while at < end and shift < 64:
        byte = content[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at
    raise ValueError("it is cut short")


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
