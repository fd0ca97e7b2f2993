"""Every dataset's protocol: its function, and what it looks for where."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gaitext.errors import ConfigError, DataError, suggest
from gaitext.evaluation.ccpg import CCPG, evaluate_CCPG
from gaitext.evaluation.cross_view import PROTOCOLS, evaluate_indoor_dataset
from gaitext.evaluation.distances import Array
from gaitext.evaluation.gallery_probe import evaluate_gallery_probe, exclusions, probes_of, selectors
from gaitext.evaluation.psymo import VARIATIONS, Walks, evaluate_PsyMo, is_walk
from gaitext.evaluation.reid import (
    LISTED,
    TYPED,
    evaluate_CCGR_MINI,
    evaluate_FreeGait,
    evaluate_Gait3D,
    evaluate_GREW_local,
    evaluate_real_scene,
    listed_search,
    typed_search,
)
from gaitext.evaluation.result import EvaluationResult, Gait
from gaitext.evaluation.searches import Search

#: Dataset -> the function of its protocol.
FUNCTIONS: dict[str, Callable[..., EvaluationResult]] = {
    **dict.fromkeys(PROTOCOLS, evaluate_indoor_dataset),
    "CCPG": evaluate_CCPG,
    "Gait3D": evaluate_Gait3D,
    "FreeGait": evaluate_FreeGait,
    "CCGR-MINI": evaluate_CCGR_MINI,
    "GREW-local": evaluate_GREW_local,
    **dict.fromkeys(TYPED, evaluate_real_scene),
    "PsyMo": evaluate_PsyMo,
    "own": evaluate_gallery_probe,
}


def protocol_of(dataset: str, options: Mapping[str, Any]) -> Callable[..., EvaluationResult]:
    """The function of a dataset's protocol.

    Raises:
        ConfigError: no such protocol, or an option that it does not have.
    """
    if dataset not in FUNCTIONS:
        raise ConfigError(f"no protocol for '{dataset}'", how=suggest(dataset, FUNCTIONS))
    for option in options:
        if option not in inspect.signature(FUNCTIONS[dataset]).parameters:
            having = [d for d, function in FUNCTIONS.items() if option in inspect.signature(function).parameters]
            raise ConfigError(
                f"the protocol of {dataset} has no '{option}'",
                where=option,
                how=f"leave it out: it is for {', '.join(having)}" if having else "leave it out",
            )
    return FUNCTIONS[dataset]


def searches(gait: Gait, dataset: str, **options: Any) -> list[Search]:
    """What a dataset's protocol looks for where, a search for each condition.

    Args:
        gait: the test set.
        dataset: of :data:`FUNCTIONS`.
        options: of its function, those that choose probes and gallery.

    Raises:
        ConfigError: no such protocol, or a wrong option.
        DataError: probes or gallery are missing.
    """
    protocol_of(dataset, options)
    if dataset in PROTOCOLS:
        return _cross_view(gait, dataset)
    if dataset in LISTED:
        return [listed_search(gait, dataset, options.get("partition"))]
    if dataset in TYPED:
        return [typed_search(gait, dataset)]
    if dataset == "CCPG":
        return _ccpg(gait)
    if dataset == "PsyMo":
        return _psymo(gait, options.get("gallery", "nm"), options.get("exclude_same_walk", False))
    return _own(gait, options)


def _numbered(names: Array) -> tuple[list[str], Array]:
    values, places = np.unique(names, return_inverse=True)
    return values.tolist(), places.reshape(-1)


def _cross_view(gait: Gait, dataset: str) -> list[Search]:
    protocol = PROTOCOLS[dataset]
    views, view = _numbered(gait.views)
    gallery = np.flatnonzero(protocol.select(gait.types, protocol.gallery))
    found = []
    for name, types in protocol.probes.items():
        probe = np.flatnonzero(protocol.select(gait.types, types))
        found.append(
            Search(
                name, probe, gallery, views, views, view[probe], view[gallery], identical=False, unknown_is_wrong=True
            )
        )
    return found


def _ccpg(gait: Gait) -> list[Search]:
    cameras, camera = _numbered(np.array([view.split("_")[0] for view in gait.views.tolist()]))
    identity = _numbered(gait.labels)[1]
    found = []
    for name, (probes, shown) in CCPG.items():
        probe, gallery = (np.flatnonzero(np.isin(gait.types, types)) for types in (probes, shown))
        found.append(Search(f"{name}-ReID", probe, gallery, apart=[identity * len(cameras) + camera]))
        places = (cameras, cameras, camera[probe], camera[gallery])
        found.append(Search(name, probe, gallery, *places, identical=False, unknown_is_wrong=True))
    return found


def _psymo(gait: Gait, gallery: str, exclude_same_walk: bool) -> list[Search]:
    walks, chosen = Walks.of(gait, exclude_same_walk), np.flatnonzero(is_walk(gait))
    angles = walks.angles
    names = [f"{angle:03d}" for angle in angles]
    place = np.searchsorted(angles, walks.angle)
    apart = np.full(len(gait), -1)
    apart[chosen] = walks.sequences.own
    found: dict[str, Search] = {}
    for probes, shown in walks.trials(gallery):
        for number, name in enumerate(VARIATIONS):
            probe, other = np.flatnonzero(probes & (walks.variation == number)), np.flatnonzero(shown)
            if len(probe):
                places = (names, names, place[probe], place[other])
                found[name] = Search(
                    name.upper(), chosen[probe], chosen[other], *places, [apart], identical=False, unknown_is_wrong=True
                )
    return [found[name] for name in VARIATIONS if name in found]


def _own(gait: Gait, options: Mapping[str, Any]) -> list[Search]:
    chosen, conditions = selectors(options.get("gallery"), options.get("probe"))
    inside = np.ones(len(gait), bool) if chosen is None else chosen.mask(gait)
    if not inside.any():
        raise DataError("the gallery is empty", where="gallery", how="choose another")
    keys = {"view": gait.views, "type": gait.types}
    apart = [_numbered(keys[name])[1] for name in exclusions(options.get("exclude"))]
    gallery = np.flatnonzero(inside)
    return [Search(name, probes_of(gait, inside, by), gallery, apart=apart) for name, by in conditions.items()]
