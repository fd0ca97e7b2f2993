"""tools/bench_models.py: every model's two arrangements run, give the same, and are compared."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parent.parent / "tools" / "bench_models.py"


@pytest.mark.parametrize("model", ["gaitheat", "gaitpt", "rggait", "fbcnn"])
def test_both_arrangements_run_and_agree(model: str) -> None:
    # It ends with an error where outputs in float32 differ by more than 1e-4.
    options = ["--model", model, "--tiny", "--runs", "1", "--warmup", "0", "--no-memory"]
    options += [
        "--frames",
        "4",
        "--batch",
        "4",
        "--train-frames",
        "2",
        "--precision",
        "bf16",
        "--theirs-precision",
        "fp32",
    ]
    done = subprocess.run([sys.executable, str(TOOL), *options], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for phase in ("inference", "train"):
        found = re.search(rf"^{phase} +ours bf16 \S+ ms .*; ratio ([\d.]+)", done.stdout, re.MULTILINE)
        assert found is not None, done.stdout
        assert float(found[1]) > 0
    cosine = re.search(r"least cosine ([\d.]+)", done.stdout)
    assert cosine is not None, done.stdout
    assert float(cosine[1]) > 0.99
