"""`gaitext correct pretrain|train|apply|prepare|crops`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from gaitext.cli.app import (
    Device,
    Devices,
    Output,
    Precision,
    Quiet,
    Seed,
    Source,
    VideosOut,
    Workers,
    WorkOptions,
    app,
    conclude,
    console,
    result_table,
    working,
)

correct = typer.Typer(
    help="Take compression artifacts away, as a pose estimator needs it.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(correct, name="correct")

Config = Annotated[Path, typer.Argument(help="YAML such as configs/correction/paper.yaml.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the latest checkpoint.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Begin anew; an earlier run's folder is renamed.")]


class As(str, Enum):
    """What corrected frames become."""

    video = "video"
    frames = "frames"


@correct.command()
def prepare(config: Config, workers: Workers = 0, quiet: Quiet = False) -> None:
    """Cut the crops to train on, once; `train` does it, too."""
    from gaitext.restoration.train import prepare_correction

    console.print(escape(str(prepare_correction(config, workers=workers, quiet=quiet))), soft_wrap=True)


@correct.command()
def crops(config: Config, workers: Workers = 0, quiet: Quiet = False) -> None:
    """Cut all crops and write their partition: a data set for ArtifactCorrector in a toolbox."""
    from gaitext.restoration import CorrectionConfig, prepare_crop_dataset

    settings = CorrectionConfig.read(config)
    console.print(escape(str(prepare_crop_dataset(settings, workers=workers, quiet=quiet))), soft_wrap=True)
    cache = settings.data.cache
    console.print(
        f"dataset_root: {cache / 'sequences'}\ndataset_partition: {cache / 'partition.json'}",
        soft_wrap=True,
        highlight=False,
    )


@correct.command()
def pretrain(
    config: Annotated[Path, typer.Argument(help="YAML such as configs/correction/restorer.yaml.")],
    device: Device = "auto",
    devices: Devices = 1,
    precision: Precision = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    output: Output = Path("output"),
    workers: Workers = 0,
    quiet: Quiet = False,
) -> None:
    """Train a restorer of JPEG and H.264 for a corrector to begin with; no pose is needed."""
    from gaitext.restoration.restorer import restoration_table, train_restorer

    run = train_restorer(
        config,
        device=device,
        devices=devices,
        precision=precision,
        resume=resume,
        overwrite=overwrite,
        seed=seed,
        output=output,
        workers=workers,
        quiet=quiet,
    )
    headings, rows = restoration_table(run.measured)
    console.print(result_table("held out, compressed → restored", headings, rows))
    console.print(f"best: {run.best}", soft_wrap=True, highlight=False)


@correct.command()
def train(
    config: Annotated[
        Path | None,
        typer.Argument(
            help="YAML such as configs/correction/paper.yaml. \\[default with --videos: correction/own_video]"
        ),
    ] = None,
    videos: Annotated[
        Path | None,
        typer.Option(help="One's own video, without labels: learn by what the estimator finds before it is degraded."),
    ] = None,
    finetune: Annotated[
        bool, typer.Option("--finetune-estimator", help="Train the estimator itself instead: the paper's baseline.")
    ] = False,
    device: Device = "auto",
    devices: Devices = 1,
    precision: Precision = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    output: Output = Path("output"),
    workers: Workers = 0,
    quiet: Quiet = False,
) -> None:
    """Train a corrector through a frozen pose estimator."""
    from gaitext.restoration.fit import chosen_by
    from gaitext.restoration.train import read_correction, train_correction

    run = train_correction(
        read_correction(config, videos),
        finetune=finetune,
        device=device,
        devices=devices,
        precision=precision,
        resume=resume,
        overwrite=overwrite,
        seed=seed,
        output=output,
        workers=workers,
        quiet=quiet,
    )
    best = max(run.validations, key=chosen_by, default=None)
    if best is not None:
        original = f", AP on originals {best['AP-original']:.2f}" if "AP-original" in best else ""
        begun = "" if best["iteration"] else " (before training: nothing that was learnt is better)"
        console.print(
            f"best: AP {best['AP']:.2f}, L2 {best['L2']:.2f} pixels{original}, at iteration "
            f"{best['iteration']:.0f}{begun}: {run.best}",
            soft_wrap=True,
            highlight=False,
        )


@correct.command()
@working
def apply(
    checkpoint: Annotated[Path, typer.Argument(help="A corrector: of `gaitext correct train`, or fbcnn_color.pth.")],
    source: Source,
    out: VideosOut,
    work: WorkOptions,
    write: Annotated[As, typer.Option("--as", help="video: H.264; frames: folders of PNG, without loss.")] = As.video,
    crf: Annotated[float, typer.Option(help="Of written video, 0 to 51.")] = 10.0,
    quality: Annotated[
        float | None, typer.Option(min=0, max=1, help="1 - QF/100. \\[default: what it was trained with]")
    ] = None,
    tile: Annotated[int, typer.Option(min=0, help="Frames are cut into tiles of this size; 0 takes them whole.")] = 512,
    overlap: Annotated[int, typer.Option(min=0, help="Of neighbouring tiles, pixels.")] = 96,
    device: Device = "auto",
    bf16: Annotated[bool, typer.Option("--bf16", help="Compute in bfloat16.")] = False,
    preview: Annotated[
        bool, typer.Option("--preview", help="Draw OUT/preview.png: frames before and after, and what has changed.")
    ] = False,
) -> None:
    """Correct video: every frame, in order and at its time."""
    from gaitext.restoration.apply import ApplySettings, correct_dataset
    from gaitext.video.sources import find_clips

    settings = ApplySettings.parse(
        {
            "write": write.value,
            "crf": crf,
            "quality": quality,
            "tile": tile,
            "overlap": overlap,
            "device": device,
            "bf16": bf16,
            "preview": preview,
        },
        where="correct apply",
    )
    report = correct_dataset(find_clips(source, out), checkpoint, out, settings, **work)
    conclude(report, "videos", out / "videos")
