"""`gaitext prepare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from gaitext.cli.app import Quiet, Workers, app, console


@app.command()
def prepare(
    name: Annotated[
        str,
        typer.Argument(
            help="Videos: casia-b, ccpg, sustech1k, or own for your own clips. "
            "Poses: psymo, casia-b-poses, grew-poses, gait3d-poses, heatmap-poses. "
            "Folders of pictures: silhouettes."
        ),
    ],
    root: Annotated[Path, typer.Argument(help="The dataset's folder; casia-b-poses: or a csv.")],
    out: Annotated[Path, typer.Option(help="Folder to make the tree in.")],
    pattern: Annotated[
        str | None,
        typer.Option(
            help="Own clips, silhouettes: their paths, as '{id}/{type}_{view}.*'. "
            "\\[default: '{id}_{type}_{view}.*', '{id}/{type}/{view}']"
        ),
    ] = None,
    partition: Annotated[Path | None, typer.Option(help="json with TRAIN_SET and TEST_SET, to take over.")] = None,
    split: Annotated[
        Path | None, typer.Option(help="psymo: the official split, as json, csv or text. \\[default: gaitext's own]")
    ] = None,
    train_share: Annotated[
        float | None, typer.Option(help="Own clips, silhouettes: share of the people to train on. \\[default: 0.75]")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Own clips, silhouettes: seed of the draw of people. \\[default: 0]")
    ] = None,
    copy: Annotated[bool, typer.Option("--copy", help="Videos: copy the files instead of linking to them.")] = False,
    min_frames: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Poses, silhouettes: leave shorter sequences out. \\[default: 10 for psymo, casia-b-poses; else 1]",
        ),
    ] = None,
    workers: Workers = 0,
    quiet: Quiet = False,
) -> None:
    """Make a tree <id>/<type>/<view> of a dataset's videos, released poses or silhouettes, and its partition."""
    from gaitext.extraction.prepare import prepare as make

    report = make(
        name,
        root,
        out,
        pattern=pattern,
        partition=partition,
        split=split,
        train_share=train_share,
        seed=seed,
        copy=copy,
        min_frames=min_frames,
        workers=workers,
        quiet=quiet,
    )
    console.print(escape(str(report)), soft_wrap=True, highlight=False)
    made = "\n".join(f"{what}: {path}" for what, path in report.made.items())
    console.print(made, soft_wrap=True, highlight=False, markup=False)
