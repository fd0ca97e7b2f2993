"""One's own data: gallery and probes chosen by type, view, identity or a list, in any number of conditions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Union

import numpy as np

from gaitext.errors import ConfigError, DataError, suggest
from gaitext.evaluation.cross_view import listed, mean, ties
from gaitext.evaluation.distances import Array, check_metric
from gaitext.evaluation.result import EvaluationResult, Gait, Table, check_table_path, write_result
from gaitext.evaluation.searches import Found, Search, run
from gaitext.training.sampling import condition_of

#: How a selector is written in a YAML: fields and patterns; one for each condition; or a text, ``type=nm,view=0*``.
Selection = Union[str, Mapping[str, Any]]

#: What sequences are chosen by -> what it says of them.
FIELDS = {
    "type": "the type, or the type without its run's number: nm is nm-01, nm-02, …",
    "view": "the view",
    "id": "the identity",
    "file": "a text of id/type/view, id/type or id, one a line",
}
#: What a gallery sequence may share with a probe and is left out for.
EXCLUSIONS = ("view", "type")

_NUMBERS = ("rank-1", "rank-5", "mAP", "mINP")
_SCALARS = ("R1", "R5", "mAP", "mINP")
_NAMED = 5


@dataclass(frozen=True)
class Selector:
    """Which sequences are meant: those that every field's patterns fit.

    A pattern is a name, or has ``*``, ``?`` and ``[…]`` as file names do; of several for one field any may fit.

    Args:
        patterns: field (of :data:`FIELDS`) -> patterns, or the lines of a list.
        text: as people write it.
    """

    patterns: Mapping[str, tuple[str, ...]]
    text: str

    @classmethod
    def read(cls, given: Selection, where: str) -> Selector:
        """Read ``type=nm|bg,view=0*``, or a mapping of fields to a pattern or a list of them.

        Raises:
            ConfigError: an unknown field, no pattern, or a list that cannot be read.
        """
        fields: dict[str, Any] = {}
        if isinstance(given, str):
            for part in given.split(","):
                name, equals, names = part.partition("=")
                if not equals or name.strip() in fields:
                    raise ConfigError(
                        f"'{given}' chooses no sequences",
                        where=where,
                        how="write such as type=nm or type=nm|bg,view=0*",
                    )
                fields[name.strip()] = names.split("|")
        elif isinstance(given, Mapping):
            fields = dict(given)
        else:
            raise ConfigError(f"is {given!r}", where=where, how="write such as {type: nm} or {view: ['0*', '180']}")
        patterns: dict[str, tuple[str, ...]] = {}
        for name, value in fields.items():
            if name not in FIELDS:
                raise ConfigError(f"nothing is chosen by '{name}'", where=where, how=suggest(str(name), FIELDS))
            values = value if isinstance(value, (list, tuple)) else [value]
            if not values or not all(isinstance(one, str) and one.strip() for one in values):
                raise ConfigError(
                    f"{name} is {value!r}",
                    where=where,
                    how="give a text, or a list of texts; quote numbers, as YAML reads 090 as 72",
                )
            patterns[name] = tuple(one.strip() for one in values)
        if not patterns:
            raise ConfigError("chooses by nothing", where=where, how=f"choose by {', '.join(FIELDS)}")
        text = ",".join(f"{name}={'|'.join(values)}" for name, values in patterns.items())
        if "file" in patterns:
            patterns["file"] = tuple(line for path in patterns["file"] for line in _lines(Path(path), where))
        return cls(patterns, text)

    def mask(self, gait: Gait) -> Array:
        """[n], which of the sequences are meant.

        Raises:
            DataError: a line of a list that fits no sequence.
        """
        found = np.ones(len(gait), bool)
        for name, patterns in self.patterns.items():
            if name == "file":
                found &= _in_list(gait, patterns, self.text)
            else:
                values = {"type": gait.types, "view": gait.views, "id": gait.labels}[name]
                fitting = [value for value in set(values.tolist()) if _fits(name, value, patterns)]
                found &= np.isin(values, fitting)
        return found


def check_gallery_probe(
    dataset: str = "own",
    metric: str = "euc",
    gallery: Selection | None = None,
    probe: Selection | Sequence[Selection] | Mapping[str, Selection] | None = None,
    exclude: str | Sequence[str] | None = None,
    table: str | Path | None = None,
) -> None:
    """Refuse what :func:`evaluate_gallery_probe` would refuse, before anything is embedded.

    Raises:
        ConfigError: a wrong argument.
    """
    check_metric(metric)
    check_table_path(table)
    _selectors(gallery, probe)
    _excluded(exclude)


def evaluate_gallery_probe(
    data: dict[str, Any],
    dataset: str = "own",
    metric: str = "euc",
    gallery: Selection | None = None,
    probe: Selection | Sequence[Selection] | Mapping[str, Selection] | None = None,
    exclude: str | Sequence[str] | None = None,
    table: str | Path | None = None,
) -> EvaluationResult:
    """Rank a gallery for each probe of one's own data: rank-1, rank-5, mAP and mINP of each condition.

    * Gallery and probes are chosen by type, view, identity or a list (:class:`Selector`); ``probe`` may name several
      conditions, each with a row of its own. Without a gallery all sequences are it; without probes all that are not in
      the gallery are probes, or all where all are the gallery.
    * A probe is never compared with itself. ``exclude: view`` also leaves out every gallery sequence of its view (the
      identical-view cases of cross-view protocols), ``exclude: type`` those of its type, a list either.
    * A probe whose identity has no sequence left in its gallery has no number: it is left out of the means, counted in
      the table's column ``no mate``, and named in a note.
    * Equally near sequences stand in random order: a number is its mean over all orders of them.

    Scalars are ``scalar/test_accuracy/CONDITION@R1``, ``@R5``, ``@mAP`` and ``@mINP``, and those of ``mean``, over the
    conditions, where there are several.

    Args:
        data: ``embeddings`` [n, c, p] or [n, c], ``labels``, ``types``, ``views``; not changed.
        dataset: named in the result.
        metric: see :func:`~gaitext.evaluation.distances`.
        gallery: ``{type: nm}`` or ``"type=nm"``; None: everything.
        probe: one such, a list, or a mapping of condition -> one; None: see above.
        exclude: of :data:`EXCLUSIONS`.
        table: a .md, .csv or .json to write the result to.

    Raises:
        ConfigError: a wrong argument.
        DataError: an empty gallery, no probe, or no probe with a mate in the gallery.

    Example:
        >>> import numpy as np
        >>> walks = {"embeddings": np.array([[0.0], [1.0], [5.0], [6.0]]), "labels": ["a", "a", "b", "b"]}
        >>> walks |= {"types": ["nm-01", "bg-01"] * 2, "views": ["090"] * 4}
        >>> evaluate_gallery_probe(walks, gallery="type=nm").scalars["scalar/test_accuracy/probe@R1"]
        100.0
    """
    check_gallery_probe(dataset, metric, gallery, probe, exclude, table)
    gait = Gait.of_data(data)
    chosen, conditions = _selectors(gallery, probe)
    excluded = _excluded(exclude)
    notes, rows = gait.notes(), []
    chance: dict[str, float] = {}
    looked = _searches(gait, chosen, conditions, excluded)
    for name, selector in conditions.items():
        found, probes = run(gait, looked[name], metric, ranks=1, pairs=False), looked[name].probe
        if not len(probes):
            notes.append(f"{name}: no sequence fits {selector.text if selector else 'it'}; it has no number")
        *means, chance[name] = _means(found)
        lacking = ~np.isfinite(found.mate[:, 0])
        rows.append((name, [*means, chance[name], float(len(probes)), float(lacking.sum())]))
        notes += _without_mate(name, gait, looked[name], lacking, excluded)
        notes += ties(name, found.mixed[:, 0])
    if all(np.isnan(values[0]) for _, values in rows):
        raise _nobody(gait, rows, chosen, conditions, excluded, _there(gait))
    shown = len(next(iter(looked.values())).gallery)
    if len(rows) > 1:
        means = [mean(np.array([values[k] for _, values in rows])) for k in range(len(_NUMBERS) + 1)]
        rows.append(("mean", [*means, *(sum(values[k] for _, values in rows) for k in (-2, -1))]))
    gallery_text = chosen.text if chosen else "everything"
    about = {
        **gait.about(dataset, metric),
        "gallery": gallery_text,
        "probe": "; ".join(selector.text if selector else "the rest" for selector in conditions.values()),
        "exclude": ", ".join(excluded) or "nothing",
    }
    apart = f", identical {' or '.join(excluded)} excluded" if excluded else ""
    protocol = f"{dataset}: gallery {gallery_text} ({shown} sequences), metric {metric}{apart}"
    columns = [*_NUMBERS, "chance", "probes", "no mate"]
    tables = [Table("Probes in the gallery (%)", columns, rows, counts=("probes", "no mate"))]
    scalars = {
        f"scalar/test_accuracy/{name}@{number}": value
        for name, values in rows
        for number, value in zip(_SCALARS, values)
    }
    result = EvaluationResult(protocol, tables, scalars, chance, notes, about)
    if table is not None:
        write_result(result, table)
    return result


def searches(gait: Gait, gallery: Any = None, probe: Any = None, exclude: Any = None) -> dict[str, Search]:
    """Condition -> what is looked for where; see :func:`evaluate_gallery_probe`.

    Raises:
        ConfigError: a wrong argument.
        DataError: the gallery is empty.
    """
    return _searches(gait, *_selectors(gallery, probe), _excluded(exclude))


def _searches(
    gait: Gait, chosen: Selector | None, conditions: Mapping[str, Selector | None], excluded: Sequence[str]
) -> dict[str, Search]:
    inside = np.ones(len(gait), bool) if chosen is None else chosen.mask(gait)
    if not inside.any():
        assert chosen is not None
        raise DataError(f"the gallery is empty: {chosen.text} fits no sequence; {_there(gait)}", where="gallery")
    names = {"view": gait.views, "type": gait.types}
    apart = [np.unique(names[name], return_inverse=True)[1].reshape(-1) for name in excluded]
    places = np.flatnonzero(inside)
    return {name: Search(name, _probes(gait, inside, by), places, apart=apart) for name, by in conditions.items()}


def _there(gait: Gait) -> str:
    return f"there are the types {listed(gait.types)}, the views {listed(gait.views)}"


def _means(found: Found) -> list[float]:
    """Rank-1, rank-5, mAP, mINP and chance, in percent, over probes with a mate."""
    return [100 * mean(column) for column in found.numbers[:, 0].T]


def _without_mate(name: str, gait: Gait, search: Search, lacking: Array, excluded: Sequence[str]) -> list[str]:
    """Notes that name the probes without a mate."""
    notes, probes = [], search.probe
    people, counts = np.unique(gait.labels[search.gallery], return_counts=True)
    known = dict(zip(people.tolist(), counts.tolist()))
    own = np.isin(probes, search.gallery)
    others = np.array([known.get(label, 0) for label in gait.labels[probes].tolist()], int) - own
    withheld = lacking & (others > 0)
    for mask, why in (
        (lacking & ~withheld, "whose identity is not in the gallery"),
        (withheld, f"whose identity is there in an identical {' or '.join(excluded)} only"),
    ):
        if mask.any():
            names = listed((f"{gait.labels[i]}/{gait.types[i]}/{gait.views[i]}" for i in probes[mask]), _NAMED)
            notes.append(f"{name}: {mask.sum()} of {len(mask)} probes have no mate, {why}; left out: {names}")
    return notes


def _selectors(gallery: Any, probe: Any) -> tuple[Selector | None, dict[str, Selector | None]]:
    """The gallery's selector, and each condition's."""
    chosen = None if gallery is None else Selector.read(gallery, "gallery")
    if probe is None:
        return chosen, {"probe": None}
    if isinstance(probe, Mapping) and not set(probe) & set(FIELDS):
        named = {str(name): Selector.read(given, f"probe.{name}") for name, given in probe.items()}
    else:
        several = probe if isinstance(probe, (list, tuple)) else [probe]
        read = [_named(given, f"probe[{i}]" if len(several) > 1 else "probe") for i, given in enumerate(several)]
        named = dict(read)
        if len(named) < len(read):
            raise ConfigError("two conditions have one name", where="probe", how="write NAME:type=bg,view=090")
    if not named:
        raise ConfigError("holds no condition", where="probe", how="write such as {type: bg}, or leave it out")
    for name in named:
        if not name.strip() or "/" in name or "@" in name or name == "mean":
            raise ConfigError(f"'{name}' cannot name a condition", where="probe", how="give another name before ':'")
    return chosen, dict(named)


def _named(given: Any, where: str) -> tuple[str, Selector]:
    """A condition's name and selector: ``bag:type=bg``, or a selector, which is called after its patterns."""
    name = ""
    if isinstance(given, str) and ":" in given.partition("=")[0]:
        name, _, given = given.partition(":")
    selector = Selector.read(given, where)
    if not name:
        name = " ".join(Path(part.partition("=")[2]).name for part in selector.text.split(","))
    return name, selector


