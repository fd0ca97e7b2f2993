"""Who trains and who is tested: the partition json that both toolboxes read."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gaitext.errors import ConfigError, DataError
from gaitext.store.files import write_json

log = logging.getLogger(__name__)


def read_partition(path: str | Path) -> tuple[list[str], list[str]]:
    """Read a partition json ``{"TRAIN_SET": [...], "TEST_SET": [...]}``.

    Raises:
        DataError: missing, not json, without the two lists, or naming an identity twice.
    """
    path = Path(path)
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            "no such partition file",
            where=path,
            how='dataset_partition must name a json with "TRAIN_SET" and "TEST_SET"',
        ) from error
    except ValueError as error:
        raise DataError(f"is not valid json ({error})", where=path) from error
    if not isinstance(loaded, dict) or not {"TRAIN_SET", "TEST_SET"} <= loaded.keys():
        raise DataError('has no "TRAIN_SET" and "TEST_SET"', where=path)
    sets = []
    for name in ("TRAIN_SET", "TEST_SET"):
        if not isinstance(loaded[name], list):
            raise DataError(f'"{name}" is no list of identities', where=path)
        identities = [str(identity) for identity in loaded[name]]
        twice = [identity for identity, count in Counter(identities).items() if count > 1]
        if twice:
            raise DataError(f'"{name}" names {twice[0]} more than once', where=path, how="name each identity once")
        sets.append(identities)
    train, test = sets
    both = sorted(set(train) & set(test))
    if both:
        log.warning(
            "%s: %d identities are in both sets, such as %s: a test on them says nothing about strangers",
            path,
            len(both),
            both[0],
        )
    return train, test


def write_partition(path: str | Path, train: Sequence[str], test: Sequence[str], **others: Any) -> None:
    """Write a partition json; ``others`` are keys that toolboxes pass over, such as ``VAL_SET``."""
    write_json(Path(path), {"TRAIN_SET": list(train), "TEST_SET": list(test), **others})


def draw_partition(
    identities: Sequence[str], share: float, seed: int, *, option: str = "--train-share"
) -> tuple[list[str], list[str]]:
    """Draw who trains, by ``seed``: about ``share`` of the people, at least one and not all; the others are tested.

    Args:
        identities: of all people; both lists keep their order.
        share: above 0 and below 1.
        seed: of the draw.
        option: what people give the share by, for errors.

    Raises:
        ConfigError: no such share.
        DataError: fewer than two people.
    """
    if not 0 < share < 1:
        raise ConfigError(f"a share of {share:g} is not between 0 and 1", where=option)
    if len(identities) < 2:
        raise DataError(
            f"there is one person ({identities[0]}), and training and testing need different ones",
            how="check the names of the data's folders, or give both sets yourself",
        )
    count = min(max(round(share * len(identities)), 1), len(identities) - 1)
    order = np.random.default_rng(seed).permutation(len(identities))
    chosen = {identities[index] for index in order[:count]}
    return [one for one in identities if one in chosen], [one for one in identities if one not in chosen]
