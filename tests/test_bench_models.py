"""tools/bench_models.py: every model's two arrangements run, give the same, and are compared."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parent.parent / "tools" / "bench_models.py"
SMALL = "--tiny --runs 1 --warmup 0 --no-memory --sequences 1 --frames 4 --batch 4 --train-frames 2"


@pytest.fixture(scope="module")
def printed() -> dict[str, str]:
    """What is printed of each model."""
    # It ends with an error where outputs in float32 differ by more than 1e-4.
    command = [sys.executable, str(TOOL), "--model", "all", "--precision", "bf16", "--theirs-precision", "fp32"]
    done = subprocess.run([*command, *SMALL.split()], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return dict(re.findall(r"^== (\w+)(.*?)(?=^== |\Z)", done.stdout, re.MULTILINE | re.DOTALL))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["gaitheat", "gaitpt", "rggait", "fbcnn"])
def test_both_arrangements_run_and_agree(model: str, printed: dict[str, str]) -> None:
    for phase in ("inference", "train"):
        found = re.search(rf"^{phase} +ours bf16 \S+ ms .*; ratio ([\d.]+)", printed[model], re.MULTILINE)
        assert found is not None, printed
        assert float(found[1]) > 0
    cosine = re.search(r"least cosine ([\d.]+)", printed[model])
    assert cosine is not None, printed
    assert float(cosine[1]) > 0.99
