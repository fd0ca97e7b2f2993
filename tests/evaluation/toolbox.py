"""The toolboxes' own evaluation functions on the CPU, without their message managers."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch

#: Toolbox -> the variable with its root, and the folder of its functions.
TOOLBOXES = {
    "OpenGait": ("OPENGAIT_ROOT", "opengait/evaluation"),
    "FastPoseGait": ("FASTPOSEGAIT_ROOT", "fastposegait/evaluation"),
}


@contextmanager
def functions(toolbox: str) -> Iterator[Any]:
    """``evaluator``, a toolbox's module of functions, and ``lines``, what they have written to the log; None without
    a checkout."""
    variable, folder = TOOLBOXES[toolbox]
    root = os.environ.get(variable)
    if not root:
        yield None
        return
    lines: list[str] = []
    utils = ModuleType("utils")
    manager = SimpleNamespace(log_info=lambda text: lines.append(str(text)))
    utils.get_msg_mgr = lambda: manager  # type: ignore[attr-defined]
    utils.mkdir = os.makedirs  # type: ignore[attr-defined]
    utils.is_tensor = torch.is_tensor  # type: ignore[attr-defined]
    package = ModuleType("its_evaluation")
    package.__path__ = [str(Path(root) / folder)]  # type: ignore[attr-defined]
    names = ["utils", "its_evaluation", *(f"its_evaluation.{name}" for name in ("metric", "re_rank", "evaluator"))]
    before = {name: sys.modules.get(name) for name in names}
    cuda, options = torch.Tensor.cuda, np.get_printoptions()
    sys.modules |= {"utils": utils, "its_evaluation": package}
    torch.Tensor.cuda = lambda self, *a, **k: self  # type: ignore[method-assign]
    try:
        for name in names[2:]:
            file = Path(root) / folder / f"{name.rpartition('.')[2]}.py"
            if file.exists():
                spec = importlib.util.spec_from_file_location(name, file)
                assert spec is not None
                assert spec.loader is not None
                sys.modules[name] = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(sys.modules[name])
        yield SimpleNamespace(evaluator=sys.modules[names[-1]], lines=lines)
    finally:
        torch.Tensor.cuda = cuda  # type: ignore[method-assign]
        np.set_printoptions(**{k: v for k, v in options.items() if k != "override_repr"})
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module
