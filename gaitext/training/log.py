"""What a run writes down: a CSV that survives being killed, TensorBoard if there is one."""

from __future__ import annotations

import csv
import importlib.util
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from gaitext.losses.loss import world_size
from gaitext.store import atomic_path, disk_errors

__all__ = ["CsvLog", "Means", "show", "summary_writer", "write_scalars"]

log = logging.getLogger(__name__)


class Means:
    """Means of scalars since the last row, over iterations and processes.

    Sums stay on the device until they are asked for, so that training does not wait for it.
    """

    def __init__(self) -> None:
        self.sums: dict[str, Tensor | float] = {}
        self.count = 0

    def add(self, scalars: Mapping[str, Tensor]) -> None:
        for name, value in scalars.items():
            self.sums[name] = self.sums.get(name, 0.0) + value.detach()
        self.count += 1

    def state(self) -> dict[str, Any]:
        """Sums averaged over processes, as numbers; all processes must ask."""
        names = list(self.sums)
        values = torch.stack([torch.as_tensor(self.sums[n], dtype=torch.float64).cpu() for n in names])
        if world_size() > 1:
            device = "cuda" if dist.get_backend() == "nccl" else "cpu"
            shared = values.to(device)
            dist.all_reduce(shared)
            values = shared.cpu() / world_size()
        return {"sums": dict(zip(names, values.tolist())), "count": self.count}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.sums, self.count = dict(state["sums"]), int(state["count"])

    def take(self) -> dict[str, float]:
        """The means, and start anew; all processes must take them."""
        state = self.state()
        self.sums, self.count = {}, 0
        return {name: value / state["count"] for name, value in state["sums"].items()}


class CsvLog:
    """``log.csv``: one row every ``log_iter`` iterations.

    Args:
        path: the file.
        after: keep the rows up to this iteration, drop the others: those of a run that was
            killed after its last checkpoint. 0 starts a new file.
    """

    def __init__(self, path: Path, after: int) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []
        if after > 0 and path.exists():
            with path.open(newline="", encoding="utf-8") as stream:
                # A last line cut short by a kill has fewer cells, or none that is a number.
                whole = [row for row in csv.DictReader(stream) if None not in row.values()]
            read = [{key: float(value) for key, value in row.items() if value != ""} for row in whole]
            self.rows = [row for row in read if row["iteration"] <= after]
        elif path.exists():
            log.warning("%s is begun anew: this run does not resume the one before", path)
        self.columns = list(self.rows[-1]) if self.rows else []
        self._rewrite()

    def write(self, row: Mapping[str, float]) -> None:
        self.rows.append(dict(row))
        if any(name not in self.columns for name in row):
            self.columns += [name for name in row if name not in self.columns]
            self._rewrite()
            return
        with disk_errors(self.path), self.path.open("a", newline="", encoding="utf-8") as stream:
            csv.DictWriter(stream, self.columns, restval="").writerow(_text(row))

    def _rewrite(self) -> None:
        with atomic_path(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, self.columns, restval="")
            if self.columns:
                writer.writeheader()
            writer.writerows(_text(row) for row in self.rows)


def _text(row: Mapping[str, float]) -> dict[str, str]:
    return {k: str(int(v)) if k == "iteration" else repr(float(v)) for k, v in row.items()}


def summary_writer(folder: Path, after: int, wanted: bool) -> Any:
    """A TensorBoard writer in ``folder``, or None where tensorboard is not installed or not wanted."""
    if not wanted:
        return None
    if importlib.util.find_spec("tensorboard") is None:
        log.info("no TensorBoard log: pip install 'gaitext[standalone]' brings it")
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=after + 1 if after else None)


def write_scalars(writer: Any, row: Mapping[str, float], prefix: str = "") -> None:
    """A row's numbers to TensorBoard, at its ``iteration``; ``writer`` may be None."""
    for name, value in row.items() if writer is not None else ():
        if name != "iteration":
            writer.add_scalar(prefix + name, value, int(row["iteration"]))


def show(values: Mapping[str, float], names: Iterable[str]) -> str:
    """Some of a row's numbers, for the progress bar."""
    return " ".join(f"{name} {values[name]:.4g}" for name in names if name in values)
