"""CCPG: changing clothes, one condition for each piece that changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gaitext.errors import ConfigError, DataError
from gaitext.evaluation.cross_view import compare_views, excluding_identical, listed, mean, missing, ties
from gaitext.evaluation.result import EvaluationResult, Gait, Table, check_table_path, write_result
from gaitext.evaluation.searches import Search, run

#: Condition -> (probe types, gallery types): everything, the top, the trousers, a bag changed.
CCPG: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "CL": (("U0_D0_BG", "U0_D0"), ("U1_D1", "U2_D2", "U3_D3")),
    "UP": (("U3_D3",), ("U0_D3",)),
    "DN": (("U1_D0",), ("U1_D1",)),
    "BG": (("U0_D0_BG",), ("U0_D0",)),
}


def evaluate_CCPG(
    data: dict[str, Any], dataset: str = "CCPG", metric: str = "euc", table: str | Path | None = None
) -> EvaluationResult:
    """CCPG's two protocols: re-identification and gait.

    Re-identification: each probe against the condition's whole gallery but for sequences of its
    own identity and camera; rank-1, mAP, mINP over probes that have a match. Gait: every pair of
    cameras apart, rank-1, identical ones excluded, averaged. A view's camera is what stands
    before its underscore. Agrees with OpenGait's function of the name, which rounds every pair
    of cameras to two digits before averaging, and lets the order of the files decide between
    equally near sequences; here a number is its mean over all orders of these. Papers' "R-1 & mAP"
    of CCPG (GaitHeat's Tables 1 and 3) are the re-identification's.

    Args:
        data: ``embeddings`` [n, c, p] or [n, c], ``labels``, ``types``, ``views``; not changed.
        dataset: must be ``CCPG``.
        metric: see :func:`~gaitext.evaluation.distances`.
        table: a .md, .csv or .json to write the result to.

    Raises:
        ConfigError: another dataset, or a table that cannot be written.
        DataError: no condition has a probe with a match from another camera.
    """
    if dataset != "CCPG":
        raise ConfigError(
            f"evaluate_CCPG is for CCPG, not {dataset!r}", where="evaluator_cfg.eval_func", how="choose another"
        )
    check_table_path(table)
    gait = Gait.of_data(data)
    gait = replace(gait, views=np.array([view.split("_")[0] for view in gait.views]))
    cameras = sorted(set(gait.views.tolist()))
    scalars: dict[str, float] = {}
    chance: dict[str, float] = {}
    notes = gait.notes()
    reid, angles, looked = [], [], searches(gait)
    for condition, (probe_types, gallery_types) in CCPG.items():
        probe = gait.where(np.isin(gait.types, probe_types))
        gallery = gait.where(np.isin(gait.types, gallery_types))
        if not len(probe) or not len(gallery):
            notes.append(f"{condition}: {len(probe)} probes, {len(gallery)} gallery sequences; it has no number")
            numbers, means = [float("nan")] * 3, np.full(len(cameras), np.nan)
            chance[condition] = float("nan")
        else:
            ranked = run(gait, looked[f"{condition}-ReID"], metric, ranks=1, pairs=False)
            numbers = [100 * mean(ranked.numbers[:, 0, k]) for k in (0, 2, 3)]
            mixed, left_out = ranked.mixed[:, 0], int(np.isnan(ranked.numbers[:, 0, 0]).sum())
            if left_out:
                notes.append(f"{condition}: {left_out} of {len(probe)} probes have no match from another camera")
            found = compare_views(probe, gallery, cameras, metric)
            notes += ties(condition, mixed | found.tied)
            means = excluding_identical(found.hits[:, :, 0])
            chance[condition] = mean(excluding_identical(found.chance))
            if len(cameras) > 1:
                notes += missing(condition, cameras, found.hits[:, :, 0], len(probe))
        reid.append((condition, numbers))
        angles.append((condition, [*map(float, means), mean(means), chance[condition]]))
        for name, value in zip(("R1", "mAP", "mINP"), numbers):
            scalars[f"scalar/test_accuracy/{condition}-ReID@{name}"] = value
        scalars[f"scalar/test_accuracy/{condition}@R1"] = mean(means)
    if np.isnan([numbers for _, numbers in reid]).all():
        raise _no_comparison(gait, cameras)
    if len(cameras) < 2:
        notes.append(f"there is one camera only ({cameras[0]}): the gait protocol, which excludes it, has no number")
    tables = [
        Table("Re-identification, own camera excluded (%)", ["rank-1", "mAP", "mINP"], reid),
        Table("Gait: rank-1 of each probe camera, identical ones excluded (%)", [*cameras, "mean", "chance"], angles),
    ]
    about = gait.about(dataset, metric)
    result = EvaluationResult(f"CCPG, metric {metric}", tables, scalars, chance, notes, about)
    if table is not None:
        write_result(result, table)
    return result


def _no_comparison(gait: Gait, cameras: list[str]) -> DataError:
    """Why no probe has a match, with what was looked for and what there is."""
    sides = {
        condition: [gait.where(np.isin(gait.types, types)) for types in sides] for condition, sides in CCPG.items()
    }
    both = [condition for condition, (probe, gallery) in sides.items() if len(probe) and len(gallery)]
    if not both:
        wanted = "; ".join(
            f"{condition} looks for {' or '.join(probes)} in {', '.join(gallery)}"
            for condition, (probes, gallery) in CCPG.items()
        )
        return DataError(
            f"no condition of CCPG has probes and gallery: {wanted}; there are the types {listed(gait.types)}",
            where="CCPG",
            how="test the types of one condition",
        )
    if len(cameras) < 2:
        return DataError(
            f"all sequences are of one camera ({cameras[0]}), and a probe's matches must be of another",
            where="CCPG",
            how="test two cameras; a view's is what stands before its underscore",
        )
    people = [len(set(probe.labels) & set(gallery.labels)) for probe, gallery in (sides[c] for c in both)]
    return DataError(
        f"no probe has a match from another camera: {', '.join(both)} have probes and gallery, and "
        f"{' and '.join(map(str, people))} people are on both sides, but on no two cameras ({listed(cameras)})",
        where="CCPG",
        how="test people whose probes and gallery are of different cameras",
    )


def searches(gait: Gait) -> dict[str, Search]:
    """Condition -> what is looked for where: ``CL-ReID`` for re-identification, ``CL`` for pairs of cameras."""
    cameras, camera = np.unique([view.split("_")[0] for view in gait.views.tolist()], return_inverse=True)
    camera = camera.reshape(-1)
    own = np.unique(gait.labels, return_inverse=True)[1].reshape(-1) * len(cameras) + camera
    found = {}
    for name, (probes, shown) in CCPG.items():
        probe, gallery = (np.flatnonzero(np.isin(gait.types, types)) for types in (probes, shown))
        found[f"{name}-ReID"] = Search(f"{name}-ReID", probe, gallery, apart=[own])
        places = (cameras.tolist(), cameras.tolist(), camera[probe], camera[gallery])
        found[name] = Search(name, probe, gallery, *places, identical=False, unknown_is_wrong=True)
    return found
