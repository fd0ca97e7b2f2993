"""Some mutations of boxes, configs and embeddings a run; `tools/fuzz.py` makes as many as one likes."""

from __future__ import annotations

import random
from pathlib import Path
from types import ModuleType

import pytest

from tests.fuzz import boxes, npz, yaml_configs


@pytest.mark.parametrize(("kind", "count"), [(boxes, 150), (yaml_configs, 15), (npz, 25)])
def test_mutated_files_are_read_or_refused_in_a_sentence(tmp_path: Path, kind: ModuleType, count: int) -> None:
    for seed in range(count):
        content, suffix = kind.mutate(random.Random(seed))
        path = tmp_path / f"case{suffix}"
        path.write_bytes(content)
        kind.check(path)
