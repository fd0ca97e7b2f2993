"""`gaitext configs`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from gaitext.cli.app import app, console
from gaitext.errors import ConfigError, DataError, suggest


@app.command()
def configs(
    name: Annotated[
        str | None, typer.Argument(help="Print this one, such as gaitheat/tiny. Default: list all.")
    ] = None,
    copy: Annotated[
        Path | None, typer.Option(help="Copy it, or all, to this folder instead; keeps what is there.")
    ] = None,
) -> None:
    """List, print or copy the configs that come with gaitext; commands take them by these names."""
    from gaitext.config import shipped_configs
    from gaitext.store import atomic_path

    known = shipped_configs()
    if name is not None:
        wanted = name.removeprefix("configs/").removesuffix(".yaml")
        if wanted not in known:
            raise ConfigError("is no config of gaitext", where=name, how=suggest(wanted, known))
        known = {wanted: known[wanted]}
    if copy is not None:
        for each, path in known.items():
            target = copy / f"{each}.yaml"
            if target.exists():
                if target.read_bytes() == path.read_bytes():
                    continue
                raise DataError("is there already, and is another", where=target, how="give another folder")
            with atomic_path(target) as temporary:
                temporary.write_bytes(path.read_bytes())
            console.print(escape(str(target)), soft_wrap=True, highlight=False)
    elif name is not None:
        console.out(next(iter(known.values())).read_text(encoding="utf-8"), end="", highlight=False)
    else:
        for each in known:
            console.print(each, highlight=False)
