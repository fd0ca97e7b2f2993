"""PsyMo: every probe angle against every gallery angle, for each of seven variations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gaitext.errors import ConfigError, DataError, suggest
from gaitext.evaluation.cross_view import excluding_identical, listed, mean, missing, ties
from gaitext.evaluation.distances import Array, check_metric
from gaitext.evaluation.ranking import Matches, Sequences, match
from gaitext.evaluation.result import EvaluationResult, Gait, Table, check_table_path, write_result

#: Normal, bag, clothes, slow, fast, phoning, texting: the rows of Tables II and III.
VARIATIONS = ("nm", "bg", "cl", "wss", "wsf", "ph", "txt")

#: Reading of the protocol's text -> what stands in the gallery.
GALLERIES = {
    "nm": "one run of nm; its other runs and the other variations are the probes",
    "same": "the probe's own variation",
    "all": "every sequence of the gallery's angle",
}

_TYPE = re.compile(rf"({'|'.join(VARIATIONS)})(?:-(\d+))?")
_ANGLE = re.compile(r"\d{1,3}")
_NUMBERS = ("R1", "R5", "mAP")


def check_PsyMo(
    dataset: str = "PsyMo",
    metric: str = "euc",
    gallery: str = "nm",
    exclude_same_walk: bool = False,
    table: str | Path | None = None,
) -> None:
    """Refuse what :func:`evaluate_PsyMo` would refuse, before anything is embedded.

    Raises:
        ConfigError: a wrong argument.
    """
    if dataset != "PsyMo":
        raise ConfigError(
            f"evaluate_PsyMo is for PsyMo, not {dataset!r}",
            where="data_cfg.test_dataset_name",
            how="write test_dataset_name: PsyMo (a toolbox's default.yaml says CASIA-B), or choose another eval_func",
        )
    check_metric(metric)
    if str(gallery) not in GALLERIES:
        raise ConfigError(f"unknown gallery {gallery!r}", where="gallery", how=suggest(str(gallery), GALLERIES))
    if not isinstance(exclude_same_walk, bool):
        raise ConfigError(f"is {exclude_same_walk!r}", where="exclude_same_walk", how="write true or false")
    check_table_path(table)


def evaluate_PsyMo(
    data: dict[str, Any],
    dataset: str = "PsyMo",
    metric: str = "euc",
    gallery: str = "nm",
    exclude_same_walk: bool = False,
    table: str | Path | None = None,
) -> EvaluationResult:
    """Artifact correction's recognition protocol (§IV-B, Tables II and III), with mAP and rank-5.

    A cell is a pair of different angles: the probes of one, ranked in the gallery of the other. A
    probe angle's number is the mean over gallery angles, a variation's the mean over its angles,
    ``mean`` the mean over variations. Scalars are these (``NM@R1``), and each angle's rank-1 (``NM-045@R1``), as the
    tables have them. What has no number is left out of means and noted.

    * The text has "galleries of every variation", but all numbers of the tables are multiples of
      1/150 or 1/145, which is one nm probe per person and angle against one nm run. So ``gallery``
      is ``nm`` (the first run of the test set), and the text's readings are ``same`` and ``all``.
    * A probe is never compared with its own sequence; with ``exclude_same_walk`` not with the
      same walk (identity, type, direction: below 180° or not) from another camera either. A probe
      whose matches are all withheld by that is not counted in the cell.
    * A probe whose identity is not in the gallery counts as wrong, and has no average precision.
    * Equally near sequences stand in random order: a number is its mean over all orders of them.

    Args:
        data: ``embeddings`` [n, c, p] or [n, c], ``labels``, ``types`` (``nm-01``, ``nm-02``, ``bg``,
            …; ``-NN`` may follow any), ``views`` (degrees, whole numbers below 360); not changed.
        dataset: must be ``PsyMo``.
        metric: see :func:`~gaitext.evaluation.distances`.
        gallery: a reading, one of :data:`GALLERIES`.
        exclude_same_walk: see above.
        table: a .md, .csv or .json to write the result to.

    Raises:
        ConfigError: a wrong argument.
        DataError: a view that is no angle, fewer than two angles, or no probe that can be ranked.
    """
    check_PsyMo(dataset, metric, gallery, exclude_same_walk, table)
    gait = Gait.of_data(data)
    walks = Walks.of(gait, exclude_same_walk)
    cells, counted = _cells(walks, gallery, metric)
    if np.isnan(cells[..., 0]).all():
        raise _no_comparison(walks, gallery)
    by_angle, overall = _means(cells)
    notes = [*gait.notes(), *walks.notes, *_notes(walks, cells, counted)]
    about = {
        **gait.about(dataset, metric),
        "gallery": gallery,
        "gallery types": ", ".join(walks.gallery_types(gallery)),
        "exclude_same_walk": exclude_same_walk,
        "probes": int(counted.probes.sum()),
    }
    apart = ", a probe's own walk excluded" if exclude_same_walk else ""
    protocol = f"PsyMo, gallery {gallery} ({GALLERIES[gallery]}), metric {metric}{apart}"
    tables, scalars, chance = _presented(walks.angles, by_angle, overall)
    result = EvaluationResult(protocol, tables, scalars, chance, notes, about)
    if table is not None:
        write_result(result, table)
    return result


def _means(cells: Array) -> tuple[Array, Array]:
    """Of cells [7, A, A, 4]: numbers of probe angles [8, A, 4] and of variations [8, 4]; the last row is the mean."""
    by_angle = np.stack([excluding_identical(each) for each in cells])
    overall = np.stack([_mean(each) for each in by_angle])
    return np.concatenate([by_angle, _mean(by_angle)[None]]), np.concatenate([overall, _mean(overall)[None]])


def _presented(
    degrees: list[int], by_angle: Array, overall: Array
) -> tuple[list[Table], dict[str, float], dict[str, float]]:
    """:func:`_means` as tables, scalars, and the variations' chance."""
    angles = [f"{angle:03d}" for angle in degrees]
    names = [*(name.upper() for name in VARIATIONS), "mean"]
    tables = []
    for k, title in enumerate(("Rank-1", "Rank-5", "mAP")):
        rows = [
            (name, [*map(float, row[:, k]), float(last[k]), *([float(last[3])] if k == 0 else [])])
            for name, row, last in zip(names, by_angle, overall)
        ]
        columns = [*angles, "mean", *(["chance"] if k == 0 else [])]
        tables.append(Table(f"{title} of each probe angle, mean over the other angles' galleries (%)", columns, rows))
    scalars = {
        f"scalar/test_accuracy/{name}@{number}": float(last[k])
        for k, number in enumerate(_NUMBERS)
        for name, last in zip(names, overall)
    }
    for name, row in zip(names, by_angle):
        scalars |= {f"scalar/test_accuracy/{name}-{angle}@R1": float(n) for angle, n in zip(angles, row[:, 0])}
    return tables, scalars, {name: float(last[3]) for name, last in zip(names[:-1], overall)}


