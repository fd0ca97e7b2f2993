"""Figures (extra ``plot``). Data first, drawing second: every function takes arrays and a path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitext.errors import import_extra
from gaitext.store import atomic_path

Array = npt.NDArray[Any]


def pyplot() -> Any:
    """matplotlib.pyplot, drawing to files alone."""
    matplotlib = import_extra("matplotlib", "plot", "drawing figures")
    matplotlib.use("Agg")
    return import_extra("matplotlib.pyplot", "plot", "drawing figures")


def save_figure(figure: Any, path: str | Path) -> Path:
    """Write a figure, whole or not at all, in the form that its suffix names, and close it."""
    path = Path(path)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, bbox_inches="tight", format=path.suffix[1:] or "png")
    pyplot().close(figure)
    return path


def curves_figure(rows: Sequence[Mapping[str, float]], path: str | Path) -> Path:
    """A training run's losses over iterations, and its learning rate.

    Args:
        rows: as in the run's ``log.csv``: ``iteration``, ``lr``, ``loss`` and each loss's own.
        path: a .png, .pdf or .svg.
    """
    plt = pyplot()
    iterations = [row["iteration"] for row in rows]
    losses = [key for key in rows[0] if key.endswith("/loss")]
    kinds = {"triplet": "triplet loss", "softmax": "cross-entropy"}
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    for axis, (kind, title) in zip(axes, kinds.items()):
        for key in losses:
            if kind in key:
                axis.plot(iterations, [row[key] for row in rows], label=key.split("_")[0].split("/")[-1])
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("iteration", fontsize=8)
        axis.legend(fontsize=8)
    axes[2].plot(iterations, [row["lr"] for row in rows], color="grey")
    axes[2].set_title("learning rate", fontsize=10)
    axes[2].set_xlabel("iteration", fontsize=8)
    for axis in axes:
        axis.grid(alpha=0.3)
    return save_figure(figure, path)


def distances_figure(methods: Mapping[str, Array], path: str | Path, *, unit: str = "pixels", bins: int = 40) -> Path:
    """Histograms of the distances of estimated poses from the true ones, one above the other.

    As Fig. 4 of the artifact-correction paper: all share their axes, and each names its mean, which
    a line marks. What lies beyond the 99.5th percentile of all is counted in the last bin.

    Args:
        methods: name -> distances [N], such as those of :func:`gaitext.evaluation.pose_distances`; NaN
            is left out.
        path: a .png, .pdf or .svg.
        unit: what distances are measured in.
        bins: number of bins.
    """
    plt = pyplot()
    known = {name: np.asarray(values)[~np.isnan(values)] for name, values in methods.items()}
    together = np.concatenate(list(known.values()))
    end = float(np.percentile(together, 99.5)) if len(together) else 1.0
    edges = np.linspace(0, end or 1.0, bins + 1)
    figure, axes = plt.subplots(
        len(known), 1, figsize=(6, 1.9 * len(known)), sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    for axis, (name, values) in zip(axes[:, 0], known.items()):
        axis.hist(values.clip(max=edges[-1]), edges, color="#4878a8")
        if len(values):
            axis.axvline(values.mean(), color="black", linewidth=1)
        axis.set_title(f"{name} (mean: {values.mean():.2f})" if len(values) else f"{name} (none)", fontsize=9)
        axis.set_ylabel("frames", fontsize=8)
        axis.grid(alpha=0.3)
    axes[-1, 0].set_xlabel(f"L2 distance ({unit})", fontsize=8)
    return save_figure(figure, path)
