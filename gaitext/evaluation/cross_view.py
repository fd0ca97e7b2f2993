"""Cross-view recognition: every probe view against every gallery view (CASIA-B, OUMVLP, SUSTech1K)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gaitext.errors import ConfigError, DataError, suggest
from gaitext.evaluation.distances import Array, Reference
from gaitext.evaluation.ranking import places_of
from gaitext.evaluation.result import EvaluationResult, Gait, Table, check_table_path, write_result


@dataclass(frozen=True)
class CrossView:
    """Which types are probes and which are the gallery.

    Args:
        probes: condition -> types.
        gallery: types.
        ranks: rank-1..rank-k are reported.
        substring: whether a name here stands for every type that contains it.
    """

    probes: dict[str, tuple[str, ...]]
    gallery: tuple[str, ...]
    ranks: int = 1
    substring: bool = False

    def select(self, types: Array, names: Sequence[str]) -> Array:
        """Mask of the types that ``names`` stand for."""
        if not self.substring:
            return np.isin(types, list(names))
        return np.any([np.char.find(types, name) >= 0 for name in names], axis=0)


PROTOCOLS: dict[str, CrossView] = {
    "CASIA-B": CrossView(
        {"NM": ("nm-05", "nm-06"), "BG": ("bg-01", "bg-02"), "CL": ("cl-01", "cl-02")},
        ("nm-01", "nm-02", "nm-03", "nm-04"),
    ),
    "OUMVLP": CrossView({"NM": ("00",)}, ("01",)),
    "SUSTech1K": CrossView(
        {
            "Normal": ("01-nm",),
            "Bag": ("bg",),
            "Clothing": ("cl",),
            "Carrying": ("cr",),
            "Umbrella": ("ub",),
            "Uniform": ("uf",),
            "Occlusion": ("oc",),
            "Night": ("nt",),
            "Overall": ("01", "02", "03", "04"),
        },
        ("00-nm",),
        ranks=5,
        substring=True,
    ),
}


def evaluate_indoor_dataset(
    data: dict[str, Any], dataset: str, metric: str = "euc", table: str | Path | None = None
) -> EvaluationResult:
    """Cross-view rank-1, identical views excluded: the protocol of ``dataset`` in :data:`PROTOCOLS`.

    Agrees with OpenGait's function of the name but for this: OpenGait rounds every pair of views to two digits before
    averaging, lets the order of the files decide between equally near sequences, and writes "Umberalla".

    Args:
        data: ``embeddings`` [n, c, p] or [n, c], ``labels``, ``types``, ``views``.
        dataset: ``CASIA-B``, ``OUMVLP`` or ``SUSTech1K``.
        metric: see :func:`~gaitext.evaluation.distances`.
        table: a .md, .csv or .json to write the result to.

    Raises:
        ConfigError: no protocol for the dataset, or a table that cannot be written.
        DataError: see :func:`cross_view`.
    """
    if dataset not in PROTOCOLS:
        raise ConfigError(
            f"no cross-view protocol for dataset {dataset!r}",
            where="data_cfg.test_dataset_name",
            how=suggest(dataset, PROTOCOLS),
        )
    check_table_path(table)
    result = cross_view(Gait.of_data(data), PROTOCOLS[dataset], metric, name=dataset)
    if table is not None:
        write_result(result, table)
    return result


def cross_view(gait: Gait, protocol: CrossView, metric: str = "euc", *, name: str = "") -> EvaluationResult:
    """Match each view's probes within each other view's gallery.

    A cell is the share of probes of one view and condition with a sequence of their identity
    among the k nearest of one gallery view; a probe whose identity is not there counts as
    wrong, and one with equally near sequences by the chance that one of its identity is among
    the k: for the nearest, by the share of matches. A view's number is the mean over the other
    gallery views, a condition's the mean over views. Cells without probes or gallery have no
    number: they are left out of the means, and the notes list them.

    Raises:
        DataError: fewer than two views, an empty gallery, or no probe at all.
    """
    views, gallery = _sides(gait, protocol, name)
    notes = gait.notes()
    means: dict[str, Array] = {}  # condition -> [views, ranks]
    chance: dict[str, float] = {}
    _, chosen, looked = _once(gait, gallery, views, protocol, metric)
    for condition, own in chosen.items():
        found, probes = looked.where(own).cells(), int(own.sum())
        means[condition] = excluding_identical(found.hits)
        chance[condition] = mean(excluding_identical(found.chance))
        notes += missing(condition, views, found.hits[:, :, 0], probes)
        if found.unknown.any():
            said = f"{found.unknown.sum()} of {probes} probes have no match in some gallery view"
            notes.append(f"{condition}: {said}")
        notes += ties(condition, found.tied, " in some gallery view")
    if all(np.isnan(rows).all() for rows in means.values()):
        raise _no_comparison(gait, gallery, protocol, name)
    tables = [
        Table(
            f"Rank-{k + 1} of each probe view, identical views excluded (%)",
            [*views, "mean", *(["chance"] if k == 0 else [])],
            [(c, [*map(float, m[:, k]), mean(m[:, k]), *([chance[c]] if k == 0 else [])]) for c, m in means.items()],
        )
        for k in (0, protocol.ranks - 1)[: min(2, protocol.ranks)]
    ]
    scalars = {_scalar(c, k): mean(m[:, k]) for c, m in means.items() for k in range(protocol.ranks)}
    about = gait.about(name, metric)
    return EvaluationResult(f"{name} cross-view, metric {metric}", tables, scalars, chance, notes, about)


def cross_view_by_identity(gait: Gait, protocol: CrossView, metric: str = "euc") -> dict[str, dict[str, float]]:
    """:func:`cross_view`'s scalars of each identity's probes alone, in the gallery of all.

    Every probe is matched once, however many identities there are.

    Returns:
        Scalar's name -> identity -> percent, of all that have sequences outside the gallery; NaN for one without a
        probe that can be compared.

    Raises:
        DataError: fewer than two views, or an empty gallery.
    """
    views, gallery = _sides(gait, protocol, "")
    identities = np.unique(gait.labels[~protocol.select(gait.types, protocol.gallery)])
    found: dict[str, dict[str, float]] = {}
    labels, chosen, every = _once(gait, gallery, views, protocol, metric)
    for condition, own in chosen.items():
        looked = every.where(own)
        whose = np.searchsorted(identities, labels[own])
        sums = np.zeros((len(views), len(identities), len(views), protocol.ranks))
        counts = np.zeros((len(views), len(identities)))
        np.add.at(sums, (looked.view, whose), looked.matched)
        np.add.at(counts, (looked.view, whose), 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            cells = (100 * (sums / counts[:, :, None, None])).transpose(0, 2, 1, 3)
        cells[:, looked.sizes == 0] = np.nan
        means = excluding_identical(cells)
        for k in range(protocol.ranks):
            numbers = (mean(of) for of in means[:, :, k].T)
            found[_scalar(condition, k)] = dict(zip(identities.tolist(), numbers))
    return found


def _sides(gait: Gait, protocol: CrossView, name: str) -> tuple[list[str], Gait]:
    """All views, and the gallery."""
    views = sorted(set(gait.views.tolist()))
    if len(views) < 2:
        raise DataError(
            f"identical views are excluded, but all sequences have view {views[0]}", where=name, how="test two views"
        )
    shown = np.flatnonzero(protocol.select(gait.types, protocol.gallery))
    gallery = gait.where(shown[np.argsort(gait.views[shown], kind="stable")])
    if not len(gallery):
        raise DataError(
            f"the gallery is empty: no sequence is of type {_named(protocol, protocol.gallery)}; there are "
            f"{listed(gait.types)}",
            where=name,
            how="test sequences of the gallery's types, too",
        )
    return views, gallery


def _named(protocol: CrossView, names: Iterable[str]) -> str:
    names = list(names)
    of = "any that contains " if protocol.substring else ""
    return of + (f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0])


def _no_comparison(gait: Gait, gallery: Gait, protocol: CrossView, name: str) -> DataError:
    """What was looked for, and what there is."""
    wanted = list(dict.fromkeys(kind for names in protocol.probes.values() for kind in names))
    probe = gait.where(protocol.select(gait.types, wanted))
    found = f"there are {listed(gait.types)}"
    if len(probe):
        found += f"; probes have the view {listed(probe.views)} only, as all gallery sequences do"
    return DataError(
        f"no probe can be compared with any gallery sequence: probes are of type {_named(protocol, wanted)}, the "
        f"gallery of type {_named(protocol, protocol.gallery)}; {found}",
        where=name,
        how="test a probe and a gallery sequence of different views",
    )


@dataclass(frozen=True)
class ViewCells:
    """What each pair of a probe view and another gallery view gives; NaN where either is lacking.

    Attributes:
        hits: [V, V, ranks], percent of the probes with a match among the nearest 1..ranks.
        chance: [V, V], percent that choosing at random would have.
        tied: [n], the probes for which equally near sequences decide.
        unknown: [n], those whose identity is not in some gallery view.
    """

    hits: Array
    chance: Array
    tied: Array
    unknown: Array


def compare_views(probe: Gait, gallery: Gait, views: Sequence[str], metric: str, ranks: int = 1) -> ViewCells:
    """Match n probes of each of V views within the gallery of each other view."""
    return _Looked.of(probe, gallery, views, metric, ranks).cells()


def _once(
    gait: Gait, gallery: Gait, views: Sequence[str], protocol: CrossView, metric: str
) -> tuple[Array, dict[str, Array], _Looked]:
    """All conditions' probes, looked for once: their labels [n], and condition -> which of them are its own [n]."""
    masks = {condition: protocol.select(gait.types, names) for condition, names in protocol.probes.items()}
    probes = np.any(list(masks.values()), axis=0)
    looked = _Looked.of(gait.where(probes), gallery, views, metric, protocol.ranks)
    return gait.labels[probes], {condition: mask[probes] for condition, mask in masks.items()}, looked


