"""A report as one HTML page that needs nothing else: styles, script and pictures are inside."""

from __future__ import annotations

import base64
import math
import re
from dataclasses import replace
from functools import lru_cache
from itertools import groupby
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from gaitext.report import charts
from gaitext.report.document import (
    Chart,
    Code,
    Document,
    Forest,
    Heatmap,
    Number,
    Picture,
    Strips,
    Table,
    Text,
    interval_text,
)

_KINDS: dict[type, str] = {
    Table: "table",
    Heatmap: "heatmap",
    Chart: "chart",
    Forest: "forest",
    Strips: "strips",
    Text: "text",
    Code: "code",
}
#: What no document may hold: HTML has no way to write these.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


def html(document: Document) -> str:
    """The page. Every text from data is escaped: a name may hold anything, HTML and scripts among it."""
    return str(_environment().get_template("page.html.j2").render(document=document))


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("gaitext.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.tests["nan"] = math.isnan
    environment.filters |= {
        "kind": lambda block: _KINDS[type(block)],
        "plot": charts.plot,
        "coloured": charts.coloured,
        "forest": charts.forest,
        "uri": _uri,
        "sort_key": _sort_key,
        "one": lambda value: f"{value:.1f}",
        "shown": lambda number: str(replace(number, low=math.nan, high=math.nan)),
        "between": _between,
        "sources": _sources,
        "groups": lambda blocks: groupby(blocks, key=lambda block: isinstance(block, (Heatmap, Chart, Forest))),
    }
    return environment


def _finalize(value: Any) -> Any:
    """What is written: control characters as they are named in Python."""
    if type(value) is str and _CONTROL.search(value):
        return _CONTROL.sub(lambda found: ascii(found.group())[1:-1], value)
    return value


def _uri(picture: Picture) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.data).decode("ascii")


def _between(number: Number) -> str:
    shown = not math.isnan(number.value) and not math.isnan(number.low)
    return interval_text(number.low, number.high, number.digits, signed=number.signed) if shown else ""


def _sources(table: Table) -> list[tuple[str, list[str]]]:
    """Where rows are published, and their names."""
    found: dict[str, list[str]] = {}
    for row in table.rows:
        if row.published:
            found.setdefault(row.published, []).append(row.name)
    return list(found.items())


def _sort_key(cell: Number | str) -> str:
    """What a cell is sorted by: a number, or nothing for words."""
    return repr(float(cell.value)) if isinstance(cell, Number) and not math.isnan(cell.value) else ""
