"""A protocol's numbers for each test identity alone, which bootstrap intervals resample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gaitext.evaluation.ccpg import CCPG, evaluate_CCPG
from gaitext.evaluation.cross_view import PROTOCOLS, cross_view_by_identity
from gaitext.evaluation.distances import Array
from gaitext.evaluation.psymo import evaluate_PsyMo, gallery_type
from gaitext.evaluation.result import EvaluationResult, Gait

Numbers = dict[str, dict[str, float]]


def by_identity(data: Mapping[str, Any], dataset: str, metric: str = "euc", **options: Any) -> Numbers:
    """Each identity's probes, in the gallery of all: scalar's name -> identity -> number.

    Where every identity has as many probes, a scalar is the mean of its identities' numbers.

    Args:
        data: ``embeddings``, ``labels``, ``types``, ``views``.
        dataset: whose protocol.
        metric: ``euc`` or ``cos``.
        options: of the protocol, such as PsyMo's ``gallery``; of those in :data:`PROTOCOLS`, ``ranks``.

    Returns:
        Empty where probes are gallery sequences, too, and no identity's stand alone (PsyMo's galleries ``same`` and
        ``all``), or the protocol is not known here.
    """
    gait = Gait.of_data(data)
    if dataset in PROTOCOLS:
        protocol = PROTOCOLS[dataset]
        protocol = replace(protocol, ranks=options.get("ranks", protocol.ranks))
        shown = protocol.select(gait.types, protocol.gallery)
        if any((protocol.select(gait.types, names) & shown).any() for names in protocol.probes.values()):
            return {}
        return cross_view_by_identity(gait, protocol, metric)
    if dataset == "PsyMo" and options.get("gallery", "nm") == "nm":
        shown = gait.types == gallery_type(gait)
        return _each(gait, shown, lambda part: evaluate_PsyMo(_data(part), metric=metric, **options))
    if dataset == "CCPG":
        found: Numbers = {}
        for condition, (probes, gallery) in CCPG.items():
            own = gait.where(np.isin(gait.types, (*probes, *gallery)))
            numbers = _each(
                own, np.isin(own.types, gallery), lambda part: evaluate_CCPG(_data(part), "CCPG", metric=metric)
            )
            found |= {name: each for name, each in numbers.items() if name.startswith(_names(condition))}
        return found
    return {}


def _names(condition: str) -> tuple[str, ...]:
    return tuple(f"scalar/test_accuracy/{condition}{end}" for end in ("@", "-ReID@"))


def _each(gait: Gait, shown: Array, evaluate: Callable[[Gait], EvaluationResult]) -> Numbers:
    found: Numbers = {}
    for identity in sorted(set(gait.labels[~shown].tolist())):
        part = gait.where(shown | (gait.labels == identity))
        for name, value in evaluate(part).scalars.items():
            found.setdefault(name, {})[identity] = value
    return found


def _data(gait: Gait) -> dict[str, Any]:
    return {"embeddings": gait.embeddings, "labels": gait.labels, "types": gait.types, "views": gait.views}
