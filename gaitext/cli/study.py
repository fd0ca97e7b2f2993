"""`gaitext study`."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Annotated

import typer

from gaitext.cli.app import Device, Engine, Quiet, app
from gaitext.errors import ConfigError


@app.command()
def study(
    config: Annotated[
        Path, typer.Argument(help="YAML of a study (docs/studies.md), or gaitext's own by name: rg-gait/study_walkers.")
    ],
    out: Annotated[Path, typer.Option("--out", "--work", help="Folder that keeps everything.")],
    seeds: Annotated[str | None, typer.Option(help="Instead of the YAML's, such as 0,1,2.")] = None,
    jobs: Annotated[
        int | None, typer.Option(help="Trainings side by side. \\[default: one a core, or one a GPU]")
    ] = None,
    engine: Engine = "local",
    device: Device = "auto",
    toolbox: Annotated[
        list[Path] | None,
        typer.Option(
            help="Root of a linked toolbox that trains and tests; a second one for systems whose config is its own."
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Train and test what a study says, and decide its claims; what is done is not done again."""
    from gaitext.studies import Running, parse_study, run_study

    root = logging.getLogger()
    root.setLevel(logging.INFO)
    for handler in root.handlers:
        handler.setFormatter(logging.Formatter("%(message)s"))
    for name in ("lightning", "matplotlib", "PIL"):
        logging.getLogger(name).setLevel(logging.WARNING)
    started = time.monotonic()
    try:
        parsed = parse_study(config, {} if seeds is None else {"seeds": _seeds(seeds)})
        roots = [root.resolve() for root in toolbox or ()]
        first, more = (roots[0], tuple(roots[1:])) if roots else (None, ())
        result = run_study(parsed, Running(out.resolve(), jobs, engine, device, first, quiet, more))
    except KeyboardInterrupt:
        logging.error("Stopped; the same command goes on from here.")
        raise typer.Exit(130) from None
    typer.echo(result.text)
    logging.info("%d cells, %.0f s, all in %s", len(result.cells), time.monotonic() - started, out)


def _seeds(text: str) -> list[int]:
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"'{text}' names no seeds", where="--seeds", how="give numbers, such as 0,1,2") from error
