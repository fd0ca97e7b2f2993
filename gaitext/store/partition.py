"""Who trains and who is tested: a dataset's partition json."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path

from gaitext.errors import DataError

logger = logging.getLogger(__name__)


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
        logger.warning(
            "%s: %d identities are in both sets, such as %s: a test on them says nothing about strangers",
            path,
            len(both),
            both[0],
        )
    return train, test
