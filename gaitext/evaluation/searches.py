"""Searches: what every protocol comes down to, probes that are each looked for in one gallery or in several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gaitext.evaluation.cross_view import mean, mean_along
from gaitext.evaluation.distances import TIE, Array, Reference
from gaitext.evaluation.ranking import places_of, standing
from gaitext.evaluation.result import Gait

#: The numbers of a search: rank-1, rank-5, average precision, inverse negative penalty, and rank-1 by chance.
NUMBERS = ("rank-1", "rank-5", "mAP", "mINP", "chance")
_RANK1, _RANK5, _CHANCE = 0, 1, 4
#: Distances held at once: 32 MiB.
_HELD = 2**22
#: Bins of impostors' distances that are counted, and those that are shown.
_FINE, SHOWN = 4096, 64


@dataclass(frozen=True)
class Search:
    """A condition: n probes, each of which is looked for in C galleries, that of each column by itself.

    Args:
        name: the condition's.
        probe: [n], places in the data.
        gallery: [m], places in the data.
        rows: names of the groups of probes: their views.
        columns: names of the galleries: their views.
        row: [n], place in ``rows``.
        column: [m], place in ``columns``.
        apart: keys [N] of all sequences; a pair with one key in common is not compared. A sequence is never
            compared with itself.
        identical: whether a row is looked for in the column of its name, too.
        unknown_is_wrong: whether a probe whose identity is not in a gallery counts there as wrong; otherwise it is left
            out there. One whose mates are all kept apart is left out in any case.
    """

    name: str
    probe: Array
    gallery: Array
    rows: Sequence[str] = ("all",)
    columns: Sequence[str] = ("all",)
    row: Array | None = None
    column: Array | None = None
    apart: Sequence[Array] = ()
    identical: bool = True
    unknown_is_wrong: bool = False

    def placed(self) -> tuple[Array, Array]:
        """``row`` and ``column``, all in the first where none is given."""
        row = np.zeros(len(self.probe), np.int64) if self.row is None else self.row
        return row, np.zeros(len(self.gallery), np.int64) if self.column is None else self.column


@dataclass
class Pairs:
    """Counts of the compared pairs, by their distance.

    Args:
        genuine: [g], the distances of pairs of one identity, in order.
        between: [2 · d + 1], pairs of two identities: nearer than the first of the d different genuine distances,
            equal to it, between it and the second, and so on.
        fine: [_FINE], pairs of two identities, in equal steps from 0 to ``limit``.
        limit: no pair is further apart.
    """

    genuine: Array
    between: Array
    fine: Array
    limit: float


@dataclass
class Found:
    """What the searches of a condition found; numbers are means over all orders of equally near sequences.

    Args:
        search: of what.
        numbers: [n, C, 5], those of :data:`NUMBERS`, as shares; NaN where a search has no such number.
        hits: [R, C, ranks], the sum over probes of the chance that a mate is among the nearest 1..ranks.
        counted: [R, C], searches of which ``hits`` is a sum.
        mate: [n, C], distance of the nearest mate; infinite where there is none.
        other: [n, C], distance of the nearest sequence of another identity; infinite where there is none.
        nearest: [n, C], its place in the data.
        mixed: [n, C], whether equally near sequences decide any number.
        withheld: [n, C], whether all mates are kept apart.
        pairs: of all pairs that were compared; None where not asked for.
    """

    search: Search
    numbers: Array
    hits: Array
    counted: Array
    mate: Array
    other: Array
    nearest: Array
    mixed: Array
    withheld: Array
    pairs: Pairs | None = field(default=None, repr=False)

    def only(self, probes: Array) -> Found:
        """Of some probes, by their places in the search; without ``hits`` and ``pairs``, which are of all."""
        search, row = self.search, self.search.placed()[0]
        of_them = replace(search, probe=search.probe[probes], row=row[probes])
        each = (getattr(self, name)[probes] for name in ("numbers", "mate", "other", "nearest", "mixed", "withheld"))
        numbers, *rest = each
        return Found(of_them, numbers, np.zeros_like(self.hits), np.zeros_like(self.counted), *rest)

    def cmc(self) -> Array:
        """[ranks], percent, averaged as the protocol averages rank-1."""
        with np.errstate(invalid="ignore"):
            cells = 100 * self.hits / np.where(self.counted > 0, self.counted, np.nan)[..., None]
        return np.array([averaged(cells[..., k]) for k in range(cells.shape[2])])


def averaged(cells: Array) -> float:
    """The mean over rows of their means over columns, each of what is there; cells [R, C]."""
    return mean(mean_along(cells, 1))


def run(gait: Gait, search: Search, metric: str = "euc", *, ranks: int = 20, pairs: bool = True) -> Found:
    """Look for every probe in its galleries, in blocks of bounded size.

    Args:
        gait: the data that the search's places are of.
        metric: see :func:`~gaitext.evaluation.distances`.
        ranks: how long the CMC is.
        pairs: whether to count all pairs by their distance, which verification needs.
    """
    row, column = search.placed()
    order = np.argsort(column, kind="stable")
    gallery, column = search.gallery[order], column[order]
    edges = np.searchsorted(column, np.arange(len(search.columns) + 1))
    identity = np.unique(gait.labels, return_inverse=True)[1].reshape(-1)
    same_name = np.array([[not search.identical and a == b for b in search.columns] for a in search.rows])
    count, width = len(search.probe), len(search.columns)
    found = Found(
        search,
        np.full((count, width, len(NUMBERS)), np.nan),
        np.zeros((len(search.rows), width, ranks)),
        np.zeros((len(search.rows), width)),
        np.full((count, width), np.inf),
        np.full((count, width), np.inf),
        np.full((count, width), -1, np.int64),
        np.zeros((count, width), bool),
        np.zeros((count, width), bool),
    )
    if not count or not len(gallery):
        return found
    reference = Reference(gait.embeddings[gallery], metric)
    if pairs:
        found.pairs = _genuine(gait, search, gallery, column, row, same_name, identity, reference)
    rows = max(1, _HELD // len(gallery))
    for start in range(0, count, rows):
        block = slice(start, min(start + rows, count))
        own = search.probe[block]
        kept = _compared(search, own[:, None], gallery, same_name[row[block]][:, column])
        distances = reference.distances(gait.embeddings[own])
        distances[~kept] = np.inf
        if found.pairs is not None:
            _count(found.pairs, distances[kept & (identity[own][:, None] != identity[gallery])])
        for place in range(width):
            part = slice(edges[place], edges[place + 1])
            asked = ~same_name[row[block], place]
            if part.stop > part.start and asked.any():
                _rank(found, identity, block, place, gallery[part], distances[:, part], kept[:, part], asked)
    return found


def _compared(search: Search, probe: Array, gallery: Array, same_name: Array) -> Array:
    """Which pairs of places in the data are compared; all of shapes that fit together."""
    kept = probe != gallery
    for key in search.apart:
        kept &= key[probe] != key[gallery]
    if not search.identical:
        kept &= ~same_name
    return np.asarray(kept)


def _rank(
    found: Found,
    identity: Array,
    block: slice,
    place: int,
    gallery: Array,
    distances: Array,
    kept: Array,
    asked: Array,
) -> None:
    """Put what one gallery, of the ``place``-th column, gives some probes."""
    search = found.search
    own, ranks = search.probe[block], found.hits.shape[2]
    columns, known = places_of(identity[own], identity[gallery])
    wanted = known & np.take_along_axis(kept, columns, 1)
    ranked = standing(distances, columns, wanted)
    has = ranked.count > 0
    withheld = known.any(1) & ~has
    compared = kept.any(1)
    counts = asked & compared & (has | (~withheld if search.unknown_is_wrong else False))
    within = ranked.first.within(max(ranks, 5))
    none = np.full(len(own), np.nan)
    share = np.where(compared, ranked.count / np.maximum(kept.sum(1), 1), 0)
    numbers = np.stack((within[:, 0], within[:, 4], none, none, share), 1)
    numbers[:, 2] = np.where(has, ranked.precision, np.nan)
    numbers[:, 3] = np.where(has, ranked.penalty, np.nan)
    numbers[~counts] = np.nan
    found.numbers[block, place] = numbers
    row = search.placed()[0][block]
    np.add.at(found.hits[:, place], row[counts], within[counts, :ranks])
    np.add.at(found.counted[:, place], row[counts], 1)
    found.mixed[block, place] = ranked.mixed & counts
    found.withheld[block, place] = withheld & asked
    mates = np.where(wanted, np.take_along_axis(distances, columns, 1), np.inf)
    found.mate[block, place] = np.where(asked, mates.min(1), np.inf)
    others = distances.copy()
    line = np.broadcast_to(np.arange(len(own))[:, None], columns.shape)
    others[line[known], columns[known]] = np.inf
    nearest = others.argmin(1)
    found.other[block, place] = np.where(asked, np.take_along_axis(others, nearest[:, None], 1)[:, 0], np.inf)
    found.nearest[block, place] = gallery[nearest]


def _genuine(
    gait: Gait,
    search: Search,
    gallery: Array,
    column: Array,
    row: Array,
    same_name: Array,
    identity: Array,
    reference: Reference,
) -> Pairs:
    """All genuine distances, which are few, before impostors are counted between them."""
    columns, known = places_of(identity[search.probe], identity[gallery])
    line, step = np.nonzero(known)
    place = columns[line, step]
    kept = _compared(search, search.probe[line], gallery[place], same_name[row[line], column[place]])
    genuine = np.sort(reference.pairs(gait.embeddings, search.probe[line[kept]], place[kept]))
    between = np.zeros(2 * len(distinct(genuine)) + 1, np.int64)
    return Pairs(genuine, between, np.zeros(_FINE, np.int64), reference.reach(gait.embeddings[search.probe]))


def distinct(genuine: Array) -> Array:
    """Genuine distances, in order, without those that are equal to the one before."""
    if not len(genuine):
        return genuine
    return genuine[np.concatenate([[True], genuine[1:] > genuine[:-1] * (1 + TIE)])]


def _count(pairs: Pairs, distances: Array) -> None:
    """Add distances [k] of two identities each."""
    alike = distinct(pairs.genuine)
    edges = np.stack((alike * (1 - TIE), alike * (1 + TIE)), 1).reshape(-1)
    ordered = np.sort(distances)
    upto = np.searchsorted(ordered, edges, "right")
    pairs.between += np.diff(upto, prepend=0, append=len(ordered))
    steps = np.searchsorted(ordered, np.arange(1, _FINE) * (pairs.limit / _FINE))
    pairs.fine += np.diff(steps, prepend=0, append=len(ordered))
