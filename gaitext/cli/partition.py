"""`gaitext partition`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from gaitext.cli.app import app, console


@app.command()
def partition(
    data: Annotated[Path, typer.Argument(help="What `gaitext extract` wrote to, or a root of <id>/<type>/<view>.")],
    test: Annotated[str | None, typer.Option(help="Who is tested, such as 003,004; all others train.")] = None,
    share: Annotated[float | None, typer.Option(help="Draw who is tested: this share of the people.")] = None,
    file: Annotated[
        Path | None,
        typer.Option(help="json, csv or text with both sets, or a text with those who are tested, one a line."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Where to write. \\[default: partition.json, beside the data]")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a partition that has other sets.")] = False,
) -> None:
    """Say who of a dataset trains and who is tested: the toolboxes' partition json."""
    from gaitext.extraction.prepare.partition import partition_dataset

    tested = None if test is None else test.split(",")
    made = partition_dataset(data, test=tested, share=share, file=file, seed=seed, out=out, overwrite=overwrite)
    console.print(escape(str(made)), soft_wrap=True, highlight=False)
    console.print(
        f"dataset_root: {made.root}\ndataset_partition: {made.path}" + ("" if made.written else " (stood just so)"),
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
