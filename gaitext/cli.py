"""The command line: parses, calls one function, prints."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import gaitext
from gaitext.errors import GaitextError

__all__ = ["app", "main"]

app = typer.Typer(
    name="gaitext",
    help="Gait recognition from heatmaps and poses, for OpenGait, FastPoseGait, or on its own.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
console = Console()
_errors = Console(stderr=True)

Config = Annotated[Path, typer.Argument(help="YAML in the toolboxes' format, such as configs/gaitheat/tiny.yaml.")]
Device = Annotated[str, typer.Option(help="cpu, cuda or auto.")]
Devices = Annotated[int, typer.Option("--nproc", "--devices", min=1, help="Processes (one per GPU).")]
Precision = Annotated[str | None, typer.Option(help="32-true, bf16-mixed or 16-mixed. Default: as the config says.")]
Output = Annotated[Path, typer.Option(help="Folder that holds all runs.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]
Workers = Annotated[int, typer.Option(min=0, help="Processes to work with; 0 works in this one.")]


def main() -> None:
    """Entry point: errors gaitext raises on purpose are printed without a traceback."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        app()
    except GaitextError as error:
        _errors.print(f"[bold red]Error:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(1)


def _version(value: bool) -> None:
    if value:
        console.print(gaitext.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show version.")] = False,
) -> None:
    pass


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for data, weights and figures.")] = Path("demo"),
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Make walkers, train a small GaitHeat on the CPU, and evaluate it across views."""
    from gaitext.demo import run_demo

    result = run_demo(out, seed=seed, quiet=quiet)
    console.print(_result_table(result.title, result.columns, result.rows))
    for line in result.lines:
        console.print(line, soft_wrap=True, highlight=False)


@app.command()
def train(
    config: Config,
    device: Device = "auto",
    nproc: Devices = 1,
    precision: Precision = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's latest checkpoint.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Move an old run of that name aside.")] = False,
    output: Output = Path("output"),
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Train a model on the embedded host (no toolbox needed)."""
    from gaitext import standalone

    result = standalone.train(
        config,
        device=device,
        devices=nproc,
        precision=precision,
        resume=resume,
        overwrite=overwrite,
        output=output,
        seed=seed,
        quiet=quiet,
    )
    last = result.rows[-1]["loss"] if result.rows else float("nan")
    console.print(f"{result.iteration} iterations, last mean loss {last:.4f}; weights in {result.checkpoint}")


@app.command("test")
def run_test(
    config: Config,
    iteration: Annotated[int | None, typer.Option("--iter", help="Which of the run's checkpoints.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="A checkpoint: ours, a toolbox's or published.")] = None,
    save_embeddings: Annotated[Path | None, typer.Option(help="Write embeddings and labels to this .npz.")] = None,
    device: Device = "auto",
    nproc: Devices = 1,
    precision: Precision = None,
    output: Output = Path("output"),
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Test a model on the embedded host."""
    from gaitext import standalone

    result = standalone.test(
        config,
        iteration=iteration,
        checkpoint=checkpoint,
        save_embeddings=save_embeddings,
        device=device,
        devices=nproc,
        precision=precision,
        output=output,
        seed=seed,
        quiet=quiet,
    )
    _print_evaluation(result.evaluation)
    if result.embeddings is not None:
        console.print(f"embeddings in {result.embeddings}")


@app.command()
def link(toolbox: Annotated[Path, typer.Argument(help="Root of an OpenGait checkout.")]) -> None:
    """Plug gaitext into a toolbox: one module at its extension point, nothing else changed."""
    from gaitext.toolboxes import link as linking

    console.print(str(linking.link(toolbox)), soft_wrap=True, highlight=False)


@app.command()
def unlink(toolbox: Annotated[Path, typer.Argument(help="Root of a linked toolbox.")]) -> None:
    """Take gaitext out of a toolbox again."""
    from gaitext.toolboxes import link as linking

    console.print(str(linking.unlink(toolbox)), soft_wrap=True, highlight=False)


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def run(
    context: typer.Context,
    toolbox: Annotated[Path, typer.Argument(help="Root of a linked toolbox.")],
    device: Device = "auto",
    nproc: Annotated[int | None, typer.Option(min=1, help="Processes. Default: one per GPU, one on CPU.")] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds after which the run is stopped.")] = None,
) -> None:
    """Run a toolbox's own main.py: gaitext run OPENGAIT --device cpu -- --cfgs X.yaml --phase train."""
    from gaitext.toolboxes import run as running

    if device not in ("auto", "cpu", "cuda"):
        raise typer.BadParameter("give cpu, cuda or auto", param_hint="--device")
    status = running.run(toolbox, context.args, device=device, nproc=nproc, time_limit=time_limit)  # type: ignore[arg-type]
    raise typer.Exit(status)


@app.command()
def doctor(
    toolbox: Annotated[Path | None, typer.Argument(help="Root of a toolbox to look at, too.")] = None,
    data: Annotated[Path | None, typer.Option(help="A config: read every file of its dataset.")] = None,
    workers: Workers = 0,
    quiet: Quiet = False,
) -> None:
    """Say what is installed, linked, registered and missing, and how to mend it."""
    from gaitext.toolboxes import doctor as clinic

    report = clinic.doctor(toolbox)
    marks = {"ok": "[green]ok[/]", "warn": "[yellow]warn[/]", "fail": "[red]fail[/]"}
    table = Table(box=None, pad_edge=False)
    for column in ("check", "", "found", "to mend it"):
        table.add_column(column, overflow="fold")
    for check in report.checks:
        table.add_row(escape(check.name), marks[check.state], escape(check.detail), escape(check.mend))
    console.print(table)
    healthy = report.ok
    if data is not None:
        from gaitext import standalone

        found = standalone.check_data(data, workers=workers, quiet=quiet)
        console.print(escape(str(found)), soft_wrap=True, highlight=False)
        healthy = healthy and found.ok
    raise typer.Exit(0 if healthy else 1)


@app.command()
def walkers(
    out: Annotated[Path, typer.Argument(help="Folder to write the dataset to.")],
    identities: Annotated[int | None, typer.Option(min=2, help="Number of people. \\[default: 100]")] = None,
    train_identities: Annotated[int | None, typer.Option(help="Of them for training. \\[default: 3 in 4]")] = None,
    protocol: Annotated[str | None, typer.Option(help="casia-b or psymo. \\[default: casia-b]")] = None,
    types: Annotated[str | None, typer.Option(help="Comma-separated, such as nm-01,nm-05,bg-01,cl-01.")] = None,
    views: Annotated[str | None, typer.Option(help="Comma-separated, such as 000,090,180.")] = None,
    frames: Annotated[str | None, typer.Option(help="Per sequence: N or MIN-MAX. \\[default: 40-60]")] = None,
    roll: Annotated[float | None, typer.Option(help="Degrees the camera is turned about its axis.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random. \\[default: 0]")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML of WalkerSettings; the options above win.")] = None,
    workers: Workers = 0,
    quiet: Quiet = False,
) -> None:
    """Make a synthetic gait dataset: heatmaps and poses in the toolboxes' layout."""
    from gaitext.config import load_yaml, merge
    from gaitext.walkers import WalkerSettings, dataset_bytes, write_dataset

    given: dict[str, Any] = {
        "identities": identities,
        "train_identities": train_identities,
        "protocol": protocol,
        "types": None if types is None else [name.strip() for name in types.split(",")],
        "views": None if views is None else [name.strip() for name in views.split(",")],
        "frames": None if frames is None else _frames(frames),
        "camera": None if roll is None else {"roll": roll},
        "seed": seed,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    values = merge(chosen, {} if config is None else load_yaml(config))
    settings = WalkerSettings.parse(values, where="walkers")
    _errors.print(f"{settings.identities} people, {dataset_bytes(settings) / 1e9:.1f} GB in all", highlight=False)
    written = write_dataset(settings, out, workers=workers, quiet=quiet)
    console.print(
        f"{written.written} sequences written, {written.kept} already there ({written.frames} frames)\n"
        f"dataset_root: {written.sequences}\ndataset_partition: {written.partition}",
        soft_wrap=True,
        highlight=False,
    )


def _frames(text: str) -> int | list[int]:
    low, dash, high = text.partition("-")
    if not low.isdigit() or (dash and not high.isdigit()):
        raise typer.BadParameter(f"'{text}' is neither N nor MIN-MAX", param_hint="--frames")
    return [int(low), int(high)] if dash else int(low)


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


@app.command()
def evaluate(
    embeddings: Annotated[Path, typer.Argument(help="What `gaitext test --save-embeddings` wrote.")],
    dataset: Annotated[str, typer.Option(help="Whose protocol: CASIA-B, OUMVLP, SUSTech1K or CCPG.")] = "CASIA-B",
    metric: Annotated[str, typer.Option(help="euc or cos.")] = "euc",
) -> None:
    """Evaluate saved embeddings under a dataset's protocol."""
    from gaitext.evaluation import evaluate_file

    _print_evaluation(evaluate_file(embeddings, dataset, metric=metric))


def _print_evaluation(evaluation: Any) -> None:
    for table in getattr(evaluation, "tables", []):
        console.print(_result_table(table.title, table.columns, table.rows))
    for note in getattr(evaluation, "notes", []):
        console.print(f"Note: {note}", soft_wrap=True, highlight=False)


def _result_table(title: str, columns: list[str], rows: list[tuple[str, list[float]]]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    for name, values in rows:
        table.add_row(name, *("–" if value != value else f"{value:.2f}" for value in values))
    return table
