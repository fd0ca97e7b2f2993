"""`gaitext extract`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from gaitext.cli.app import Form, Source, WorkOptions, app, conclude, partition, working


@app.command()
@working
def extract(
    source: Source,
    out: Annotated[Path, typer.Option(help="Folder to write the dataset to; several videos may share it.")],
    work: WorkOptions,
    estimator: Annotated[
        str,
        typer.Option(help="movenet, mmpose:CONFIG:CHECKPOINT, vitpose:DIR or onnx:FILE, each with its ?OPTION=VALUE."),
    ] = "movenet",
    boxes: Annotated[
        str | None,
        typer.Option(help="MOT-challenge CSV, COCO json, a folder that mirrors the tree, or `full`."),
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(help="bundled, detr:MODEL, mmdet:CONFIG:CHECKPOINT or onnx:FILE finds them. \\[default: bundled]"),
    ] = None,
    tracker: Annotated[
        str, typer.Option(help="Joins its boxes: overlap, sort, bytetrack, ocsort or botsort; ?max_gap=15&….")
    ] = "overlap",
    identity: Annotated[
        str | None,
        typer.Option("--id", help="Folder name; may hold {track}, {clip}, {video}; in a tree {id}, {type}, {view}."),
    ] = None,
    kind: Annotated[str | None, typer.Option("--type", help="Likewise.")] = None,
    view: Annotated[str | None, typer.Option(help="Likewise.")] = None,
    tracks: Annotated[
        str | None, typer.Option(help="all or longest. \\[default: all of a lone video, the longest in a tree]")
    ] = None,
    clip_frames: Annotated[int | None, typer.Option(help="Cut tracks into sequences of this many boxes.")] = None,
    content: Annotated[
        str | None,
        typer.Option(
            help="Of heatmaps,poses,poses_frame,boxes,silhouettes. "
            "\\[default: all; no silhouettes with --boxes or another --detector]"
        ),
    ] = None,
    segmenter: Annotated[str, typer.Option(help="Of silhouettes: bundled, or hf:NAME_OR_FOLDER.")] = "bundled",
    min_frames: Annotated[int, typer.Option(help="Shorter sequences are not written, but reported.")] = 10,
    min_score: Annotated[float, typer.Option(help="Frames with a lower mean keypoint score are dropped.")] = 0.4,
    crop_scale: Annotated[
        float | None, typer.Option(help="By how much boxes grow. \\[default: 1.25; 1 with --boxes full]")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Crops given to the estimator at a time.")] = None,
    form: Annotated[Form, typer.Option(help="Heatmaps on disk: plain, compact (8 bits) or lossless.")] = Form.plain,
    correct: Annotated[
        Path | None, typer.Option(help="A corrector that crops go through first: of `gaitext correct train`.")
    ] = None,
    merge: Annotated[str | None, typer.Option(help="Store them merged to a partition, such as upper_lower.")] = None,
) -> None:
    """Make sequences of heatmaps, poses and silhouettes from video: one clip, or a dataset of them."""
    from gaitext.extraction import ExtractSettings, extract_dataset, find_sources, load_tracker

    settings = ExtractSettings.parse(
        {
            "identity": identity,
            "type": kind,
            "view": view,
            "tracks": tracks,
            "clip_frames": clip_frames,
            "min_frames": min_frames,
            "min_score": min_score,
            "crop_scale": crop_scale,
            "batch_size": batch_size,
            "form": form.value,
            "merge": partition(merge),
            **({} if content is None else {"content": content}),
        },
        where="extract",
    )
    correction = None
    if correct is not None:
        from gaitext.restoration import correction_of_crops, load_corrector

        load_corrector(correct)  # an error once, and not of every video
        correction = partial(correction_of_crops, correct)
    following = load_tracker(tracker)
    sources = find_sources(source, boxes, out)
    report = extract_dataset(
        sources,
        estimator,
        out,
        settings,
        detector=detector,
        tracker=following,
        segmenter=segmenter,
        correction=correction,
        **work,
    )
    conclude(report, "dataset_root", out / "sequences")
