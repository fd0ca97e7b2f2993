"""`gaitext prepare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from gaitext.cli.app import Quiet, Seed, Workers, app, console


@app.command()
def prepare(
    name: Annotated[str, typer.Argument(help="casia-b, ccpg, sustech1k, or own for your own clips.")],
    root: Annotated[Path, typer.Argument(help="The dataset's folder.")],
    out: Annotated[Path, typer.Option(help="Folder to make the tree in.")],
    pattern: Annotated[
        str | None,
        typer.Option(help="Own clips: their paths, as '{id}/{type}_{view}.*'. \\[default: '{id}_{type}_{view}.*']"),
    ] = None,
    partition: Annotated[Path | None, typer.Option(help="json with TRAIN_SET and TEST_SET, to take over.")] = None,
    train_share: Annotated[float, typer.Option(help="Own clips: share of the people to train on.")] = 0.75,
    seed: Seed = 0,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the files instead of linking to them.")] = False,
    workers: Workers = 0,
    quiet: Quiet = False,
) -> None:
    """Make a tree <id>/<type>/<view> of a dataset's videos, and its partition."""
    from gaitext.extraction.prepare import prepare as make

    report = make(
        name,
        root,
        out,
        pattern=pattern,
        partition=partition,
        train_share=train_share,
        seed=seed,
        copy=copy,
        workers=workers,
        quiet=quiet,
    )
    console.print(escape(str(report)), soft_wrap=True, highlight=False)
    console.print(
        f"videos, for gaitext extract: {report.videos}\ndataset_partition: {report.partition}",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
