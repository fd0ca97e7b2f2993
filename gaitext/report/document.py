"""What a report is made of, before it is a page: sections of tables, charts, pictures and texts.

Every form of a report (:mod:`gaitext.report.writing`) is written of the same document, so that all hold the same
numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Union

import numpy as np
import numpy.typing as npt

from gaitext.evaluation import EvaluationResult
from gaitext.evaluation import Table as PlainTable

Array = npt.NDArray[Any]


def number_text(mean: float, sd: float, low: float, high: float, digits: int, *, signed: bool = False) -> str:
    """Such as ``88.2 ± 0.4 [85.0, 91.1]``; what is NaN is left out, and a dash stands for no number.

    >>> number_text(88.17, 0.41, 85.04, 91.12, 1), number_text(1.5, float("nan"), float("nan"), float("nan"), 2)
    ('88.2 ± 0.4 [85.0, 91.1]', '1.50')
    """
    if math.isnan(mean):
        return "–"
    plus = "+" if signed else ""
    text = f"{mean:{plus}.{digits}f}"
    text += "" if math.isnan(sd) else f" ± {sd:.{digits}f}"
    return text + ("" if math.isnan(low) else f" {interval_text(low, high, digits, signed=signed)}")


def interval_text(low: float, high: float, digits: int, *, signed: bool = False) -> str:
    """Such as ``[85.0, 91.1]``; a dash for none."""
    plus = "+" if signed else ""
    return "–" if math.isnan(low) else f"[{low:{plus}.{digits}f}, {high:{plus}.{digits}f}]"


@dataclass(frozen=True)
class Number:
    """A number of a table; NaN where there is none.

    Attributes:
        value: itself, in the table's unit.
        sd: its standard deviation.
        low, high: its interval.
        digits: after the point, as it is shown.
        signed: whether a plus is shown.
    """

    value: float
    sd: float = math.nan
    low: float = math.nan
    high: float = math.nan
    digits: int = 2
    signed: bool = False

    def __str__(self) -> str:
        return number_text(self.value, self.sd, self.low, self.high, self.digits, signed=self.signed)


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        name: its heading.
        cells: numbers, or words.
        published: where it is published; empty for what was computed here.
    """

    name: str
    cells: tuple[Number | str, ...]
    published: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: what it shows, and in which unit.
        columns: headings of the cells.
        rows: see :class:`Row`.
        notes: sentences that stand below.
        lists: headings and lines that stand below the notes.
        corner: heading of the rows' names.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    lists: tuple[tuple[str, tuple[str, ...]], ...] = ()
    corner: str = ""

    @classmethod
    def plain(cls, table: PlainTable) -> Table:
        """An evaluation's table."""
        digits = [0 if column in table.counts else 2 for column in table.columns]
        rows = (
            Row(name, tuple(Number(float(v), digits=d) for v, d in zip(values, digits))) for name, values in table.rows
        )
        return cls(table.title, tuple(table.columns), tuple(rows))


@dataclass(frozen=True)
class Heatmap:
    """A matrix of percentages, drawn in colours with its numbers in the cells.

    Attributes:
        title: what it shows.
        rows, columns: names of its R rows and C columns.
        values: [R, C]; NaN where there is no number.
        row_label, column_label: what rows and columns are.
    """

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: Array
    row_label: str
    column_label: str

    def table(self) -> Table:
        """The same numbers as a table."""
        rows = tuple(
            Row(name, tuple(Number(float(v), digits=1) for v in line)) for name, line in zip(self.rows, self.values)
        )
        return Table(self.title, self.columns, rows, corner=f"{self.row_label} ↓ {self.column_label} →")


@dataclass(frozen=True)
class Line:
    """A line of a chart: x and y of equal length; NaN breaks it."""

    name: str
    x: Array
    y: Array


@dataclass(frozen=True)
class Axis:
    """An axis: what it shows, where it begins and ends (None: with the data), and whether it is logarithmic."""

    label: str
    low: float | None = None
    high: float | None = None
    log: bool = False


@dataclass(frozen=True)
class Chart:
    """Lines over two axes.

    Attributes:
        title: what it shows.
        x, y: the axes.
        lines: that are drawn; each has a colour and a dash of its own.
        filled: whether the area below each is filled: histograms, as steps.
    """

    title: str
    x: Axis
    y: Axis
    lines: tuple[Line, ...]
    filled: bool = False


@dataclass(frozen=True)
class Mark:
    """A row of :class:`Forest`.

    Attributes:
        name: its heading.
        value: a number; NaN where there is none.
        low, high: its interval.
        seeds: each seed's number.
        words: that stand beside it.
        verdict: which gives it a colour.
        least: the least value that counts; NaN where there is none.
    """

    name: str
    value: float
    low: float
    high: float
    seeds: tuple[float, ...] = ()
    words: str = ""
    verdict: str = ""
    least: float = math.nan


@dataclass(frozen=True)
class Forest:
    """Numbers with intervals, one below the other.

    Attributes:
        title: what it shows.
        label: of the axis.
        marks: the rows.
        line: where a line is drawn across all; None: nowhere.
    """

    title: str
    label: str
    marks: tuple[Mark, ...]
    line: float | None = None


@dataclass(frozen=True)
class Picture:
    """A picture inside the page.

    Attributes:
        data: of a PNG file.
        text: what it shows, in words.
    """

    data: bytes
    text: str


@dataclass(frozen=True)
class Strips:
    """Walks that were taken for each other, in pairs of pictures."""

    title: str
    pairs: tuple[tuple[str, tuple[Picture, ...]], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Text:
    """Sentences, one a line; ``warning`` where a reader must not overlook them."""

    lines: tuple[str, ...]
    warning: bool = False


@dataclass(frozen=True)
class Code:
    """Text whose every character counts: a config."""

    title: str
    text: str


Block = Union[Table, Heatmap, Chart, Forest, Strips, Text, Code]


@dataclass(frozen=True)
class Section:
    """A part of a report with a heading."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """A report.

    Attributes:
        title: of the whole.
        sections: its parts, in order.
        about: what decides the numbers, or made them.
    """

    title: str
    sections: tuple[Section, ...]
    about: Mapping[str, str] = field(default_factory=dict)

    def tables(self) -> Iterator[tuple[str, Table]]:
        """Each table with its section's title; a heat map is one, too."""
        for section in self.sections:
            for block in section.blocks:
                if isinstance(block, Table):
                    yield section.title, block
                elif isinstance(block, Heatmap):
                    yield section.title, block.table()


def result_blocks(result: EvaluationResult) -> list[Block]:
    """A protocol's own tables."""
    return [Table.plain(table) for table in result.tables]


def warning(lines: Sequence[str]) -> list[Block]:
    """A block of warnings, or none."""
    return [Text(tuple(lines), warning=True)] if lines else []


def as_numbers(values: Any) -> Array:
    """As float64, whatever it was."""
    return np.asarray(values, np.float64)
