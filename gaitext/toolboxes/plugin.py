"""What the linked file calls: registers gaitext's parts in the toolbox that imports it.

Runs inside the toolbox's process, while it imports its models. Models are returned, to be lifted
into the toolbox's namespace like its own; everything else becomes an attribute of the module where
the toolbox looks names up (docs/toolbox-contract.md). A name that the toolbox defines too is gaitext's from then on,
and a warning says so at every run.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from gaitext.errors import ToolboxError
from gaitext.toolboxes import parts
from gaitext.toolboxes.registered import MARK, exposed, model_class, reporting
from gaitext.toolboxes.saving import save_results
from gaitext.toolboxes.toolbox import EXTENSION_POINTS, TOOLBOXES, ExtensionPoint, Toolbox, static_clashes

log = logging.getLogger("gaitext")


@dataclass
class Registration:
    """What was registered in this process.

    Attributes:
        toolbox: the toolbox it was registered in.
        clashes: one sentence for each name that the toolbox defines too.
    """

    toolbox: str
    clashes: list[str] = field(default_factory=list)


_registration: Registration | None = None


def registration() -> Registration | None:
    """What :func:`plug_in` registered in this process; None if it has not run."""
    return _registration


def _host(module_name: str) -> tuple[Toolbox, Path]:
    file = sys.modules[module_name].__file__
    assert file is not None
    package = Path(file).resolve().parents[2]
    for toolbox in TOOLBOXES:
        if toolbox.package == package.name:
            return toolbox, package
    raise ToolboxError(f"the folder {package.name} is no toolbox's package", where=file, how="run `gaitext doctor`")


def plug_in(module_name: str) -> dict[str, type]:
    """Register gaitext's parts in the toolbox one of whose model files is ``module_name``.

    Args:
        module_name: ``__name__`` of the linked file.

    Returns:
        Model name -> class, for the linked file's namespace.
    """
    global _registration
    toolbox, package = _host(module_name)
    base = importlib.import_module("modeling.base_model").BaseModel
    models = {name: model_class(adapter, base, toolbox, module_name) for name, adapter in parts.MODELS.items()}
    # All is made before anything is changed: a failure leaves the toolbox as it was.
    prepared: list[tuple[ExtensionPoint, ModuleType, dict[str, Any]]] = []
    for point in EXTENSION_POINTS[1:]:
        table: Mapping[str, Callable[..., Any]] = getattr(parts, point.table)
        module = importlib.import_module(point.module)
        if point.kind == "evaluation":
            table = {name: reporting(part) for name, part in table.items()}
        wrapped = {name: exposed(name, part) for name, part in table.items()}
        supplied = parts.SUPPLIED.get(point.kind, {})
        wrapped.update({name: exposed(name, part) for name, part in supplied.items() if not hasattr(module, name)})
        prepared.append((point, module, wrapped))

    found = Registration(toolbox.name, _claim_models(package, models, module_name))
    for point, module, wrapped in prepared:
        for name, part in wrapped.items():
            there = getattr(module, name, None)
            if there is not None and not getattr(there, MARK, False):
                found.clashes.append(
                    f"the {point.kind} {name} is also defined in {toolbox.name}'s {point.module}; "
                    "gaitext's is used under that name"
                )
            setattr(module, name, part)
    save_results(base, toolbox)
    _registration = found
    if os.environ.get("RANK", "0") == "0":
        for clash in found.clashes:
            log.warning("%s", clash)
    return models


def _claim_models(package: Path, models: Mapping[str, type], module_name: str) -> list[str]:
    """Make gaitext's classes win over the toolbox's classes of the same name.

    The toolbox lifts every file's classes in the files' order, and the last wins. So a file that
    defines such a name is imported now, and the name in it made gaitext's as well.
    """
    own = Path(sys.modules[module_name].__file__ or "")
    parent = module_name.rpartition(".")[0]
    clashes = []
    for name, files in static_clashes(package, EXTENSION_POINTS[0], set(models), own).items():
        for file in files:
            stem = file.parent.name if file.name == "__init__.py" else file.stem
            if file.parent.name == "models" and file.name == "__init__.py":
                continue
            setattr(importlib.import_module(f"{parent}.{stem}"), name, models[name])
            clashes.append(
                f"the model {name} is also defined in {file.relative_to(package.parent)}; "
                "gaitext's is used under that name"
            )
    return clashes
