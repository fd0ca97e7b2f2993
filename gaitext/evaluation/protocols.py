"""Every dataset's protocol: its function, and what it looks for where."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gaitext.errors import ConfigError, suggest
from gaitext.evaluation import ccpg, gallery_probe
from gaitext.evaluation.ccpg import evaluate_CCPG
from gaitext.evaluation.cross_view import PROTOCOLS, evaluate_indoor_dataset
from gaitext.evaluation.distances import Array
from gaitext.evaluation.gallery_probe import evaluate_gallery_probe
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


#: The same functions by their own names.
BY_NAME = {function.__name__: function for function in FUNCTIONS.values()}
#: Options that no other protocol than ``own`` has.
_OWN = frozenset({"probe", "exclude"})


def function_of(dataset: str) -> Callable[..., EvaluationResult]:
    """The function of a dataset's protocol.

    Raises:
        ConfigError: no such protocol.
    """
    if dataset not in FUNCTIONS:
        raise ConfigError(f"no protocol for '{dataset}'", how=suggest(dataset, FUNCTIONS))
    return FUNCTIONS[dataset]


def told_protocol(
    about: Mapping[str, Any],
    dataset: str | None,
    metric: str | None,
    options: Mapping[str, Any],
    *,
    otherwise: str | None = None,
) -> tuple[str, dict[str, Any]]:
    """Whose protocol evaluates a saved result, and all arguments of its function but ``data`` and ``table``.

    Args:
        about: what the result says of itself; its ``protocol`` has ``eval_func``, ``dataset`` and the function's other
            arguments. A ``table`` there is passed over: a file does not say where to write.
        dataset: of :data:`FUNCTIONS`; None: what ``about`` says, unless an option is one's own data's alone.
        metric: None: what ``about`` says, or ``euc``.
        options: arguments that stand in for what ``about`` says.
        otherwise: the dataset where ``about`` says nothing.

    Returns:
        One of :data:`FUNCTIONS`, and the arguments.

    Raises:
        ConfigError: no protocol is named, there is none of that name, or it lacks an option.
    """
    told = about.get("protocol")
    told = {key: value for key, value in told.items() if key != "table"} if isinstance(told, Mapping) else {}
    name, theirs = str(told.pop("eval_func", "")), str(told.get("dataset", ""))
    recorded = BY_NAME.get(name, FUNCTIONS.get(theirs))
    chosen = dataset
    if chosen is None and (not _OWN.isdisjoint(options) or "=" in str(options.get("gallery"))):
        chosen = "own"
    elif chosen is None and recorded is not None:
        chosen = theirs if FUNCTIONS.get(theirs) is recorded else _dataset_of(recorded)
    elif chosen is None and told:
        raise ConfigError(
            f"the test evaluated {theirs[:60]!r} by {name[:60]!r}, which gaitext has no protocol for",
            where="dataset",
            how=f"name another: {', '.join(FUNCTIONS)}",
        )
    chosen = chosen or otherwise
    if chosen is None:
        raise ConfigError(
            "the file does not say whose protocol it is for", where="dataset", how=f"give one of {', '.join(FUNCTIONS)}"
        )
    function = function_of(chosen)
    known = inspect.signature(function).parameters.keys() - {"data", "table"}
    for option in options:
        if option not in known:
            having = [d for d, each in FUNCTIONS.items() if option in inspect.signature(each).parameters]
            raise ConfigError(
                f"the protocol of {chosen} has no '{option}'",
                where=option,
                how=f"leave it out: it is for {', '.join(having)}" if having else "leave it out",
            )
    taken = {key: value for key, value in told.items() if value or key in known} if function is recorded else {}
    for key, value in taken.items():
        if key not in known:
            raise ConfigError(
                f"the test's {name[:60]} had '{key[:60]}' set to {value!s:.60}, which gaitext's has not",
                where="dataset",
                how=f"--dataset {chosen} --metric euc evaluates without it",
            )
    shown = theirs if dataset is None and function is recorded else chosen
    return chosen, {**taken, **options, "dataset": shown, "metric": metric or told.get("metric") or "euc"}


def _dataset_of(function: Callable[..., EvaluationResult]) -> str:
    return next(dataset for dataset, each in FUNCTIONS.items() if each is function)


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
    function_of(dataset)
    if dataset in PROTOCOLS:
        return _cross_view(gait, dataset)
    if dataset in LISTED:
        return [listed_search(gait, dataset, options.get("partition"))]
    if dataset in TYPED:
        return [typed_search(gait, dataset)]
    if dataset == "CCPG":
        return list(ccpg.searches(gait).values())
    if dataset == "PsyMo":
        return _psymo(gait, options.get("gallery", "nm"), options.get("exclude_same_walk", False))
    chosen = {name: options.get(name) for name in ("gallery", "probe", "exclude")}
    return list(gallery_probe.searches(gait, **chosen).values())


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
