"""`gaitext extract`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from gaitext.cli.app import (
    Quiet,
    app,
    console,
)


@app.command()
def extract(
    video: Annotated[Path, typer.Argument(help="Video file.")],
    boxes: Annotated[Path, typer.Option(help="MOT-challenge CSV: frame, id, x, y, w, h.")],
    estimator: Annotated[str, typer.Option(help="onnx:MODEL")],
    out: Annotated[Path, typer.Option(help="Folder to write the dataset to; several videos may share it.")],
    identity: Annotated[str, typer.Option("--id", help="Folder name; may hold {track}, {clip}, {video}.")] = "{track}",
    kind: Annotated[str, typer.Option("--type", help="Likewise.")] = "nm-{clip:02d}",
    view: Annotated[str, typer.Option(help="Likewise.")] = "000",
    clip_frames: Annotated[int | None, typer.Option(help="Cut tracks into sequences of this many boxes.")] = None,
    min_frames: Annotated[int, typer.Option(help="Shorter sequences are not written, but reported.")] = 10,
    min_score: Annotated[float, typer.Option(help="Frames with a lower mean keypoint score are dropped.")] = 0.4,
    crop_scale: Annotated[float, typer.Option(help="By how much boxes grow.")] = 1.25,
    batch_size: Annotated[int, typer.Option(min=1, help="Crops given to the estimator at a time.")] = 16,
    quiet: Quiet = False,
) -> None:
    """Make heatmap sequences from a video and the boxes of its people."""
    from gaitext.extraction import ExtractSettings, extract_video
    from gaitext.progress import progress

    settings = ExtractSettings.parse(
        {
            "identity": identity,
            "type": kind,
            "view": view,
            "clip_frames": clip_frames,
            "min_frames": min_frames,
            "min_score": min_score,
            "crop_scale": crop_scale,
            "batch_size": batch_size,
        },
        where="extract",
    )
    logging.getLogger("gaitext.extraction").setLevel(logging.ERROR)  # the report says the same
    with progress("crops", None, quiet=quiet) as update:
        report = extract_video(video, boxes, estimator, out, settings, progress=update)
    console.print(escape(str(report)), soft_wrap=True, highlight=False)
    console.print(f"dataset_root: {out / 'sequences'}", soft_wrap=True, highlight=False)
