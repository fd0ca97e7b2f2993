"""The command line: parses, calls one function, prints."""

from __future__ import annotations

import io
import logging
import os
import sys
from typing import NoReturn

from rich.markup import escape

# Importing a module adds its commands; this order is the order of `gaitext --help`.
# isort: off
from gaitext.cli.app import app, errors
from gaitext.cli import demo  # noqa: F401
from gaitext.cli import train  # noqa: F401
from gaitext.cli import configs  # noqa: F401
from gaitext.cli import models  # noqa: F401
from gaitext.cli import export  # noqa: F401
from gaitext.cli import toolboxes  # noqa: F401
from gaitext.cli import walkers  # noqa: F401
from gaitext.cli import prepare  # noqa: F401
from gaitext.cli import partition  # noqa: F401
from gaitext.cli import extract  # noqa: F401
from gaitext.cli import degrade  # noqa: F401
from gaitext.cli import correct  # noqa: F401
from gaitext.cli import convert  # noqa: F401
from gaitext.cli import inspect  # noqa: F401
from gaitext.cli import show  # noqa: F401
from gaitext.cli import report  # noqa: F401
from gaitext.cli import study  # noqa: F401

# isort: on
from gaitext.errors import DataError, GaitextError

__all__ = ["app", "main"]


def main() -> None:
    """Entry point: errors gaitext raises on purpose, and those of files and disks, are printed without a traceback."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")  # into a file, Windows writes in an encoding that lacks arrows
    try:
        app()
    except GaitextError as error:
        _end(error)
    except BrokenPipeError:  # who read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno is None:
            raise
        place = error.filename if error.filename2 is None else error.filename2
        _end(
            DataError(f"cannot be read or written ({error.strerror})", where=place, how="check the path and its rights")
        )


def _end(error: GaitextError) -> NoReturn:
    errors.print(f"[bold red]Error:[/] {escape(str(error))}", soft_wrap=True)
    sys.exit(1)
