"""Data shared by the tests of the toolboxes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gaitext import store
from gaitext.toolboxes import parts
from gaitext.toolboxes.toolbox import TOOLBOXES

from . import data
from .checkout import linked_copy


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders of a dataset, whose pkls nobody reads."""
    root = tmp_path_factory.mktemp("set")
    for identity in data.TRAIN + data.TEST:
        leaf = root / "data" / identity / "nm-01" / "000"
        leaf.mkdir(parents=True)
        (leaf / "0_heat.pkl").touch()
    store.write_json(root / "partition.json", {"TRAIN_SET": data.TRAIN, "TEST_SET": data.TEST})
    return root


@pytest.fixture(scope="module")
def opengait(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with linked_copy(TOOLBOXES[0], tmp_path_factory.mktemp("toolbox")) as copy:
        yield copy


@pytest.fixture(scope="module")
def fastposegait(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with linked_copy(TOOLBOXES[1], tmp_path_factory.mktemp("toolbox")) as copy:
        yield copy


@pytest.fixture(autouse=True)
def _gaitexts_own_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded host's tests register a model of theirs, in this process only."""
    monkeypatch.delitem(parts.MODELS, "Tiny", raising=False)
