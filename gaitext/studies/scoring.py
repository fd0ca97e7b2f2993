"""What a cell says of embeddings: a protocol's numbers, under short names, and each identity's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gaitext.errors import DataError
from gaitext.evaluation import PROTOCOLS, Gait, Saved, by_identity, cross_view
from gaitext.evaluation.cross_view import mean
from gaitext.standalone.settings import HostConfig
from gaitext.standalone.tester import evaluate as evaluated

Config = dict[str, Any]
_PREFIX = "scalar/test_accuracy/"
_REID = "-ReID"


def with_gallery_of(found: Saved, whole: Saved, config: Config) -> Saved:
    """``found`` with the gallery's embeddings taken from ``whole``; for protocols whose probes are not in it."""
    dataset = dataset_of(config)
    if dataset not in PROTOCOLS:
        raise DataError(f"no gallery apart from the probes is known of {dataset}", how="occlude all sequences")
    gallery = PROTOCOLS[dataset].select(found.types, PROTOCOLS[dataset].gallery)
    mixed = found.embeddings.copy()
    mixed[gallery] = whole.embeddings[gallery]
    return replace(found, embeddings=mixed)


def dataset_of(config: Mapping[str, Any]) -> str:
    """Whose protocol tests."""
    return str(config["data_cfg"].get("test_dataset_name") or config["data_cfg"]["dataset_name"])


def evaluate(
    data: dict[str, Any], config: Mapping[str, Any], ranks: tuple[int, ...] = ()
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """A cell's scalars and people, of embeddings; ``ranks``: see :class:`~gaitext.studies.training.Testing`."""
    section, dataset = config["evaluator_cfg"], dataset_of(config)
    metric = str(section.get("metric", "euc"))
    options = {name: section[name] for name in ("gallery", "exclude_same_walk") if name in section}
    if ranks and dataset in PROTOCOLS:
        protocol = replace(PROTOCOLS[dataset], ranks=max(ranks))
        scalars = cross_view(Gait.of_data(data), protocol, metric, name=dataset).scalars
        people = by_identity(data, dataset, metric, ranks=max(ranks))
        ends = tuple(f"@R{rank}" for rank in ranks)
        scalars = {name: value for name, value in scalars.items() if name.endswith(ends)}
        people = {name: of for name, of in people.items() if name.endswith(ends)}
    else:
        scalars = evaluated(HostConfig.read(config), data).scalars
        people = by_identity(data, dataset, metric, **options)
    own: dict[str, dict[str, float]] = {}
    identities = sorted({identity for of in people.values() for identity in of})
    for identity in identities:
        of_it = short_numbers({name: of[identity] for name, of in people.items() if identity in of})
        for name, value in of_it.items():
            own.setdefault(name, {})[identity] = value
    return short_numbers(scalars), own


def short_numbers(scalars: Mapping[str, float]) -> dict[str, float]:
    """Without the toolboxes' prefix, rank-1 by the condition's name alone, and the conditions' ``mean``.

    CCPG's re-identification is another protocol, and has its own: ``mean-ReID``, ``mean-ReID@mAP``.

    >>> short_numbers({"scalar/test_accuracy/NM@R1": 50.0, "scalar/test_accuracy/CL@R1": 30.0})
    {'NM': 50.0, 'CL': 30.0, 'mean': 40.0}
    >>> short_numbers({"CL-ReID@R1": 50.0, "UP-ReID@R1": 30.0, "CL-ReID@mAP": 20.0})
    {'CL-ReID': 50.0, 'UP-ReID': 30.0, 'CL-ReID@mAP': 20.0, 'mean-ReID': 40.0, 'mean-ReID@mAP': 20.0}
    """
    numbers = {name.removeprefix(_PREFIX): float(value) for name, value in scalars.items()}
    for rank in sorted({name.partition("@")[2] for name in numbers if "@" in name}):
        of_rank = {n.partition("@")[0]: v for n, v in numbers.items() if n.partition("@")[2] == rank}
        for protocol in ("", _REID):
            # SUSTech1K's Overall and PsyMo's mean are of the other conditions.
            conditions = [
                value
                for name, value in of_rank.items()
                if name not in ("mean", "Overall", f"mean{_REID}") and name.endswith(_REID) == bool(protocol)
            ]
            if conditions:
                numbers.setdefault(f"mean{protocol}@{rank}", mean(np.array(conditions)))
    renamed = {name.removesuffix("@R1"): value for name, value in numbers.items()}
    means = ("mean", f"mean{_REID}")
    return {name: renamed[name] for name in sorted(renamed, key=lambda n: n.partition("@")[0] in means)}
