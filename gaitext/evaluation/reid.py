"""One list of probes against one gallery: Gait3D, FreeGait, CCGR-Mini, GREW."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gaitext.errors import ConfigError, DataError, suggest
from gaitext.evaluation.cross_view import listed, mean, ties
from gaitext.evaluation.distances import check_metric
from gaitext.evaluation.result import EvaluationResult, Gait, Table, check_table_path, write_result
from gaitext.evaluation.searches import Found, Search, run


@dataclass(frozen=True)
class Listed:
    """A dataset whose partition file lists its probes, or its gallery; all other test sequences are the other side.

    Args:
        key: of the list in the file.
        file: the toolbox's, where it is looked for unless another is named.
        form: how a sequence is written in the list.
        suffix: what may end an identity's name in the data, and does not in the list.
    """

    key: str
    file: str
    form: str = "{id}-{type}-{view}"
    suffix: str = ""


@dataclass(frozen=True)
class Typed:
    """A dataset whose types tell probes and gallery apart."""

    probes: tuple[str, ...]
    gallery: tuple[str, ...]


#: Datasets with a list.
LISTED = {
    "Gait3D": Listed("PROBE_SET", "./datasets/Gait3D/Gait3D.json"),
    "FreeGait": Listed("PROBE_SET", "./datasets/FreeGait/FreeGait.json"),
    "CCGR-MINI": Listed("GALLERY_SET", "./datasets/CCGR-MINI/CCGR-MINI.json"),
    "GREW-local": Listed("PROBE_SET", "./datasets/GREW/GREW_our_split.json", "{id}-{view}", "train"),
}
#: Those of OpenGait's ``evaluate_real_scene`` that are told apart by types.
TYPED = {
    "GREW": Typed(("02",), ("01",)),
    "HID2021": Typed(("1",), ("0",)),
    "0001-1000": Typed(("3", "4", "5", "6"), ("1", "2")),
    "0001-1000-test": Typed(("1",), ("0",)),
    "TTG-200": Typed(("2", "3", "4", "5", "6"), ("1",)),
}
_RANKS = (1, 5, 10)
_SCENE_RANKS = (1, 5, 10, 20)


def check_listed(
    dataset: str = "", metric: str = "euc", partition: str | Path | None = None, table: str | Path | None = None
) -> None:
    """Refuse what the functions of this module would refuse, before anything is embedded.

    Raises:
        ConfigError: a wrong argument.
    """
    check_metric(metric)
    check_table_path(table)
    if partition is not None and not Path(partition).is_file():
        raise ConfigError(f"there is no file {partition}", where="partition", how="give the dataset's partition file")


def evaluate_Gait3D(
    data: dict[str, Any],
    dataset: str = "Gait3D",
    metric: str = "euc",
    partition: str | Path | None = None,
    table: str | Path | None = None,
) -> EvaluationResult:
    """Gait3D: the probes that its partition file lists, in the gallery of all other test sequences.

    Rank-1, rank-5, rank-10, mAP and mINP over the probes that have a mate in the gallery. Agrees with the toolboxes'
    function of the name, which lets the order of the files decide between equally near sequences; here a number is its
    mean over all orders of these.

    Args:
        data: ``embeddings`` [n, c, p] or [n, c], ``labels``, ``types``, ``views``; not changed.
        dataset: named in the result.
        metric: see :func:`~gaitext.evaluation.distances`.
        partition: the JSON with the list ``PROBE_SET`` of ``id-type-view``; None: where the toolboxes look for it,
            ``./datasets/Gait3D/Gait3D.json``.
        table: a .md, .csv or .json to write the result to.

    Raises:
        ConfigError: a wrong argument, or no such partition file.
        DataError: the file has no such list, no listed sequence is there, or no probe has a mate.
    """
    return _evaluate(data, dataset, "Gait3D", metric, partition, table)


def evaluate_FreeGait(
    data: dict[str, Any],
    dataset: str = "FreeGait",
    metric: str = "euc",
    partition: str | Path | None = None,
    table: str | Path | None = None,
) -> EvaluationResult:
    """FreeGait: as :func:`evaluate_Gait3D`, with FreeGait's partition file.

    Args:
        data, dataset, metric, table: see :func:`evaluate_Gait3D`.
        partition: the JSON with the list ``PROBE_SET``; None: where the toolboxes look for it.
    """
    return _evaluate(data, dataset, "FreeGait", metric, partition, table)


def evaluate_CCGR_MINI(
    data: dict[str, Any],
    dataset: str = "CCGR-MINI",
    metric: str = "euc",
    partition: str | Path | None = None,
    table: str | Path | None = None,
) -> EvaluationResult:
    """CCGR-Mini: as :func:`evaluate_Gait3D`, but the file lists the gallery, ``GALLERY_SET``; all else are probes.

    Args:
        data, dataset, metric, table: see :func:`evaluate_Gait3D`.
        partition: the JSON with the list ``GALLERY_SET``; None: where the toolboxes look for it.
    """
    return _evaluate(data, dataset, "CCGR-MINI", metric, partition, table)


def evaluate_GREW_local(
    data: dict[str, Any],
    dataset: str = "GREW-local",
    metric: str = "euc",
    partition: str | Path | None = None,
    table: str | Path | None = None,
) -> EvaluationResult:
    """GREW without its server: 1,000 of the training identities, held out, one probe of each.

    It is the split that the authors of Gait3D have published (``GREW_our_split.json`` in Gait3D-Benchmark): they drew
    1,000 of the 20,000 training identities for the test and trained on the other 19,000. The file lists the probes as
    ``id-view``; the toolboxes' layout adds ``train`` to the names of these identities, which is ignored. Numbers are
    those of :func:`evaluate_Gait3D`, and are not to be compared with those of the server.

    Args:
        data, dataset, metric, table: see :func:`evaluate_Gait3D`.
        partition: the JSON with the list ``PROBE_SET``; None: where the toolboxes look for it.
    """
    return _evaluate(data, dataset, "GREW-local", metric, partition, table)


def evaluate_real_scene(
    data: dict[str, Any], dataset: str = "GREW", metric: str = "euc", table: str | Path | None = None
) -> EvaluationResult:
    """Probes and gallery told apart by type (:data:`TYPED`); GREW: the test identities' sequences 02 in those 01.

    For GREW it is the toolboxes' way to test without the server, and not its protocol. Rank-1, rank-5, rank-10 and
    rank-20; a probe whose identity is not in the gallery counts as wrong. Agrees with the toolboxes' function of the
    name but for equally near sequences, and for a gallery of fewer than 20 sequences, which OpenGait cannot rank.

    Args:
        data: ``embeddings`` [n, c, p] or [n, c], ``labels``, ``types``; not changed.
        dataset: one of :data:`TYPED`.
        metric: see :func:`~gaitext.evaluation.distances`.
        table: a .md, .csv or .json to write the result to.

    Raises:
        ConfigError: another dataset, or another wrong argument.
        DataError: no probe, or no gallery.
    """
    check_listed(dataset, metric, None, table)
    gait = Gait.of_data(data)
    search = typed_search(gait, dataset)
    found = run(gait, search, metric, pairs=False)
    return _presented(gait, dataset, metric, found, _SCENE_RANKS, table)


def typed_search(gait: Gait, dataset: str) -> Search:
    """What :func:`evaluate_real_scene` looks for where."""
    if dataset not in TYPED:
        raise ConfigError(
            f"no probes and gallery are known of {dataset!r}",
            where="data_cfg.test_dataset_name",
            how=suggest(dataset, TYPED),
        )
    sides = TYPED[dataset]
    probe, gallery = (np.flatnonzero(np.isin(gait.types, types)) for types in (sides.probes, sides.gallery))
    if not len(probe) or not len(gallery):
        raise DataError(
            f"{len(probe)} probes (type {' or '.join(sides.probes)}) and {len(gallery)} gallery sequences (type "
            f"{' or '.join(sides.gallery)}); there are the types {listed(gait.types)}",
            where=dataset,
            how="test sequences of both",
        )
    return Search("probe", probe, gallery, unknown_is_wrong=True)


def listed_search(gait: Gait, dataset: str, partition: str | Path | None = None) -> Search:
    """What a dataset of :data:`LISTED` looks for where."""
    rule = LISTED[dataset]
    names = _names(rule, dataset, partition)
    inside = np.array([form in names for form in _forms(gait, rule)])
    if inside.all() or not inside.any():
        side = "all" if inside.all() else "none"
        raise DataError(
            f"{rule.key} lists {side} of the {len(gait)} sequences: it lists {listed(names, 3)}; there are "
            f"{listed(_forms(gait, rule), 3)}",
            where=dataset,
            how="give the partition file of this very dataset, and test its TEST_SET",
        )
    probe = inside if rule.key == "PROBE_SET" else ~inside
    return Search("probe", np.flatnonzero(probe), np.flatnonzero(~probe))


def _forms(gait: Gait, rule: Listed) -> list[str]:
    return [
        rule.form.format(id=label.removesuffix(rule.suffix), type=kind, view=view)
        for label, kind, view in zip(gait.labels.tolist(), gait.types.tolist(), gait.views.tolist())
    ]


def _names(rule: Listed, dataset: str, partition: str | Path | None) -> set[str]:
    path = Path(rule.file if partition is None else partition)
    try:
        found = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path} cannot be read ({getattr(error, 'strerror', None) or error})",
            where="partition",
            how=f"give {dataset}'s partition file, which lists {rule.key} (Toolbox: {rule.file})",
        ) from error
    names = found.get(rule.key) if isinstance(found, dict) else None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise DataError(f"has no list '{rule.key}'", where=path, how=f"give {dataset}'s partition file")
    return set(names)


def _evaluate(
    data: dict[str, Any],
    dataset: str,
    rule: str,
    metric: str,
    partition: str | Path | None,
    table: str | Path | None,
) -> EvaluationResult:
    check_listed(dataset, metric, partition, table)
    gait = Gait.of_data(data)
    found = run(gait, listed_search(gait, rule, partition), metric, pairs=False)
    return _presented(gait, dataset, metric, found, _RANKS, table)


def _presented(
    gait: Gait, dataset: str, metric: str, found: Found, ranks: Sequence[int], table: str | Path | None
) -> EvaluationResult:
    search, numbers = found.search, found.numbers[:, 0]
    counted = ~np.isnan(numbers[:, 0])
    alone = ~np.isfinite(found.mate[:, 0])
    if alone.all():
        raise DataError(
            f"none of {len(search.probe)} probes has its identity among the {len(search.gallery)} gallery sequences",
            where=dataset,
            how="test people who have a sequence in both",
        )
    cmc = found.cmc()
    names = [f"Rank-{rank}" for rank in ranks]
    values = [float(cmc[rank - 1]) for rank in ranks]
    if not search.unknown_is_wrong:  # as the toolboxes: a scene has ranks only
        names, values = [*names, "mAP", "mINP"], [*values, *(100 * mean(numbers[:, k]) for k in (2, 3))]
    notes = gait.notes()
    if alone.any():
        done = "count as wrong" if search.unknown_is_wrong else "are left out"
        notes.append(f"{alone.sum()} of {len(alone)} probes have no mate in the gallery, and {done}")
    notes += ties("probe", found.mixed[:, 0])
    chance = 100 * mean(numbers[:, 4])
    columns = [*(name.lower() if name[0] == "R" else name for name in names), "chance", "probes", "gallery"]
    row = [*values, chance, float(counted.sum()), float(len(search.gallery))]
    result = EvaluationResult(
        f"{dataset}: {len(search.probe)} probes in {len(search.gallery)} gallery sequences, metric {metric}",
        [Table("Probes in the gallery (%)", columns, [("probe", row)], counts=("probes", "gallery"))],
        {f"scalar/test_accuracy/{name}": value for name, value in zip(names, values)},
        {"probe": chance},
        notes,
        gait.about(dataset, metric),
    )
    if table is not None:
        write_result(result, table)
    return result
