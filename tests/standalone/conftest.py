"""Puts this folder on the path, so that tests and the scripts they start share ``tiny``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

pytest.importorskip("lightning.fabric")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny data set; not to be changed."""
    import tiny

    root = tmp_path_factory.mktemp("tiny")
    tiny.write_data(root)
    return root
