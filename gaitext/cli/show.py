"""`gaitext show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from gaitext.cli.app import Device, Quiet, app, console, partition


@app.command()
def show(
    source: Annotated[Path, typer.Argument(help="A folder ID/TYPE/VIEW, a dataset, or a video.")],
    out: Annotated[Path, typer.Option(help="The picture (.png, .jpg) or video (.mp4) to write.")],
    what: Annotated[
        str | None,
        typer.Option(
            help="Columns, of rgb, silhouette, keypoints, heatmap, aligned, parts, bins; commas between. "
            "\\[default: the first five, as far as they are there]"
        ),
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, help="How many frames. \\[default: 4 in a picture, all in a video]")
    ] = None,
    occlusions: Annotated[
        str | None,
        typer.Option(
            help="Every view under each: of none, top, bottom, middle, dynamic, pole, top:resized, bottom:resized."
        ),
    ] = None,
    correct: Annotated[
        Path | None, typer.Option(help="A corrector: each frame as it is and corrected, heatmaps estimated anew.")
    ] = None,
    estimator: Annotated[str, typer.Option(help="For a video and --correct, as for extract.")] = "movenet",
    partition_: Annotated[
        str, typer.Option("--partition", help="Whose parts `parts` shows: a name, or lists of joints.")
    ] = "upper_lower",
    bins: Annotated[int, typer.Option(help="Of the horizontal pyramid, which `bins` shows.")] = 16,
    threshold: Annotated[
        float, typer.Option(help="Frames leaning less, in degrees, are not aligned; 0 aligns all.")
    ] = 5.0,
    min_score: Annotated[float, typer.Option(help="Of neck and hip, to align by them.")] = 0.0,
    enlarge: Annotated[int, typer.Option(help="Pixels of the picture a heatmap pixel.")] = 4,
    video: Annotated[Path | None, typer.Option(help="The source video, where it has moved.")] = None,
    unchecked: Annotated[bool, typer.Option("--unchecked", help="Take a video whose contents differ.")] = False,
    seed: Annotated[int, typer.Option(help="Of the occlusions' sizes.")] = 0,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Draw frames as networks see them: RGB, silhouette, keypoints, heatmaps before and after alignment."""
    from gaitext.execution import progress
    from gaitext.inspect.show import show as draw
    from gaitext.inspect.show_settings import ShowSettings
    from gaitext.store import check_writable

    settings = ShowSettings.parse(
        {
            "what": what,
            "frames": frames,
            "occlusions": occlusions or (),
            "seed": seed,
            "partition": partition(partition_),
            "bins": bins,
            "threshold": threshold,
            "min_score": min_score,
            "enlarge": enlarge,
        },
        where="show",
    )
    check_writable(out)
    correction = None
    if correct is not None:
        from gaitext.restoration import load_correction

        correction = load_correction(correct, device)
    with progress("frames", None, quiet=quiet) as update:
        shown = draw(
            source,
            out,
            settings,
            video=video,
            check=not unchecked,
            estimator=estimator,
            correction=correction,
            progress=None if quiet else update,
        )
    console.print(escape(str(shown)), soft_wrap=True, highlight=False)
