"""Imports a toolbox's models as its main.py would, and tells what it found there.

``python -m gaitext.toolboxes.probe ROOT RESULT``: a process of its own, because a toolbox's import
leaves top-level packages named ``data``, ``utils``, … behind, and may fail in any way. The result
is a json file, since toolboxes print while they are imported.
"""

from __future__ import annotations

import importlib
import logging
import sys
import traceback
from pathlib import Path
from typing import Any

import torch

from gaitext.store import write_json
from gaitext.toolboxes.cpu import redirect
from gaitext.toolboxes.registered import MARK
from gaitext.toolboxes.toolbox import EXTENSION_POINTS, Toolbox, detect


def probe(root: Path, toolbox: Toolbox) -> dict[str, Any]:
    """Import the toolbox at ``root`` into this process.

    Returns:
        ``error``: None or the last line of what was raised; ``where``: the toolbox's file it was
        raised in; ``registered``: kind -> gaitext's names found live; ``warnings``: what gaitext logged.
    """
    warnings: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: warnings.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("gaitext").addHandler(handler)
    redirect(world_size=1)
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    sys.path[0] = str(root / toolbox.package)
    result: dict[str, Any] = {"error": None, "where": None, "registered": {}, "warnings": warnings}
    try:
        for point in EXTENSION_POINTS:
            module = importlib.import_module(point.module)
            names = [name for name, part in vars(module).items() if getattr(part, MARK, False)]
            result["registered"][point.kind] = sorted(set(names))
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        inside = [frame.filename for frame in frames if str(root) in frame.filename]
        result["error"] = f"{type(error).__name__}: {error}"
        result["where"] = inside[-1] if inside else None
    return result


if __name__ == "__main__":
    _root = Path(sys.argv[1]).resolve()
    write_json(sys.argv[2], probe(_root, detect(_root)))
