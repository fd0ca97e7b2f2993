"""`gaitext walkers`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gaitext.cli.app import Quiet, Workers, app, console, errors


@app.command()
def walkers(
    out: Annotated[Path, typer.Argument(help="Folder to write the dataset to.")],
    identities: Annotated[int | None, typer.Option(min=2, help="Number of people. \\[default: 100]")] = None,
    train_identities: Annotated[int | None, typer.Option(help="Of them for training. \\[default: 3 in 4]")] = None,
    protocol: Annotated[str | None, typer.Option(help="casia-b or psymo. \\[default: casia-b]")] = None,
    types: Annotated[str | None, typer.Option(help="Comma-separated, such as nm-01,nm-05,bg-01,cl-01.")] = None,
    views: Annotated[str | None, typer.Option(help="Comma-separated, such as 000,090,180.")] = None,
    frames: Annotated[str | None, typer.Option(help="Per sequence: N or MIN-MAX. \\[default: 40-60]")] = None,
    people: Annotated[
        int | None, typer.Option(help="In a clip: the one it is named after, and passers-by. \\[default: 1]")
    ] = None,
    roll: Annotated[float | None, typer.Option(help="Degrees the camera is turned about its axis.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random. \\[default: 0]")] = None,
    content: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated, of heatmaps,poses,poses_frame,boxes (default), silhouettes,keypoints,video."
        ),
    ] = None,
    video: Annotated[bool, typer.Option("--video", help="Add H.264 videos and their boxes to the content.")] = False,
    crf: Annotated[
        float | None, typer.Option(help="Videos' rate factor, 0-51; larger is worse. \\[default: 20]")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML of WalkerSettings; the options above win.")] = None,
    workers: Workers = 0,
    quiet: Quiet = False,
) -> None:
    """Make a synthetic gait dataset: heatmaps, poses, silhouettes in the toolboxes' layout, and video."""
    from gaitext.config import load_yaml, merge
    from gaitext.walkers import WalkerSettings, dataset_bytes, write_dataset

    given: dict[str, Any] = {
        "identities": identities,
        "train_identities": train_identities,
        "protocol": protocol,
        "types": _names(types),
        "views": _names(views),
        "frames": None if frames is None else _frames(frames),
        "people": people,
        "camera": None if roll is None else {"roll": roll},
        "seed": seed,
        "content": _names(content),
        "video": None if crf is None else {"crf": crf},
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    values = merge(chosen, {} if config is None else load_yaml(config))
    settings = WalkerSettings.parse(values, where="walkers")
    if video and "video" not in settings.content:
        settings = WalkerSettings.parse({**values, "content": [*settings.content, "video"]}, where="walkers")
    errors.print(f"{settings.identities} people, {dataset_bytes(settings) / 1e9:.1f} GB in all", highlight=False)
    written = write_dataset(settings, out, workers=workers, quiet=quiet)
    console.print(
        f"{written.written} sequences written, {written.kept} already there ({written.frames} frames)\n"
        + (f"dataset_root: {written.sequences}\n" if settings.sequences else "")
        + f"dataset_partition: {written.partition}"
        + (f"\nvideos: {written.videos}\nboxes: {written.boxes}" if written.videos else ""),
        soft_wrap=True,
        highlight=False,
    )


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",")]


def _frames(text: str) -> int | list[int]:
    low, dash, high = text.partition("-")
    if not low.isdigit() or (dash and not high.isdigit()):
        raise typer.BadParameter(f"'{text}' is neither N nor MIN-MAX", param_hint="--frames")
    return [int(low), int(high)] if dash else int(low)
