"""The command line: parses, calls one function, prints."""

from __future__ import annotations

import logging
import sys

from rich.markup import escape

# Importing a module adds its commands; this order is the order of `gaitext --help`.
# isort: off
from gaitext.cli.app import app, errors
from gaitext.cli import demo  # noqa: F401
from gaitext.cli import host  # noqa: F401
from gaitext.cli import configs  # noqa: F401
from gaitext.cli import toolboxes  # noqa: F401
from gaitext.cli import walkers  # noqa: F401
from gaitext.cli import prepare  # noqa: F401
from gaitext.cli import extract  # noqa: F401
from gaitext.cli import degrade  # noqa: F401
from gaitext.cli import correct  # noqa: F401
from gaitext.cli import convert  # noqa: F401
from gaitext.cli import inspect  # noqa: F401

# isort: on
from gaitext.errors import GaitextError

__all__ = ["app", "main"]


def main() -> None:
    """Entry point: errors gaitext raises on purpose are printed without a traceback."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        app()
    except GaitextError as error:
        errors.print(f"[bold red]Error:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(1)
