"""`gaitext compare` and `gaitext report`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from gaitext.cli.app import app, console, result_table

Dataset = Annotated[
    str | None, typer.Option(help="Whose protocol: CASIA-B, CCPG, own, … \\[default: the one that the files name]")
]
Metric = Annotated[str | None, typer.Option(help="euc or cos. \\[default: the one that the files name]")]
Resamples = Annotated[int, typer.Option(min=1, help="How often people are drawn for intervals and tests.")]


@app.command()
def compare(
    embeddings: Annotated[
        list[Path], typer.Argument(help="Two or more of what `gaitext test --save-embeddings` wrote.")
    ],
    dataset: Dataset = None,
    metric: Metric = None,
    table: Annotated[
        Path | None, typer.Option("--table", help="Write the result to this .html, .md, .tex, .csv or .json.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    resamples: Resamples = 2000,
    seed: Annotated[int, typer.Option(help="Seed of what is drawn.")] = 0,
) -> None:
    """Compare systems with the first one: differences with paired intervals and tests, and who is won and lost."""
    from gaitext.report.comparison import compare_files
    from gaitext.report.document import Table, Text
    from gaitext.report.writing import check_report_path, plain, write_document

    if table is not None:
        check_report_path(table)
    document = compare_files(embeddings, dataset=dataset, metric=metric, resamples=resamples, seed=seed)
    if as_json:
        typer.echo(json.dumps(plain(document), ensure_ascii=False, indent=1))
    else:
        console.print(escape(document.about["protocol"]), soft_wrap=True, highlight=False)
        for section in document.sections:
            for block in section.blocks:
                if isinstance(block, Table):
                    rows = [(escape(row.name), [escape(str(cell)) for cell in row.cells]) for row in block.rows]
                    console.print(result_table(escape(section.title), [escape(c) for c in block.columns], rows))
                    for note in block.notes:
                        console.print(escape(note), soft_wrap=True, highlight=False)
                elif isinstance(block, Text):
                    mark = "Note: " if block.warning else ""
                    for line in block.lines:
                        console.print(escape(mark + line), soft_wrap=True, highlight=False)
    if table is not None:
        write_document(document, table)
        if not as_json:
            console.print(f"result in {escape(str(table))}", soft_wrap=True, highlight=False)


@app.command()
def report(
    runs: Annotated[
        list[Path], typer.Argument(help="Saved embeddings (.npz), a training's folder, a study's folder; or several.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Write it to this .html, .md, .tex, .csv or .json.")],
    title: Annotated[str | None, typer.Option(help="Of the report.")] = None,
    dataset: Dataset = None,
    metric: Metric = None,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Show the walks of the hardest confusions.")
    ] = True,
    resamples: Resamples = 2000,
) -> None:
    """Write a report: tables with published rows beside, matrices, curves, mistakes, trainings, all in one page."""
    from gaitext.report.runs import report as make
    from gaitext.report.writing import check_report_path, write_document

    check_report_path(out)
    document = make(runs, title=title, dataset=dataset, metric=metric, pictures=pictures, resamples=resamples)
    write_document(document, out)
    console.print(f"report in {escape(str(out))}", soft_wrap=True, highlight=False)
