"""Training, testing and evaluating on the embedded host."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gaitext.cli.app import (
    Config,
    Device,
    Devices,
    Output,
    Precision,
    Quiet,
    Seed,
    app,
    console,
    result_table,
)

TableFile = Annotated[Path | None, typer.Option("--table", help="Write the result to this .md, .csv or .json.")]


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
    last = f", last mean loss {result.rows[-1]['loss']:.4f}" if result.rows else ""
    console.print(f"{result.iteration} iterations{last}; weights in {result.checkpoint}")


@app.command("test")
def run_test(
    config: Config,
    iteration: Annotated[int | None, typer.Option("--iter", help="Which of the run's checkpoints.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="A checkpoint: ours, a toolbox's or published.")] = None,
    save_embeddings: Annotated[
        Path | None, typer.Option(help="Write embeddings, labels and what made them to this .npz.")
    ] = None,
    table: TableFile = None,
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
        table=table,
        device=device,
        devices=nproc,
        precision=precision,
        output=output,
        seed=seed,
        quiet=quiet,
    )
    _print_evaluation(result.evaluation)
    if result.embeddings is not None:
        console.print(f"embeddings in {result.embeddings}", soft_wrap=True, highlight=False)
    if table is not None:
        console.print(f"result in {table}", soft_wrap=True, highlight=False)


@app.command()
def evaluate(
    embeddings: Annotated[Path, typer.Argument(help="What `save_embeddings` wrote.")],
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Whose protocol: CASIA-B, OUMVLP, SUSTech1K, CCPG, Gait3D, FreeGait, CCGR-MINI, GREW, GREW-local, "
            "PsyMo or own. "
            "\\[default: own with --probe or a --gallery such as type=nm; else what the file names; else CASIA-B]"
        ),
    ] = None,
    metric: Annotated[str | None, typer.Option(help="euc or cos. \\[default: what the file names; else euc]")] = None,
    gallery: Annotated[
        str | None,
        typer.Option(
            help="Own data: type=nm, view=0*, id=…, file=LIST; several by commas. \\[default: everything] "
            "PsyMo: one nm run, the probe's variation or everything: nm, same, all. \\[default: nm]"
        ),
    ] = None,
    probe: Annotated[
        list[str] | None,
        typer.Option(help="Own data: the same, or NAME:type=bg; once for each condition. \\[default: the rest]"),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Own data: no gallery sequence of the probe's view, or type.")
    ] = None,
    exclude_same_walk: Annotated[
        bool, typer.Option("--exclude-same-walk", help="PsyMo: no match from another camera of the same walk.")
    ] = False,
    partition: Annotated[
        Path | None,
        typer.Option(help="Gait3D, FreeGait, CCGR-MINI, GREW-local: the JSON that lists probes or gallery."),
    ] = None,
    device: Device = "auto",
    table: TableFile = None,
) -> None:
    """Evaluate a saved result as its test did, by another protocol, or with gallery and probes of one's own."""
    from gaitext.evaluation import evaluate_file, on_device
    from gaitext.training.launch import resolve_device

    options: dict[str, Any] = {
        "gallery": gallery,
        "probe": probe or None,
        "exclude": exclude or None,
        "exclude_same_walk": exclude_same_walk or None,
        "partition": partition,
    }
    given = {name: value for name, value in options.items() if value is not None}
    with on_device(resolve_device(device)):
        result = evaluate_file(embeddings, dataset, metric=metric, table=table, **given)
    _print_evaluation(result)
    if table is not None:
        console.print(f"result in {table}", soft_wrap=True, highlight=False)


def _print_evaluation(evaluation: Any) -> None:
    """Print which protocol it was, and an evaluation's tables and notes."""
    if getattr(evaluation, "protocol", None):
        console.print(evaluation.protocol, soft_wrap=True, highlight=False, markup=False)
    for table in getattr(evaluation, "tables", []):
        console.print(result_table(table.title, table.columns, [(name, table.cells(v)) for name, v in table.rows]))
    for note in getattr(evaluation, "notes", []):
        console.print(f"Note: {note}", soft_wrap=True, highlight=False)
