"""Opening an ONNX file with onnxruntime, the same way for every kind of network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gaitext.errors import ConfigError, import_extra

__all__ = ["INPUT_TYPES", "open_session"]

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
