"""Published tables, as data: ``gaitext/report/published/*.yaml``, marked as published and aligned by protocol.

Numbers have the names that studies and protocols give theirs (``NM``, ``CL-ReID@mAP``, ``Overall@R5``), so that a row
can stand beside a run's of the same dataset. What each paper has and these files have not is said at their top.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path

from pydantic import Field

from gaitext.config import Settings, load_yaml
from gaitext.report.document import Number, Row, Table

_FOLDER = Path(__file__).parent / "published"


class PublishedRow(Settings):
    """A system's numbers.

    Attributes:
        system: as the paper calls it.
        input: what it sees; empty where the table does not say.
        numbers: metric -> number, in the table's unit.
    """

    system: str
    input: str = ""
    numbers: dict[str, float] = Field(min_length=1)


class PublishedTable(Settings):
    """Rows of one table that were measured alike.

    Attributes:
        table: its number or name in the paper.
        dataset: that was tested on, as protocols name it; None: the paper does not say.
        trained_on: another dataset that was trained on; None: the same.
        protocol: what the numbers are, with their unit.
        rows: see there.
    """

    table: str
    dataset: str | None = None
    trained_on: str | None = None
    protocol: str
    rows: tuple[PublishedRow, ...] = Field(min_length=1)


class Publication(Settings):
    """A paper's tables.

    Attributes:
        paper: its title, with the system's name and where it appeared.
        name: of the file.
        study: the kind of study whose page shows all of it; None: rows stand beside runs alone.
        tables: see there.
    """

    paper: str
    name: str
    study: str | None = None
    tables: tuple[PublishedTable, ...] = Field(min_length=1)


@lru_cache(maxsize=1)
def publications() -> tuple[Publication, ...]:
    """All that gaitext has."""
    return tuple(Publication.parse(load_yaml(path), where=path.name) for path in sorted(_FOLDER.glob("*.yaml")))


def published_rows(
    dataset: str, metrics: Collection[str], *, trained_on: Collection[str] = ()
) -> list[tuple[str, PublishedRow]]:
    """Published rows of a dataset that have one of ``metrics``, each with where it is published.

    Args:
        dataset: that was tested on.
        metrics: names of numbers.
        trained_on: other datasets whose rows are wanted, too: those of networks trained there.
    """
    return [
        (f"{paper.paper}, {table.table}: {table.protocol}{_source(table)}", row)
        for paper in publications()
        for table in paper.tables
        if table.dataset == dataset and (table.trained_on is None or table.trained_on in trained_on)
        for row in table.rows
        if any(metric in metrics for metric in row.numbers)
    ]


def published_tables(study: str) -> list[Table]:
    """All tables of the papers that a kind of study is about."""
    return [_shown(paper, table) for paper in publications() if paper.study == study for table in paper.tables]


def _shown(paper: Publication, table: PublishedTable) -> Table:
    metrics = tuple(dict.fromkeys(metric for row in table.rows for metric in row.numbers))
    source = f"{paper.paper}, {table.table}"
    rows = tuple(
        Row(row.system, tuple(Number(row.numbers.get(metric, math.nan)) for metric in metrics), source)
        for row in table.rows
    )
    return Table(f"{table.table}: {table.protocol}", metrics, rows, corner="published")


def _source(table: PublishedTable) -> str:
    return "" if table.trained_on is None else f", trained on {table.trained_on}"
