"""What holds for all tests."""

from __future__ import annotations

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # Tests in parallel, and the processes they start, would fight for the cores. Before torch is imported,
    # which reads it once.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
