"""Toolboxes: linking, running, looking after them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from gaitext.cli.app import (
    Device,
    Quiet,
    Workers,
    app,
    console,
)


@app.command()
def link(toolbox: Annotated[Path, typer.Argument(help="Root of an OpenGait or FastPoseGait checkout.")]) -> None:
    """Plug gaitext into a toolbox: one module at its extension point, nothing else changed."""
    from gaitext.toolboxes import link as linking

    console.print(str(linking.link(toolbox)), soft_wrap=True, highlight=False)


@app.command()
def unlink(toolbox: Annotated[Path, typer.Argument(help="Root of a linked toolbox.")]) -> None:
    """Take gaitext out of a toolbox again."""
    from gaitext.toolboxes import link as linking

    console.print(str(linking.unlink(toolbox)), soft_wrap=True, highlight=False)


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def run(
    context: typer.Context,
    toolbox: Annotated[Path, typer.Argument(help="Root of a linked toolbox.")],
    device: Device = "auto",
    nproc: Annotated[int | None, typer.Option(min=1, help="Processes. Default: one per GPU, one on CPU.")] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds after which the run is stopped.")] = None,
) -> None:
    """Run a toolbox's own main.py: gaitext run OPENGAIT --device cpu -- --cfgs X.yaml --phase train."""
    from gaitext.toolboxes import run as running

    if device not in ("auto", "cpu", "cuda"):
        raise typer.BadParameter("give cpu, cuda or auto", param_hint="--device")
    status = running.run(toolbox, context.args, device=device, nproc=nproc, time_limit=time_limit)  # type: ignore[arg-type]
    raise typer.Exit(status)


@app.command()
def doctor(
    toolbox: Annotated[Path | None, typer.Argument(help="Root of a toolbox to look at, too.")] = None,
    data: Annotated[Path | None, typer.Option(help="A config: read every file of its dataset.")] = None,
    workers: Workers = 0,
    quiet: Quiet = False,
) -> None:
    """Say what is installed, linked, registered and missing, and how to mend it."""
    from gaitext.toolboxes import doctor as diagnosis

    report = diagnosis.doctor(toolbox)
    marks = {"ok": "[green]ok[/]", "warn": "[yellow]warn[/]", "fail": "[red]fail[/]"}
    table = Table(box=None, pad_edge=False)
    for column in ("check", "", "found", "to mend it"):
        table.add_column(column, overflow="fold")
    for check in report.checks:
        table.add_row(escape(check.name), marks[check.state], escape(check.detail), escape(check.mend))
    console.print(table)
    healthy = report.ok
    if data is not None:
        from gaitext import standalone

        found = standalone.check_data(data, workers=workers, quiet=quiet)
        console.print(escape(str(found)), soft_wrap=True, highlight=False)
        healthy = healthy and found.ok
    raise typer.Exit(0 if healthy else 1)
