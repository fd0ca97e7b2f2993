"""Distances between probes and gallery, right wherever the embeddings lie and whatever their unit is.

Distances are computed in float64. Who is nearest is found in float32 first: its products have an error that is bounded
for each probe, and only what that bound leaves undecided is computed again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gaitext.errors import ConfigError, DataError, ShapeError

Array = npt.NDArray[Any]

#: Distances are right to this share of themselves; what the fast formula cannot promise is computed again.
_EXACT = 1e-10
#: Distances that differ by no more than this share are equal: more than :data:`_EXACT` can part, and far less than
#: the rounding of float32 embeddings does to them.
TIE = 1e-9
#: Squares of numbers between these neither overflow nor vanish beside the largest.
_SAFE = (1e-100, 1e100)
#: Numbers held at once: in a block of distances, in one of single precision, in pairs that are computed again.
_BLOCK, _SINGLE, _PAIRS = 2**20, 2**20, 2**22
#: Where more than this share of a block's pairs is undecided in float32, all are computed in float64.
_UNDECIDED = 0.02
#: Unit roundoffs.
_DOUBLE_EPS, _SINGLE_EPS = 2.0**-53, 2.0**-24

_DEVICE: ContextVar[str] = ContextVar("device", default="cpu")


@contextmanager
def on_device(device: str) -> Iterator[None]:
    """Compute distances on another device than the CPU; one without float64, as Apple's, is not used.

    Args:
        device: as torch names it.
    """
    token = _DEVICE.set(device if device.partition(":")[0] in ("cpu", "cuda") else "cpu")
    try:
        yield
    finally:
        _DEVICE.reset(token)


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


@dataclass(frozen=True)
class Nearest:
    """The equally near sequences among which each probe has its nearest match; arrays [n] or [n, g].

    Args:
        before: how many sequences are nearer.
        size: how many these are; 0 where the probe has no match.
        matches: how many of them are matches.
    """

    before: Array
    size: Array
    matches: Array

    @property
    def mixed(self) -> Array:
        """Whether a match is exactly as near as another's sequence."""
        return self.matches < self.size

    def within(self, ranks: int) -> Array:
        """[…, ranks], the chance that a match is among the nearest 1..ranks; 0 or 1 unless :attr:`mixed`."""
        found = np.zeros((*self.size.shape, ranks))
        missed = np.ones(self.size.shape)
        for k in range(ranks):
            place = k - self.before  # among the equals
            others = np.maximum(self.size - self.matches - place, 0) / np.maximum(self.size - place, 1)
            missed = missed * np.where((place >= 0) & (self.matches > 0), others, 1)
            found[..., k] = 1 - missed
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
        self._metric, self._gallery, self._device = metric, as_embeddings(gallery), _DEVICE.get()
        self._centre = self._gallery.mean(0, dtype=np.float64) if metric == "euc" and len(gallery) else None
        self._ready_parts: torch.Tensor | None = None
        self._single: _Single | None = None

    def __len__(self) -> int:
        return len(self._gallery)

    @property
    def _parts(self) -> torch.Tensor:
        """[p, m, c + 2], or for cosines [p, m, c], float64, made when they are first needed."""
        if self._ready_parts is None:
            parts = self._ready(self._gallery)
            self._ready_parts = parts if self._metric == "cos" else _as_factor(parts, second=True)
        return self._ready_parts

    def distances(self, probe: Array) -> Array:
        """[n, m], float64, of ``probe`` [n, c, p].

        Raises:
            ShapeError: another c or p.
        """
        probe = self._fitting(probe)
        found = np.empty((len(probe), len(self)))
        if not found.size:
            return found
        rows = max(1, _BLOCK // len(self))
        for start in range(0, len(probe), rows):
            block = slice(start, start + rows)
            value, doubtful = self._doubles(self._ready(probe[block]))
            found[block] = value.cpu().numpy()
            if doubtful is not None and bool(doubtful.any()):
                row, column = np.nonzero(doubtful.cpu().numpy())
                found[block][row, column] = self.pairs(probe[block], row, column)
        if self._metric == "cos":
            self._straighten(found)
        return found

    def pairs(self, probe: Array, row: Array, column: Array) -> Array:
        """[k], distances of probes ``row`` [k] and gallery sequences ``column`` [k], subtracted number by number."""
        found = np.empty(len(row))
        units = self._unit_parts if self._metric == "cos" else None
        step = max(1, _PAIRS // self._gallery[0].size)
        for start in range(0, len(row), step):
            part = slice(start, start + step)
            if units is None:
                apart = probe[row[part]].astype(np.float64)
                apart -= self._gallery[column[part]]
                each = np.sqrt(np.einsum("kcp,kcp->kp", apart, apart))
            else:
                x, y = units(probe[row[part]]), units(self._gallery[column[part]])
                both = x.any(2) & y.any(2)
                x = x - y
                each = np.where(both, np.einsum("pkc,pkc->pk", x, x) / 2, 1).T
            found[part] = each.mean(1)
        if self._metric == "cos":
            self._straighten(found)
        return found

    def nearest(self, probe: Array, groups: Sequence[slice], columns: Array, wanted: Array, ranks: int = 1) -> Nearest:
        """Where each probe's nearest match stands in each group of gallery sequences.

        Args:
            probe: [n, c, p].
            groups: g parts of the gallery, one behind the other.
            columns: [n, k], places of a probe's matches in the gallery.
            wanted: [n, k], which of them are any.
            ranks: a match behind so many others is not looked for any further: its ``before`` is ``ranks`` or more,
                and ``size`` and ``matches`` are 1.

        Returns:
            Arrays [n, g].
        """
        probe = self._fitting(probe)
        shape = (len(probe), len(groups))
        found = Nearest(*(np.zeros(shape, np.int64) for _ in range(3)))
        if not len(probe) or not len(self):
            return found
        if self._single is None:
            self._single = _Single.of(self._gallery, self._centre, self._device)
        rows = max(1, _SINGLE // len(self))
        for start in range(0, len(probe), rows):
            block = slice(start, start + rows)
            some = self._block(probe[block], groups, columns[block], wanted[block], ranks)
            for name in ("before", "size", "matches"):
                getattr(found, name)[block] = getattr(some, name)
        return found

    def _block(self, probe: Array, groups: Sequence[slice], columns: Array, wanted: Array, ranks: int) -> Nearest:
        """:meth:`nearest` of a block: by float32 what its error leaves decided, the rest exactly."""
        assert self._single is not None
        starts = np.array([group.start for group in groups])
        group_of = np.searchsorted(starts, columns, "right") - 1  # of every match
        if not self._single.exact:
            return _in_groups(self.distances(probe), groups, columns, wanted)
        apart, error, share = self._single.distances(probe)
        lines = np.arange(len(probe))[:, None]
        near = torch.take_along_dim(apart, torch.from_numpy(columns).to(apart.device), 1).cpu().numpy()
        near = np.where(wanted, near, np.inf).astype(np.float64)
        value = np.full((len(probe), len(groups)), np.inf)
        np.minimum.at(value, (np.broadcast_to(lines, columns.shape), group_of), near)
        matched = np.isfinite(value)
        middle = np.where(matched, value, 0)
        apart_by = 2 * error[:, None] + share * (np.abs(middle) + 2 * error[:, None])
        low, high = middle - apart_by, middle + apart_by
        edges = [torch.from_numpy(_outward(each, up)).to(apart.device) for each, up in ((low, False), (high, True))]
        before, upto = np.zeros(value.shape, np.int64), np.zeros(value.shape, np.int64)
        for place, group in enumerate(groups):
            part = apart[:, group]
            for counts, inside in ((before, part < edges[0][:, place, None]), (upto, part <= edges[1][:, place, None])):
                counts[:, place] = inside.sum(1, dtype=torch.int32).cpu().numpy()
        close = np.zeros(value.shape, np.int64)
        of_them = wanted & (near <= np.take_along_axis(edges[1].cpu().numpy(), group_of, 1))
        np.add.at(close, (np.broadcast_to(lines, columns.shape)[of_them], group_of[of_them]), 1)
        one = matched.astype(np.int64)
        found = Nearest(np.where(matched, before, 0), one, one.copy())
        open_ = matched & (before < ranks) & (upto - before > close)
        if int((upto - before)[open_].sum()) > max(_UNDECIDED * len(self) * len(probe), 1000):
            return _in_groups(self.distances(probe), groups, columns, wanted)
        if open_.any():
            self._settle(found, probe, groups, columns, wanted, apart, edges, open_)
        return found

    def _settle(
        self,
        found: Nearest,
        probe: Array,
        groups: Sequence[slice],
        columns: Array,
        wanted: Array,
        apart: torch.Tensor,
        edges: Sequence[torch.Tensor],
        undecided: Array,
    ) -> None:
        """Put exact places into ``found`` where it is ``undecided`` [n, g]."""
        count = np.cumsum(undecided.reshape(-1)).reshape(undecided.shape) - 1  # numbers these searches
        rows, places, searches = [], [], []
        for place, group in enumerate(groups):
            lines = np.flatnonzero(undecided[:, place])
            if not len(lines):
                continue
            chosen = torch.from_numpy(lines).to(apart.device)
            part = apart[chosen, group]
            inside = (part >= edges[0][chosen, place, None]) & (part <= edges[1][chosen, place, None])
            row, column = np.nonzero(inside.cpu().numpy())
            rows.append(lines[row])
            places.append(column + group.start)
            searches.append(count[lines[row], place])
        row, column, search = (np.concatenate(each) for each in (rows, places, searches))
        right = np.zeros(len(row), bool)
        for k in range(columns.shape[1]):
            right |= (columns[row, k] == column) & wanted[row, k]
        exact = self.pairs(probe, row, column)
        value = np.full(int(undecided.sum()), np.inf)
        np.minimum.at(value, search[right], exact[right])
        nearer = exact < (value * (1 - TIE))[search]
        equal = ~nearer & (exact <= (value * (1 + TIE))[search])
        found.before[undecided] += np.bincount(search[nearer], minlength=len(value))
        found.size[undecided] = np.bincount(search[equal], minlength=len(value))
        found.matches[undecided] = np.bincount(search[equal & right], minlength=len(value))

    def reach(self, probe: Array) -> float:
        """What no distance of ``probe`` [n, c, p] is beyond."""
        if self._centre is None:
            return 2.0
        far = [
            np.linalg.norm(np.asarray(side, np.float64) - self._centre, axis=1).mean(1)
            for side in (probe, self._gallery)
        ]
        return float(sum(each.max(initial=0) for each in far)) * (1 + 1e-9)

    def _fitting(self, probe: Array) -> Array:
        probe, shape = as_embeddings(probe), self._gallery.shape[1:]
        if probe.shape[1:] != shape:
            raise ShapeError(f"probes are [n, {probe.shape[1:]}], gallery sequences [m, {shape}]")
        return probe

    def _ready(self, embeddings: Array) -> torch.Tensor:
        """[n, c, p] -> [p, n, c], float64, centred or of unit length."""
        parts = self._unit_parts(embeddings) if self._metric == "cos" else _centred(embeddings, self._centre)
        return torch.from_numpy(parts).to(self._device)

    @staticmethod
    def _unit_parts(embeddings: Array) -> Array:
        parts = _centred(embeddings, None)
        for first in (True, False):  # by its largest number first, so that no square vanishes
            length = np.abs(parts).max(2, keepdims=True) if first else np.sqrt(_squares(parts))[..., None]
            parts /= np.where(length > 0, length, 1)
        return parts

    def _doubles(self, parts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Distances of probes [p, b, c], and which are not right to ten digits (None: all are)."""
        # The worst rounding of a sum of products and of the squares in it, as a share of |x|² + |y|².
        rounding = 3 * (parts.shape[2] + 8) * _DOUBLE_EPS
        total = parts.new_zeros((parts.shape[1], len(self)))
        if self._metric == "cos":
            for x, y in zip(parts, self._parts):
                total.addmm_(x, y.T)
            total = 1 - total / len(parts)
            return total, total < rounding / _EXACT
        error, root = None, torch.empty_like(total)
        for x, y in zip(_as_factor(parts), self._parts):
            torch.mm(x, y.T, out=root)
            xx, yy = x[:, -2], y[:, -1]
            if bool(root.min() < rounding / (2 * _EXACT) * (xx.max() + yy.max())):
                # |√computed − √true| is at most bound / √max(computed, bound).
                bound = rounding * (xx[:, None] + yy)
                _root(torch.maximum(root, bound, out=root))
                error = torch.zeros_like(total) if error is None else error
                error += torch.where(root > 0, bound / torch.where(root > 0, root, 1), 0)
            else:
                _root(root)
            total += root
        doubtful = None if error is None else error > _EXACT * total
        total /= len(parts)
        return total, doubtful

    def _straighten(self, found: Array) -> None:
        """Make 0 of cosine distances that are no more than rounding.

        Directions that differ by no more than the rounding of the embeddings' own numbers are the same: each number by
        eps / 2 of itself, on either side, and what bringing both to unit length in float64 adds.
        """
        found[found <= np.finfo(self._gallery.dtype).eps ** 2 / 2 + 2.0**-102] = 0


@dataclass(frozen=True)
class _Single:
    """A gallery in float32, and how far its distances can be from the true ones.

    Args:
        parts: [p, m, c + 2], centred and in a unit of its own (:func:`_as_factor`); for cosines [p, m, c], of unit
            length.
        centre: [c, p], in the embeddings' own precision, so that one rounding takes it from them; None for cosines.
        exponent: of two, the unit.
        largest: [p], the largest |y|².
        exact: whether this device's products are those of float32.
    """

    parts: torch.Tensor
    centre: torch.Tensor | None
    exponent: int
    largest: Array
    exact: bool

    @classmethod
    def of(cls, gallery: Array, centre: Array | None, device: str) -> _Single:
        """Of [m, c, p], with the mean that is taken from them, or None for cosines."""
        middle = None if centre is None else torch.from_numpy(centre.astype(gallery.dtype)).to(device)
        parts = _laid(gallery, middle, device)
        low, high = parts.permute(1, 2, 0).aminmax()  # as they lie in memory
        exponent = math.frexp(max(float(high), -float(low)))[1]
        single = _in_unit(parts, exponent)
        if middle is not None:
            single = _as_factor(single, second=True)
        # Products in less than float32, which some settings of torch allow, show in these.
        trial = torch.full((128, 128), 1 + 2.0**-20, device=device)
        exact = bool(((trial @ torch.eye(128, device=device)) == trial).all())
        return cls(single, middle, exponent, single[:, :, -1].amax(1).double().cpu().numpy(), exact)

    def distances(self, probe: Array) -> tuple[torch.Tensor, Array, float]:
        """Distances in a unit of their own, [b, m]; their errors, absolute [b] and as a share."""
        parts = _in_unit(_laid(probe, self.centre, self.parts.device), self.exponent)
        count, size = len(parts), parts.shape[2]
        total = parts.new_zeros((parts.shape[1], self.parts.shape[1]))
        # The worst rounding of a sum of products, of the squares in it, and of the embeddings themselves, as a share of
        # |x|² + |y|².
        rounding = 3 * (size + 8) * _SINGLE_EPS
        share = 8 * (count + 4) * _SINGLE_EPS + 4 * TIE
        if self.centre is None:
            for x, y in zip(parts, self.parts):
                total.addmm_(x, y.T)
            length = 4.0**-self.exponent  # of a part
            total.neg_().add_(count * length)
            error = np.full(parts.shape[1], (rounding + 4 * (count + 4) * _SINGLE_EPS) * count * length)
            return total, error, share
        parts = _as_factor(parts)
        error, root = np.zeros(parts.shape[1]), torch.empty_like(total)
        bounds = rounding * (parts[:, :, -2].double().cpu().numpy() + self.largest[:, None]) + 1e-35
        for x, y, bound in zip(parts, self.parts, bounds):
            torch.mm(x, y.T, out=root)
            least = root.amin(1).double().cpu().numpy()
            # |√computed − √true| is at most bound / √max(computed, bound).
            error += bound / np.sqrt(np.maximum(least, bound))
            total += root.clamp_(min=0).sqrt_()
        return total, error, share


def _laid(embeddings: Array, centre: torch.Tensor | None, device: str | torch.device) -> torch.Tensor:
    """[n, c, p] -> [p, n, c] in their own precision, less the centre [c, p], or without one of unit length."""
    if centre is None:
        return torch.from_numpy(Reference._unit_parts(embeddings)).to(device)
    return (torch.from_numpy(np.ascontiguousarray(embeddings)).to(device) - centre).permute(2, 0, 1)


def _in_unit(parts: torch.Tensor, exponent: int) -> torch.Tensor:
    """Over a power of two, as float32; overwrites what is float32 already."""
    if parts.dtype == torch.float32 and abs(exponent) <= 100:
        return parts.mul_(2.0**-exponent)
    return torch.ldexp(parts.double(), torch.tensor(-exponent)).float()


def _as_factor(parts: torch.Tensor, *, second: bool = False) -> torch.Tensor:
    """[p, n, c] -> [p, n, c + 2]: [−2x, |x|², 1], or the second factor [y, 1, |y|²]; their product is |x − y|²."""
    found = parts.new_empty((*parts.shape[:2], parts.shape[2] + 2))
    torch.mul(parts, 1 if second else -2, out=found[:, :, :-2])
    squares, one = (-1, -2) if second else (-2, -1)
    found[:, :, one] = 1
    for part, to in zip(found, found[:, :, squares]):
        torch.sum(part[:, :-2] * part[:, :-2], 1, out=to)
    if not second:
        found[:, :, squares] /= 4
    return found


def _in_groups(apart: Array, groups: Sequence[slice], columns: Array, wanted: Array) -> Nearest:
    """:meth:`Reference.nearest` of exact distances [n, m]."""
    match = np.zeros(apart.shape, bool)
    line = np.broadcast_to(np.arange(len(apart))[:, None], columns.shape)
    match[line[wanted], columns[wanted]] = True
    each = [nearest(apart[:, group], match[:, group]) for group in groups]
    return Nearest(*(np.stack([getattr(one, name) for one in each], 1) for name in ("before", "size", "matches")))


def nearest(apart: Array, match: Array) -> Nearest:
    """Of distances ``apart`` [n, m] and a mask ``match`` [n, m]; nothing is sorted."""
    value = np.min(apart, axis=1, where=match, initial=np.inf)
    value = np.where(np.isfinite(value), value, -1)
    before = (apart < (value * (1 - TIE))[:, None]).sum(1)
    upto = apart <= (value * (1 + TIE))[:, None]
    return Nearest(before, upto.sum(1) - before, (upto & match).sum(1))


def _outward(values: Array, up: bool) -> Array:
    """float32 no less, or no more, than float64."""
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32)
    return np.nextafter(rounded, np.float32(np.inf if up else -np.inf))


def _centred(embeddings: Array, centre: Array | None) -> Array:
    """[n, c, p] -> [p, n, c], float64."""
    parts = np.empty((embeddings.shape[2], *embeddings.shape[:2]))
    turned = embeddings.transpose(2, 0, 1)
    if centre is None:
        parts[...] = turned
        return parts
    return np.asarray(np.subtract(turned, centre.T[:, None], out=parts))


def _root(values: torch.Tensor) -> None:
    """Square roots in place; on a CPU numpy's, which are rounded right, as torch's are not."""
    if values.device.type == "cpu":
        shared = values.numpy()
        np.sqrt(shared, out=shared)
    else:
        values.sqrt_()


def _squares(parts: Array) -> Array:
    return np.asarray(np.einsum("pnc,pnc->pn", parts, parts))
