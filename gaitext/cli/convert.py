"""`gaitext convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from gaitext.cli.app import Form, Quiet, Workers, app, console, partition


@app.command()
def convert(
    source: Annotated[
        Path, typer.Argument(help="Root of a dataset: <id>/<type>/<view>/*.pkl, or an extraction's folder.")
    ],
    out: Annotated[Path, typer.Argument(help="Folder to write the new one to; run again to resume.")],
    form: Annotated[Form, typer.Option(help="plain (the toolboxes' own), compact (8 bits) or lossless.")],
    merge: Annotated[
        str | None, typer.Option(help="Partition whose parts' maps replace the 17 joints': a name, or \\[[0, 1], …].")
    ] = None,
    floor: Annotated[float, typer.Option(min=0, help="With compact: values nearer to 0 become 0.")] = 0.0,
    workers: Workers = 0,
    quiet: Quiet = False,
) -> None:
    """Write a dataset's heatmaps in another form: smaller, or as upstream's."""
    from gaitext.convert import convert_dataset

    report = convert_dataset(source, out, form.value, merge=partition(merge), floor=floor, workers=workers, quiet=quiet)
    console.print(escape(str(report)), soft_wrap=True, highlight=False)
    report.raise_failures()
    console.print(f"dataset_root: {out}", soft_wrap=True, highlight=False)
