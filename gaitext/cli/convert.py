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
    form: Annotated[
        Form | None, typer.Option(help="Heatmaps: plain (the toolboxes' own), compact (8 bits) or lossless.")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(help="Poses: coco17 (of OpenPose's 18 joints, OUMVLP-Pose), or skeletongait (its two maps)."),
    ] = None,
    merge: Annotated[
        str | None, typer.Option(help="Partition whose parts' maps replace the 17 joints': a name, or \\[[0, 1], …].")
    ] = None,
    floor: Annotated[float, typer.Option(min=0, help="With compact: values nearer to 0 become 0.")] = 0.0,
    workers: Workers = 0,
    quiet: Quiet = False,
) -> None:
    """Write a dataset's heatmaps in another form, smaller or as upstream's; or its poses as others, or as maps."""
    from gaitext.convert import convert_dataset, convert_poses
    from gaitext.errors import ConfigError

    if (form is None) == (to is None):
        raise ConfigError("one of --form and --to is wanted", where="convert", how="--form compact, or --to coco17")
    if to is not None and (merge is not None or floor):
        raise ConfigError("--merge and --floor are for --form", where="convert", how="leave them out")
    if form is None:
        report = convert_poses(source, out, to, workers=workers, quiet=quiet)  # type: ignore[arg-type]
    else:
        joined = partition(merge)
        report = convert_dataset(source, out, form.value, merge=joined, floor=floor, workers=workers, quiet=quiet)
    console.print(escape(str(report)), soft_wrap=True, highlight=False)
    report.raise_failures()
    console.print(f"dataset_root: {out}", soft_wrap=True, highlight=False)
