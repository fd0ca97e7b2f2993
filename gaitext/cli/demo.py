"""`gaitext demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gaitext.cli.app import (
    Quiet,
    Seed,
    app,
    console,
    result_table,
)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for data, weights and figures.")] = Path("demo"),
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Make walkers, train a small GaitHeat on the CPU, and evaluate it across views."""
    from gaitext.demo import run_demo

    result = run_demo(out, seed=seed, quiet=quiet)
    rows = [(name, [f"{value:.2f}" for value in values]) for name, values in result.rows]
    console.print(result_table(result.title, result.columns, rows))
    for line in result.lines:
        console.print(line, soft_wrap=True, highlight=False)
