"""Distances between probes and gallery."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gaitext.errors import ConfigError, ShapeError

__all__ = ["as_embeddings", "check_metric", "distances"]

Array = npt.NDArray[Any]


def as_embeddings(embeddings: Array, count: int | None = None) -> Array:
    """Embeddings as float32 [n, c, p]; [n, c] gains one part.

    Args:
        embeddings: [n, c, p] or [n, c].
        count: how many there must be.

    Raises:
        ShapeError: other shapes.
    """
    array = np.asarray(embeddings, np.float32)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or (count is not None and len(array) != count):
        wanted = "n" if count is None else str(count)
        raise ShapeError(f"embeddings must be [{wanted}, c, p] or [{wanted}, c], not {list(np.shape(embeddings))}")
    return array


def check_metric(metric: str) -> None:
    """Refuse a metric that :func:`distances` does not know.

    Raises:
        ConfigError: neither ``euc`` nor ``cos``.
    """
    if metric not in ("euc", "cos"):
        raise ConfigError(f"unknown metric {metric!r}", where="evaluator_cfg.metric", how="choose euc or cos")


def distances(probe: Array, gallery: Array, metric: str = "euc") -> Array:
    """Distances between all probes and all gallery sequences, as OpenGait computes them.

    Args:
        probe: [n, c, p] or [n, c].
        gallery: [m, c, p] or [m, c].
        metric: ``euc``: the mean over parts of the parts' Euclidean distances; ``cos``: one minus
            the mean over parts of their cosines.

    Returns:
        [n, m], float32.

    Raises:
        ConfigError: another metric.

    Example:
        >>> import numpy as np
        >>> distances(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0], [0.0, 1.0]])).tolist()
        [[5.0, 1.0]]
    """
    check_metric(metric)
    probe, gallery = as_embeddings(probe), as_embeddings(gallery)
    if probe.shape[1:] != gallery.shape[1:]:
        raise ShapeError(f"probes are [n, {probe.shape[1:]}], gallery sequences [m, {gallery.shape[1:]}]")
    if metric == "cos":
        probe, gallery = _unit(probe), _unit(gallery)
    total = np.zeros((len(probe), len(gallery)), np.float32)
    for part in range(probe.shape[2]):
        x, y = np.ascontiguousarray(probe[:, :, part]), np.ascontiguousarray(gallery[:, :, part])
        inner = x @ y.T
        if metric == "cos":
            total += inner
        else:
            squared = (x**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2 * inner
            total += np.sqrt(np.maximum(squared, 0))
    mean = total / np.float32(probe.shape[2])
    return 1 - mean if metric == "cos" else mean


def _unit(embeddings: Array) -> Array:
    norm = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings / np.maximum(norm, 1e-12)
