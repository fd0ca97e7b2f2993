"""What a cell says of embeddings: a protocol's numbers, under short names, and each identity's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gaitext.errors import DataError
from gaitext.evaluation import PROTOCOLS, Gait, Saved, by_identity, cross_view
from gaitext.evaluation.short_numbers import short_numbers
from gaitext.standalone.settings import HostConfig
from gaitext.standalone.tester import evaluate as evaluated

Config = dict[str, Any]


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