def gallery_type(gait: Gait) -> str:
    """The type that is the gallery ``nm``: the first run of nm.

    Raises:
        DataError: there is none.
    """
    return Walks.of(gait, False).gallery_types("nm")[0]


def _no_comparison(walks: Walks, gallery: str) -> DataError:
    """What was looked for, and what there is."""
    shown = walks.gallery_types(gallery)
    looked = f"types {', '.join(VARIATIONS)}"
    if gallery == "nm":
        looked += f" but for {', '.join(shown)}, which is the gallery"
    else:
        looked += f", each in {GALLERIES[gallery]}, at another angle"
    there = listed(f"{kind} at {angle:03d}" for kind, angle in zip(walks.types.tolist(), walks.angle.tolist()))
    return DataError(
        f"no probe can be compared with any gallery sequence: looked for {looked}; there are {there}",
        where=f"PsyMo, gallery {gallery}",
        how="test probes and gallery at different angles",
    )


def _mean(values: Array) -> Array:
    """[n, …] -> […], skipping NaN."""
    return np.array([mean(column) for column in values.reshape(len(values), -1).T]).reshape(values.shape[1:])


@dataclass(frozen=True)
class Walks:
    """The sequences that the protocol is about.

    Args:
        sequences: n of them.
        types: [n], as in the data.
        variation: [n], places in :data:`VARIATIONS`.
        angle: [n], degrees.
        notes: what was left out or is odd.
    """

    sequences: Sequences
    types: Array
    variation: Array
    angle: Array
    notes: list[str]

    @classmethod
    def of(cls, gait: Gait, exclude_same_walk: bool) -> Walks:
        variations = _variations(gait)
        known = is_walk(gait)
        notes = []
        if not known.all():
            others = sorted(set(gait.types[~known].tolist()))
            said = listed(others, 6)
            if not known.any():
                raise DataError(
                    f"no sequence is of a type of PsyMo's: there are {said}", how=f"they begin {', '.join(VARIATIONS)}"
                )
            notes.append(f"{(~known).sum()} sequences of other types ({said}) are left out")
            gait = gait.where(known)
        angles = {view: _angle(view, gait) for view in set(gait.views.tolist())}
        angle = np.array([angles[view] for view in gait.views.tolist()])
        if len(set(angles.values())) < 2:
            raise DataError(f"identical angles are excluded, but all are {angle[0]}", how="test two views")
        identity = np.unique(gait.labels, return_inverse=True)[1].reshape(-1)
        kind = np.unique(gait.types, return_inverse=True)[1].reshape(-1)
        walk = (identity * (kind.max() + 1) + kind) * 2 + (angle >= 180)
        sequence = walk * 360 + angle
        doubled = len(gait) - len(np.unique(sequence))
        if doubled:
            notes.append(f"{doubled} sequences have the identity, type and view of another; all are counted")
        places = {kind: VARIATIONS.index(name) for kind, name in variations.items()}
        return cls(
            Sequences(gait.embeddings, identity, walk if exclude_same_walk else sequence),
            gait.types,
            np.array([places[kind] for kind in gait.types.tolist()]),
            angle,
            notes,
        )

    @property
    def angles(self) -> list[int]:
        return sorted(set(self.angle.tolist()))

    def gallery_types(self, gallery: str) -> list[str]:
        """Types that stand in a gallery: all of them, or for ``nm`` the first run."""
        types = sorted(set(self.types.tolist()), key=_run)
        if gallery != "nm":
            return types
        normal = [kind for kind in types if kind.partition("-")[0] == "nm"]
        if not normal:
            raise DataError(
                f"the gallery is empty: no sequence is of type nm; there are {', '.join(types)}",
                where="gallery nm",
                how="choose the gallery same or all",
            )
        return normal[:1]

    def trials(self, gallery: str) -> Iterator[tuple[Array, Array]]:
        """Masks [n] of the probes and of the gallery that they are looked for in."""
        everything = np.ones(len(self.types), bool)
        if gallery == "nm":
            first = self.types == self.gallery_types(gallery)[0]
            yield ~first, first
        elif gallery == "all":
            yield everything, everything
        else:
            for variation in np.unique(self.variation):
                of_it = self.variation == variation
                yield of_it, of_it


