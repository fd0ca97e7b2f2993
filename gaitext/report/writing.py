"""A report's forms: a page, Markdown, LaTeX, CSV, JSON. All are written of one document."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gaitext.errors import ConfigError, DataError
from gaitext.evaluation.result import json_number, markdown_table
from gaitext.report.document import Block, Code, Document, Forest, Number, Row, Strips, Table, Text
from gaitext.report.page import html
from gaitext.store import atomic_path, check_writable, write_json

_CSV = ("section", "table", "row", "column", "value", "sd", "low", "high", "text", "published")


def check_report_path(path: str | Path) -> Path:
    """Refuse, before anything is computed, what :func:`write_document` cannot write to.

    Raises:
        ConfigError: a suffix of no form.
        DataError: a place that cannot be written to.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMS:
        raise ConfigError(
            f"'{path.suffix}' is no form of a report", where=path, how=f"end its name in {', '.join(FORMS)}"
        )
    if path.is_dir():
        raise ConfigError("is a folder", where=path, how="name a file in it")
    check_writable(path)
    return path


def write_document(document: Document, path: str | Path) -> Path:
    """Write a report in the form that its suffix names, whole or not at all.

    * ``.html``: one page that needs nothing else, no network either.
    * ``.md``: its tables and texts.
    * ``.tex``: its tables, for ``\\usepackage{booktabs}``.
    * ``.csv``: a line for each number.
    * ``.json``: its tables.

    Raises:
        ConfigError: another suffix.
        DataError: it cannot be written.
    """
    path = check_report_path(path)
    if path.suffix.lower() == ".json":
        write_json(path, plain(document))
        return path
    text = FORMS[path.suffix.lower()](document)
    try:
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    except OSError as error:
        raise DataError(f"cannot be written: {error.strerror}", where=path, how="name another file") from error
    return path


def table_lines(table: Table) -> list[str]:
    """A table as Markdown; what was published is marked with a dagger, and where stands below."""
    sources = _sources(table)
    body = [[_marked(row, sources, "†"), *map(str, row.cells)] for row in table.rows]
    lines = markdown_table([_line(table.corner), *map(_line, table.columns)], [[_line(c) for c in r] for r in body])
    below = [*table.notes, *(f"†{mark} published: {source}" for source, mark in sources.items())]
    lines += [line for note in below for line in ("", _line(note))]
    for heading, listed in table.lists:
        lines += ["", heading, "", *(f"* {_line(line)}" for line in listed)]
    return lines


def markdown(document: Document) -> str:
    """All but charts and pictures, as Markdown."""
    parts = [f"# {_line(document.title)}", "\n".join(f"* {k}: {_line(v)}" for k, v in document.about.items())]
    for section in document.sections:
        parts.append(f"## {_line(section.title)}")
        parts += [_block_text(block) for block in section.blocks]
    return "\n\n".join(part for part in parts if part) + "\n"


def _block_text(block: Block) -> str:
    if isinstance(block, Table):
        return "\n".join([f"### {_line(block.title)}", "", *table_lines(block)])
    if isinstance(block, Text):
        mark = "Warning: " if block.warning else ""
        return "\n".join(f"* {mark}{_line(line)}" for line in block.lines)
    if isinstance(block, Code):
        fence = "`" * max(3, 1 + max((len(run) for run in _runs(block.text, "`")), default=0))
        return f"### {_line(block.title)}\n\n{fence}\n{block.text.rstrip()}\n{fence}"
    if isinstance(block, Strips):
        return "\n".join([f"### {_line(block.title)}", "", *(f"* {_line(name)}" for name, _ in block.pairs)])
    if isinstance(block, Forest):
        return ""  # a table beside it has its numbers
    return "" if not hasattr(block, "table") else _block_text(block.table())


