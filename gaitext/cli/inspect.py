"""`gaitext inspect`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from gaitext.cli.app import Quiet, app, console, errors


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="A .pkl, a folder ID/TYPE/VIEW, or a dataset.")],
    sheet: Annotated[
        Path | None, typer.Option(help="Write a contact sheet to this .png; of a dataset: a row a person.")
    ] = None,
    frames: Annotated[int, typer.Option(min=1, help="Frames on the contact sheet; of a dataset: a person.")] = 12,
    people: Annotated[int, typer.Option(min=1, help="Rows on a dataset's contact sheet.")] = 40,
    overlay: Annotated[Path | None, typer.Option(help="Write the video with its heatmaps to this .mp4.")] = None,
    video: Annotated[Path | None, typer.Option(help="The source video, where it has moved.")] = None,
    unchecked: Annotated[bool, typer.Option("--unchecked", help="Take a video whose contents differ.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")] = False,
    quiet: Quiet = False,
) -> None:
    """Show what a sequence or a dataset holds, and draw it."""
    from gaitext.execution import progress
    from gaitext.inspect.contact_sheet import write_contact_sheet
    from gaitext.inspect.dataset import DatasetContents
    from gaitext.inspect.footage import load_footage
    from gaitext.inspect.inspect import inspect as look
    from gaitext.inspect.overlay import write_overlay
    from gaitext.inspect.people_sheet import write_people_sheet
    from gaitext.store import check_writable

    contents = look(path)
    if as_json:
        typer.echo(json.dumps(contents.to_json(), indent=2, ensure_ascii=False))
    else:
        console.print(str(contents), soft_wrap=True, highlight=False, markup=False)
    if sheet is None and overlay is None:
        return
    for wanted in filter(None, (sheet, overlay)):
        check_writable(wanted)
    if isinstance(contents, DatasetContents):
        if sheet is None or overlay is not None or video is not None:
            raise typer.BadParameter("a video is of one sequence: give a folder ID/TYPE/VIEW", param_hint="PATH")
        with progress("people", None, quiet=quiet) as update:
            drawn = write_people_sheet(path, sheet, frames=frames, people=people, check=not unchecked, progress=update)
        errors.print(f"contact sheet: {sheet}: {drawn}", soft_wrap=True, highlight=False, markup=False)
        return
    footage = load_footage(path, video=video, check=not unchecked)
    if footage.video is None:
        errors.print("no video: heatmaps and poses alone are drawn (--video PATH if it has moved)", highlight=False)
    if sheet is not None:
        errors.print(f"contact sheet: {write_contact_sheet(footage, sheet, frames=frames)}", highlight=False)
    if overlay is not None:
        with progress("frames", footage.length, quiet=quiet) as update:
            written = write_overlay(footage, overlay, progress=update)
        errors.print(f"overlay: {overlay}, {written} frames", highlight=False)
