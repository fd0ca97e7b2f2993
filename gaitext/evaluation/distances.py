"""Distances between probes and gallery, right wherever the embeddings lie and whatever their unit is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitext.errors import ConfigError, DataError, ShapeError

Array = npt.NDArray[Any]

#: Distances are right to this share of themselves; what the fast formula cannot promise is computed again.
_EXACT = 1e-10
#: Distances that differ by no more than this share are equal: more than :data:`_EXACT` can part, and far less than
#: the rounding of float32 embeddings does to them.
TIE = 1e-9
#: Squares of numbers between these neither overflow nor vanish beside the largest.
_SAFE = (1e-100, 1e100)
#: Numbers held at once, in a block of distances and in pairs that are computed again.
_BLOCK, _PAIRS = 2**19, 2**22


def as_embeddings(embeddings: Array, count: int | None = None) -> Array:
    """Embeddings as float32 [n, c, p], or float64 where they hold more; [n, c] gains one part.

    Args:
        embeddings: [n, c, p] or [n, c].
        count: how many there must be.

    Raises:
        DataError: no real numbers.
        ShapeError: other shapes.
    """
    array = np.asarray(embeddings)
    if array.dtype.kind not in "biuf":
        raise DataError(f"embeddings hold {array.dtype}, not numbers", how="give an array of floats")
    small = array.dtype.kind in "bf" and array.dtype.itemsize <= 4
    array = array.astype(np.float32 if small else np.float64, copy=False)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or 0 in array.shape[1:] or (count is not None and len(array) != count):
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


def in_own_unit(*embeddings: Array) -> tuple[float, tuple[Array, ...]]:
    """A power of two and the embeddings over it, where their squares would leave float64; else 1 and the same."""
    wide = [array for array in embeddings if array.size and array.dtype != np.float32]  # float32 cannot leave it
    peak = max((float(np.abs(array).max()) for array in wide), default=0.0)
    if not math.isfinite(peak) or peak == 0 or _SAFE[0] <= peak <= _SAFE[1]:
        return 1.0, embeddings
    exponent = math.frexp(peak)[1] - 1
    return math.ldexp(1.0, exponent), tuple(np.ldexp(array, -exponent) for array in embeddings)


def distances(probe: Array, gallery: Array, metric: str = "euc") -> Array:
    """Distances between all probes and all gallery sequences.

    The toolboxes' definition without their rounding: no distance depends on an offset that all embeddings have in
    common, on their unit, or on what else is in the batch.

    Args:
        probe: [n, c, p] or [n, c].
        gallery: [m, c, p] or [m, c].
        metric: ``euc``: the mean over parts of the parts' Euclidean distances; ``cos``: one minus
            the mean over parts of their cosines, that of a part of zeros being 0.

    Returns:
        [n, m], float64, right to ten digits.

    Raises:
        ConfigError: another metric.
        DataError: no numbers.
        ShapeError: shapes that do not fit together.

    Example:
        >>> import numpy as np
        >>> distances(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0], [0.0, 1.0]])).tolist()
        [[5.0, 1.0]]
    """
    check_metric(metric)
    unit, (probe, gallery) = in_own_unit(as_embeddings(probe), as_embeddings(gallery))
    found = Reference(gallery, metric).distances(probe)
    if metric == "euc" and unit != 1:
        with np.errstate(over="ignore"):
            found = np.minimum(found * unit, np.finfo(np.float64).max)
    return found


class Reference:
    """Gallery sequences, made ready once for probes of any number.

    |x|² + |y|² − 2x·y is fast, and loses the distance of two embeddings that lie close together beside their distance
    from the origin. So the gallery's mean is taken from both, all is float64, and pairs for which even that does not
    promise ten digits are subtracted number by number.

    Args:
        gallery: [m, c, p], whose squares float64 holds (see :func:`in_own_unit`).
        metric: see :func:`distances`.
    """

    def __init__(self, gallery: Array, metric: str = "euc") -> None:
        check_metric(metric)
        self._metric, self._gallery = metric, as_embeddings(gallery)
        self._centre = self._gallery.mean(0, dtype=np.float64) if metric == "euc" and len(gallery) else None
        self._parts = self._ready(self._gallery)
        self._squares = _squares(self._parts)
        if metric == "euc":
            self._parts *= -2  # which the formula wants, and costs no rounding
        # Worst rounding of a sum of c products, twice, as a share of |x|² + |y|².
        self._rounding = 2 * (self._gallery.shape[1] + 8) * 2.0**-53

    def __len__(self) -> int:
        return len(self._gallery)

    def distances(self, probe: Array) -> Array:
        """[n, m], float64, of ``probe`` [n, c, p].

        Raises:
            ShapeError: another c or p.
        """
        probe, shape = as_embeddings(probe), self._gallery.shape[1:]
        if probe.shape[1:] != shape:
            raise ShapeError(f"probes are [n, {probe.shape[1:]}], gallery sequences [m, {shape}]")
        found = np.empty((len(probe), len(self)))
        if not found.size:
            return found
        rows = max(1, _BLOCK // len(self))
        for start in range(0, len(probe), rows):
            block = slice(start, start + rows)
            parts = self._ready(probe[block])
            value, doubtful = self._cosines(parts) if self._metric == "cos" else self._lengths(parts)
            if doubtful is not None and doubtful.any():
                self._recompute(value, doubtful, probe[block], parts)
            found[block] = value
        return found

    def reach(self, probe: Array) -> float:
        """What no distance of ``probe`` [n, c, p] is beyond."""
        if self._centre is None:
            return 2.0
        far = [
            np.linalg.norm(np.asarray(side, np.float64) - self._centre, axis=1).mean(1)
            for side in (probe, self._gallery)
        ]
        return float(sum(each.max(initial=0) for each in far)) * (1 + 1e-9)

    def _ready(self, embeddings: Array) -> Array:
        """[n, c, p] -> [p, n, c], float64, centred or of unit length."""
        parts = np.empty((embeddings.shape[2], *embeddings.shape[:2]))
        turned = embeddings.transpose(2, 0, 1)
        if self._centre is not None:
            return np.subtract(turned, self._centre.T[:, None], out=parts)
        parts[...] = turned
        if self._metric == "cos":
            for _ in range(2):  # by its largest number first, so that no square vanishes
                length = np.abs(parts).max(2, keepdims=True) if _ == 0 else np.sqrt(_squares(parts))[..., None]
                parts /= np.where(length > 0, length, 1)
        return parts

    def _lengths(self, parts: Array) -> tuple[Array, Array | None]:
        """Mean Euclidean distances, and which are not right to ten digits (None: all are)."""
        total, error = np.zeros((parts.shape[1], len(self))), None
        root = np.empty_like(total)
        for x, y, xx, yy in zip(parts, self._parts, _squares(parts), self._squares):
            np.matmul(x, y.T, out=root)
            root += xx[:, None]
            root += yy
            if root.min() < self._rounding / (2 * _EXACT) * (xx.max() + yy.max()):
                # |√computed − √true| is at most bound / √max(computed, bound).
                bound = self._rounding * (xx[:, None] + yy)
                np.sqrt(np.maximum(root, bound, out=root), out=root)
                error = np.zeros_like(total) if error is None else error
                error += np.divide(bound, root, out=np.zeros_like(total), where=root > 0)
            else:
                np.sqrt(root, out=root)
            total += root
        doubtful = None if error is None else error > _EXACT * total
        total /= len(parts)
        return total, doubtful

    def _cosines(self, parts: Array) -> tuple[Array, Array]:
        inner = np.zeros((parts.shape[1], len(self)))
        for x, y in zip(parts, self._parts):
            inner += x @ y.T
        found = 1 - inner / len(parts)
        return found, found < self._rounding / _EXACT

    def _recompute(self, value: Array, doubtful: Array, probe: Array, parts: Array) -> None:
        """Put differences, number by number, where ``value`` [n, m] is ``doubtful``."""
        for row, column in _chunks(doubtful, max(1, _PAIRS // probe[0].size)):
            if self._metric == "euc":
                apart = probe[row].astype(np.float64)
                apart -= self._gallery[column]
                each = np.sqrt(np.einsum("kcp,kcp->kp", apart, apart))
            else:
                x, y = parts[:, row], self._parts[:, column]
                both = x.any(2) & y.any(2)
                x = x - y
                each = np.where(both, np.einsum("pkc,pkc->pk", x, x) / 2, 1).T
            value[row, column] = each.mean(1)
        if self._metric == "cos":
            # Directions that differ by no more than the rounding of the embeddings' own numbers are the same: each
            # number by eps / 2 of itself, on either side, and what bringing both to unit length in float64 adds.
            value[value <= np.finfo(self._gallery.dtype).eps ** 2 / 2 + 2.0**-102] = 0


def _squares(parts: Array) -> Array:
    return np.asarray(np.einsum("pnc,pnc->pn", parts, parts))


def _chunks(mask: Array, size: int) -> Iterator[tuple[Array, Array]]:
    rows, columns = np.nonzero(mask)
    for start in range(0, len(rows), size):
        yield rows[start : start + size], columns[start : start + size]