def _excluded(exclude: Any) -> tuple[str, ...]:
    given = () if exclude is None else (exclude,) if isinstance(exclude, str) else tuple(exclude)
    for name in given:
        if name not in EXCLUSIONS:
            raise ConfigError(f"nothing is excluded by {name!r}", where="exclude", how=suggest(str(name), EXCLUSIONS))
    return tuple(dict.fromkeys(given))


def _probes(gait: Gait, inside: Array, selector: Selector | None) -> Array:
    if selector is not None:
        return np.flatnonzero(selector.mask(gait))
    return np.arange(len(gait)) if inside.all() else np.flatnonzero(~inside)


def _fits(name: str, value: str, patterns: Iterable[str]) -> bool:
    values = {value, condition_of(value)} if name == "type" else {value}
    return any(fnmatchcase(one, pattern) for pattern in patterns for one in values)


def _lines(path: Path, where: str) -> list[str]:
    try:
        lines = [line.strip().strip("/") for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error})", where=f"{where}.file", how="check the path") from error
    names = [line for line in lines if line and not line.startswith("#")]
    if not names:
        raise ConfigError(f"{path} names no sequence", where=f"{where}.file", how="write id/type/view, one a line")
    return names


def _in_list(gait: Gait, lines: Sequence[str], text: str) -> Array:
    every = [
        {label, f"{label}/{kind}", f"{label}/{kind}/{view}"}
        for label, kind, view in zip(gait.labels.tolist(), gait.types.tolist(), gait.views.tolist())
    ]
    wanted, known = set(lines), set().union(*every)
    unknown = sorted(wanted - known)
    if unknown:
        raise DataError(
            f"{len(unknown)} of its {len(wanted)} lines name no sequence: {listed(unknown, _NAMED)}",
            where=text,
            how=suggest(unknown[0], sorted(known)) if len(known) < 1000 else "write id/type/view as the data have them",
        )
    return np.array([bool(names & wanted) for names in every])


def _nobody(
    gait: Gait,
    rows: Sequence[tuple[str, list[float]]],
    chosen: Selector | None,
    conditions: Mapping[str, Selector | None],
    excluded: Sequence[str],
    there: str,
) -> DataError:
    """Why no probe has a mate."""
    looked = "; ".join(
        selector.text if selector else "all that are not in the gallery" for selector in conditions.values()
    )
    without = f", identical {' or '.join(excluded)} excluded" if excluded else ""
    count = int(sum(values[-2] for _, values in rows))
    return DataError(
        f"none of {count} probes ({looked}) has a mate in the gallery ({chosen.text if chosen else 'everything'}"
        f"{without}); there are {len(gait)} sequences of {len(set(gait.labels.tolist()))} people, {there}",
        where="gallery and probe",
        how="choose so that somebody has a sequence in both",
    )
