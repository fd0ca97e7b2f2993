"""`gaitext config new|list|show|copy`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from gaitext.cli.app import app, console
from gaitext.errors import ConfigError, DataError, suggest

config = typer.Typer(
    help="Make a config for your own data; list, print and copy those that come with gaitext.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(config, name="config")


@config.command()
def new(
    model: Annotated[
        str,
        typer.Option(
            help="gaitheat (heatmaps), gaitpt (poses), gaitbase (silhouettes); rg-gait or mimicgait, over what the "
            "data have, or over one of them, as rg-gait:gaitpt."
        ),
    ],
    data: Annotated[Path, typer.Option(help="What `gaitext extract` wrote to, or a root of <id>/<type>/<view>.")],
    partition: Annotated[
        Path | None, typer.Option(help="Who trains and who is tested. \\[default: partition.json, beside the data]")
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="small or published. \\[default: small where fewer than 50 people train]")
    ] = None,
    iterations: Annotated[
        int | None, typer.Option(min=1, help="Of each training. \\[default: fitted to the data]")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The YAML. \\[default: MODEL.yaml]")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that holds something else.")] = False,
) -> None:
    """Write a config that trains and tests on your own data as it is, here and in a toolbox."""
    from gaitext.standalone.new_config import new_config

    made = new_config(model, data, partition=partition, size=size, iterations=iterations, out=out, overwrite=overwrite)
    for each in made:
        stood = "" if each.written else " (stood just so)"
        console.print(f"{each.path}{stood}: {each.memory}", soft_wrap=True, highlight=False, markup=False)
    for each in made:
        console.print(f"gaitext train {each.path} && gaitext test {each.path}", soft_wrap=True, highlight=False)


@config.command("list")
def show_all() -> None:
    """List the configs that come with gaitext; commands take them by these names."""
    from gaitext.config import shipped_configs

    for each in shipped_configs():
        console.print(each, highlight=False)


@config.command()
def show(name: Annotated[str, typer.Argument(help="Such as gaitheat/tiny.")]) -> None:
    """Print a config that comes with gaitext."""
    console.out(_known(name)[1].read_text(encoding="utf-8"), end="", highlight=False)


@config.command()
def copy(
    folder: Annotated[Path, typer.Argument(help="Where to; what is there is kept.")],
    name: Annotated[str | None, typer.Argument(help="This one alone, such as gaitheat/tiny.")] = None,
) -> None:
    """Copy the configs that come with gaitext, all or one, to a folder."""
    from gaitext.config import shipped_configs
    from gaitext.store import atomic_path

    chosen = shipped_configs() if name is None else dict([_known(name)])
    for each, path in chosen.items():
        target = folder / f"{each}.yaml"
        if target.exists():
            if target.read_bytes() == path.read_bytes():
                continue
            raise DataError("is there already, and is another", where=target, how="give another folder")
        with atomic_path(target) as temporary:
            temporary.write_bytes(path.read_bytes())
        console.print(escape(str(target)), soft_wrap=True, highlight=False)


def _known(name: str) -> tuple[str, Path]:
    """A shipped config's name and file."""
    from gaitext.config import shipped_configs

    known = shipped_configs()
    wanted = name.removeprefix("configs/").removesuffix(".yaml")
    if wanted not in known:
        raise ConfigError("is no config of gaitext", where=name, how=suggest(wanted, known))
    return wanted, known[wanted]
