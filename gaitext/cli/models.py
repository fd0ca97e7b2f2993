"""`gaitext models`, `gaitext models NAME`, `gaitext models export|make`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table
from typer.core import TyperGroup

from gaitext.cli.app import app, console


class _NameOrCommand(TyperGroup):
    """`gaitext models NAME` is `gaitext models show NAME`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        known = not args or args[0] in self.commands or args[0].startswith("-")
        return super().resolve_command(ctx, args if known else ["show", *args])


models = typer.Typer(
    cls=_NameOrCommand,
    help="List the weights that come with gaitext; `gaitext models NAME` says all of one.",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(models, name="models")


@models.callback()
def table(context: typer.Context) -> None:
    if context.invoked_subcommand is not None:
        return
    from gaitext.models.pretrained import pretrained

    shown = Table(box=None, pad_edge=False)
    for column in ("name", "what", "trained on", "MB", "licence", "own numbers"):
        whole = column in ("name", "MB", "licence")
        shown.add_column(column, overflow="fold", no_wrap=whole, justify="right" if column == "MB" else "left")
    for name, row in pretrained().items():
        cells = (name, row.what, row.trained_on, f"{row.size / 1e6:.2f}", row.licence, row.result or "–")
        shown.add_row(*map(escape, cells))
    console.print(shown)


@models.command(hidden=True)
def show(name: Annotated[str, typer.Argument(help="Of `gaitext models`.")]) -> None:
    """Say all of one."""
    from gaitext.models.pretrained import find_pretrained

    row = find_pretrained(name)
    lines = [
        ("name", name),
        ("what", row.what),
        ("trained on", row.trained_on),
        ("file", str(row.path)),
        ("size", f"{row.size} bytes"),
        ("SHA-256", row.sha256),
        ("licence", f"{row.licence} ({row.source})"),
        *(("config", config) for config in (row.config,) if config),
        *(("own numbers", number) for number in row.numbers),
        *(("made by", command) for command in row.commands),
    ]
    for title, text in lines:
        console.print(f"{title + ':':<13}{escape(text)}", soft_wrap=True, highlight=False)


@models.command()
def export(
    name: Annotated[str, typer.Argument(help="Of `gaitext models`.")],
    out: Annotated[Path, typer.Option(help="The .pt to write.")],
) -> None:
    """Write a checkpoint that OpenGait, FastPoseGait and the embedded host restore (restore_hint: FILE)."""
    from gaitext.models.pretrained import find_pretrained
    from gaitext.training.runs import write_checkpoint

    row = find_pretrained(name)
    write_checkpoint(out, {"model": row.hosted(), "iteration": 0})
    console.print(f"{out}: for {row.config}, as restore_hint or --checkpoint", soft_wrap=True, highlight=False)


@models.command()
def make(
    name: Annotated[str, typer.Argument(help="Of `gaitext models`.")],
    out: Annotated[Path, typer.Option(help="Folder to work in; NAME.safetensors is left there.")],
) -> None:
    """Train a model's weights anew, by the commands that made them."""
    from gaitext.standalone.weights import make_weights

    made = make_weights(name, out)
    console.print(f"{made.path}: SHA-256 {made.sha256}", soft_wrap=True, highlight=False)
    console.print(
        "the same as those that come with gaitext" if made.same else "others than those that come with gaitext"
    )