@dataclass(frozen=True)
class _Looked:
    """n probes, looked for in the gallery of each of V views, their own included.

    Attributes:
        view: [n], place of the probe's view.
        matched: [n, V, ranks], the chance of a match among the nearest 1..ranks: 0 or 1, unless a match is exactly as
            near as another's sequence.
        tied: [n, V], whether equals decide it.
        unknown: [n, V], whether the probe's identity is not there.
        share: [n, V], of the gallery that is the probe's identity's.
        sizes: [V], of the galleries.
    """

    view: Array
    matched: Array
    tied: Array
    unknown: Array
    share: Array
    sizes: Array

    @classmethod
    def of(cls, probe: Gait, gallery: Gait, views: Sequence[str], metric: str, ranks: int) -> _Looked:
        place = np.searchsorted(views, gallery.views)
        if (np.diff(place) < 0).any():
            order = np.argsort(place, kind="stable")
            gallery, place = gallery.where(order), place[order]
        edges = np.searchsorted(place, np.arange(len(views) + 1))
        groups = [slice(a, b) for a, b in zip(edges[:-1].tolist(), edges[1:].tolist())]
        identity = np.unique(np.concatenate([probe.labels, gallery.labels]), return_inverse=True)[1].reshape(-1)
        columns, known = places_of(identity[: len(probe)], identity[len(probe) :])
        reference = Reference(gallery.embeddings, metric)
        found = reference.nearest(probe.embeddings, groups, columns, known, ranks)
        count = np.zeros(found.size.shape)
        group_of = np.searchsorted(edges[:-1], columns, "right") - 1
        np.add.at(count, (np.nonzero(known)[0], group_of[known]), 1)
        sizes = np.diff(edges)
        tied = found.mixed & (found.before < ranks)
        view = np.searchsorted(views, probe.views)
        return cls(view, found.within(ranks), tied, found.size == 0, count / np.maximum(sizes, 1), sizes)

    def where(self, chosen: Array) -> _Looked:
        """Those of a mask [n]."""
        arrays = (self.view, self.matched, self.tied, self.unknown, self.share)
        view, matched, tied, unknown, share = (each[chosen] for each in arrays)
        return _Looked(view, matched, tied, unknown, share, self.sizes)

    def cells(self) -> ViewCells:
        """Pairs of a probe view and another gallery view."""
        count = len(self.sizes)
        hits = np.full((count, count, self.matched.shape[2]), np.nan)
        chance = hits[:, :, 0].copy()
        for row in range(count):
            here = self.view == row
            if here.any():
                hits[row] = 100 * self.matched[here].mean(0)
                chance[row] = 100 * self.share[here].mean(0)
        for cells in (hits, chance):
            cells[:, self.sizes == 0] = np.nan
            cells[np.arange(count), np.arange(count)] = np.nan
        other = (self.view[:, None] != np.arange(count)) & (self.sizes > 0)
        return ViewCells(hits, chance, (self.tied & other).any(1), (self.unknown & other).any(1))