def _variations(gait: Gait) -> dict[str, str]:
    """Type -> variation, of the types that are PsyMo's."""
    return {kind: found[1] for kind in set(gait.types.tolist()) if (found := _TYPE.fullmatch(kind))}


def is_walk(gait: Gait) -> Array:
    """[n], which sequences are of a type of PsyMo's."""
    return np.isin(gait.types, list(_variations(gait)))


def _run(kind: str) -> tuple[str, int, str]:
    """Sorts types by variation and run: ``nm``, ``nm-1``, ``nm-02``, ``nm-10``."""
    name, _, run = kind.partition("-")
    return name, int(run or 0), kind


def _angle(view: str, gait: Gait) -> int:
    if _ANGLE.fullmatch(view) and int(view) < 360:
        return int(view)
    at = gait.views.tolist().index(view)
    raise DataError(
        f"its view {view!r} is no angle",
        where=f"{gait.labels[at]}/{gait.types[at]}/{view}",
        how="name views by their degrees: 000, 045, 090, 180, 225, 270",
    )


@dataclass(frozen=True)
class _Counted:
    """How many probes each variation has [7], without an identity, with withheld matches, with a tie at some angle."""

    probes: Array
    unknown: Array
    withheld: Array
    tied: Array


def _notes(walks: Walks, cells: Array, counted: _Counted) -> list[str]:
    """What each variation lacks."""
    angles, notes = [f"{angle:03d}" for angle in walks.angles], []
    for variation, name in enumerate(map(str.upper, VARIATIONS)):
        count = int(counted.probes[variation])
        notes += missing(name, angles, cells[variation, ..., 0], count)
        if counted.unknown[variation]:
            found = f"{counted.unknown[variation]} of {count} probes"
            notes.append(f"{name}: {found} have no match in some gallery angle")
        if counted.withheld[variation]:
            found = f"{counted.withheld[variation]} of {count} probes"
            notes.append(
                f"{name}: {found} have at some gallery angle no match but what is their own; they are not counted there"
            )
        notes += ties(name, np.arange(count) < counted.tied[variation], " at some gallery angle")
    return notes


def _cells(walks: Walks, gallery: str, metric: str) -> tuple[Array, _Counted]:
    """[7, A, A, 4]: rank-1, rank-5, mAP and chance in percent of a probe angle in a gallery angle."""
    angles = walks.angles
    cells = np.full((len(VARIATIONS), len(angles), len(angles), 4), np.nan)
    probes, unknown, withheld, tied = (np.zeros(len(walks.types), bool) for _ in range(4))
    for wanted, shown in walks.trials(gallery):
        probes |= wanted
        for column, there in enumerate(angles):
            gallery_here = walks.sequences.where(shown & (walks.angle == there))
            if not len(gallery_here):
                continue
            for row, here in enumerate(angles):
                places = np.flatnonzero(wanted & (walks.angle == here))
                if row == column or not len(places):
                    continue
                found = match(walks.sequences.where(places), gallery_here, metric)
                withheld[places] |= found.withheld
                unknown[places] |= (found.first.size == 0) & ~found.withheld
                tied[places] |= found.mixed
                variation = walks.variation[places]
                for each in np.unique(variation):
                    cells[each, row, column] = _numbers(found, (variation == each) & ~found.withheld)
    count = [
        np.bincount(walks.variation[mask], minlength=len(VARIATIONS)) for mask in (probes, unknown, withheld, tied)
    ]
    return cells, _Counted(*count)


def _numbers(found: Matches, chosen: Array) -> list[float]:
    """Rank-1, rank-5, mAP and chance, in percent, of the ``chosen`` probes; NaN where there are none."""
    if not chosen.any():
        return [float("nan")] * 4
    within = 100 * found.first.within(5)[chosen].mean(0)
    ranks = [float(within[k - 1]) for k in (1, 5)]
    return [*ranks, 100 * mean(found.precision[chosen]), 100 * float(found.chance[chosen].mean())]