def latex(document: Document) -> str:
    """Its tables for LaTeX, with booktabs."""
    parts = [f"% {_line(document.title)}", "% \\usepackage{booktabs}"]
    for section, table in document.tables():
        sources = _sources(table)
        lines = [
            "\\begin{table}",
            "\\centering",
            f"\\caption{{{tex(table.title)} ({tex(section)})}}",
            f"\\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
            "\\toprule",
            " & ".join(tex(name) for name in (table.corner, *table.columns)) + r" \\",
            "\\midrule",
        ]
        for row in table.rows:
            name = tex(row.name) + (f"$^{{\\dagger {sources[row.published]}}}$" if row.published else "")
            lines.append(" & ".join([name, *(tex(str(cell)) for cell in row.cells)]) + r" \\")
        lines += ["\\bottomrule", "\\end{tabular}"]
        listed = [f"{heading} {'; '.join(each)}" for heading, each in table.lists]
        notes = [
            *map(tex, (*table.notes, *listed)),
            *(f"$\\dagger {mark}$ published: {tex(s)}" for s, mark in sources.items()),
        ]
        lines += [f"\\par\\footnotesize {note}" for note in notes]
        parts.append("\n".join([*lines, "\\end{table}"]))
    return "\n\n".join(parts) + "\n"


_TEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "–": "--",
    "−": "$-$",
    "±": r"$\pm$",
    "→": r"$\rightarrow$",
    "↓": r"$\downarrow$",
    "×": r"$\times$",
    "°": r"$^\circ$",
    "[": "{[}",
    "]": "{]}",
}


def tex(text: str) -> str:
    """A text whose every character stands for itself.

    >>> tex("50 % of a_b [1]")
    '50 \\\\% of a\\\\_b {[}1{]}'
    """
    return "".join(_TEX.get(character, character) for character in _line(text))


def comma_separated(document: Document) -> str:
    """A line for each cell of each table; empty where there is no number."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_CSV)
    for section, table in document.tables():
        for row in table.rows:
            for column, cell in zip(table.columns, row.cells):
                numbers = (cell.value, cell.sd, cell.low, cell.high) if isinstance(cell, Number) else ()
                shown = ["" if math.isnan(value) else repr(float(value)) for value in numbers] or [""] * 4
                writer.writerow(map(_line, (section, table.title, row.name, column, *shown, str(cell), row.published)))
    return stream.getvalue()


def plain(document: Document) -> dict[str, Any]:
    """Its tables for programs; null where there is no number."""
    return {
        "title": document.title,
        "about": dict(document.about),
        "tables": [
            {
                "section": section,
                "title": table.title,
                "columns": list(table.columns),
                "rows": [
                    {
                        "name": row.name,
                        "published": row.published or None,
                        "cells": [_plain(cell) for cell in row.cells],
                    }
                    for row in table.rows
                ],
                "notes": [*table.notes, *(line for _, each in table.lists for line in each)],
            }
            for section, table in document.tables()
        ],
    }


def _plain(cell: Number | str) -> Any:
    if isinstance(cell, str):
        return cell
    return {name: json_number(getattr(cell, name)) for name in ("value", "sd", "low", "high")}


def _sources(table: Table) -> dict[str, int]:
    """Where its rows are published -> a number for it."""
    return {source: i for i, source in enumerate(dict.fromkeys(r.published for r in table.rows if r.published), 1)}


def _marked(row: Row, sources: dict[str, int], mark: str) -> str:
    return f"{row.name} {mark}{sources[row.published]}" if row.published else row.name


def _line(text: str) -> str:
    """On one line: a name may hold a line's end."""
    return " ".join(text.split()) if any(c.isspace() and c != " " for c in text) else text


def _runs(text: str, character: str) -> list[str]:
    """The runs of a character."""
    return [run for run in "".join(c if c == character else " " for c in text).split(" ") if run]


FORMS: dict[str, Callable[[Document], str]] = {
    ".html": html,
    ".md": markdown,
    ".tex": latex,
    ".csv": comma_separated,
    ".json": str,  # written by write_json
}
