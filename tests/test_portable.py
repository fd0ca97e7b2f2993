"""Training, testing and evaluating need nothing that Windows lacks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_trains_tests_and_evaluates_without_posix(tmp_path: Path) -> None:
    pytest.importorskip("lightning.fabric")
    command = [sys.executable, "-X", "warn_default_encoding", "-m", "tests.without_posix", str(tmp_path)]
    env = {**os.environ, "PYTHONIOENCODING": "cp1252"}  # Windows' where output goes to a file
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, encoding="cp1252")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NM" in done.stdout
    assert (tmp_path / "embeddings.npz").is_file()
