"""`gaitext degrade`."""

from __future__ import annotations

from typing import Annotated

import typer

from gaitext.cli.app import Source, VideosOut, WorkOptions, app, conclude, working


@app.command()
@working
def degrade(
    source: Source,
    out: VideosOut,
    work: WorkOptions,
    crf: Annotated[float | None, typer.Option(help="x264's constant rate factor, 0 to 51. \\[default: 45]")] = None,
    bitrate: Annotated[
        str | None, typer.Option(help="Bits per second instead of a constant rate factor: 200k, 1.5M.")
    ] = None,
    preset: Annotated[str, typer.Option(help="x264's preset, ultrafast to placebo.")] = "medium",
    gop: Annotated[int | None, typer.Option(help="Frames between key frames. \\[default: x264's]")] = None,
    resolution: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT, or HEIGHT alone. \\[default: kept]")] = None,
    fps: Annotated[
        float | None, typer.Option(help="Thin frames out to so many a second. \\[default: all kept]")
    ] = None,
) -> None:
    """Compress video as badly as surveillance does: H.264, the same frames at the same times."""
    from gaitext.restoration import DegradeSettings, degrade_dataset
    from gaitext.video.sources import find_clips

    settings = DegradeSettings.parse(
        {"crf": crf, "bitrate": bitrate, "preset": preset, "gop": gop, "resolution": resolution, "fps": fps},
        where="degrade",
    )
    report = degrade_dataset(find_clips(source, out), out, settings, **work)
    conclude(report, "videos", out / "videos")