def _scalar(condition: str, k: int) -> str:
    return f"scalar/test_accuracy/{condition}@R{k + 1}"


def ties(condition: str, tied: Array, where: str = "") -> list[str]:
    """A note on the probes [n] for which equally near sequences decide."""
    if not tied.any():
        return []
    return [
        f"{condition}: {tied.sum()} of {len(tied)} probes tie: a match is exactly as near as another identity's "
        f"sequence{where}; each counts by what it is on average over all orders of the equals"
    ]


def excluding_identical(cells: Array) -> Array:
    """Mean over gallery views other than the probe's: [V, V, …] -> [V, …], skipping NaN."""
    masked = cells.copy()
    masked[np.arange(len(cells)), np.arange(len(cells))] = np.nan
    return mean_along(masked, 1)


def mean_along(values: Array, axis: int) -> Array:
    """Means along an axis of the numbers that are there; NaN where none is."""
    there = ~np.isnan(values)
    count = there.sum(axis)
    return np.where(count > 0, np.where(there, values, 0).sum(axis) / np.maximum(count, 1), np.nan)


def mean(values: Array) -> float:
    """Mean of the numbers that are there; NaN if none is."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else float("nan")


def missing(condition: str, views: list[str], cells: Array, probes: int) -> list[str]:
    """Notes on the pairs of views without a number in ``cells`` [V, V], of a condition with ``probes`` probes."""
    if not probes:
        return [f"{condition}: there are no probes; it has no number"]
    off_diagonal = ~np.eye(len(views), dtype=bool)
    gone = np.isnan(cells) & off_diagonal
    if not gone.any():
        return []
    listed = [f"{views[i]}→{views[j]}" for i, j in np.argwhere(gone)]
    more = f" and {len(listed) - 6} more" if len(listed) > 6 else ""
    return [f"{condition}: no probes or no gallery to compare for {', '.join(listed[:6])}{more}; left out of the means"]


def listed(names: Iterable[str], most: int = 12) -> str:
    """Sorted names without doubles, cut short; "none" if there is none."""
    names = sorted(set(names))
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "") or "none"
