"""A study done as it is done where nobody disturbs it, for comparison."""

from __future__ import annotations

from pathlib import Path

import torch

from gaitext.studies import Running, parse_study, run_study
from gaitext.studies.tasks import waves


def do_undisturbed(path: Path, out: Path) -> None:
    """Task by task in this process, in the one thread that a study's workers have: starting those takes longer."""
    study, running = parse_study(path), Running(out, 1, device="cpu", quiet=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for wave in waves(study.tasks(running)):
            for task in wave:
                task.function(task.argument)
    finally:
        torch.set_num_threads(threads)
    run_study(study, running)
