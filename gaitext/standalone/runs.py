"""A run's checkpoints: where they lie, what is in them, which is the latest."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gaitext.errors import CheckpointError
from gaitext.store import atomic_path

__all__ = ["checkpoint_path", "latest_checkpoint", "read_checkpoint", "write_checkpoint"]


def checkpoint_path(folder: Path, iteration: int) -> Path:
    """``<folder>/checkpoints/<save_name>-<iteration>.pt``, the toolboxes' place."""
    return folder / "checkpoints" / f"{folder.name}-{iteration:05d}.pt"


def latest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint of the highest iteration, if there is one."""
    pattern = re.compile(re.escape(folder.name) + r"-(\d+)\.pt")
    found = {int(m[1]): p for p in (folder / "checkpoints").glob("*.pt") if (m := pattern.fullmatch(p.name))}
    return found[max(found)] if found else None


def write_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint whole or not at all."""
    with atomic_path(path) as temporary:
        torch.save(dict(content), temporary)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU without running anything it might contain.

    Raises:
        CheckpointError: missing, damaged, or holding more than tensors and plain values.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        others = sorted(p.name for p in path.parent.glob("*.pt"))
        raise CheckpointError(
            "no such checkpoint",
            where=path,
            how=f"there are {', '.join(others[-5:])}" if others else "train first, or check restore_hint",
        ) from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise CheckpointError(
            f"cannot be read ({str(error).splitlines()[0]})", where=path, how="use another checkpoint"
        ) from error
    if not isinstance(loaded, dict):
        raise CheckpointError("holds no checkpoint", where=path)
    return loaded
