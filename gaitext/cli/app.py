"""The application, its console, and the options that several commands share."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import Enum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

import gaitext

app = typer.Typer(
    name="gaitext",
    help="Gait recognition from heatmaps and poses, for OpenGait, FastPoseGait, or on its own.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class SafeConsole(Console):
    """Shows what cannot be printed as its code: a file's name may hold what steers a terminal, or turns text round."""

    def render_str(self, text: str, **options: Any) -> Text:
        seen = (each if each.isprintable() or each in "\n\t" else ascii(each)[1:-1] for each in text)
        return super().render_str("".join(seen), **options)


console = SafeConsole()
errors = SafeConsole(stderr=True)

Config = Annotated[Path, typer.Argument(help="YAML in the toolboxes' format, or gaitext's own by name: gaitheat/tiny.")]
Device = Annotated[str, typer.Option(help="cpu, cuda or auto.")]
Devices = Annotated[int, typer.Option("--nproc", "--devices", min=1, help="Processes (one per GPU).")]
Precision = Annotated[str | None, typer.Option(help="32-true, bf16-mixed or 16-mixed. Default: as the config says.")]
Output = Annotated[Path, typer.Option(help="Folder that holds all runs.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
Source = Annotated[Path, typer.Argument(help="A video, a folder of frames, or a tree <id>/<type>/<view> of either.")]
VideosOut = Annotated[
    Path,
    typer.Option("--out", help="Folder to write to; videos go to its folder `videos`. Not in a tree that is read."),
]
KeepFinished = Annotated[
    bool, typer.Option("--resume/--overwrite", help="Keep what is finished, or do everything again.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]
Workers = Annotated[int, typer.Option(min=0, help="Processes to work with; 0 works in this one.")]
Engine = Annotated[str, typer.Option(help="local, ray, or ray:ADDRESS[?num_cpus=1&num_gpus=1]. See docs/scale.md.")]
Shard = Annotated[str | None, typer.Option(help="I/N: do every N-th sequence from the I-th on, in a job array.")]


#: What :func:`working` hands over.
WorkOptions = dict[str, Any]
_WORK: dict[str, tuple[Any, Any]] = {
    "resume": (KeepFinished, True),
    "workers": (Workers, 0),
    "engine": (Engine, "local"),
    "shard": (Shard, None),
    "quiet": (Quiet, False),
}


def working(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command over many items the options of :class:`gaitext.making.Work`, behind its own.

    It gets them as one argument, ``work``.
    """

    @wraps(command)
    def run(**given: Any) -> None:
        command(work={name: given.pop(name) for name in _WORK}, **given)

    signature = inspect.signature(command, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "work"]
    shared = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=option)
        for name, (option, default) in _WORK.items()
    ]
    # Where typer looks for a command's options.
    run.__signature__ = signature.replace(parameters=[*own, *shared])  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *shared)}
    return run


class Form(str, Enum):
    """What :data:`gaitext.store.Form` names, for the command line."""

    plain = "plain"
    compact = "compact"
    lossless = "lossless"


def _version(value: bool) -> None:
    if value:
        console.print(gaitext.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show version.")] = False,
) -> None:
    pass


def partition(text: str | None) -> Any:
    """A partition as it is typed: a name, or lists of joints such as ``[[0, 1], [2]]``."""
    from gaitext.config import parse_yaml

    return parse_yaml(text, where="the partition") if text and text.lstrip()[:1] in ("[", "{") else text


def conclude(report: Any, label: str, place: Path) -> NoReturn:
    """Print a report of many videos and where the results are, if any; the status is 1 if any failed."""
    console.print(escape(str(report)), soft_wrap=True, highlight=False)
    if not report.failed or place.is_dir():
        console.print(f"{label}: {place}", soft_wrap=True, highlight=False)
    raise typer.Exit(1 if report.failed else 0)


def result_table(title: str, columns: list[str], rows: list[tuple[str, list[str]]]) -> Table:
    """A table of numbers, written out."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    for name, values in rows:
        table.add_row(name, *values)
    return table
