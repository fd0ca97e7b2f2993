"""Runs for reports: embeddings of CASIA-B's protocol, a training's folder, a study's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gaitext.evaluation.saved import write_saved
from gaitext.studies.tables import write_results
from tests.studies.made_up import study

TYPES = ("nm-01", "nm-02", "nm-05", "bg-01", "cl-01")
VIEWS = ("000", "090", "180")
CONFIG = {
    "data_cfg": {"dataset_name": "CASIA-B", "dataset_root": "your_path"},
    "model_cfg": {"model": "GaitHeat", "class_num": 74},
}


def embeddings(
    path: Path,
    *,
    people: Sequence[str] = ("001", "002", "003", "004"),
    noise: float = 0.9,
    seed: int = 0,
    paths: Path | None = None,
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Saved embeddings in which people differ, and views and clothes disturb."""
    rng = np.random.default_rng(0)
    own = {name: rng.normal(size=(8, 2)) for name in people}
    side = {view: rng.normal(size=(8, 2)) for view in VIEWS}
    rows = [(name, kind, view) for name in people for kind in TYPES for view in VIEWS]
    strength = {"nm": 1.0, "bg": 1.4, "cl": 2.0}
    drawn = np.random.default_rng(seed)
    made = [
        own[name] + noise * (side[view] + strength[kind[:2]] * drawn.normal(size=(8, 2))) for name, kind, view in rows
    ]
    labels, types, views = map(np.array, zip(*rows))
    protocol = {"eval_func": "evaluate_indoor_dataset", "dataset": "CASIA-B", "metric": "euc"}
    said = {"host": "embedded", "config": CONFIG, "protocol": protocol, "seed": seed} if about is None else about
    given = None if paths is None else [paths.joinpath(*row) for row in rows]
    data = {"embeddings": np.stack(made), "labels": labels, "types": types, "views": views}
    return write_saved(path, data, paths=given, about=said)


def training(folder: Path) -> Path:
    """A training's folder with a log, cut short by a kill."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "run-00020.pt").write_bytes(b"0" * 1_500_000)
    rows = ["iteration,lr,loss,triplet/loss,triplet/hard", "10,0.1,2.5,1.5,0.25", "20,0.01,1.25,0.75,0.125", "30,0.0"]
    (folder / "log.csv").write_text("\n".join(rows))
    return folder


def studied(folder: Path) -> Path:
    """A study's folder."""
    folder.mkdir()
    tables, claims, cells = study()
    write_results(tables, claims, cells, folder, {"study": "A study", "seeds": "0 1 2"})
    return folder
