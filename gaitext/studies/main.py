"""The command line of all studies; tools/*_study.py are this."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from gaitext.errors import ConfigError, GaitextError
from gaitext.studies.driver import Running, run_study
from gaitext.studies.settings import parse_study

__all__ = ["main"]


def main(about: str, given: Sequence[str] | None = None) -> None:
    """Parse, run, print the tables; ``about`` is the tool's own docstring."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="YAML of a study (docs/studies.md)")
    parser.add_argument("--out", "--work", type=Path, required=True, dest="out", help="folder that keeps everything")
    parser.add_argument("--seeds", help="instead of the YAML's, such as 0,1,2")
    parser.add_argument("--jobs", type=int, help="trainings side by side (default: one a core, or one a GPU)")
    parser.add_argument("--engine", default="local", help="local, ray or ray:ADDRESS (docs/scale.md)")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto")
    parser.add_argument(
        "--toolbox",
        type=Path,
        action="append",
        help="root of a linked toolbox that trains and tests; a second one for systems whose config is its own",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    chosen = parser.parse_args(given)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for name in ("lightning", "matplotlib", "PIL"):
        logging.getLogger(name).setLevel(logging.WARNING)
    started = time.monotonic()
    try:
        study = parse_study(chosen.study, {} if chosen.seeds is None else {"seeds": _seeds(chosen.seeds)})
        toolbox, *more = [root.resolve() for root in chosen.toolbox or ()] or [None]
        running = Running(
            chosen.out.resolve(), chosen.jobs, chosen.engine, chosen.device, toolbox, chosen.quiet, tuple(more)
        )
        result = run_study(study, running)
    except (GaitextError, OSError) as error:  # OSError names the file
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        logging.error("Stopped; the same command goes on from here.")
        sys.exit(130)
    sys.stdout.write(f"{result.text}\n")
    logging.info("%d cells, %.0f s, all in %s", len(result.cells), time.monotonic() - started, chosen.out)


def _seeds(text: str) -> list[int]:
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"'{text}' names no seeds", where="--seeds", how="give numbers, such as 0,1,2") from error
