"""`gaitext degrade`."""

from __future__ import annotations

from typing import Annotated

import typer

from gaitext.cli.app import Engine, KeepFinished, Quiet, Shard, Source, VideosOut, Workers, app, conclude


@app.command()
def degrade(
    source: Source,
    out: VideosOut,
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
    resume: KeepFinished = True,
    workers: Workers = 0,
    engine: Engine = "local",
    shard: Shard = None,
    quiet: Quiet = False,
) -> None:
    """Compress video as badly as surveillance does: H.264, the same frames at the same times."""
    from gaitext.progress import progress
    from gaitext.restoration import DegradeSettings, degrade_dataset
    from gaitext.video.sources import find_videos

    settings = DegradeSettings.parse(
        {"crf": crf, "bitrate": bitrate, "preset": preset, "gop": gop, "resolution": resolution, "fps": fps},
        where="degrade",
    )
    sources = find_videos(source, out)
    with progress("frames", None, quiet=quiet or len(sources) > 1) as update:
        report = degrade_dataset(
            sources,
            out,
            settings,
            resume=resume,
            workers=workers,
            engine=engine,
            shard=shard,
            quiet=quiet,
            progress=update,
        )
    conclude(report, "videos", out / "videos")
